//! When to look at which thread: judgement without a clock or a process. In come the long turns under way and how the
//! last looks went, out go those to look at now.

use profiler_ebpf::turn::Turn;
use rustc_hash::{FxHashMap, FxHashSet};

use super::Long;
use super::wire::Problem;

const MS: u64 = 1_000_000;
const SECOND: u64 = 1_000 * MS;

/// Looks in a second, at one process and in all. As many may come at once.
const EACH: f64 = 10.0;
const ALL: f64 = 50.0;
/// A turn is looked at again when it has become longer by half, but within these bounds.
const SOONEST: u64 = 25 * MS;
const LATEST: u64 = SECOND;
/// A thread whose clients nobody has seen is looked at so much later than it passes the threshold: it may be one that
/// has left its loop for good.
const UNSURE: u64 = 20 * MS;
/// A process that could not be read is left alone so long; one that was torn, after so many times in a row.
const PAUSE: u64 = 60 * SECOND;
const TORN: u32 = 5;
/// Processes remembered at the most.
const MOST: usize = 1_024;

/// So many a second, as many at once.
#[derive(Debug, Clone, Copy)]
struct Bucket {
    rate: f64,
    left: f64,
    at: u64,
}

impl Bucket {
    fn new(rate: f64, now: u64) -> Self {
        Self { rate, left: rate, at: now }
    }

    fn fill(&mut self, now: u64) {
        let seconds = now.saturating_sub(self.at) as f64 / SECOND as f64;
        self.left = (self.left + seconds * self.rate).min(self.rate);
        self.at = now;
    }
}

/// A process that was looked at.
#[derive(Debug)]
struct Process {
    bucket: Bucket,
    torn: u32,
    /// It is left alone until then.
    until: u64,
    last: u64,
}

/// A turn that was looked at.
#[derive(Debug, Clone, Copy)]
struct Looked {
    start: u64,
    /// The length at which it is next looked at, ns.
    next: u64,
    under_way: bool,
}

/// The plan.
#[derive(Debug)]
pub struct Plan {
    threshold: u64,
    all: Bucket,
    processes: FxHashMap<u32, Process>,
    turns: FxHashMap<u32, Looked>,
    /// Looks that were due and would have been too many; whoever reads it takes it away.
    pub skipped: u64,
}

impl Plan {
    /// Turns of `threshold` ns and more are stalls.
    pub fn new(threshold: u64) -> Self {
        Self {
            threshold,
            all: Bucket::new(ALL, 0),
            processes: FxHashMap::default(),
            turns: FxHashMap::default(),
            skipped: 0,
        }
    }

    /// A turn of a loop that serves is looked at before it is a stall: one that ends a little beyond the threshold would
    /// be over before it was seen and read.
    pub fn early(&self) -> u64 {
        self.threshold / 2
    }

    /// The turns to look at now, those that clients wait for first. `long`: all that are under way.
    pub fn choose(&mut self, long: &[Long], now: u64) -> Vec<Long> {
        let open: FxHashSet<_> = long.iter().map(|l| (l.turn.tid, l.turn.start)).collect();
        self.turns.retain(|tid, looked| open.contains(&(*tid, looked.start)));
        if self.processes.len() >= MOST {
            self.processes.retain(|_, p| now < p.until || now.saturating_sub(p.last) < SECOND);
        }
        self.all.fill(now);
        let mut due: Vec<_> = long.iter().filter(|l| self.is_due(l)).copied().collect();
        due.sort_by_key(|l| (!l.serves, self.turns.contains_key(&l.turn.tid)));
        due.retain(|l| self.may(l, now));
        due
    }

    fn is_due(&self, long: &Long) -> bool {
        let length = long.turn.length();
        match self.turns.get(&long.turn.tid) {
            Some(looked) => !looked.under_way && length >= looked.next,
            // Of a process that is new nobody knows yet whether it serves.
            None if long.serves || !self.processes.contains_key(&long.turn.pid) => length >= self.early(),
            None => length >= self.threshold + UNSURE,
        }
    }

    fn may(&mut self, long: &Long, now: u64) -> bool {
        let Turn { pid, tid, start, .. } = long.turn;
        if self.processes.len() >= MOST && !self.processes.contains_key(&pid) {
            self.skipped += 1;
            return false;
        }
        let new = || Process { bucket: Bucket::new(EACH, now), torn: 0, until: 0, last: now };
        let process = self.processes.entry(pid).or_insert_with(new);
        if now < process.until {
            return false;
        }
        process.bucket.fill(now);
        process.last = now;
        let length = long.turn.length();
        let again = (length / 2).clamp(SOONEST, LATEST);
        let again = if long.serves { again } else { again.max(length) };
        let allowed = process.bucket.left >= 1.0 && self.all.left >= 1.0;
        if allowed {
            process.bucket.left -= 1.0;
            self.all.left -= 1.0;
        } else {
            self.skipped += 1;
        }
        self.turns.insert(tid, Looked { start, next: length + again, under_way: allowed });
        allowed
    }

    /// A look that was allowed has not been begun.
    pub fn refused(&mut self, tid: u32) {
        if let Some(looked) = self.turns.get_mut(&tid) {
            looked.under_way = false;
        }
    }

    /// A look is over.
    pub fn answered(&mut self, pid: u32, tid: u32, now: u64, problem: Option<&Problem>) {
        if let Some(looked) = self.turns.get_mut(&tid) {
            looked.under_way = false;
        }
        let Some(process) = self.processes.get_mut(&pid) else { return };
        match problem {
            None => process.torn = 0,
            Some(Problem::Torn) => {
                process.torn += 1;
                if process.torn >= TORN {
                    process.torn = 0;
                    process.until = now + PAUSE;
                }
            }
            Some(Problem::Dropped) => {}
            Some(Problem::Unreadable | Problem::Fatal) => process.until = now + PAUSE,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn long(pid: u32, tid: u32, milliseconds: u64, serves: bool) -> Long {
        let turn = Turn { pid, tid, start: SECOND, end: SECOND + milliseconds * MS, ..Turn::default() };
        Long { turn, serves }
    }

    fn plan() -> Plan {
        Plan::new(100 * MS)
    }

    #[test]
    fn a_servers_turn_is_looked_at_early_and_ever_less_often() {
        let mut plan = plan();
        let mut at = Vec::new();
        for age in (25..=4_000).step_by(25) {
            let now = SECOND + age * MS;
            if !plan.choose(&[long(1, 2, age, true)], now).is_empty() {
                at.push(age);
                plan.answered(1, 2, now, None);
            }
        }
        assert_eq!(at[..6], [50, 75, 125, 200, 300, 450]);
        assert!(at.windows(2).all(|pair| pair[1] - pair[0] <= 1_000), "{at:?}");
    }

    #[test]
    fn a_thread_that_serves_nobody_is_looked_at_later() {
        let mut plan = plan();
        assert_eq!(plan.choose(&[long(1, 3, 60, false)], SECOND).len(), 1, "the process is new");
        assert_eq!(plan.choose(&[long(1, 2, 110, false)], SECOND).len(), 0);
        assert_eq!(plan.choose(&[long(1, 2, 130, false)], SECOND).len(), 1);
        plan.answered(1, 2, SECOND, None);
        assert_eq!(plan.choose(&[long(1, 2, 240, false)], SECOND).len(), 0);
        assert_eq!(plan.choose(&[long(1, 2, 270, false)], SECOND).len(), 1, "twice as long");
    }

    #[test]
    fn one_look_at_a_time() {
        let mut plan = plan();
        assert_eq!(plan.choose(&[long(1, 2, 60, true)], SECOND).len(), 1);
        assert_eq!(plan.choose(&[long(1, 2, 600, true)], SECOND).len(), 0, "the first is under way");
        plan.refused(2);
        assert_eq!(plan.choose(&[long(1, 2, 600, true)], SECOND).len(), 1);
    }

    #[test]
    fn so_many_a_second_for_a_process_and_in_all() {
        let mut plan = plan();
        let of_one: Vec<_> = (0..30).map(|tid| long(1, tid, 200, tid >= 25)).collect();
        let chosen = plan.choose(&of_one, SECOND);
        assert_eq!(chosen.len(), 10);
        assert!(chosen[..5].iter().all(|l| l.serves), "those that clients wait for first");
        assert_eq!(plan.skipped, 20);
        let mut plan = self::plan();
        let of_many: Vec<_> = (0..90).map(|pid| long(pid, pid, 200, true)).collect();
        assert_eq!(plan.choose(&of_many, SECOND).len(), 50);
        assert_eq!(plan.skipped, 40);
        let later: Vec<_> = (0..90).map(|pid| long(pid, pid, 400, true)).collect();
        assert_eq!(plan.choose(&later, SECOND + 200 * MS).len(), 10, "as many as a fifth of a second gives");
    }

    #[test]
    fn a_process_that_cannot_be_read_is_left_alone_for_a_while() {
        let mut plan = plan();
        let turn = |age| [long(1, 2, age, true)];
        assert_eq!(plan.choose(&turn(60), SECOND).len(), 1);
        plan.answered(1, 2, SECOND, Some(&Problem::Unreadable));
        assert_eq!(plan.choose(&turn(10_000), SECOND + PAUSE - 1).len(), 0);
        assert_eq!(plan.choose(&turn(70_000), SECOND + PAUSE).len(), 1);
        for n in 0..TORN {
            plan.answered(1, 2, SECOND + PAUSE, Some(&Problem::Torn));
            let again = plan.choose(&turn(80_000 + 2_000 * u64::from(n)), SECOND + PAUSE + 1).len();
            assert_eq!(again, usize::from(n + 1 < TORN), "{n}");
        }
    }

    #[test]
    fn a_look_that_the_reader_did_not_come_to_costs_nothing() {
        let mut plan = plan();
        for n in 0..3 * u64::from(TORN) {
            let now = SECOND + n * SECOND;
            assert_eq!(plan.choose(&[long(1, 2, 60 + 2_000 * n, true)], now).len(), 1, "{n}");
            plan.answered(1, 2, now, Some(&Problem::Dropped));
        }
    }

    #[test]
    fn what_is_over_is_forgotten() {
        let mut plan = plan();
        assert_eq!(plan.choose(&[long(1, 2, 60, true)], SECOND).len(), 1);
        let mut next = long(1, 2, 60, true);
        next.turn.start += 5;
        next.turn.end += 5;
        assert_eq!(plan.choose(&[next], SECOND).len(), 1, "another turn, though the first look is under way");
        plan.choose(&[], SECOND);
        assert!(plan.turns.is_empty());
    }
}
