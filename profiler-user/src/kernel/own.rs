//! Who this process is in the kernel's eyes. Its programs and records number processes as the initial pid namespace
//! does; inside another one our own number, and `/proc`, say something else.

use std::fs;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use log::debug;

use super::bpf::{Command, bpf};

/// Inode of the initial pid namespace: PROC_PID_INIT_INO, include/linux/proc_ns.h.
const INITIAL: u64 = 0xEFFF_FFFC;

/// BPF_PROG_TYPE_RAW_TRACEPOINT, include/uapi/linux/bpf.h.
const RAW_TRACEPOINT: u32 = 17;

/// `struct bpf_insn` (include/uapi/linux/bpf.h), three of them.
const WHO: [u64; 3] = [
    instruction(0x85, 14), // BPF_JMP | BPF_CALL: bpf_get_current_pid_tgid()
    instruction(0x77, 32), // BPF_ALU64 | BPF_RSH | BPF_K: r0 >>= 32
    instruction(0x95, 0),  // BPF_JMP | BPF_EXIT
];

/// An instruction on register 0.
const fn instruction(code: u8, immediate: u32) -> u64 {
    (immediate as u64) << 32 | code as u64
}

/// `union bpf_attr`, the part for BPF_PROG_LOAD that was there from the first.
#[repr(C)]
#[derive(Default)]
struct LoadAttr {
    prog_type: u32,
    insn_cnt: u32,
    insns: u64,
    license: u64,
    log_level: u32,
    log_size: u32,
    log_buf: u64,
    kern_version: u32,
    prog_flags: u32,
}

/// `union bpf_attr`, the part for BPF_PROG_TEST_RUN.
#[repr(C)]
#[derive(Default)]
struct RunAttr {
    prog_fd: u32,
    retval: u32,
    data_size_in: u32,
    data_size_out: u32,
    data_in: u64,
    data_out: u64,
    repeat: u32,
    duration: u32,
    ctx_size_in: u32,
    ctx_size_out: u32,
    ctx_in: u64,
    ctx_out: u64,
    flags: u32,
    cpu: u32,
}

/// Our process number in the initial pid namespace. Without the right to ask the kernel, our own idea of it.
pub fn tgid() -> u32 {
    ask().unwrap_or_else(|e| {
        debug!("the kernel did not tell our process number: {e}");
        std::process::id()
    })
}

/// A program that is run on its caller tells who that is (bpf_prog_test_run_raw_tp() in net/bpf/test_run.c, Linux 5.10).
fn ask() -> io::Result<u32> {
    let license = c"GPL";
    let mut load = LoadAttr {
        prog_type: RAW_TRACEPOINT,
        insn_cnt: WHO.len() as u32,
        insns: WHO.as_ptr() as u64,
        license: license.as_ptr() as u64,
        ..LoadAttr::default()
    };
    // SAFETY: the instructions and the licence are alive during the call, and as long as said.
    let fd = unsafe { bpf(Command::ProgLoad, &mut load)? };
    // SAFETY: the kernel has just given us this descriptor.
    let program = unsafe { OwnedFd::from_raw_fd(fd as RawFd) };
    let mut run = RunAttr { prog_fd: program.as_raw_fd() as u32, ..RunAttr::default() };
    // SAFETY: no pointers.
    unsafe { bpf(Command::ProgTestRun, &mut run)? };
    Ok(run.retval)
}

/// Whether this process is in the initial pid namespace, as far as `/proc` tells.
fn is_in_initial_namespace() -> bool {
    fs::metadata("/proc/self/ns/pid").map_or(true, |namespace| namespace.ino() == INITIAL)
}

/// Whether `/proc` numbers processes as the kernel does: it is of the initial namespace when it knows us (`/proc/self`)
/// by the number that the kernel does.
fn proc_is_the_kernels() -> bool {
    let own = fs::read_link("/proc/self").ok();
    own.is_none_or(|own| own.as_os_str() == tgid().to_string().as_str())
}

/// The `/proc` to look up in what the kernel's records name; nothing is below it when the real one has other numbers.
pub fn proc_root() -> &'static Path {
    Path::new(if proc_is_the_kernels() { "/proc" } else { "/dev/null" })
}

/// Whether the kernel's numbers are ours too, for system calls and in `/proc`.
pub fn numbers_are_the_kernels() -> bool {
    tgid() == std::process::id() && proc_is_the_kernels()
}

/// What it costs to be in another pid namespace than the first; `None` in the first.
pub fn namespace_problem() -> Option<&'static str> {
    (!is_in_initial_namespace() || !proc_is_the_kernels()).then_some(
        "hostprof runs in a pid namespace of its own: processes from outside it go by their thread's name, --pid takes \
         the host's numbers, --cgroup finds nothing",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instructions_as_the_kernel_has_them() {
        // code, registers, offset, immediate.
        assert_eq!(WHO[0].to_le_bytes(), [0x85, 0, 0, 0, 14, 0, 0, 0]);
        assert_eq!(size_of::<LoadAttr>(), 48);
        assert_eq!(size_of::<RunAttr>(), 72);
    }

    #[test]
    fn the_kernel_and_we_agree_where_the_namespace_is_the_first() {
        let agree = tgid() == std::process::id();
        match ask() {
            Ok(number) => assert_eq!((number, agree), (tgid(), is_in_initial_namespace())),
            Err(_) => assert!(agree, "without the right to ask, our own idea of it"),
        }
        assert_eq!(proc_root() == Path::new("/proc"), agree);
        assert_eq!(numbers_are_the_kernels(), agree);
    }
}
