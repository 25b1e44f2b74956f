//! Event loops summed up: what the kernel half counts of each loop that serves, and its stalls, go in; rows of the
//! report come out.

use profiler_ebpf::histogram::{self, Histogram};
use profiler_ebpf::loops::Loop;
use rustc_hash::{FxHashMap, FxHashSet};

use super::Series;
use super::buckets::{Buckets, LOOP_SECONDS};
use crate::kernel::hooks::Wait;
use crate::report::{Distribution, LoopRow, StallRow};
use crate::stall::{Confidence, Stall, comm};

/// Loops and stalls in a report at the most.
const MOST_LOOPS: usize = 1_024;
const MOST_STALLS: usize = 4_096;
/// So many of them may be of threads that nobody is known to wait for: those do not take the room of servers.
const MOST_OTHERS: usize = MOST_STALLS / 2;
const MOST_OTHER_LOOPS: usize = MOST_LOOPS / 2;

/// A loop as it was last seen: its thread may end at any time.
#[derive(Debug)]
struct Known {
    last: Loop,
    turns: Option<Box<Histogram>>,
    /// When it was last seen, ns.
    seen: u64,
    serves: bool,
    /// Its thread has no set of its own any more: it is no loop.
    closed: bool,
    stalls: Vec<StallRow>,
    /// Its service, or that it does not pass the filters, as known while its process lived.
    service: Option<Option<String>>,
}

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

impl Known {
    /// Its process, and its thread's name.
    fn named(&self) -> (u32, String) {
        (self.last.turn.pid, comm(&self.last.turn.comm))
    }

    fn row(&self, service: String) -> Option<LoopRow> {
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

/// Busiest first.
fn sorted(mut rows: Vec<LoopRow>) -> Vec<LoopRow> {
    rows.sort_by(|a, b| b.busy_seconds.total_cmp(&a.busy_seconds).then(a.tid.cmp(&b.tid)));
    rows
}

fn seconds(ns: u64) -> f64 {
    ns as f64 / 1e9
}

/// A histogram of the kernel half as metrics have it.
fn buckets(turns: &Histogram) -> Buckets {
    let mut buckets = Buckets::new(LOOP_SECONDS);
    let filled = turns.buckets.iter().enumerate().filter(|(_, count)| **count > 0);
    let values = filled
        .map(|(at, count)| (seconds(histogram::middle(at).clamp(turns.min, turns.max)), u64::from(*count)));
    buckets.record_each(values, seconds(turns.sum));
    buckets
}

/// The distribution of a histogram, seconds; None while it is empty. A quantile is by nearest rank.
fn distribution(turns: &Histogram) -> Option<Distribution> {
    let count: u64 = turns.buckets.iter().map(|n| u64::from(*n)).sum();
    if count == 0 {
        return None;
    }
    let quantile = |share: f64| {
        let rank = ((count as f64 * share).ceil() as u64).max(1);
        let mut before = 0;
        let at = turns.buckets.iter().position(|n| {
            before += u64::from(*n);
            before >= rank
        });
        seconds(histogram::middle(at.unwrap_or(0)).clamp(turns.min, turns.max))
    };
    Some(Distribution {
        count,
        sum: seconds(turns.sum),
        min: seconds(turns.min),
        p50: quantile(0.5),
        p90: quantile(0.9),
        p95: quantile(0.95),
        p99: quantile(0.99),
        p999: quantile(0.999),
        max: seconds(turns.max),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use profiler_ebpf::wait::kind;

    const SECOND: u64 = 1_000_000_000;

    fn seen(tid: u32, busy: u64) -> Loop {
        let mut l = Loop::default();
        (l.turn.pid, l.turn.tid) = (10, tid);
        l.adopt(kind::EPOLL, 5, SECOND);
        (l.turns, l.busy) = (3, busy);
        l
    }

    #[test]
    fn a_quantile_is_near_the_truth() {
        let mut turns = Histogram::default();
        (1..=1_000).for_each(|n| turns.add(n * 50_000));
        let d = distribution(&turns).unwrap();
        assert_eq!((d.count, d.min, d.max), (1_000, 0.000_05, 0.05));
        for (found, expected) in [(d.p50, 0.025), (d.p90, 0.045), (d.p99, 0.049_5), (d.p999, 0.049_95)] {
            assert!((found - expected).abs() <= 0.01 * expected, "{found} for {expected}");
        }
        assert_eq!(distribution(&Histogram::default()), None);
        let metric = buckets(&turns);
        assert_eq!((metric.count, metric.counts[3], metric.counts[4]), (1_000, 80, 100));
        assert!((metric.sum - d.sum).abs() < 1e-9);
    }

    #[test]
    fn only_loops_that_serve_or_stall_are_rows() {
        let mut loops = Loops::default();
        assert!(!loops.see(&seen(1, SECOND), false, 3 * SECOND), "a worker");
        assert!(loops.see(&seen(2, SECOND / 2), true, 3 * SECOND));
        assert!(!loops.see(&seen(2, SECOND), false, 3 * SECOND), "not new");
        let mut turn = seen(3, 0).turn;
        (turn.start, turn.end) = (SECOND, SECOND + 200_000_000);
        loops.stall(&Stall::of(turn, false).unwrap(), "now".into());
        let (rows, series) = loops.rows(|pid, _| Some(format!("s{pid}")));
        assert!(series.is_empty(), "no turn was measured");
        let told: Vec<_> = rows.iter().map(|r| (r.tid, r.turns, r.busy_seconds, r.utilization)).collect();
        assert_eq!(told, [(2, 3, 1.0, 0.5), (3, 1, 0.2, 1.0)]);
        assert_eq!((rows[0].service.as_str(), rows[1].stalls.len()), ("s10", 1));
    }

    #[test]
    fn a_thread_without_a_set_has_no_row() {
        let mut loops = Loops::default();
        for (tid, closed) in [(1, true), (2, false)] {
            loops.see(&seen(tid, SECOND), true, 3 * SECOND);
            loops.closed(&seen(tid, SECOND), closed);
        }
        let rows = loops.rows(|_, _| Some(String::new())).0;
        assert_eq!(rows.iter().map(|row| row.tid).collect::<Vec<_>>(), [2]);
    }

    #[test]
    fn recent_stalls_are_those_that_ended_lately_and_those_that_go_on() {
        let mut loops = Loops::default();
        let stall = |tid: u32, start: u64| {
            let mut turn = seen(tid, 0).turn;
            (turn.start, turn.end) = (start * SECOND, start * SECOND + 200_000_000);
            Stall::of(turn, false).unwrap()
        };
        for (tid, start) in [(1, 1), (1, 8), (2, 2)] {
            loops.stall(&stall(tid, start), String::new());
        }
        loops.see(&seen(3, SECOND), true, 9 * SECOND);
        let open = [StallRow { start: String::new(), stall: Stall { ongoing: true, ..stall(4, 9) } }];
        let recent = |loops: &mut Loops, since: u64, open: &[StallRow]| {
            let rows = loops.recent(since * SECOND, open, |_, _| Some(String::new()));
            let mut told: Vec<_> = rows.iter().map(|row| (row.tid, row.stalls.len())).collect();
            told.sort_unstable();
            told
        };
        assert_eq!(recent(&mut loops, 5, &open), [(1, 1), (4, 1)]);
        assert_eq!(recent(&mut loops, 9, &[]), []);
        assert_eq!((loops.stalls, loops.known.len()), (0, 1), "only the loop that serves is kept");
    }

    #[test]
    fn what_finds_no_room_is_counted() {
        let mut loops = Loops::default();
        for tid in (0..MOST_LOOPS as u32 + 2).chain([MOST_LOOPS as u32]) {
            loops.see(&seen(tid, 1), true, 2 * SECOND);
        }
        assert_eq!((loops.overflowed, loops.rows(|_, _| Some(String::new())).0.len()), (2, MOST_LOOPS));
    }

    #[test]
    fn threads_that_serve_nobody_leave_room_for_servers() {
        let mut loops = Loops::default();
        let stall = |tid, confidence| {
            let mut turn = seen(tid, 0).turn;
            (turn.start, turn.end) = (SECOND, SECOND + 200_000_000);
            Stall { confidence, ..Stall::of(turn, false).unwrap() }
        };
        for n in 0..MOST_OTHERS + 10 {
            loops.stall(&stall(n as u32 % 8, Confidence::Low), "now".into());
        }
        loops.stall(&stall(9_999, Confidence::High), "now".into());
        assert_eq!(loops.overflowed, 10);
        let rows = loops.rows(|_, _| Some(String::new())).0;
        assert!(rows.iter().any(|row| row.tid == 9_999 && row.stalls.len() == 1));
    }

    /// The number of a process that has ended may be another's by the time of the report.
    #[test]
    fn a_loop_is_named_while_it_lives() {
        let mut loops = Loops::default();
        for tid in 1..=3 {
            loops.see(&seen(tid, SECOND), true, 2 * SECOND);
        }
        loops.name(&seen(1, 0), |pid, _| Some(format!("shop {pid}")));
        loops.name(&seen(2, 0), |_, _| None);
        let rows = loops.rows(|_, _| Some("who had its number".into())).0;
        let told: Vec<_> = rows.iter().map(|row| (row.tid, row.service.as_str())).collect();
        assert_eq!(told, [(1, "shop 10"), (3, "who had its number")]);
    }
}
