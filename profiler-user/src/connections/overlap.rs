//! How many requests were under way at one time: their begins and ends come in as they end, the peak goes out.
//!
//! The last [`KEPT`] are kept. So the peak is exact as long as no more than half of that end while another one goes on;
//! for longer ones the surveys of the table count.

/// Intervals looked at together.
const KEPT: usize = 2_048;

/// Intervals, and the most of them that shared an instant.
#[derive(Debug, Default)]
pub(super) struct Overlap {
    kept: Vec<(u64, u64)>,
    peak: u64,
}

impl Overlap {
    /// Adds the interval from `start` to `end`.
    pub(super) fn add(&mut self, start: u64, end: u64) {
        if self.kept.len() >= KEPT {
            self.peak = self.most();
            self.kept.drain(..KEPT / 2);
        }
        // One that ends as it begins takes its instant, too.
        self.kept.push((start, end.max(start + 1)));
    }

    /// The most at one time, of all so far.
    pub(super) fn most(&self) -> u64 {
        let mut edges: Vec<(u64, bool)> =
            self.kept.iter().flat_map(|(start, end)| [(*start, true), (*end, false)]).collect();
        // Who ends at an instant makes room for who begins at it.
        edges.sort_unstable();
        let (mut now, mut most) = (0_u64, 0_u64);
        for (_, begins) in edges {
            now = if begins { now + 1 } else { now.saturating_sub(1) };
            most = most.max(now);
        }
        self.peak.max(most)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_most_at_one_time() {
        let mut overlap = Overlap::default();
        assert_eq!(overlap.most(), 0);
        for (start, end) in [(0, 10), (5, 15), (10, 20), (30, 40)] {
            overlap.add(start, end);
        }
        assert_eq!(overlap.most(), 2);
    }

    #[test]
    fn an_instant_counts() {
        let mut overlap = Overlap::default();
        overlap.add(0, 9);
        overlap.add(5, 5);
        assert!(overlap.most() >= 1);
    }

    #[test]
    fn any_number_of_them_in_bounded_room() {
        let mut overlap = Overlap::default();
        // Fifty clients, each with one request after the other.
        for n in 0..20_000_u64 {
            overlap.add(n, n + 50);
        }
        assert_eq!(overlap.most(), 50);
        assert!(overlap.kept.len() <= KEPT);
    }
}
