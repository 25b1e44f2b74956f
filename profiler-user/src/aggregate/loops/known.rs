//! One loop of a recording: what was last seen of it goes in, its row of the report comes out. Its thread may end at
//! any time, so all that the row needs is kept.

use profiler_ebpf::histogram::Histogram;
use profiler_ebpf::loops::Loop;

use super::turns::{distribution, seconds};
use crate::kernel::hooks::Wait;
use crate::report::{LoopRow, StallRow};
use crate::stall::comm;

/// A loop as it was last seen: its thread may end at any time.
#[derive(Debug)]
pub(super) struct Known {
    pub(super) last: Loop,
    pub(super) turns: Option<Box<Histogram>>,
    /// When it was last seen, ns.
    pub(super) seen: u64,
    pub(super) serves: bool,
    /// Its thread has no set of its own any more: it is no loop.
    pub(super) closed: bool,
    pub(super) stalls: Vec<StallRow>,
    /// Its service, or that it does not pass the filters, as known while its process lived.
    pub(super) service: Option<Option<String>>,
}

impl Known {
    /// Its process, and its thread's name.
    pub(super) fn named(&self) -> (u32, String) {
        (self.last.turn.pid, comm(&self.last.turn.comm))
    }

    pub(super) fn row(&self, service: String) -> Option<LoopRow> {
        let l = &self.last;
        let open = l.at(self.seen).unwrap_or_default();
        let busy = l.busy.saturating_add(open.length());
        let lived = self.seen.saturating_sub(l.born);
        Some(LoopRow {
            service,
            pid: l.turn.pid,
            tid: l.turn.tid,
            wait: Wait::of(l.turn.wait)?,
            turns: l.turns,
            busy_seconds: seconds(busy),
            on_cpu_seconds: seconds(l.on_cpu.saturating_add(open.on_cpu)),
            run_queue_seconds: seconds(l.run_queue.saturating_add(open.run_queue)),
            blocked_seconds: seconds(l.blocked.saturating_add(open.blocked)),
            late_seconds: seconds(l.late),
            utilization: if lived > 0 { (busy as f64 / lived as f64).min(1.0) } else { 1.0 },
            turn: self.turns.as_deref().and_then(distribution),
            stalls: self.stalls.clone(),
        })
    }
}
