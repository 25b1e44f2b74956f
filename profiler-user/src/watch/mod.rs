//! Event loops while they stall: every few milliseconds the table of loops comes in, stalls that are still under way go
//! out, and what they are blocked on is looked up while it is still there. A record of a finished stall gets what was
//! found while it lasted.
//!
//! A loop is taken for a server's (high confidence) when its set had clients' connections while it stalled
//! ([`Connections::are_a_servers`]). Pure but for [`Sight`].

pub mod census;
mod connections;
mod process;
mod quota;
mod seen;
mod sets;
mod shared;
pub mod sight;
mod socket;
mod target;
#[cfg(test)]
mod tests;

use profiler_ebpf::claim::key;
use profiler_ebpf::loops::Loop;
use profiler_ebpf::turn::Turn;
use rustc_hash::FxHashMap;

pub use self::connections::Connections;
use self::seen::Seen;
use self::sets::Sets;
use self::shared::Shared;
use crate::config::Protocol;
use crate::stall::cause::{self, Evidence};
use crate::stall::kind::{self, Ends, Target};
use crate::stall::{Confidence, Stall, Waiting};

/// A stall that goes on is told of so often; one of low confidence, which may be a thread that has left its loop for
/// good, each time it has become twice as long.
const REPEAT_NS: u64 = 1_000_000_000;
/// What was found out about a stall waits so long for its record.
const KEEP_NS: u64 = 5_000_000_000;
/// A set that had clients' connections counts as a server's for so long.
const SERVING_NS: u64 = 60_000_000_000;
/// A stall asks for answers at each look for so long, ns.
const ASKING_NS: u64 = 10_000_000_000;
/// Stalls, and sets, remembered at the most.
const MOST: usize = 4_096;

/// What can be seen of a process; None where it may not be looked at, or where there is none.
pub trait Sight {
    /// The connections in a set.
    fn connections(&mut self, pid: u32, set: i32) -> Option<Connections>;

    /// Whether the turn's thread certainly has no such set (epoll) any more.
    fn is_gone(&mut self, turn: &Turn) -> bool;

    /// What a thread waits for in a call, given by number and first argument.
    fn target(&mut self, turn: &Turn, call: (u32, u64)) -> Option<Target>;

    /// For how long its control group was throttled in the turn, ns.
    fn throttled(&mut self, turn: &Turn) -> Option<u64>;

    /// Where the process has an interpreter with a lock: the CPU time of its other threads so far, ns.
    fn interpreter(&mut self, turn: &Turn) -> Option<u64>;
}

/// A stall under way that may wait for the answer to something that it has sent.
#[derive(Debug, Clone, PartialEq)]
pub struct Asking {
    pub tid: u32,
    /// When its turn began, ns.
    pub start: u64,
    /// The connections that it was blocked on.
    pub ends: Vec<Ends>,
}

/// The loops under watch.
#[derive(Debug)]
pub struct Watch {
    threshold: u64,
    seen: FxHashMap<(u32, u64), Seen>,
    /// Sets of servers' connections, and when they had some.
    serving: FxHashMap<u64, u64>,
    /// What the threads of the loops have answered in.
    answers: FxHashMap<u32, Protocol>,
    sets: Sets,
}

impl Watch {
    /// Turns of `threshold` ns and more are stalls.
    pub fn new(threshold: u64) -> Self {
        let (seen, serving, answers, sets) = Default::default();
        Self { threshold, seen, serving, answers, sets }
    }

    /// What the threads of these loops have answered in so far.
    pub fn note(&mut self, loops: &[Loop], answers: impl Fn(u32) -> Option<Protocol>) {
        self.answers.clear();
        let known = loops.iter().filter_map(|l| Some((l.turn.tid, answers(l.turn.tid)?)));
        self.answers.extend(known);
    }

    /// Looks at all loops; returns the stalls under way that are to be told of.
    pub fn look(&mut self, loops: &[Loop], now: u64, sight: &mut impl Sight) -> Vec<Stall> {
        let mut told = Vec::new();
        self.sets.look(loops, now, sight);
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
            seen.look_at_interpreter(&turn, now, sight);
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
                seen.told = now;
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

    /// Whether a turn may be a loop's: its thread was not seen without its set in it.
    pub fn is_loops(&self, turn: &Turn) -> bool {
        !self.sets.is_gone(turn)
    }

    /// Whether a thread has mostly no set: it once waited on one, and is no loop.
    pub fn is_closed(&self, l: &Loop) -> bool {
        self.sets.is_closed(l.turn.pid, l.turn.tid)
    }

    /// The turns under way of `least` ns and more, and whether each is of a set that had clients' connections.
    pub fn long(&self, loops: &[Loop], now: u64, least: u64) -> Vec<(Turn, bool)> {
        let turns = longer(loops, now, least).into_iter().filter(|turn| !self.sets.is_gone(turn));
        turns.map(|turn| (turn, self.serves(key(turn.pid, turn.set), now))).collect()
    }

    /// Those that were under way at this look, and blocked on a connection. One that goes on and on asks only when it is
    /// told of.
    pub fn asking(&self, now: u64) -> Vec<Asking> {
        let running = self.seen.iter().filter(|((_, start), seen)| {
            seen.last == now && (seen.told == now || now.saturating_sub(*start) < ASKING_NS)
        });
        let asking = running.map(|((tid, start), seen)| {
            let ends = seen.targets.values().flatten().filter_map(|target| target.ends);
            Asking { tid: *tid, start: *start, ends: ends.collect() }
        });
        asking.filter(|asking| !asking.ends.is_empty()).collect()
    }

    /// The turns under way that are stalls.
    fn stalled(&self, loops: &[Loop], now: u64) -> Vec<Turn> {
        let turns = longer(loops, now, self.threshold).into_iter();
        turns.filter(|turn| !self.sets.is_gone(turn)).collect()
    }

    fn serves(&self, set: u64, now: u64) -> bool {
        self.serving.get(&set).is_some_and(|at| now.saturating_sub(*at) < SERVING_NS)
    }

    /// A stall is over: adds what was found out while it lasted, or at least now. False when it was none: the thread had
    /// closed its set meanwhile.
    pub fn ended(&mut self, stall: &mut Stall, now: u64, sight: &mut impl Sight) -> bool {
        let turn = stall.turn;
        if self.sets.is_gone(&turn) {
            self.seen.remove(&(turn.tid, turn.start));
            return false;
        }
        let seen = self.seen.entry((turn.tid, turn.start)).or_default();
        if seen.connections.is_none() {
            // It was over before it was looked at. That its set has no connection any more says nothing.
            seen.connections = sight.connections(turn.pid, turn.set);
        }
        seen.throttled = sight.throttled(&turn).or(seen.throttled);
        seen.look_at_interpreter(&turn, now, sight);
        self.dress(stall, now);
        self.seen.remove(&(turn.tid, turn.start));
        true
    }

    fn dress(&mut self, stall: &mut Stall, now: u64) {
        let turn = &stall.turn;
        let Some(seen) = self.seen.get(&(turn.tid, turn.start)) else { return };
        for blocked in &mut stall.blocked_in {
            let target = seen.targets.get(&blocked.call).and_then(Option::as_ref);
            blocked.kind = kind::of(blocked.call, target);
            blocked.target = target.and_then(Target::name);
        }
        let evidence = Evidence { throttled: seen.throttled, interpreter: seen.interpreter() };
        stall.cause = cause::of(turn, &evidence);
        stall.throttled = cause::throttled(turn, &evidence).map(|ns| ns as f64 / 1e9);
        let set = key(turn.pid, turn.set);
        if let Some(found) = seen.connections {
            stall.waiting = Some(Waiting { requests: found.unread, connections: found.backlog });
            if found.are_a_servers(self.answers.get(&turn.tid).copied()) {
                if self.serving.len() >= MOST {
                    self.serving.retain(|_, at| now.saturating_sub(*at) < SERVING_NS);
                }
                self.serving.insert(set, now);
            }
        }
        stall.confidence = if self.serves(set, now) { Confidence::High } else { Confidence::Low };
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
