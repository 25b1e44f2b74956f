//! Sets that several threads wait on: the table of loops goes in, whether a turn's set is shared comes out. Threads
//! that share one have no turns of their own.

use profiler_ebpf::claim::{SHARED_NS, key};
use profiler_ebpf::loops::{Loop, inside};
use profiler_ebpf::turn::Turn;
use rustc_hash::FxHashMap;

/// Sets that several threads wait on.
pub(super) struct Shared(FxHashMap<u64, (u32, bool)>);

impl Shared {
    pub(super) fn of(loops: &[Loop], now: u64) -> Self {
        let mut sets = FxHashMap::default();
        // Who waits on it has it, however long ago it has said so.
        let has = |l: &&Loop| l.inside == inside::WAIT || now.saturating_sub(l.claimed) < SHARED_NS;
        for l in loops.iter().filter(|l| l.turn.set >= 0).filter(has) {
            let (tid, shared) = sets.entry(key(l.turn.pid, l.turn.set)).or_insert((l.turn.tid, false));
            *shared |= *tid != l.turn.tid;
        }
        Self(sets)
    }

    pub(super) fn has(&self, turn: &Turn) -> bool {
        self.0.get(&key(turn.pid, turn.set)).is_some_and(|(tid, shared)| *shared || *tid != turn.tid)
    }
}
