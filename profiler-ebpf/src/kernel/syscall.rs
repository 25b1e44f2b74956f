//! Kernels without socket tracepoints: the end of system calls. The saved registers still hold the descriptor and the
//! buffer there (x86-64: only ax changes), so no hook at their beginning is needed.
//!
//! match-proto: void(struct pt_regs *regs, long ret) sys_exit (include/trace/events/syscalls.h)

use aya_ebpf::EbpfContext;
use aya_ebpf::helpers::generated as h;
use aya_ebpf::macros::{raw_tracepoint, tracepoint};
use aya_ebpf::programs::{RawTracePointContext, TracePointContext};

use profiler_ebpf::world::Op;

use super::config::CFG;
use super::connect;
use super::diagnose;
use super::maps::{NEXT_CLASSIC, NEXT_RAW, SCRATCH};
use super::memory::{kernel, user};
use super::run::{self, Buffer, stage};
use super::socket::{self, NO_DATA, argument};

/// System call numbers of x86-64 (arch/x86/entry/syscalls/syscall_64.tbl).
mod nr {
    pub(super) const READ: u64 = 0;
    pub(super) const WRITE: u64 = 1;
    pub(super) const READV: u64 = 19;
    pub(super) const WRITEV: u64 = 20;
    pub(super) const SENDFILE: u64 = 40;
    pub(super) const CONNECT: u64 = 42;
    pub(super) const ACCEPT: u64 = 43;
    pub(super) const SENDTO: u64 = 44;
    pub(super) const RECVFROM: u64 = 45;
    pub(super) const SENDMSG: u64 = 46;
    pub(super) const RECVMSG: u64 = 47;
    pub(super) const SPLICE: u64 = 275;
    pub(super) const PREADV2: u64 = 327;
    pub(super) const PWRITEV2: u64 = 328;
    pub(super) const ACCEPT4: u64 = 288;
    pub(super) const IO_URING_SETUP: u64 = 425;
    pub(super) const IO_URING_REGISTER: u64 = 427;
}

/// Where a system call's bytes are. Unknown for sendfile and splice. The threads of a ring have the saved registers of
/// the call that made them (copy_thread() in arch/x86/kernel/process.c).
#[inline(always)]
pub(crate) fn buffer(nr: u64, arg1: u64, arg2: u64) -> Buffer {
    match nr {
        nr::READ | nr::WRITE | nr::SENDTO | nr::RECVFROM => Buffer { buf: arg1, ..Buffer::NONE },
        nr::READV | nr::WRITEV | nr::PREADV2 | nr::PWRITEV2 => {
            Buffer { iov: arg1, iov_len: arg2, ..Buffer::NONE }
        }
        // struct user_msghdr: name, namelen, iov at 16, iovlen at 24 (include/linux/socket.h)
        nr::SENDMSG | nr::RECVMSG => match user::<[u64; 2]>(arg1.wrapping_add(16)) {
            Some([iov, iov_len]) => Buffer { iov, iov_len, ..Buffer::NONE },
            None => Buffer::NONE,
        },
        nr::IO_URING_SETUP..=nr::IO_URING_REGISTER => Buffer::RING,
        _ => Buffer::NONE,
    }
}

/// The socket behind a descriptor of the current process; None when it is no socket: a file is one if the socket in
/// its private data points back (`sock_from_file` in net/socket.c compares the operations instead).
#[inline(always)]
pub(crate) fn socket_of(fd: u64) -> Option<u64> {
    // SAFETY: no arguments.
    let task = unsafe { h::bpf_get_current_task() };
    let files: u64 = kernel(task + CFG.task_files() as u64)?;
    let table: u64 = kernel(files + CFG.files_fdt() as u64)?;
    let max: u32 = kernel(table + CFG.fdtable_max_fds() as u64)?;
    let fd = fd & 0xffff_ffff;
    if fd >= max as u64 {
        return None;
    }
    let array: u64 = kernel(table + CFG.fdtable_fd() as u64)?;
    let file: u64 = kernel(array + fd * 8)?;
    let socket: u64 = kernel(file + CFG.file_private_data() as u64)?;
    if socket == 0 || kernel::<u64>(socket + CFG.socket_file() as u64)? != file {
        return None;
    }
    kernel(socket + CFG.socket_sk() as u64)
}

/// A finished system call. Says which program takes its steps.
#[inline(always)]
fn call(nr: u64, args: [u64; 4], ret: i64) -> u32 {
    let (fd, send, flags) = match nr {
        nr::READ | nr::READV | nr::PREADV2 => (args[0], false, 0),
        nr::RECVFROM => (args[0], false, args[3]),
        nr::RECVMSG => (args[0], false, args[2]),
        nr::WRITE | nr::WRITEV | nr::PWRITEV2 | nr::SENDTO | nr::SENDMSG | nr::SENDFILE => (args[0], true, 0),
        nr::SPLICE => (args[2], true, 0),
        _ => return stage::DONE,
    };
    // EAGAIN is the commonest answer, and says nothing.
    if ret == -11 || flags & NO_DATA != 0 {
        return stage::DONE;
    }
    let Some(scratch) = SCRATCH.get_ptr_mut(0) else { return stage::DONE };
    // SAFETY: a per-CPU value.
    let op = unsafe { &mut (*scratch).op };
    // Through memory, so that the verifier follows what comes once, not for each number.
    (op.off, op.send) = (nr as u32, send as u8);
    let (nr, send) = (Op::fresh(&op.off) as u64, Op::fresh(&op.send) != 0);
    match socket_of(fd) {
        Some(sk) => run::operation(sk, ret, send, || buffer(nr, args[1], args[2])),
        None => stage::DONE,
    }
}

#[raw_tracepoint(tracepoint = "sys_exit")]
fn sys_exit(ctx: RawTracePointContext) -> i32 {
    let regs = argument(&ctx, 0);
    let Some(nr) = kernel::<u64>(regs + CFG.regs_nr() as u64) else { return 0 };
    if !(nr <= nr::WRITE
        || (nr::READV..=nr::RECVMSG).contains(&nr)
        || nr == nr::CONNECT
        || nr == nr::ACCEPT
        || nr == nr::ACCEPT4
        || nr == nr::SPLICE
        || nr == nr::PREADV2
        || nr == nr::PWRITEV2)
    {
        return 0;
    }
    match nr {
        // SAFETY: the array holds programs of this type only.
        nr::ACCEPT | nr::ACCEPT4 => unsafe { NEXT_RAW.tail_call(&ctx, stage::ACCEPT) },
        // SAFETY: the same.
        nr::CONNECT => unsafe { NEXT_RAW.tail_call(&ctx, stage::CONNECT) },
        _ => moved(&ctx, regs, nr),
    }
    0
}

/// A call that moves bytes.
#[inline(always)]
fn moved(ctx: &RawTracePointContext, regs: u64, nr: u64) {
    let mut args = [0u64; 4];
    args[0] = kernel(regs + CFG.regs_arg0() as u64).unwrap_or(0);
    args[1] = kernel(regs + CFG.regs_arg1() as u64).unwrap_or(0);
    args[2] = kernel(regs + CFG.regs_arg2() as u64).unwrap_or(0);
    args[3] = kernel(regs + CFG.regs_arg3() as u64).unwrap_or(0);
    socket::next(ctx, call(nr, args, argument(ctx, 1) as i64));
}

/// The end of accept(), a program of its own.
#[raw_tracepoint]
fn raw_accept(ctx: RawTracePointContext) -> i32 {
    connect::accepted(saved(&ctx, CFG.regs_arg0()), argument(&ctx, 1) as i64);
    0
}

/// The end of connect().
#[raw_tracepoint]
fn raw_connect(ctx: RawTracePointContext) -> i32 {
    let args = [CFG.regs_arg0(), CFG.regs_arg1(), CFG.regs_arg2()].map(|offset| saved(&ctx, offset));
    connect::connected(args, argument(&ctx, 1) as i64);
    0
}

/// A word of the saved registers.
#[inline(always)]
fn saved(ctx: &RawTracePointContext, offset: u32) -> u64 {
    kernel(argument(ctx, 0) + offset as u64).unwrap_or(0)
}

/// One program for the `sys_exit_*` tracepoint of each call that moves bytes (Linux 5.15 and newer: it needs
/// `bpf_task_pt_regs`).
#[tracepoint]
fn call_exit(ctx: TracePointContext) -> u32 {
    // SAFETY: syscalls:sys_exit_*/format: the return value is a word at 16; the loader checks that. The registers are
    // the current task's, their offsets come from BTF.
    let (ret, nr, args) = unsafe {
        let ret = *ctx.as_ptr().cast::<u8>().add(16).cast::<i64>();
        let regs = h::bpf_task_pt_regs(h::bpf_get_current_task_btf()) as *const u8;
        let word = |offset: u32| *regs.add(offset as usize).cast::<u64>();
        let args =
            [word(CFG.regs_arg0()), word(CFG.regs_arg1()), word(CFG.regs_arg2()), word(CFG.regs_arg3())];
        (ret, word(CFG.regs_nr()), args)
    };
    next(&ctx, call(nr, args, ret));
    0
}

/// Hands the operation to the program of its next steps, which does not come back.
#[inline(always)]
pub(crate) fn next(ctx: &TracePointContext, stage: u32) {
    if stage < stage::COUNT {
        // SAFETY: the array holds programs of this type only.
        unsafe { NEXT_CLASSIC.tail_call(ctx, stage) };
        run::give_up();
        diagnose::framing_lost(ctx);
    }
}

#[tracepoint]
fn call_recognise(ctx: TracePointContext) -> u32 {
    let stage = run::resume(stage::RECOGNISE);
    diagnose::recognised(&ctx);
    next(&ctx, stage);
    0
}

#[tracepoint]
fn call_http(ctx: TracePointContext) -> u32 {
    next(&ctx, run::resume(stage::HTTP));
    0
}

#[tracepoint]
fn call_mysql(ctx: TracePointContext) -> u32 {
    next(&ctx, run::resume(stage::MYSQL));
    0
}

#[tracepoint]
fn call_replies(ctx: TracePointContext) -> u32 {
    next(&ctx, run::resume(stage::REPLIES));
    0
}
