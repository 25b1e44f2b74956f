//! Processes that come, change their program and go: so that even one that is gone before user space can look it up
//! has a name, and `record -- CMD` knows its descendants.
//!
//! match-proto: void(struct task_struct *parent, struct task_struct *child) sched_process_fork
//! match-proto: void(struct task_struct *p, pid_t old_pid, struct linux_binprm *bprm) sched_process_exec
//! match-proto: void(struct task_struct *p, ...) sched_process_exit (include/trace/events/sched.h)

use aya_ebpf::helpers::bpf_get_current_pid_tgid;
use aya_ebpf::helpers::generated as h;
use aya_ebpf::macros::raw_tracepoint;
use aya_ebpf::programs::RawTracePointContext;
use profiler_ebpf::record::{Counter, EXEC_ARGS, Process, kind};

use super::config::CFG;
use super::maps::{PROCESS, RING, count};
use super::memory::{at_most, kernel, now};
use super::path;
use super::socket::argument;
use super::world::wakeup;

#[raw_tracepoint(tracepoint = "sched_process_fork")]
fn process_fork(ctx: RawTracePointContext) -> i32 {
    let (parent, child) = (argument(&ctx, 0), argument(&ctx, 1));
    let id = |task: u64, offset: u32| kernel::<u32>(task + offset as u64).unwrap_or(0);
    let pid = id(child, CFG.task_tgid());
    if pid != id(child, CFG.task_pid()) {
        // A thread.
        return 0;
    }
    send(kind::FORK, pid, id(parent, CFG.task_tgid()), 0);
    0
}

#[raw_tracepoint(tracepoint = "sched_process_exec")]
fn process_exec(ctx: RawTracePointContext) -> i32 {
    let task = argument(&ctx, 0);
    send(kind::EXEC, (bpf_get_current_pid_tgid() >> 32) as u32, 0, task);
    0
}

#[raw_tracepoint(tracepoint = "sched_process_exit")]
fn process_exit(_ctx: RawTracePointContext) -> i32 {
    let id = bpf_get_current_pid_tgid();
    if (id >> 32) as u32 == id as u32 {
        send(kind::EXIT, id as u32, 0, 0);
    }
    0
}

/// Sends a process record; with `task`, the new program's arguments (`mm->arg_start`) and its file too.
#[inline(always)]
fn send(kind: u32, pid: u32, parent: u32, task: u64) {
    let own = match kind {
        kind::FORK => 0,
        kind::EXEC => 1,
        _ => 2,
    };
    let Some(process) = PROCESS.get_ptr_mut(own) else { return };
    // SAFETY: a per-CPU value of this program's.
    unsafe {
        let p = &mut *process;
        p.kind = kind;
        p.pid = pid;
        p.parent = parent;
        p.time = now();
        p.args_len = 0;
        p.file_len = 0;
        h::bpf_get_current_comm(p.comm.as_mut_ptr().cast(), 16);
        let mut len = core::mem::offset_of!(Process, text) as u64;
        if task != 0 {
            let mm = kernel::<u64>(task + CFG.task_mm() as u64).unwrap_or(0);
            let start = kernel::<u64>(mm + CFG.mm_arg_start() as u64).unwrap_or(0);
            let end = kernel::<u64>(mm + CFG.mm_arg_end() as u64).unwrap_or(0);
            let n = at_most(end.saturating_sub(start), EXEC_ARGS as u64);
            if mm != 0 && h::bpf_probe_read_user(p.text.as_mut_ptr().cast(), n as u32, start as *const _) == 0
            {
                p.args_len = n as u32;
            }
            path::of_program(mm, p);
            len += (p.args_len + p.file_len) as u64;
        }
        let len = at_most(len, size_of::<Process>() as u64);
        let ring = (&raw const RING).cast_mut().cast();
        if h::bpf_ringbuf_output(ring, process.cast(), len, wakeup()) != 0 {
            count(Counter::NoticeLost);
        }
    }
}
