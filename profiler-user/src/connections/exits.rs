//! Which connections a server broke off because its process ended. Ends of processes and connections that were cut go
//! in, in the order in which the kernel told of them; what belongs together goes out. A worker closes its connections
//! before it ends (an exception), or the kernel does it for it (a signal): either may come first. Pure and bounded.

use std::collections::VecDeque;

/// Between the two at the most, ns: a worker that has broken off what it did goes soon.
const SOON: u64 = 2_000_000_000;
/// So many of each are remembered.
const MOST: usize = 1_024;

/// What has ended lately.
#[derive(Debug, Default)]
pub(super) struct Exits {
    /// The time of the last thing that was told, ns: ends of processes come without one.
    now: u64,
    /// Processes that ended, and when.
    ended: VecDeque<(u32, u64)>,
    /// Connections that were cut: whose, when, and of which row.
    cut: VecDeque<(u32, u64, u32)>,
}

impl Exits {
    /// It is that late, ns.
    pub(super) fn at(&mut self, now: u64) {
        self.now = self.now.max(now);
    }

    /// A process has broken off a connection of this row. True when it had ended.
    pub(super) fn cut(&mut self, pid: u32, row: u32) -> bool {
        let now = self.now;
        self.ended.retain(|(_, at)| now - at <= SOON);
        if self.ended.iter().any(|(ended, _)| *ended == pid) {
            return true;
        }
        if self.cut.len() >= MOST {
            self.cut.pop_front();
        }
        self.cut.push_back((pid, now, row));
        false
    }

    /// A process has ended: the rows of the connections that it had broken off just before, one for each.
    pub(super) fn ended(&mut self, pid: u32) -> Vec<u32> {
        let now = self.now;
        if self.ended.len() >= MOST {
            self.ended.pop_front();
        }
        self.ended.push_back((pid, now));
        self.cut.retain(|(_, at, _)| now - at <= SOON);
        let rows = self.cut.iter().filter(|(own, ..)| *own == pid).map(|(_, _, row)| *row).collect();
        self.cut.retain(|(own, ..)| *own != pid);
        rows
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn either_may_come_first() {
        let mut exits = Exits::default();
        exits.at(10 * SOON);
        assert!(!exits.cut(1, 7) && !exits.cut(1, 8) && !exits.cut(2, 7));
        exits.at(11 * SOON);
        assert_eq!(exits.ended(1), [7, 8]);
        assert!(exits.cut(1, 9), "it had ended");
        assert!(exits.ended(1).is_empty(), "each is told once");
    }

    /// A process that goes long after, or another one with its number.
    #[test]
    fn what_does_not_belong_together() {
        let mut exits = Exits::default();
        exits.at(10 * SOON);
        exits.cut(1, 7);
        exits.ended(2);
        exits.at(11 * SOON + 1);
        assert!(exits.ended(1).is_empty());
        assert!(!exits.cut(2, 7));
    }

    #[test]
    fn it_does_not_grow() {
        let mut exits = Exits::default();
        for pid in 0..3 * MOST as u32 {
            exits.cut(pid, 0);
            exits.ended(pid + 1_000_000);
        }
        assert_eq!((exits.cut.len(), exits.ended.len()), (MOST, MOST));
    }
}
