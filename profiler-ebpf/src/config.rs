//! What user space tells the kernel half before it is loaded: a frozen constant, so the verifier folds it.

/// Layout facts read from BTF, and the choices of the command line. All offsets in bytes.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct Config {
    /// hostprof's own process: never traced.
    pub self_tgid: u32,
    /// Bytes kept of each request's head.
    pub head_bytes: u32,
    /// Bytes waiting in the ring at which the reader is woken.
    pub wake_at: u32,
    /// 1: diagnostics of the kernel half go out by aya-log.
    pub log: u32,
    pub task_files: u32,
    pub task_tgid: u32,
    pub task_pid: u32,
    pub task_mm: u32,
    pub mm_arg_start: u32,
    pub mm_arg_end: u32,
    /// 0: where a program's file is cannot be told, and the offsets up to `mount_point` are not known.
    pub mm_exe_file: u32,
    pub file_path_mnt: u32,
    pub file_path_dentry: u32,
    pub dentry_parent: u32,
    pub dentry_name: u32,
    pub vfsmount_root: u32,
    pub mount_mnt: u32,
    pub mount_parent: u32,
    pub mount_point: u32,
    pub files_fdt: u32,
    pub fdtable_fd: u32,
    pub fdtable_max_fds: u32,
    pub file_private_data: u32,
    pub socket_sk: u32,
    pub socket_file: u32,
    /// `struct socket` to the inode behind it (`struct socket_alloc` in include/net/sock.h).
    pub socket_inode: u32,
    pub inode_ino: u32,
    pub sock_protocol: u32,
    pub sock_type: u32,
    pub sock_socket: u32,
    pub sock_err: u32,
    pub sock_shutdown: u32,
    pub sock_net: u32,
    /// Of a listening socket: how many wait to be accepted (TCP; on Unix sockets the length of the receive queue), how
    /// many may, how many were turned away.
    pub sock_ack_backlog: u32,
    pub sock_queue_len: u32,
    pub sock_max_ack_backlog: u32,
    pub sock_drops: u32,
    pub net_inum: u32,
    pub unix_addr: u32,
    pub unix_peer: u32,
    pub unix_address_len: u32,
    pub unix_address_name: u32,
    /// `struct pt_regs`: the system call's number and arguments.
    pub regs_nr: u32,
    pub regs_arg0: u32,
    pub regs_arg1: u32,
    pub regs_arg2: u32,
    pub regs_arg3: u32,
    /// The same: its result; inside the call it is `-ENOSYS`.
    pub regs_result: u32,
    /// x86-64: with the result, what tells a system call from a fault (kernel/switch.rs).
    pub regs_cx: u32,
    pub regs_ip: u32,
    /// The thread's state in `struct task_struct`, for kernels that do not pass it to `sched_switch`.
    pub task_state: u32,
    /// The thread's CPU time so far in `struct task_struct` (`se.sum_exec_runtime`).
    pub task_cpu_time: u32,
    /// 1: `sched_switch` has it as its fourth argument (Linux 5.18 and newer).
    pub switch_state: u32,
    /// 1: the kernel has `bpf_task_pt_regs` (Linux 5.15 and newer).
    pub task_regs: u32,
    /// A turn of an event loop that takes so long is a stall, µs.
    pub stall_us: u32,
}
