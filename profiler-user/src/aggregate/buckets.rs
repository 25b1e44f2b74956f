//! A histogram with fixed bounds, as Prometheus and OpenTelemetry export it.
//!
//! Comes in: single values, or another histogram to merge. Goes out: counts by bucket with their sum. The report's own
//! quantiles come from a sketch that is far finer; these buckets exist because dashboards can add them across hosts.

/// Bounds that OpenTelemetry advises for HTTP durations, seconds.
pub const HTTP_SECONDS: &[f64] =
    &[0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0];
/// Bounds that OpenTelemetry advises for database operations, seconds.
pub const DATABASE_SECONDS: &[f64] = &[0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 10.0];
/// Bounds that OpenTelemetry advises for returned rows.
pub const ROWS: &[f64] =
    &[1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0, 1000.0, 2000.0, 5000.0, 10000.0];

/// Our own for turns of event loops, most of which take microseconds, and for their stalls.
pub const LOOP_SECONDS: &[f64] =
    &[0.0001, 0.0005, 0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];

/// Bounds that OpenTelemetry advises for lives of connections, seconds.
pub const CONNECTION_SECONDS: &[f64] =
    &[0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0];
/// Our own for exchanges of a connection: none and one are what matters.
pub const EXCHANGES: &[f64] = &[0.0, 1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0, 1000.0, 10000.0];

/// Counts of values by bucket.
#[derive(Debug, Clone, PartialEq)]
pub struct Buckets {
    /// Upper bounds, inclusive and ascending; one more bucket takes what is above the last.
    pub bounds: &'static [f64],
    /// Values in each bucket alone (not cumulated), `bounds.len() + 1` of them.
    pub counts: Vec<u64>,
    pub sum: f64,
    pub count: u64,
}

impl Buckets {
    pub fn new(bounds: &'static [f64]) -> Self {
        Self { bounds, counts: vec![0; bounds.len() + 1], sum: 0.0, count: 0 }
    }

    /// Counts one value. What is no number is left out: one NaN would make the sum useless for ever.
    pub fn record(&mut self, value: f64) {
        if value.is_finite() {
            self.add(value, 1);
            self.sum += value;
        }
    }

    /// Counts values that are known to a bucket of another histogram only, at its middle; their sum comes apart.
    pub fn record_each(&mut self, values: impl Iterator<Item = (f64, u64)>, sum: f64) {
        for (value, times) in values {
            self.add(value, times);
        }
        self.sum += sum;
    }

    /// Adds another histogram's values. With other bounds its values count at their own bucket's upper bound: none is
    /// lost and none is shown as faster than it was.
    pub fn merge(&mut self, other: &Self) {
        for (index, count) in other.counts.iter().enumerate() {
            self.add(other.bounds.get(index).copied().unwrap_or(f64::INFINITY), *count);
        }
        self.sum += other.sum;
    }

    /// `(upper bound, values up to it)`, the last bound being infinite.
    pub fn cumulated(&self) -> impl Iterator<Item = (f64, u64)> {
        let bounds = self.bounds.iter().copied().chain(std::iter::once(f64::INFINITY));
        bounds.zip(self.counts.iter().scan(0, |total, count| {
            *total += count;
            Some(*total)
        }))
    }

    fn add(&mut self, value: f64, times: u64) {
        let bucket = self.bounds.partition_point(|bound| *bound < value);
        if let Some(count) = self.counts.get_mut(bucket) {
            *count += times;
            self.count += times;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_are_inclusive() {
        let mut buckets = Buckets::new(DATABASE_SECONDS);
        for value in [0.0, 0.001, 0.0011, 10.0, 10.1] {
            buckets.record(value);
        }
        assert_eq!(buckets.counts, [2, 1, 0, 0, 0, 0, 0, 0, 1, 1]);
        assert_eq!(buckets.count, 5);
        assert!((buckets.sum - 20.1021).abs() < 1e-9);
        assert_eq!(buckets.cumulated().last(), Some((f64::INFINITY, 5)));
    }

    #[test]
    fn what_is_no_number_is_left_out() {
        let mut buckets = Buckets::new(HTTP_SECONDS);
        buckets.record(f64::NAN);
        buckets.record(f64::INFINITY);
        assert_eq!(buckets, Buckets::new(HTTP_SECONDS));
    }

    #[test]
    fn values_of_another_histogram_keep_their_sum() {
        let mut buckets = Buckets::new(LOOP_SECONDS);
        buckets.record_each([(0.0003, 5), (0.3, 2)].into_iter(), 0.61);
        assert_eq!((buckets.counts[1], buckets.counts[9], buckets.count, buckets.sum), (5, 2, 7, 0.61));
    }

    #[test]
    fn merging_loses_nothing() {
        let mut one = Buckets::new(HTTP_SECONDS);
        let mut two = Buckets::new(HTTP_SECONDS);
        one.record(0.3);
        two.record(0.3);
        two.record(99.0);
        one.merge(&two);
        assert_eq!((one.count, one.counts[7], one.counts[14]), (3, 2, 1));

        // 0.3 s is in the database bucket up to 0.5 s.
        let mut other = Buckets::new(DATABASE_SECONDS);
        other.record(0.3);
        one.merge(&other);
        assert_eq!((one.count, one.counts[7]), (4, 3));
        assert!((one.sum - 99.9).abs() < 1e-9);
    }
}
