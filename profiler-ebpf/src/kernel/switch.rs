//! The scheduler: when a thread that waits for events leaves the CPU, gets it back, is woken, and ends. A thread that
//! does not wait for events costs two lookups at a switch and one at a wake-up.
//!
//! match-proto: void(bool preempt, struct task_struct *prev, struct task_struct *next, unsigned int prev_state) sched_switch
//! match-proto: void(struct task_struct *p) sched_wakeup, sched_process_exit
//! match-proto: void(struct task_struct *p, pid_t old_pid, struct linux_binprm *bprm) sched_process_exec
//! (include/trace/events/sched.h)

use aya_ebpf::helpers::bpf_get_current_pid_tgid;
use aya_ebpf::helpers::generated as h;
use aya_ebpf::macros::raw_tracepoint;
use aya_ebpf::programs::RawTracePointContext;
use profiler_ebpf::claim;
use profiler_ebpf::loops::{Loop, said};
use profiler_ebpf::turn::{Call, call};
use profiler_ebpf::wait;

use super::config::CFG;
use super::maps::{LOOPS, SETS, TURNS};
use super::memory::{kernel, now, user};
use super::socket::{UNDER_WAY, argument};
use super::wait::{note, over, threshold};

/// `__TASK_STOPPED` and `__TASK_TRACED` (include/linux/sched.h).
const STOPPED: u32 = 4 | 8;

#[raw_tracepoint(tracepoint = "sched_switch")]
fn loop_switch(ctx: RawTracePointContext) -> i32 {
    let (prev, next) = (argument(&ctx, 1), argument(&ctx, 2));
    // Two lookups on their own: a test of both pointers at once becomes arithmetic on pointers, which the verifier
    // refuses.
    if let Some(found) = LOOPS.get_ptr_mut(prev) {
        // SAFETY: a value of LOOPS, changed only by events of its own thread.
        let l = unsafe { &mut *found };
        let state = state(&ctx, prev);
        let runnable = argument(&ctx, 0) & 0xff != 0 || state == 0;
        found_running(l, prev);
        // Up to date here (`__schedule` in kernel/sched/core.c picks the next thread first).
        l.cpu_time = cpu_time(prev);
        let said = l.switch_out(runnable, || current_call(state), threshold(), now());
        note(said);
        if said & said::TURN != 0 {
            over(prev, l, said);
        }
    }
    if let Some(found) = LOOPS.get_ptr_mut(next) {
        // SAFETY: a value of LOOPS, changed only by events of its own thread.
        let l = unsafe { &mut *found };
        note(l.switch_in(now()));
    }
    0
}

/// What a thread that runs did since it was last seen, if its switch was not.
#[inline(always)]
pub(crate) fn found_running(l: &mut Loop, task: u64) {
    if l.lacks_switch_in() {
        l.ran(cpu_time(task));
    }
}

#[inline(always)]
fn cpu_time(task: u64) -> u64 {
    kernel(task + CFG.task_cpu_time() as u64).unwrap_or(0)
}

/// The state of a thread that leaves the CPU; 0: it could go on (`TASK_RUNNING`).
#[inline(always)]
fn state(ctx: &RawTracePointContext, prev: u64) -> u32 {
    if CFG.switch_state() != 0 {
        return argument(ctx, 3) as u32;
    }
    kernel(prev + CFG.task_state() as u64).unwrap_or(0)
}

/// The system call that the current thread is in, which leaves the CPU in this state. Its registers are saved at the top
/// of the kernel stack, so nothing is needed at the beginning of the call. Between a call and a fault tell ax and cx:
/// SYSCALL puts the address to return to into cx.
#[inline(always)]
fn current_call(state: u32) -> Call {
    if state & STOPPED != 0 {
        return Call { target: 0, nr: call::STOPPED, pad: 0 };
    }
    if CFG.task_regs() == 0 {
        return Call { target: 0, nr: call::UNKNOWN, pad: 0 };
    }
    // SAFETY: the helpers return the current task and its saved registers; the offsets come from BTF.
    let (nr, arg, count, ret, cx, ip) = unsafe {
        let regs = h::bpf_task_pt_regs(h::bpf_get_current_task_btf()) as *const u8;
        let word = |offset: u32| *regs.add(offset as usize).cast::<u64>();
        (
            word(CFG.regs_nr()),
            word(CFG.regs_arg0()),
            word(CFG.regs_arg1()),
            word(CFG.regs_result()),
            word(CFG.regs_cx()),
            word(CFG.regs_ip()),
        )
    };
    if ret != UNDER_WAY || cx != ip {
        return Call { target: 0, nr: call::FAULT, pad: 0 };
    }
    let nr = nr as u32;
    let target = if wait::takes_array(nr) {
        // The first descriptor of an array of `struct pollfd`.
        let first = if count == 0 { None } else { user::<i32>(arg) };
        first.map_or(call::NO_TARGET, |fd| fd as u32 as u64)
    } else {
        arg
    };
    Call { target, nr, pad: 0 }
}

#[raw_tracepoint(tracepoint = "sched_wakeup")]
fn loop_wake(ctx: RawTracePointContext) -> i32 {
    if let Some(found) = LOOPS.get_ptr_mut(argument(&ctx, 0)) {
        // SAFETY: a value of LOOPS; the waker holds the sleeping thread's `pi_lock` (`try_to_wake_up`).
        let l = unsafe { &mut *found };
        l.wake(now());
    }
    0
}

/// A thread that runs another program has no loop any more.
#[raw_tracepoint(tracepoint = "sched_process_exec")]
fn loop_exec(ctx: RawTracePointContext) -> i32 {
    let task = argument(&ctx, 0);
    if LOOPS.get_ptr(task).is_some() {
        let _ = TURNS.remove(task);
        let _ = LOOPS.remove(task);
    }
    0
}

#[raw_tracepoint(tracepoint = "sched_process_exit")]
fn loop_exit(_ctx: RawTracePointContext) -> i32 {
    // SAFETY: no arguments. Not the tracepoint's: what it is called for is the current thread.
    let task = unsafe { h::bpf_get_current_task() };
    let Some(found) = LOOPS.get_ptr_mut(task) else { return 0 };
    // SAFETY: a value of LOOPS, changed only by events of its own thread.
    let l = unsafe { &mut *found };
    found_running(l, task);
    let said = l.exit(threshold(), now());
    note(said);
    if said & said::TURN != 0 {
        over(task, l, said);
    }
    let key = claim::key(l.turn.pid, l.turn.set);
    let tid = bpf_get_current_pid_tgid() as u32;
    if let Some(known) = SETS.get_ptr(key) {
        // SAFETY: a value of SETS.
        if unsafe { (*known).tid } == tid {
            let _ = SETS.remove(key);
        }
    }
    let _ = TURNS.remove(task);
    let _ = LOOPS.remove(task);
    0
}
