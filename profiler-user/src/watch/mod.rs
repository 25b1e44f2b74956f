//! Event loops while they stall: every few milliseconds the table of loops comes in, stalls that are still under way go
//! out, and what they are blocked on is looked up while it is still there. A record of a finished stall gets what was
//! found while it lasted.
//!
//! A loop is taken for a server's (high confidence) when its set had an accepted connection while it stalled. Pure but
//! for [`Sight`].

pub mod sight;
#[cfg(test)]
mod tests;

use profiler_ebpf::claim::{SHARED_NS, key};
use profiler_ebpf::loops::Loop;
use profiler_ebpf::turn::Turn;
use rustc_hash::FxHashMap;

use crate::kernel::syscalls;
use crate::stall::{Confidence, Stall, Waiting};

/// A stall that goes on is told of so often; one of low confidence, which may be a thread that has left its loop for
/// good, each time it has become twice as long.
const REPEAT_NS: u64 = 1_000_000_000;
/// What was found out about a stall waits so long for its record.
const KEEP_NS: u64 = 5_000_000_000;
/// A set that had an accepted connection counts as a server's for so long.
const SERVING_NS: u64 = 60_000_000_000;
/// Stalls, and sets, remembered at the most.
const MOST: usize = 4_096;

/// What can be seen of a process's descriptors; None where it may not be looked at, or where there is none.
pub trait Sight {
    /// The connections in a set.
    fn connections(&mut self, pid: u32, set: i32) -> Option<Connections>;

    /// What a descriptor is.
    fn name(&mut self, pid: u32, descriptor: u64) -> Option<String>;
}

/// The connections of one set.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Connections {
    /// Those that the process has accepted.
    pub accepted: u32,
    /// Accepted ones with bytes that nobody has read.
    pub unread: u32,
    /// Those that wait to be accepted.
    pub backlog: u32,
}

/// A stall under way, or one whose record has not come yet.
#[derive(Debug, Default)]
struct Seen {
    /// When it is to be told of again, and when it was last seen to go on, ns.
    next: u64,
    last: u64,
    connections: Option<Connections>,
    targets: FxHashMap<(u32, u64), Option<String>>,
}

/// The loops under watch.
#[derive(Debug)]
pub struct Watch {
    threshold: u64,
    seen: FxHashMap<(u32, u64), Seen>,
    /// Sets with an accepted connection, and when that was.
    serving: FxHashMap<u64, u64>,
}

impl Watch {
    /// Turns of `threshold` ns and more are stalls.
    pub fn new(threshold: u64) -> Self {
        Self { threshold, seen: FxHashMap::default(), serving: FxHashMap::default() }
    }

    /// Looks at all loops; returns the stalls under way that are to be told of.
    pub fn look(&mut self, loops: &[Loop], now: u64, sight: &mut impl Sight) -> Vec<Stall> {
        let mut told = Vec::new();
        for turn in self.stalled(loops, now) {
            if self.seen.len() >= MOST && !self.seen.contains_key(&(turn.tid, turn.start)) {
                continue;
            }
            let seen = self.seen.entry((turn.tid, turn.start)).or_default();
            seen.last = now;
            seen.look_up(&turn, sight);
            if now < seen.next {
                continue;
            }
            // Who waits changes while it lasts.
            seen.connections = sight.connections(turn.pid, turn.set).or(seen.connections);
            let Some(mut stall) = Stall::of(turn, true) else { continue };
            self.dress(&mut stall, now);
            let pause = match stall.confidence {
                Confidence::High => REPEAT_NS,
                Confidence::Low => REPEAT_NS.max(turn.length()),
            };
            if let Some(seen) = self.seen.get_mut(&(turn.tid, turn.start)) {
                seen.next = now + pause;
            }
            told.push(stall);
        }
        self.seen.retain(|_, seen| now.saturating_sub(seen.last) < KEEP_NS);
        told
    }

    /// All stalls under way, told of or not.
    pub fn running(&mut self, loops: &[Loop], now: u64, sight: &mut impl Sight) -> Vec<Stall> {
        self.look(loops, now, sight);
        let running = self.stalled(loops, now).into_iter().filter_map(|turn| Stall::of(turn, true));
        let mut running: Vec<_> = running.collect();
        running.iter_mut().for_each(|stall| self.dress(stall, now));
        running
    }

    /// The turns under way of `least` ns and more, and whether each is of a set that had accepted connections.
    pub fn long(&self, loops: &[Loop], now: u64, least: u64) -> Vec<(Turn, bool)> {
        let turns = longer(loops, now, least).into_iter();
        turns.map(|turn| (turn, self.serves(key(turn.pid, turn.set), now))).collect()
    }

    /// The turns under way that are stalls.
    fn stalled(&self, loops: &[Loop], now: u64) -> Vec<Turn> {
        longer(loops, now, self.threshold)
    }

    fn serves(&self, set: u64, now: u64) -> bool {
        self.serving.get(&set).is_some_and(|at| now.saturating_sub(*at) < SERVING_NS)
    }

    /// A stall is over: adds what was found out while it lasted, or at least now.
    pub fn ended(&mut self, stall: &mut Stall, now: u64, sight: &mut impl Sight) {
        let turn = stall.turn;
        let seen = self.seen.entry((turn.tid, turn.start)).or_default();
        if seen.connections.is_none() {
            // It was over before it was looked at. That its set has no connection any more says nothing.
            seen.connections = sight.connections(turn.pid, turn.set);
        }
        self.dress(stall, now);
        self.seen.remove(&(turn.tid, turn.start));
    }

    fn dress(&mut self, stall: &mut Stall, now: u64) {
        let turn = &stall.turn;
        let Some(seen) = self.seen.get(&(turn.tid, turn.start)) else { return };
        for blocked in &mut stall.blocked_in {
            blocked.target = seen.targets.get(&blocked.call).cloned().flatten();
        }
        let set = key(turn.pid, turn.set);
        if let Some(found) = seen.connections {
            stall.waiting = Some(Waiting { requests: found.unread, connections: found.backlog });
            if found.accepted > 0 {
                if self.serving.len() >= MOST {
                    self.serving.retain(|_, at| now.saturating_sub(*at) < SERVING_NS);
                }
                self.serving.insert(set, now);
            }
        }
        stall.confidence = if self.serves(set, now) { Confidence::High } else { Confidence::Low };
    }
}

impl Seen {
    /// Names the descriptors that the turn was blocked on, once each: the same number may be another file later.
    fn look_up(&mut self, turn: &Turn, sight: &mut impl Sight) {
        for call in turn.calls.iter().filter(|call| call.count > 0) {
            if syscalls::takes_descriptor(call.nr) {
                let name = self.targets.entry((call.nr, call.target));
                name.or_insert_with(|| sight.name(turn.pid, call.target));
            }
        }
    }
}

/// Sets that several threads wait on.
struct Shared(FxHashMap<u64, (u32, bool)>);

impl Shared {
    fn of(loops: &[Loop], now: u64) -> Self {
        let mut sets = FxHashMap::default();
        for l in loops.iter().filter(|l| l.turn.set >= 0 && now.saturating_sub(l.claimed) < SHARED_NS) {
            let (tid, shared) = sets.entry(key(l.turn.pid, l.turn.set)).or_insert((l.turn.tid, false));
            *shared |= *tid != l.turn.tid;
        }
        Self(sets)
    }

    fn has(&self, turn: &Turn) -> bool {
        self.0.get(&key(turn.pid, turn.set)).is_some_and(|(tid, shared)| *shared || *tid != turn.tid)
    }
}

/// The turns under way of `least` ns and more, of loops with a set of their own.
fn longer(loops: &[Loop], now: u64, least: u64) -> Vec<Turn> {
    let turns = loops.iter().filter_map(|l| l.at(now));
    let mut long: Vec<_> = turns.filter(|turn| turn.length() >= least && is_whole(turn)).collect();
    if !long.is_empty() {
        let shared = Shared::of(loops, now);
        long.retain(|turn| !shared.has(turn));
    }
    long
}

/// Whether a loop was read at one instant: its thread goes on while it is read.
fn is_whole(turn: &Turn) -> bool {
    turn.on_cpu.wrapping_add(turn.run_queue).wrapping_add(turn.blocked) == turn.length()
}
