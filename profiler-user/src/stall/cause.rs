//! Why an event loop stalled: a judgement from the parts of its turn, the calls that it was blocked in, and how long its
//! cgroup was throttled. Pure.

use profiler_ebpf::turn::{Turn, call};
use serde::{Deserialize, Serialize};

use super::BlockedIn;

/// Why.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Cause {
    /// The thread computed.
    Cpu,
    /// It waited in a system call.
    BlockingCall,
    /// It waited for other threads of its interpreter.
    InterpreterLock,
    /// It could have run, and other threads had the CPUs.
    CpuStarvation,
    /// Its cgroup had used up its share of the CPUs.
    Throttled,
    /// It waited for memory.
    PageFault,
    /// A signal or a debugger had stopped it.
    Stopped,
    Unknown,
}

/// The cause with most time. `throttled`: seconds, where known.
pub fn of(turn: &Turn, blocked_in: &[BlockedIn], throttled: Option<f64>) -> Cause {
    let most = turn.on_cpu.max(turn.run_queue).max(turn.blocked);
    if most == turn.blocked {
        return match blocked_in.first().map(|b| b.call.0) {
            None | Some(call::UNKNOWN) => Cause::Unknown,
            Some(call::STOPPED) => Cause::Stopped,
            Some(call::FAULT) => Cause::PageFault,
            Some(_) => Cause::BlockingCall,
        };
    }
    if most == turn.on_cpu {
        return Cause::Cpu;
    }
    let throttled = throttled.unwrap_or(0.0) * 1e9;
    if throttled > turn.run_queue as f64 / 2.0 { Cause::Throttled } else { Cause::CpuStarvation }
}
