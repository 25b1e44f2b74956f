//! What was found out about one stall while it lasted: looks at its process go in, evidence of its cause comes out once
//! its record is there.

use profiler_ebpf::turn::Turn;
use rustc_hash::FxHashMap;

use super::{Connections, Sight};
use crate::stall::cause::{self, Interpreter};
use crate::stall::kind::{self, Target};

/// Targets looked up in one stall.
const TARGETS: usize = 64;
/// The kernel tells CPU time in ticks of 10 ms: less than this says nothing, ns.
const OBSERVED_NS: u64 = 50_000_000;

/// A stall under way, or one whose record has not come yet.
#[derive(Debug, Default)]
pub(super) struct Seen {
    /// When it is to be told of again, was last seen to go on, and was last told of, ns.
    pub(super) next: u64,
    pub(super) last: u64,
    pub(super) told: u64,
    pub(super) connections: Option<Connections>,
    pub(super) targets: FxHashMap<(u32, u64), Option<Target>>,
    pub(super) throttled: Option<u64>,
    /// CPU time of the process's other threads when it was first and last looked at: instant and time, ns.
    others: Option<[(u64, u64); 2]>,
}

impl Seen {
    /// Names what the turn was blocked on, once each: the same number may be another file later.
    pub(super) fn look_up(&mut self, turn: &Turn, sight: &mut impl Sight) {
        for call in turn.calls.iter().filter(|call| call.count > 0) {
            let call = (call.nr, call.target);
            if self.targets.len() >= TARGETS && !self.targets.contains_key(&call) {
                continue;
            }
            let wanted = kind::has_target(call.0);
            self.targets.entry(call).or_insert_with(|| if wanted { sight.target(turn, call) } else { None });
        }
        self.throttled = sight.throttled(turn).or(self.throttled);
    }

    /// Looks at who else runs, if it may wait for the interpreter's lock.
    pub(super) fn look_at_interpreter(&mut self, turn: &Turn, now: u64, sight: &mut impl Sight) {
        if cause::may_be_interpreter_lock(turn)
            && let Some(others) = sight.interpreter(turn)
        {
            let first = self.others.map_or((now, others), |[first, _]| first);
            self.others = Some([first, (now, others)]);
        }
    }

    pub(super) fn interpreter(&self) -> Interpreter {
        match self.others {
            None => Interpreter::None,
            Some([first, last]) if last.0.saturating_sub(first.0) < OBSERVED_NS => Interpreter::Unobserved,
            Some([first, last]) => {
                Interpreter::Others(last.1.saturating_sub(first.1) as f64 / (last.0 - first.0) as f64)
            }
        }
    }
}
