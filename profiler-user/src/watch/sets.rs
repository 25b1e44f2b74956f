//! Whether the threads in a turn still have the set that they have waited on. A thread that waits on a set for a moment
//! and closes it (gunicorn's gthread, a loop for one call) has no loop, though its turn never ends; the set's number is
//! soon another thread's. All loops come in at each look; pure but for [`Sight`].

use profiler_ebpf::loops::Loop;
use profiler_ebpf::turn::Turn;
use profiler_ebpf::wait::kind;
use rustc_hash::FxHashMap;

use super::Sight;

/// Turns of so long are looked at, ns: one that may become a stall, before its set's number is used again.
const LEAST_NS: u64 = 20_000_000;
/// A set that has been there for so long of a turn is looked at so often, ns; before, each time.
const OFTEN_NS: u64 = 1_000_000_000;
/// A thread that is not seen for so long is forgotten, ns.
const KEEP_NS: u64 = 10_000_000_000;
/// Threads remembered at the most.
const MOST: usize = 8_192;

/// What was seen of a thread.
#[derive(Debug, Default)]
struct Thread {
    /// Of the turn last looked at: its start, whether there was no set at a look, when to look again.
    start: u64,
    gone: bool,
    next: u64,
    /// Looks at which the thread had its set, or waited on it, and at which there was none.
    there: u64,
    missing: u64,
    seen: u64,
}

/// The threads that had a long turn.
#[derive(Debug, Default)]
pub(super) struct Sets {
    threads: FxHashMap<(u32, u32), Thread>,
    next: u64,
}

impl Sets {
    /// Looks at all that are in a long turn.
    pub(super) fn look(&mut self, loops: &[Loop], now: u64, sight: &mut impl Sight) {
        for l in loops.iter().filter(|l| l.turn.wait == kind::EPOLL) {
            let key = (l.turn.pid, l.turn.tid);
            let Some(turn) = l.at(now) else {
                if let Some(thread) = self.threads.get_mut(&key) {
                    thread.there += 1;
                    thread.seen = now;
                }
                continue;
            };
            let room = self.threads.len() < MOST || self.threads.contains_key(&key);
            if turn.length() >= LEAST_NS && room {
                self.threads.entry(key).or_default().look(&turn, now, sight);
            }
        }
        if now >= self.next {
            self.threads.retain(|_, thread| now.saturating_sub(thread.seen) < KEEP_NS);
            self.next = now + KEEP_NS;
        }
    }

    /// Whether this is no turn of a loop.
    pub(super) fn is_gone(&self, turn: &Turn) -> bool {
        let thread = self.threads.get(&(turn.pid, turn.tid));
        thread.is_some_and(|thread| thread.gone && thread.start == turn.start)
            || self.is_closed(turn.pid, turn.tid)
    }

    /// Whether the thread is mostly without its set.
    pub(super) fn is_closed(&self, pid: u32, tid: u32) -> bool {
        self.threads.get(&(pid, tid)).is_some_and(|thread| thread.missing > thread.there)
    }
}

impl Thread {
    fn look(&mut self, turn: &Turn, now: u64, sight: &mut impl Sight) {
        if self.start != turn.start {
            (self.start, self.gone, self.next) = (turn.start, false, 0);
        }
        self.seen = now;
        if !self.gone && now >= self.next {
            // Once is enough: what has the number later is another thread's.
            self.gone = sight.is_gone(turn);
            self.next = if turn.length() < OFTEN_NS { 0 } else { now + OFTEN_NS };
        }
        if self.gone {
            self.missing += 1;
        } else {
            self.there += 1;
        }
    }
}
