//! Linux 6.3 and newer: the tracepoints at the end of every socket read and write, and at every arrival.
//!
//! match-proto: void(struct sock *sk, int ret, int flags) sock_recv_length, sock_send_length (include/trace/events/sock.h)
//! match-proto: void(const struct sock *sk) sk_data_ready (include/trace/events/sock.h)
//!
//! From Linux 7.0 on raw tracepoints run with preemption on (`__DECLARE_TRACE` in include/linux/tracepoint.h), which the
//! scratch does not bear. Classic ones run with it off (`__DECLARE_EVENT_CLASS` in include/trace/perf.h).

use aya_ebpf::EbpfContext;
use aya_ebpf::helpers::generated as h;
use aya_ebpf::macros::{raw_tracepoint, tracepoint};
use aya_ebpf::programs::{RawTracePointContext, TracePointContext};
use profiler_ebpf::record::{Counter, proto};

use super::config::CFG;
use super::connection;
use super::diagnose;
use super::maps::{NEXT_RAW, armed, count};
use super::memory::{kernel, now};
use super::run::{self, Buffer, stage};
use super::syscall;

/// `MSG_PEEK` and `MSG_ERRQUEUE` (include/linux/socket.h): nothing is consumed, or it is no data.
pub(crate) const NO_DATA: u64 = 0x2002;

/// A raw tracepoint's argument.
#[inline(always)]
pub(crate) fn argument(ctx: &RawTracePointContext, i: usize) -> u64 {
    // SAFETY: the context is an array of as many words as the tracepoint has arguments.
    unsafe { *ctx.as_ptr().cast::<u64>().add(i) }
}

#[raw_tracepoint(tracepoint = "sock_recv_length")]
fn sock_recv(ctx: RawTracePointContext) -> i32 {
    if argument(&ctx, 2) & NO_DATA == 0 {
        socket(&ctx, false);
    }
    0
}

#[raw_tracepoint(tracepoint = "sock_send_length")]
fn sock_send(ctx: RawTracePointContext) -> i32 {
    socket(&ctx, true);
    0
}

/// On classic tracepoints.
#[tracepoint]
fn sock_recv_classic(ctx: TracePointContext) -> u32 {
    classic(&ctx, false);
    0
}

#[tracepoint]
fn sock_send_classic(ctx: TracePointContext) -> u32 {
    classic(&ctx, true);
    0
}

#[inline(always)]
fn classic(ctx: &TracePointContext, send: bool) {
    // SAFETY: sock:sock_*_length/format: the socket at 8, the result at 20, the flags at 24; the loader checks that.
    let (sk, ret, flags) = unsafe {
        let fields = ctx.as_ptr().cast::<u8>();
        (*fields.add(8).cast::<u64>(), *fields.add(20).cast::<i32>(), *fields.add(24).cast::<u32>())
    };
    if send || flags as u64 & NO_DATA == 0 {
        syscall::next(ctx, run::operation(sk, ret as i64, send, callers_buffer));
    }
}

#[inline(always)]
fn socket(ctx: &RawTracePointContext, send: bool) {
    let ret = argument(ctx, 1) as i32 as i64;
    next(ctx, run::operation(argument(ctx, 0), ret, send, callers_buffer));
}

/// Hands the operation to the program of its next steps, which does not come back.
#[inline(always)]
pub(crate) fn next(ctx: &RawTracePointContext, stage: u32) {
    if stage < stage::COUNT {
        // SAFETY: the array holds programs of this type only.
        unsafe { NEXT_RAW.tail_call(ctx, stage) };
        run::give_up();
        diagnose::framing_lost(ctx);
    }
}

#[raw_tracepoint]
fn sock_recognise(ctx: RawTracePointContext) -> i32 {
    let stage = run::resume(stage::RECOGNISE);
    diagnose::recognised(&ctx);
    next(&ctx, stage);
    0
}

#[raw_tracepoint]
fn sock_http(ctx: RawTracePointContext) -> i32 {
    next(&ctx, run::resume(stage::HTTP));
    0
}

#[raw_tracepoint]
fn sock_mysql(ctx: RawTracePointContext) -> i32 {
    next(&ctx, run::resume(stage::MYSQL));
    0
}

#[raw_tracepoint]
fn sock_replies(ctx: RawTracePointContext) -> i32 {
    next(&ctx, run::resume(stage::REPLIES));
    0
}

/// `-ENOSYS`: in the result's register while a system call lasts (PUSH_AND_CLEAR_REGS in arch/x86/entry/entry_64.S).
pub(crate) const UNDER_WAY: u64 = -38i64 as u64;

/// The buffer as the caller's system call named it: its registers are saved at the top of the kernel stack. That the
/// call under way is the one that moves this socket's bytes holds while it lasts; what a ring does after a call
/// (task_work_run() in kernel/task_work.c) is told by the result, which is there by then.
#[inline(always)]
fn callers_buffer() -> Buffer {
    // SAFETY: the helpers return the current task and its saved registers; the offsets come from BTF.
    let (nr, arg1, arg2, result, task) = unsafe {
        let task = h::bpf_get_current_task_btf();
        let regs = h::bpf_task_pt_regs(task) as *const u8;
        let word = |offset: u32| *regs.add(offset as usize).cast::<u64>();
        let (arg1, arg2) = (word(CFG.regs_arg1()), word(CFG.regs_arg2()));
        (word(CFG.regs_nr()), arg1, arg2, word(CFG.regs_result()), task as u64)
    };
    if result == UNDER_WAY {
        return syscall::buffer(nr, arg1, arg2);
    }
    // Threads of the kernel have no memory of their own, and no call.
    let memory: u64 = kernel(task + CFG.task_mm() as u64).unwrap_or(0);
    if memory == 0 { Buffer::NONE } else { Buffer::RING }
}

#[raw_tracepoint(tracepoint = "sk_data_ready")]
fn data_ready(ctx: RawTracePointContext) -> i32 {
    if !armed() {
        return 0;
    }
    let sk = argument(&ctx, 0);
    let Some((conn, is_own)) = connection::arriving(sk) else { return 0 };
    // SAFETY: a value of CONNS; one word is written, readers take it or the next one.
    let c = unsafe { &mut *conn };
    if c.record.proto == proto::IGNORED {
        return 0;
    }
    if is_own && c.t_ready == 0 {
        c.t_ready = now();
        count(Counter::Arrivals);
    } else if !is_own && c.t_peer_ready == 0 {
        c.t_peer_ready = now();
        count(Counter::Arrivals);
    }
    0
}
