//! Event loops summed up: what the kernel half counts of each loop that serves, and its stalls, go in; rows of the
//! report come out.

mod known;
#[cfg(test)]
mod tests;
mod turns;

use profiler_ebpf::histogram::Histogram;
use profiler_ebpf::loops::Loop;
use rustc_hash::{FxHashMap, FxHashSet};

use self::known::Known;
use self::turns::buckets;
use super::Series;
use crate::report::{LoopRow, StallRow};
use crate::stall::{Confidence, Stall, comm};

/// Loops and stalls in a report at the most.
const MOST_LOOPS: usize = 1_024;
const MOST_STALLS: usize = 4_096;
/// So many of them may be of threads that nobody is known to wait for: those do not take the room of servers.
const MOST_OTHERS: usize = MOST_STALLS / 2;
const MOST_OTHER_LOOPS: usize = MOST_LOOPS / 2;

/// The loops of a recording.
#[derive(Debug, Default)]
pub struct Loops {
    known: FxHashMap<(u32, u32), Known>,
    stalls: usize,
    /// Loops that found no room.
    missed: FxHashSet<(u32, u32)>,
    /// Stalls and loops that found no room.
    pub overflowed: u64,
}

impl Loops {
    /// A loop as it is now; `serves` once its thread has served a request. True when it is new.
    pub fn see(&mut self, l: &Loop, serves: bool, now: u64) -> bool {
        let key = (l.turn.pid, l.turn.tid);
        if !serves && !self.known.contains_key(&key) {
            return false;
        }
        let Some(known) = self.entry(l, MOST_LOOPS, now) else {
            // Once each: they are seen again and again.
            if self.missed.len() < MOST_STALLS && self.missed.insert(key) {
                self.overflowed += 1;
            }
            return false;
        };
        let new = serves && !known.serves;
        known.serves |= serves;
        known.last = *l;
        known.seen = now;
        new
    }

    /// Whether the thread is without a set of its own: then it has no row.
    pub fn closed(&mut self, l: &Loop, closed: bool) {
        if let Some(known) = self.known.get_mut(&(l.turn.pid, l.turn.tid)) {
            known.closed = closed;
        }
    }

    /// The lengths of a loop's turns so far.
    pub fn turns(&mut self, l: &Loop, turns: Histogram) {
        if let Some(known) = self.known.get_mut(&(l.turn.pid, l.turn.tid)) {
            known.turns = Some(Box::new(turns));
        }
    }

    /// Whether a loop's thread has been seen to serve.
    pub fn serves(&self, l: &Loop) -> bool {
        self.known.get(&(l.turn.pid, l.turn.tid)).is_some_and(|known| known.serves)
    }

    /// A stall of any thread, over or, at the recording's end, still under way. What is known of the thread's loop
    /// beyond it comes with the next look.
    pub fn stall(&mut self, stall: &Stall, start: String) {
        let room = if stall.confidence == Confidence::High { MOST_STALLS } else { MOST_OTHERS };
        if self.stalls >= room {
            self.overflowed += 1;
            return;
        }
        let Some(known) = self.stalled(stall) else {
            self.overflowed += 1;
            return;
        };
        known.stalls.push(StallRow { start, stall: stall.clone() });
        self.stalls += 1;
    }

    /// Names the service of a loop whose process is there, if the loop is to have a row.
    pub fn name(&mut self, l: &Loop, service: impl FnOnce(u32, &str) -> Option<String>) {
        if let Some(known) = self.known.get_mut(&(l.turn.pid, l.turn.tid)) {
            known.service = Some(service(l.turn.pid, &comm(&l.turn.comm)));
        }
    }

    /// Calls `change` with each stall.
    pub fn each_stall(&mut self, mut change: impl FnMut(&mut Stall)) {
        for known in self.known.values_mut() {
            known.stalls.iter_mut().for_each(|row| change(&mut row.stall));
        }
    }

    /// The loop of a stall, with what the stall says of it if that is all there is.
    fn stalled(&mut self, stall: &Stall) -> Option<&mut Known> {
        let mut l = Loop { turn: stall.turn, ..Loop::default() };
        (l.turns, l.busy, l.born) = (1, stall.turn.length(), stall.turn.start);
        (l.on_cpu, l.run_queue, l.blocked) = (stall.turn.on_cpu, stall.turn.run_queue, stall.turn.blocked);
        let room = if stall.confidence == Confidence::High { MOST_LOOPS } else { MOST_OTHER_LOOPS };
        self.entry(&l, room, stall.turn.end)
    }

    /// The loop's entry, a new one only if there are fewer than `room`.
    fn entry(&mut self, l: &Loop, room: usize, now: u64) -> Option<&mut Known> {
        let key = (l.turn.pid, l.turn.tid);
        if self.known.len() >= room && !self.known.contains_key(&key) {
            return None;
        }
        let new = || Known {
            last: *l,
            turns: None,
            seen: now,
            serves: false,
            closed: false,
            stalls: Vec::new(),
            service: None,
        };
        Some(self.known.entry(key).or_insert_with(new))
    }

    /// The rows, busiest first, and their turns for metrics; `service` names the process of a loop, by its number and the
    /// thread's name, or passes it over.
    pub fn rows(
        &mut self,
        mut service: impl FnMut(u32, &str) -> Option<String>,
    ) -> (Vec<LoopRow>, Vec<Series>) {
        let (mut rows, mut series) = (Vec::new(), Vec::new());
        for known in self.known.drain().map(|(_, known)| known).filter(|known| !known.closed) {
            let (pid, comm) = known.named();
            let service = known.service.clone().unwrap_or_else(|| service(pid, &comm));
            let Some(row) = service.and_then(|service| known.row(service)) else { continue };
            if let Some(turns) = known.turns.as_deref().filter(|_| row.turn.is_some()) {
                series.push(Series::Loop { service: row.service.clone(), turns: buckets(turns) });
            }
            rows.push(row);
        }
        (sorted(rows), series)
    }

    /// The rows of loops that have stalled since then, or still do (`open`), with those stalls alone. Older ones are
    /// forgotten.
    pub fn recent(
        &mut self,
        since: u64,
        open: &[StallRow],
        mut service: impl FnMut(u32, &str) -> Option<String>,
    ) -> Vec<LoopRow> {
        for row in open {
            self.stalled(&row.stall);
        }
        let mut rows = Vec::new();
        self.stalls = 0;
        for (key, known) in &mut self.known {
            known.stalls.retain(|row| row.stall.turn.end >= since);
            self.stalls += known.stalls.len();
            let open = open.iter().filter(|row| (row.stall.pid, row.stall.tid) == *key);
            let stalls: Vec<_> = known.stalls.iter().chain(open).cloned().collect();
            if stalls.is_empty() || known.closed {
                continue;
            }
            let (pid, comm) = known.named();
            let service = known.service.clone().unwrap_or_else(|| service(pid, &comm));
            let row = service.and_then(|service| known.row(service));
            // Totals are of the loop's whole life.
            rows.extend(row.map(|row| LoopRow { stalls, run_queue_seconds: 0.0, late_seconds: 0.0, ..row }));
        }
        self.known.retain(|_, known| known.serves && known.seen >= since || !known.stalls.is_empty());
        sorted(rows)
    }
}

/// Busiest first.
fn sorted(mut rows: Vec<LoopRow>) -> Vec<LoopRow> {
    rows.sort_by(|a, b| b.busy_seconds.total_cmp(&a.busy_seconds).then(a.tid.cmp(&b.tid)));
    rows
}
