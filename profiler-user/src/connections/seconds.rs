//! Seconds in which something happened: their numbers come in, how many different ones there were goes out. Pure.

/// Distinct seconds, told of in about their order.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Seconds {
    pub(super) count: u64,
    last: u64,
    /// Bit n: the nth second before the last.
    seen: u64,
}

impl Seconds {
    pub(super) fn add(&mut self, second: u64) {
        if self.seen == 0 || second > self.last {
            let by = u32::try_from(second - self.last).unwrap_or(u32::MAX);
            self.seen = self.seen.checked_shl(by).unwrap_or(0) | 1;
            (self.last, self.count) = (second, self.count + 1);
            return;
        }
        let bit = u32::try_from(self.last - second).ok().and_then(|by| 1u64.checked_shl(by));
        if let Some(bit) = bit.filter(|bit| self.seen & bit == 0) {
            self.seen |= bit;
            self.count += 1;
        }
    }

    /// Of rows that are shown as one.
    pub(super) fn merge(&mut self, other: &Self) {
        self.count = self.count.max(other.count);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_are_counted_once_in_any_order() {
        let mut seconds = Seconds::default();
        [3, 3, 5, 4, 3, 5, 200, 199, 3].into_iter().for_each(|s| seconds.add(s));
        // The last comes too late to be told from the first.
        assert_eq!(seconds.count, 5);
        let mut first = Seconds::default();
        first.add(0);
        first.add(0);
        assert_eq!(first.count, 1);
    }
}
