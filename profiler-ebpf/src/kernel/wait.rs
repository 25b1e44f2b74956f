//! Waits for events: the system calls in which an event loop waits begin and end.
//!
//! syscalls:sys_enter_*/format: the number is an int at 8, arguments are words from 16 on; sys_exit_*/format: the result
//! is a word at 16 (`syscall_get_enter_fields` and `exit_fields` in kernel/trace/trace_syscalls.c).

use aya_ebpf::EbpfContext;
use aya_ebpf::helpers::bpf_get_current_pid_tgid;
use aya_ebpf::helpers::generated as h;
use aya_ebpf::macros::tracepoint;
use aya_ebpf::programs::TracePointContext;
use profiler_ebpf::claim::{self, CLAIM_NS, Claim};
use profiler_ebpf::loops::{Loop, inside, said};
use profiler_ebpf::record::{Counter, kind};
use profiler_ebpf::turn::Turn;
use profiler_ebpf::wait;

use super::config::CFG;
use super::maps::{BLANK_LOOP, LOOPS, RING, SETS, TURNS, armed, count};
use super::memory::now;
use super::switch::found_running;
use super::world::wakeup;

/// EBADF, EFAULT, EINVAL of include/uapi/asm-generic/errno-base.h: the call did not wait.
const NO_WAIT: [i64; 3] = [-9, -14, -22];

/// A word of the tracepoint's record.
#[inline(always)]
fn word(ctx: &TracePointContext, at: usize) -> u64 {
    // SAFETY: every tracepoint that the program is attached to has so many words: the kernel refuses the attachment
    // otherwise (`max_ctx_offset` in `perf_event_set_bpf_prog`, kernel/events/core.c).
    unsafe { *ctx.as_ptr().cast::<u8>().add(at).cast::<u64>() }
}

#[tracepoint]
fn wait_enter(ctx: TracePointContext) -> u32 {
    let kind = wait::of(word(&ctx, 8) as u32);
    enter(kind, wait::set(kind, word(&ctx, 16)));
    0
}

/// `io_uring_enter(fd, to_submit, min_complete, flags, ...)`, which waits only when told to.
#[tracepoint]
fn ring_enter(ctx: TracePointContext) -> u32 {
    if wait::ring_waits(word(&ctx, 32), word(&ctx, 40)) {
        enter(wait::kind::IO_URING, word(&ctx, 16) as i32);
    }
    0
}

#[tracepoint]
fn wait_exit(ctx: TracePointContext) -> u32 {
    // SAFETY: no arguments.
    let task = unsafe { h::bpf_get_current_task() };
    let Some(found) = LOOPS.get_ptr_mut(task) else { return 0 };
    // SAFETY: a value of LOOPS, changed only by events of its own thread.
    let l = unsafe { &mut *found };
    let kind = wait::of(word(&ctx, 8) as u32);
    if kind == wait::kind::IO_URING && l.inside == inside::NOTHING {
        // It did not wait.
        return 0;
    }
    let result = word(&ctx, 16) as i64;
    found_running(l, task);
    note(l.wait_exit(kind, NO_WAIT.contains(&result), now()));
    0
}

#[inline(always)]
fn enter(kind: u32, set: i32) {
    let id = bpf_get_current_pid_tgid();
    let pid = (id >> 32) as u32;
    if pid == CFG.self_tgid() || !armed() {
        return;
    }
    // SAFETY: no arguments.
    let task = unsafe { h::bpf_get_current_task() };
    let time = now();
    let Some(found) = LOOPS.get_ptr_mut(task) else { return begin(task, id, kind, set, time) };
    // SAFETY: a value of LOOPS, changed only by events of its own thread.
    let l = unsafe { &mut *found };
    found_running(l, task);
    let said = l.wait_enter(kind, set, threshold(), time);
    note(said);
    if l.inside == inside::WAIT && time.wrapping_sub(l.claimed) > CLAIM_NS {
        claim(l, id as u32, time);
    }
    if said & said::TURN != 0 {
        over(task, l, said);
    }
}

/// The turn in this loop is over.
#[inline(always)]
pub(crate) fn over(task: u64, l: &mut Loop, said: u32) {
    if let Some(turns) = TURNS.get_ptr_mut(task) {
        // SAFETY: a value of TURNS, changed only by events of its own thread.
        unsafe { (*turns).add(l.turn.length()) };
    }
    if said & said::STALL != 0 {
        stalled(l);
    }
}

/// A thread that was not known.
#[inline(always)]
fn begin(task: u64, id: u64, kind: u32, set: i32, time: u64) {
    let Some(blank) = BLANK_LOOP.get_ptr(0) else { return };
    // SAFETY: the value of an array, never written.
    let blank = unsafe { &*blank };
    let _ = LOOPS.insert(task, blank, 0);
    let Some(made) = LOOPS.get_ptr_mut(task) else {
        count(Counter::LoopTableFull);
        return;
    };
    // SAFETY: a value of LOOPS, changed only by events of its own thread.
    let l = unsafe { &mut *made };
    l.task = task;
    l.turn.kind = kind::STALL;
    l.turn.pid = (id >> 32) as u32;
    l.turn.tid = id as u32;
    // SAFETY: writes 16 bytes of the loop.
    unsafe { h::bpf_get_current_comm(l.turn.comm.as_mut_ptr().cast(), 16) };
    l.adopt(kind, set, time);
    l.inside = inside::WAIT;
    claim(l, id as u32, time);
}

/// Says who waits on the set. A set without a descriptor is a thread's own.
#[inline(always)]
fn claim(l: &mut Loop, tid: u32, time: u64) {
    l.claimed = time;
    if l.turn.set < 0 {
        return;
    }
    let key = claim::key(l.turn.pid, l.turn.set);
    match SETS.get_ptr_mut(key) {
        // SAFETY: a value of SETS; of two threads at once one is overwritten, and comes again.
        Some(known) => unsafe { (*known).by(tid, time) },
        None => {
            if SETS.insert(key, Claim { shared: 0, tid, pad: 0 }, 0).is_err() {
                count(Counter::LoopTableFull);
            }
        }
    }
}

/// It was a stall.
#[inline(always)]
fn stalled(l: &mut Loop) {
    if let Some(known) = SETS.get_ptr(claim::key(l.turn.pid, l.turn.set)) {
        // SAFETY: a value of SETS.
        if unsafe { (*known).is_shared(l.turn.end) } {
            count(Counter::SharedTurns);
            return;
        }
    }
    send(&raw mut l.turn);
}

#[inline(never)]
fn send(turn: *mut Turn) -> i32 {
    if turn.is_null() {
        return 0;
    }
    // SAFETY: not null, inside a value of LOOPS.
    let failed = unsafe {
        let ring = (&raw const RING).cast_mut().cast();
        h::bpf_ringbuf_output(ring, turn.cast(), size_of::<Turn>() as u64, wakeup())
    };
    count(if failed == 0 { Counter::Stalls } else { Counter::StallLost });
    0
}

#[inline(always)]
pub(crate) fn threshold() -> u64 {
    CFG.stall_us() as u64 * 1_000
}

/// Counts what went wrong.
#[inline(always)]
pub(crate) fn note(said: u32) {
    if said & said::SWITCH_LOST != 0 {
        count(Counter::SwitchLost);
    }
    if said & said::WAIT_LOST != 0 {
        count(Counter::WaitLost);
    }
}
