//! The frozen configuration, as user space wrote it before the load.

use profiler_ebpf::config::Config;

#[unsafe(no_mangle)]
static CONFIG: Config = Config {
    self_tgid: 0,
    head_bytes: 0,
    wake_at: 0,
    log: 0,
    task_files: 0,
    task_tgid: 0,
    task_pid: 0,
    task_mm: 0,
    mm_arg_start: 0,
    mm_arg_end: 0,
    mm_exe_file: 0,
    file_path_mnt: 0,
    file_path_dentry: 0,
    dentry_parent: 0,
    dentry_name: 0,
    vfsmount_root: 0,
    mount_mnt: 0,
    mount_parent: 0,
    mount_point: 0,
    files_fdt: 0,
    fdtable_fd: 0,
    fdtable_max_fds: 0,
    file_private_data: 0,
    socket_sk: 0,
    socket_file: 0,
    socket_inode: 0,
    inode_ino: 0,
    sock_protocol: 0,
    sock_type: 0,
    sock_socket: 0,
    sock_err: 0,
    sock_shutdown: 0,
    sock_net: 0,
    sock_ack_backlog: 0,
    sock_queue_len: 0,
    sock_max_ack_backlog: 0,
    sock_drops: 0,
    net_inum: 0,
    unix_addr: 0,
    unix_peer: 0,
    unix_address_len: 0,
    unix_address_name: 0,
    regs_nr: 0,
    regs_arg0: 0,
    regs_arg1: 0,
    regs_arg2: 0,
    regs_arg3: 0,
    regs_result: 0,
    regs_cx: 0,
    regs_ip: 0,
    task_state: 0,
    task_cpu_time: 0,
    switch_state: 0,
    task_regs: 0,
    stall_us: 0,
};

/// The configuration's fields, read so that the compiler cannot fold the zeros above; the verifier folds the real ones.
pub(crate) struct Fields;

macro_rules! fields {
    ($($name:ident),* $(,)?) => {
        impl Fields {
            $(#[inline(always)]
            pub(crate) fn $name(&self) -> u32 {
                // SAFETY: a field of a static; volatile because the loader rewrites it.
                unsafe { core::ptr::read_volatile(core::ptr::addr_of!(CONFIG.$name)) }
            })*
        }
    };
}

fields!(
    self_tgid,
    head_bytes,
    wake_at,
    log,
    task_files,
    task_tgid,
    task_pid,
    task_mm,
    mm_arg_start,
    mm_arg_end,
    mm_exe_file,
    file_path_mnt,
    file_path_dentry,
    dentry_parent,
    dentry_name,
    vfsmount_root,
    mount_mnt,
    mount_parent,
    mount_point,
    files_fdt,
    fdtable_fd,
    fdtable_max_fds,
    file_private_data,
    socket_sk,
    socket_file,
    socket_inode,
    inode_ino,
    sock_protocol,
    sock_type,
    sock_socket,
    sock_err,
    sock_shutdown,
    sock_net,
    sock_ack_backlog,
    sock_queue_len,
    sock_max_ack_backlog,
    sock_drops,
    net_inum,
    unix_addr,
    unix_peer,
    unix_address_len,
    unix_address_name,
    regs_nr,
    regs_arg0,
    regs_arg1,
    regs_arg2,
    regs_arg3,
    regs_result,
    regs_cx,
    regs_ip,
    task_state,
    task_cpu_time,
    switch_state,
    task_regs,
    stall_us,
);

pub(crate) const CFG: Fields = Fields;
