//! The line of code of a stall, taken while it lasts. In come the long turns under way at each look, and stalls that are
//! told of; out go stacks on those stalls. [`plan`] says when to look at which thread, `worker` has a process of its
//! own look ([`reader`]: what is read of a foreign process may be anything), [`sample`] chooses among what was seen.
//!
//! Nothing here pauses, signals or changes a profiled process: its memory is read while it goes on.

mod asked;
pub mod plan;
pub mod reader;
pub mod sample;
#[cfg(test)]
mod tests;
pub mod wire;
mod worker;

use log::debug;
use profiler_ebpf::turn::Turn;
use rustc_hash::{FxHashMap, FxHashSet};

use self::plan::Plan;
use self::sample::{Sample, heaviest, holder};
use self::wire::{Answer, Ask, Problem};
use self::worker::Worker;
use crate::stall::Stall;
use crate::stall::cause::Cause;

/// Stacks kept of one stall; then the oldest goes.
const SAMPLES: usize = 16;
/// What was seen of a turn waits so long for its record.
const KEEP_NS: u64 = 5_000_000_000;
/// Bytes of stacks kept of all turns at the most: a process may have deep stacks with long names.
const BYTES: usize = 32 << 20;
/// Turns remembered at the most.
const MOST: usize = 1_024;

/// A turn under way that is worth a look.
#[derive(Debug, Clone, Copy)]
pub struct Long {
    pub turn: Turn,
    /// The loop had accepted connections: clients wait.
    pub serves: bool,
}

/// What happened to looks, for the report.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    pub taken: u64,
    /// Not taken, or not kept, since there would have been too many at a time, or the reader ended over another.
    pub skipped: u64,
    /// Taken of a thread or a process that could not be read.
    pub failed: u64,
    /// Taken too late: the turn was over.
    pub late: u64,
}

/// A turn that has been looked at.
#[derive(Debug, Default)]
struct Seen {
    last: u64,
    samples: Vec<Sample>,
    /// What they take.
    bytes: usize,
}

/// Takes stacks of stalls.
#[derive(Debug)]
pub struct Stacks {
    plan: Plan,
    worker: Option<Worker>,
    seen: FxHashMap<(u32, u64), Seen>,
    pub counts: Counts,
}

impl Stacks {
    /// `threshold`, ns: turns of at least this are stalls. Not `on`: no stack is ever taken.
    pub fn new(on: bool, threshold: u64) -> Self {
        let worker = on.then(Worker::start).flatten();
        Self { plan: Plan::new(threshold), worker, seen: FxHashMap::default(), counts: Counts::default() }
    }

    /// From which length on a turn is to be given to [`Self::look`], ns.
    pub fn least(&self) -> u64 {
        self.plan.early()
    }

    /// Takes what has been read since the last call.
    pub fn collect(&mut self) {
        let Some(worker) = &mut self.worker else { return };
        while let Some(answer) = worker.answer() {
            debug!(
                "looked at {} {} ms into its turn, for {} us: {} frames, {:?}",
                answer.ask.tid,
                answer.begun.saturating_sub(answer.ask.start) / 1_000_000,
                (answer.ended - answer.begun) / 1_000,
                answer.stack.len(),
                answer.problem,
            );
            self.plan.answered(answer.ask.pid, answer.ask.tid, answer.ended, answer.problem.as_ref());
            keep(&mut self.seen, &mut self.counts, answer);
        }
    }

    /// Asks for stacks of the turns under way. All of them, since what is not among them is over.
    pub fn look(&mut self, long: &[Long], now: u64) {
        let Some(worker) = &mut self.worker else { return };
        for wanted in self.plan.choose(long, now) {
            let turn = wanted.turn;
            if self.seen.len() >= MOST && !self.seen.contains_key(&(turn.tid, turn.start)) {
                self.counts.skipped += 1;
                continue;
            }
            let ask = Ask { pid: turn.pid, tid: turn.tid, start: turn.start };
            if worker.ask(ask) {
                self.seen.entry((turn.tid, turn.start)).or_default().last = now;
            } else {
                self.plan.refused(turn.tid);
                self.counts.skipped += 1;
            }
        }
        self.counts.skipped += std::mem::take(&mut self.plan.skipped);
        let open: FxHashSet<_> = long.iter().map(|l| (l.turn.tid, l.turn.start)).collect();
        self.seen.retain(|key, seen| {
            if open.contains(key) {
                seen.last = now;
            }
            now.saturating_sub(seen.last) < KEEP_NS
        });
    }

    /// Puts on a stall what was seen of it.
    pub fn dress(&mut self, stall: &mut Stall) {
        let key = (stall.tid, stall.turn.start);
        let Some(seen) = self.seen.get(&key) else { return };
        let during: Vec<_> =
            seen.samples.iter().filter(|sample| sample.is_within(stall.turn.start, stall.turn.end)).collect();
        stall.stack = heaviest(&during);
        if stall.cause == Cause::InterpreterLock {
            stall.lock_holder = holder(&during);
        }
        if !stall.ongoing {
            self.counts.late += (seen.samples.len() - during.len()) as u64;
            self.seen.remove(&key);
        }
    }
}

fn keep(seen: &mut FxHashMap<(u32, u64), Seen>, counts: &mut Counts, answer: Answer) {
    match answer.problem {
        Some(Problem::Dropped) => {
            counts.skipped += 1;
            return;
        }
        Some(_) => {
            counts.failed += 1;
            return;
        }
        None => {}
    }
    counts.taken += 1;
    let all: usize = seen.values().map(|seen| seen.bytes).sum();
    let Some(seen) = seen.get_mut(&(answer.ask.tid, answer.ask.start)) else {
        counts.late += 1;
        return;
    };
    let sample =
        Sample { begun: answer.begun, ended: answer.ended, stack: answer.stack, holder: answer.holder };
    let bytes = sample.bytes();
    if all + bytes > BYTES {
        counts.skipped += 1;
        return;
    }
    if seen.samples.len() >= SAMPLES {
        seen.bytes -= seen.samples.remove(0).bytes();
    }
    seen.bytes += bytes;
    seen.samples.push(sample);
}
