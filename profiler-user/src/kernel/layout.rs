//! Where the kernel keeps things: every offset that the kernel half uses, read from BTF.
//!
//! Sources: include/linux/sched.h (task_struct), fdtable.h, fs.h, net.h (socket), include/net/sock.h (sock_common,
//! sock, socket_alloc), include/net/af_unix.h, include/net/net_namespace.h, arch/x86/include/asm/ptrace.h;
//! include/linux/mm_types.h, dcache.h, mount.h and fs/mount.h for a program's file.

use profiler_ebpf::config::Config;
use thiserror::Error;

use super::btf::{Btf, BtfError};

/// This kernel's layout is not to be had, or is one that the kernel half does not know.
#[derive(Debug, Error)]
pub enum LayoutError {
    #[error(transparent)]
    Btf(#[from] BtfError),
    #[error(
        "struct {structure} has {member} at {found}, hostprof knows it at {expected}: this kernel is laid out in an \
         unknown way; please report it with the output of `hostprof doctor`"
    )]
    Moved { structure: &'static str, member: &'static str, found: u32, expected: u32 },
}

/// Members that the kernel half reads with one copy, at offsets it has built in (kernel/connection.rs there).
const FIXED: [(&str, u32); 8] = [
    ("skc_daddr", 0),
    ("skc_rcv_saddr", 4),
    ("skc_dport", 12),
    ("skc_num", 14),
    ("skc_family", 16),
    ("skc_state", 18),
    ("skc_v6_daddr", 56),
    ("skc_v6_rcv_saddr", 72),
];

/// The fields of the classic tracepoints sock:sock_*_length (`DECLARE_EVENT_CLASS(sock_msg_length` in
/// include/trace/events/sock.h), Linux 6.3 and newer.
const MESSAGES: &str = "trace_event_raw_sock_msg_length";
const OF_MESSAGES: [(&str, u32); 3] = [("sk", 8), ("ret", 20), ("flags", 24)];

/// Whether a structure is laid out as the kernel half has it built in.
fn known(btf: &Btf, structure: &'static str, members: &[(&'static str, u32)]) -> Result<(), LayoutError> {
    for (member, expected) in members.iter().copied() {
        let found = btf.offset(structure, member)?;
        if found != expected {
            return Err(LayoutError::Moved { structure, member, found, expected });
        }
    }
    Ok(())
}

/// The layout part of the configuration.
pub fn read(btf: &Btf) -> Result<Config, LayoutError> {
    known(btf, "sock_common", &FIXED)?;
    if btf.offset(MESSAGES, "sk").is_ok() {
        known(btf, MESSAGES, &OF_MESSAGES)?;
    }
    let at = |structure: &str, member: &str| btf.offset(structure, member);
    let config = Config {
        task_files: at("task_struct", "files")?,
        task_tgid: at("task_struct", "tgid")?,
        task_pid: at("task_struct", "pid")?,
        task_mm: at("task_struct", "mm")?,
        mm_arg_start: at("mm_struct", "arg_start")?,
        mm_arg_end: at("mm_struct", "arg_end")?,
        files_fdt: at("files_struct", "fdt")?,
        fdtable_fd: at("fdtable", "fd")?,
        fdtable_max_fds: at("fdtable", "max_fds")?,
        file_private_data: at("file", "private_data")?,
        socket_sk: at("socket", "sk")?,
        socket_file: at("socket", "file")?,
        socket_inode: at("socket_alloc", "vfs_inode")?,
        inode_ino: at("inode", "i_ino")?,
        sock_protocol: at("sock", "sk_protocol")?,
        sock_type: at("sock", "sk_type")?,
        sock_socket: at("sock", "sk_socket")?,
        sock_err: at("sock", "sk_err")?,
        sock_shutdown: at("sock", "sk_shutdown")?,
        sock_ack_backlog: at("sock", "sk_ack_backlog")?,
        sock_queue_len: at("sock", "sk_receive_queue.qlen")?,
        sock_max_ack_backlog: at("sock", "sk_max_ack_backlog")?,
        sock_drops: at("sock", "sk_drops")?,
        sock_net: at("sock_common", "skc_net")?,
        net_inum: at("net", "ns.inum")?,
        unix_addr: at("unix_sock", "addr")?,
        unix_peer: at("unix_sock", "peer")?,
        unix_address_len: at("unix_address", "len")?,
        unix_address_name: at("unix_address", "name")?,
        regs_nr: at("pt_regs", "orig_ax")?,
        regs_arg0: at("pt_regs", "di")?,
        regs_arg1: at("pt_regs", "si")?,
        regs_arg2: at("pt_regs", "dx")?,
        regs_arg3: at("pt_regs", "r10")?,
        regs_result: at("pt_regs", "ax")?,
        regs_cx: at("pt_regs", "cx")?,
        regs_ip: at("pt_regs", "ip")?,
        // `state` until Linux 5.14.
        task_state: at("task_struct", "__state").or_else(|_| at("task_struct", "state"))?,
        task_cpu_time: at("task_struct", "se")? + at("sched_entity", "sum_exec_runtime")?,
        // The state came as the fourth argument with Linux 5.18 (include/trace/events/sched.h).
        switch_state: btf.tracepoint_args("sched_switch").is_ok_and(|n| n >= 4).into(),
        task_regs: btf.function_args("bpf_task_pt_regs").is_ok().into(),
        ..Config::default()
    };
    Ok(with_program_file(btf, config).unwrap_or(config))
}

/// What tells the file of a program that has just been started.
fn with_program_file(btf: &Btf, config: Config) -> Result<Config, BtfError> {
    let at = |structure: &str, member: &str| btf.offset(structure, member);
    Ok(Config {
        mm_exe_file: at("mm_struct", "exe_file")?,
        file_path_mnt: at("file", "f_path.mnt")?,
        file_path_dentry: at("file", "f_path.dentry")?,
        dentry_parent: at("dentry", "d_parent")?,
        dentry_name: at("dentry", "d_name.name")?,
        vfsmount_root: at("vfsmount", "mnt_root")?,
        mount_mnt: at("mount", "mnt")?,
        mount_parent: at("mount", "mnt_parent")?,
        mount_point: at("mount", "mnt_mountpoint")?,
        ..config
    })
}
