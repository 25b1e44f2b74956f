//! Looks that have no answer yet, and how long one may take. In come looks, answers and the time, out goes whom to blame
//! when none came in time. Pure.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::wire::Ask;

/// Looks that wait at the most.
pub(super) const WAITING: usize = 64;

/// The looks, in the order in which the reader begins them.
#[derive(Debug)]
pub(super) struct Asked {
    asks: VecDeque<Ask>,
    /// When the reader came to the first of them: those before it were answered then.
    since: Instant,
}

impl Asked {
    pub(super) fn new(now: Instant) -> Self {
        Self { asks: VecDeque::new(), since: now }
    }

    /// One more; false where too many wait already.
    pub(super) fn push(&mut self, ask: Ask, now: Instant) -> bool {
        if self.asks.len() >= WAITING {
            return false;
        }
        if self.asks.is_empty() {
            self.since = now;
        }
        self.asks.push_back(ask);
        true
    }

    /// One has its answer. The reader may answer a later one first, while it looks up names for the first: that does not
    /// give the first one more time.
    pub(super) fn answered(&mut self, ask: &Ask, now: Instant) {
        if self.asks.front() == Some(ask) {
            self.since = now;
        }
        self.asks.retain(|asked| asked != ask);
    }

    /// What is left of the time that the first one has; None where none waits.
    pub(super) fn left(&self, patience: Duration, now: Instant) -> Option<Duration> {
        let taken = now.saturating_duration_since(self.since);
        self.asks.front().map(|_| patience.saturating_sub(taken))
    }

    /// All of them, and none waits any more. The first is the one that the reader was at.
    pub(super) fn take(&mut self) -> impl Iterator<Item = Ask> {
        self.asks.drain(..)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn ask(tid: u32) -> Ask {
        Ask { pid: 1, tid, start: 7 }
    }

    #[test]
    fn the_time_runs_from_when_a_look_began() {
        let begin = Instant::now();
        let mut asked = Asked::new(begin);
        let left = |asked: &Asked, after: u32| asked.left(5 * SECOND, begin + after * SECOND);
        assert_eq!(left(&asked, 1), None);
        for tid in 1..=3 {
            assert!(asked.push(ask(tid), begin + SECOND));
        }
        assert_eq!(left(&asked, 4), Some(2 * SECOND));
        asked.answered(&ask(3), begin + 4 * SECOND);
        assert_eq!(left(&asked, 4), Some(2 * SECOND), "the first still waits");
        asked.answered(&ask(1), begin + 4 * SECOND);
        assert_eq!(left(&asked, 4), Some(5 * SECOND), "the second has all its time");
        assert_eq!(left(&asked, 10), Some(Duration::ZERO));
        assert_eq!(asked.take().collect::<Vec<_>>(), [ask(2)]);
        assert_eq!(left(&asked, 10), None);
        assert!(asked.push(ask(4), begin + 10 * SECOND));
        assert_eq!(left(&asked, 11), Some(4 * SECOND));
    }

    #[test]
    fn not_more_than_so_many() {
        let now = Instant::now();
        let mut asked = Asked::new(now);
        assert_eq!((0..100).filter(|tid| asked.push(ask(*tid), now)).count(), WAITING);
        asked.answered(&ask(0), now);
        assert!(asked.push(ask(0), now));
    }
}
