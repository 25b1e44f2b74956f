//! How much time was spent with how many exchanges under way: their begins and ends come in as they end, times at each
//! level go out.
//!
//! Those that have ended lately are kept. What is older is settled, with what is known to be under way by then: an
//! exchange that goes on for longer than a thousand others take to end counts from its begin on if it was seen meanwhile,
//! else from there on.

use rustc_hash::FxHashMap;

/// Intervals looked at together.
const KEPT: usize = 1_024;
/// Levels told apart; what is higher counts as the highest.
const LEVELS: usize = KEPT;
/// A level that is passed for no more than this part of the time is left out of a plateau: load goes there for moments.
const RARE: f64 = 0.05;

/// A connection, which has one exchange under way at a time.
pub type Whose = (u64, u64);

/// The highest level that is more than a moment's.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Plateau {
    pub level: u64,
    /// Time with at least so many under way, and with at least one, ns.
    pub full: u64,
    pub used: u64,
}

/// Time at each number of exchanges under way, ns.
#[derive(Debug, Clone, Default)]
pub struct Levels {
    kept: Vec<(u64, u64)>,
    /// At `n + 1` exchanges, up to `settled`.
    times: Vec<u64>,
    settled: u64,
    /// Those under way when last looked at: whose, and the begin of each.
    under_way: FxHashMap<Whose, u64>,
    looked: u64,
}

impl Levels {
    /// Looks anew at what is under way.
    pub fn look(&mut self) {
        self.under_way.clear();
    }

    /// An exchange that began at `start` is under way `now`.
    pub fn see(&mut self, whose: Whose, start: u64, now: u64) {
        self.under_way.insert(whose, start);
        self.looked = now;
    }

    /// Adds an exchange from `start` to `end`.
    pub fn add(&mut self, whose: Whose, start: u64, end: u64) {
        if self.under_way.get(&whose) == Some(&start) {
            self.under_way.remove(&whose);
        }
        let start = start.max(self.settled);
        if start >= end {
            return;
        }
        self.kept.push((start, end));
        if self.kept.len() >= KEPT {
            self.kept.sort_unstable_by_key(|(_, end)| *end);
            let to = self.kept[KEPT / 2].1;
            sweep(&self.known(to), to, &mut self.times);
            self.kept.retain_mut(|(start, end)| {
                *start = to.max(*start);
                *end > to
            });
            self.settled = to;
        }
    }

    /// Adds time at one level, of something that is known as it goes on, ns.
    pub fn spend(&mut self, level: u64, time: u64) {
        if level > 0 && time > 0 {
            put(&mut self.times, usize::try_from(level).unwrap_or(LEVELS), time);
        }
    }

    /// The highest level that is more than a moment's. Where there is a limit, most of the time that anything is under
    /// way is spent at it, and next to none above. Load that varies on its own has no such level: it spends as much time
    /// below its highest ones as at them, or more, so little of the time is `full`.
    pub fn plateau(&self) -> Plateau {
        let times = self.all();
        let used: u64 = times.iter().sum();
        let (level, full) = highest(&times, RARE * used as f64);
        Plateau { level, full, used }
    }

    /// The level that half of the time is at or above.
    pub fn median(&self) -> u64 {
        let times = self.all();
        highest(&times, times.iter().sum::<u64>() as f64 / 2.0).0
    }

    fn all(&self) -> Vec<u64> {
        let mut times = self.times.clone();
        sweep(&self.known(self.looked), u64::MAX, &mut times);
        times
    }

    /// Those that are not settled; what is under way goes on up to `to` at the least.
    fn known(&self, to: u64) -> Vec<(u64, u64)> {
        let under_way = self.under_way.values().map(|start| ((*start).max(self.settled), to));
        self.kept.iter().copied().chain(under_way.filter(|(start, to)| start < to)).collect()
    }

    /// Adds another's times: those of rows that are shown as one.
    pub fn merge(&mut self, other: &Self) {
        let times = other.all();
        self.times.resize(self.times.len().max(times.len()), 0);
        self.times.iter_mut().zip(times).for_each(|(ours, theirs)| *ours += theirs);
    }
}

/// The highest level with more than `least` of the time at it or above, and that time.
fn highest(times: &[u64], least: f64) -> (u64, u64) {
    let mut above = 0;
    for (below, time) in times.iter().enumerate().rev() {
        above += time;
        if above as f64 > least {
            return (below as u64 + 1, above);
        }
    }
    (0, 0)
}

/// Adds time at a level, which is not 0.
fn put(times: &mut Vec<u64>, level: usize, time: u64) {
    let at = level.min(LEVELS) - 1;
    if times.len() <= at {
        times.resize(at + 1, 0);
    }
    times[at] += time;
}

/// Adds the time at each level up to `to`.
fn sweep(intervals: &[(u64, u64)], to: u64, times: &mut Vec<u64>) {
    let mut edges: Vec<(u64, bool)> =
        intervals.iter().flat_map(|(start, end)| [(*start, true), (*end, false)]).collect();
    edges.sort_unstable();
    let (mut level, mut last) = (0_usize, 0_u64);
    for (time, begins) in edges {
        let time = time.min(to);
        if level > 0 && time > last {
            put(times, level, time - last);
        }
        last = time;
        level = if begins { level + 1 } else { level.saturating_sub(1) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ANY: Whose = (1, 1);

    fn plateau(level: u64, full: u64, used: u64) -> Plateau {
        Plateau { level, full, used }
    }

    /// Time at each level, from the first on.
    fn spent(times: &[u64]) -> Levels {
        let mut levels = Levels::default();
        (1..).zip(times).for_each(|(level, time)| levels.spend(level, *time));
        levels
    }

    #[test]
    fn time_at_each_level() {
        let mut levels = Levels::default();
        assert_eq!(levels.plateau(), Plateau::default());
        for (start, end) in [(0, 10), (5, 15), (10, 20), (30, 40), (7, 7)] {
            levels.add(ANY, start, end);
        }
        assert_eq!((levels.plateau(), levels.median()), (plateau(2, 10, 30), 1));
        let mut both = levels.clone();
        both.merge(&levels);
        assert_eq!((both.plateau(), both.median()), (plateau(2, 20, 60), 1));
    }

    /// Five at a time, without a gap.
    #[test]
    fn any_number_of_them_in_bounded_room() {
        let mut levels = Levels::default();
        let all = 20_000_u64;
        for n in 0..all {
            levels.add(ANY, n * 10, n * 10 + 50);
            assert!(levels.kept.len() < KEPT);
        }
        assert_eq!(levels.plateau(), plateau(5, all * 10 - 40, all * 10 + 40));
    }

    /// One at a time, and another one beside half of them.
    #[test]
    fn one_that_goes_on_while_many_others_end() {
        let (all, long) = (10_000_u64, (2, 2));
        let mut levels = Levels::default();
        for n in 0..all {
            if n % 100 == 0 {
                levels.look();
                if n < all / 2 {
                    levels.see(long, 0, n * 10);
                }
            }
            levels.add(ANY, n * 10, n * 10 + 10);
            if n + 1 == all / 2 {
                let before_the_last_look = (n - n % 100) * 10;
                assert_eq!(levels.plateau(), plateau(2, before_the_last_look, all * 5));
                levels.add(long, 0, all * 5);
                assert_eq!(levels.plateau(), plateau(2, all * 5, all * 5));
            }
        }
        assert_eq!(levels.plateau(), plateau(2, all * 5, all * 10), "it has ended");
    }

    #[test]
    fn more_than_the_highest_level_is_the_highest() {
        let mut levels = spent(&[0, 0, 7]);
        levels.spend(1_000_000, 5_000);
        levels.spend(0, 9);
        assert_eq!(levels.plateau(), plateau(LEVELS as u64, 5_000, 5_007));
        assert_eq!(levels.times.len(), LEVELS);
    }

    #[test]
    fn a_moment_above_the_plateau_is_passed_over() {
        assert_eq!(spent(&[40, 10, 10, 40, 880, 20]).plateau(), plateau(5, 900, 1_000));
        assert_eq!(
            spent(&[40, 10, 10, 40, 500, 400]).plateau(),
            plateau(6, 400, 1_000),
            "more than a moment"
        );
    }

    /// About four at a time of as many as there may be: there is a highest level, and next to no time is spent at it.
    #[test]
    fn load_that_varies_has_no_plateau() {
        let poisson = [73, 147, 195, 195, 156, 104, 60, 30, 13, 5, 2, 1];
        let Plateau { level, full, used } = spent(&poisson).plateau();
        assert!(level == 8 && full * 10 < used, "{level}: {full} of {used}");
    }
}
