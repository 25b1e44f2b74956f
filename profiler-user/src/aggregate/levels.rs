//! How much time was spent with how many exchanges under way: their begins and ends come in as they end, times at each
//! level go out.
//!
//! Those that have ended lately are kept. What is older is settled: an exchange that goes on for longer than a thousand
//! others take to end counts from there on.

/// Intervals looked at together.
const KEPT: usize = 1_024;
/// Levels told apart; what is higher counts as the highest.
const LEVELS: usize = 256;

/// Time at each number of exchanges under way, ns.
#[derive(Debug, Clone, Default)]
pub struct Levels {
    kept: Vec<(u64, u64)>,
    /// At `n + 1` exchanges, up to `settled`.
    times: Vec<u64>,
    settled: u64,
}

impl Levels {
    /// Adds an exchange from `start` to `end`.
    pub fn add(&mut self, start: u64, end: u64) {
        let start = start.max(self.settled);
        if start >= end {
            return;
        }
        self.kept.push((start, end));
        if self.kept.len() >= KEPT {
            self.kept.sort_unstable_by_key(|(_, end)| *end);
            let to = self.kept[KEPT / 2].1;
            sweep(&self.kept, to, &mut self.times);
            self.kept.retain_mut(|(start, end)| {
                *start = to.max(*start);
                *end > to
            });
            self.settled = to;
        }
    }

    /// The time with at least `level` under way, ns.
    pub fn at_least(&self, level: u64) -> u64 {
        let mut times = self.times.clone();
        sweep(&self.kept, u64::MAX, &mut times);
        let below = usize::try_from(level.max(1)).unwrap_or(LEVELS).min(LEVELS) - 1;
        times.iter().skip(below).sum()
    }

    /// Adds another's times: those of rows that are shown as one.
    pub fn merge(&mut self, other: &Self) {
        let mut times = other.times.clone();
        sweep(&other.kept, u64::MAX, &mut times);
        self.times.resize(self.times.len().max(times.len()), 0);
        self.times.iter_mut().zip(times).for_each(|(ours, theirs)| *ours += theirs);
    }
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
            let at = level.min(LEVELS) - 1;
            if times.len() <= at {
                times.resize(at + 1, 0);
            }
            times[at] += time - last;
        }
        last = time;
        level = if begins { level + 1 } else { level.saturating_sub(1) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_at_each_level() {
        let mut levels = Levels::default();
        assert_eq!(levels.at_least(1), 0);
        for (start, end) in [(0, 10), (5, 15), (10, 20), (30, 40), (7, 7)] {
            levels.add(start, end);
        }
        assert_eq!([1, 2, 3].map(|level| levels.at_least(level)), [30, 10, 0]);
        let mut both = levels.clone();
        both.merge(&levels);
        assert_eq!([1, 2].map(|level| both.at_least(level)), [60, 20]);
    }

    /// Five at a time, without a gap.
    #[test]
    fn any_number_of_them_in_bounded_room() {
        let mut levels = Levels::default();
        let all = 20_000_u64;
        for n in 0..all {
            levels.add(n * 10, n * 10 + 50);
            assert!(levels.kept.len() < KEPT);
        }
        assert_eq!(levels.at_least(1), all * 10 + 40);
        assert_eq!(levels.at_least(5), all * 10 - 40);
        assert_eq!(levels.at_least(6), 0);
    }

    #[test]
    fn more_than_the_highest_level_is_the_highest() {
        let mut levels = Levels::default();
        (0..1_000).for_each(|n| levels.add(n, 5_000));
        assert_eq!(levels.at_least(1), 5_000);
        assert_eq!(levels.at_least(10_000), levels.at_least(LEVELS as u64));
        assert!(levels.times.len() <= LEVELS);
    }
}
