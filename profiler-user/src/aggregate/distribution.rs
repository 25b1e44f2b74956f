//! A distribution while it grows: durations, sizes and counts go in, [`Distribution`] comes out.
//!
//! Rows of a report are many and most of them see few exchanges, so the first samples are kept as they are (and their
//! quantiles are exact); only past 16 of them a DDSketch (relative error 1 %, Masson et al., VLDB 2019) takes over.
//! Sum, smallest and largest are exact always.
//!
//! A quantile is by nearest rank: the smallest sample that at least that share of the samples do not exceed.

use std::fmt;

use sketches_ddsketch::{Config, DDSketch};

use super::buckets::Buckets;
use crate::report::Distribution;

/// Samples kept as they are before the sketch takes over.
const EXACT: usize = 16;
/// A little under the promised 1 %, so that rounding at a bucket's edge stays within it.
const ALPHA: f64 = 0.0099;
/// Samples in between count as zero and as this: sub-nanosecond durations and sizes beyond an exabyte do not exist.
const SMALLEST: f64 = 5e-10;
const LARGEST: f64 = 1e20;
/// More than the buckets from `SMALLEST` to `LARGEST` need (29.3 decades, 116.3 buckets each), so none ever collapse.
const MAX_BUCKETS: u32 = 4096;

/// A growing distribution of samples that are zero or more. Takes no heap memory while empty.
#[derive(Clone, Default)]
pub struct Histogram {
    count: u64,
    sum: f64,
    min: f64,
    max: f64,
    /// All samples while they are at most [`EXACT`], afterwards empty.
    few: Vec<f64>,
    /// All samples once they are more.
    many: Option<Box<DDSketch>>,
}

impl Histogram {
    /// Adds a sample. A negative one counts as zero (a clock that ran backwards); what is not finite is ignored.
    pub fn record(&mut self, sample: f64) {
        if !sample.is_finite() {
            return;
        }
        // Keeps -0.0 out as well.
        let sample = if sample > 0.0 { sample } else { 0.0 };
        self.widen(1, sample, sample, sample);
        if self.many.is_none() && self.few.len() < EXACT {
            self.few.push(sample);
        } else {
            self.sketch().add(sample.min(LARGEST));
        }
    }

    /// Adds a sample where there is one.
    pub fn record_opt(&mut self, sample: Option<f64>) {
        if let Some(sample) = sample {
            self.record(sample);
        }
    }

    /// Adds all samples of another distribution.
    pub fn merge(&mut self, other: &Self) {
        other.few.iter().for_each(|sample| self.record(*sample));
        if let Some(theirs) = &other.many {
            self.widen(other.count, other.sum, other.min, other.max);
            let merged = self.sketch().merge(theirs);
            debug_assert!(merged.is_ok(), "all sketches share one configuration");
        }
    }

    /// The samples in buckets with fixed bounds; those up to 2 % above a bound may be below it, none that is on it above.
    pub fn buckets(&self, bounds: &'static [f64]) -> Buckets {
        let mut buckets = Buckets::new(bounds);
        if self.many.is_none() {
            self.few.iter().for_each(|sample| buckets.record(*sample));
            return buckets;
        }
        let mut before = 0;
        let each = bounds.iter().chain([&f64::INFINITY]).map(|bound| {
            let upto = self.at_most(*bound);
            (*bound, upto - std::mem::replace(&mut before, upto))
        });
        buckets.record_each(each, self.sum);
        buckets
    }

    /// How many samples are not above `bound`, once they are many: the first rank whose sample is. A sample on the bound
    /// may stand a little above it.
    fn at_most(&self, bound: f64) -> u64 {
        let bound = bound * (1.0 + ALPHA);
        let (mut low, mut high) = (0, self.count);
        while low < high {
            let middle = low + (high - low) / 2;
            if self.ranked(&[], middle) <= bound { low = middle + 1 } else { high = middle }
        }
        low
    }

    /// Number of samples.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// Sum of all samples.
    pub fn sum(&self) -> f64 {
        self.sum
    }

    /// The distribution so far; `None` when nothing was recorded.
    pub fn snapshot(&self) -> Option<Distribution> {
        if self.count == 0 {
            return None;
        }
        let mut sorted = self.few.clone();
        sorted.sort_unstable_by(f64::total_cmp);
        let quantile = |permille| self.quantile(&sorted, permille);
        Some(Distribution {
            count: self.count,
            sum: self.sum,
            min: self.min,
            p50: quantile(500),
            p90: quantile(900),
            p95: quantile(950),
            p99: quantile(990),
            p999: quantile(999),
            max: self.max,
        })
    }

    /// The quantile by nearest rank; `sorted` holds the samples while they are few.
    fn quantile(&self, sorted: &[f64], permille: u64) -> f64 {
        self.ranked(sorted, rank(self.count, permille))
    }

    /// The sample with this rank, from 0.
    fn ranked(&self, sorted: &[f64], rank: u64) -> f64 {
        let value = match &self.many {
            None => sorted.get(rank as usize).copied(),
            Some(_) if rank + 1 >= self.count => None,
            // The sketch takes the rank as a share of `count - 1` and rounds down: aim at the middle of ours.
            Some(sketch) => sketch.quantile((rank as f64 + 0.5) / (self.count - 1) as f64).ok().flatten(),
        };
        value.unwrap_or(self.max).clamp(self.min, self.max)
    }

    fn widen(&mut self, count: u64, sum: f64, min: f64, max: f64) {
        (self.min, self.max) =
            if self.count == 0 { (min, max) } else { (self.min.min(min), self.max.max(max)) };
        self.count += count;
        self.sum += sum;
    }

    /// The sketch, made of the few samples when there is none yet.
    fn sketch(&mut self) -> &mut DDSketch {
        let few = std::mem::take(&mut self.few);
        self.many.get_or_insert_with(|| {
            let mut sketch = Box::new(DDSketch::new(Config::new(ALPHA, MAX_BUCKETS, SMALLEST)));
            few.iter().for_each(|sample| sketch.add(sample.min(LARGEST)));
            sketch
        })
    }
}

impl fmt::Debug for Histogram {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Histogram").field(&self.snapshot()).finish()
    }
}

/// The sample's place, from 0, in sorted order.
fn rank(count: u64, permille: u64) -> u64 {
    let upto = (u128::from(count) * u128::from(permille)).div_ceil(1000) as u64;
    upto.clamp(1, count) - 1
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn of(samples: &[f64]) -> Histogram {
        let mut histogram = Histogram::default();
        samples.iter().for_each(|sample| histogram.record(*sample));
        histogram
    }

    fn check(samples: &[f64], histogram: &Histogram) {
        let mut sorted = samples.to_vec();
        sorted.sort_unstable_by(f64::total_cmp);
        let d = histogram.snapshot().unwrap();
        assert_eq!(d.count as usize, sorted.len());
        assert_eq!((d.min, d.max), (sorted[0], sorted[sorted.len() - 1]));
        let sum: f64 = sorted.iter().sum();
        assert!((d.sum - sum).abs() <= sum * 1e-9, "{} {sum}", d.sum);
        for (permille, got) in [(500, d.p50), (900, d.p90), (950, d.p95), (990, d.p99), (999, d.p999)] {
            let exact = sorted[rank(d.count, permille) as usize];
            assert!((got - exact).abs() <= exact * 0.01 + 1e-9, "{permille}: {got} is not {exact}");
        }
    }

    #[test]
    fn fixed_buckets_hold_every_sample() {
        use crate::aggregate::buckets::{EXCHANGES, LOOP_SECONDS};
        assert_eq!(Histogram::default().buckets(EXCHANGES), Buckets::new(EXCHANGES));
        let mut few = Histogram::default();
        [0.0, 1.0, 1.0, 3.0].into_iter().for_each(|sample| few.record(sample));
        assert_eq!(
            (few.buckets(EXCHANGES).counts[..4].to_vec(), few.buckets(EXCHANGES).sum),
            (vec![1, 2, 0, 1], 5.0)
        );
        let (mut many, mut truth) = (Histogram::default(), Buckets::new(LOOP_SECONDS));
        for n in 0..10_000 {
            let sample = f64::from(n) * 0.000_3 + 0.000_07;
            many.record(sample);
            truth.record(sample);
        }
        let found = many.buckets(LOOP_SECONDS);
        assert_eq!(found.count, 10_000);
        assert!((found.sum - truth.sum).abs() < 1e-6 * truth.sum);
        for ((bound, found), (_, truth)) in found.cumulated().zip(truth.cumulated()) {
            assert!(
                found >= truth && found as f64 <= 1.0 + 1.021 * truth as f64,
                "{bound}: {found} of {truth}"
            );
        }
        let mut uses = Histogram::default();
        (0..4_000).for_each(|n| uses.record(f64::from([0u8, 1, 2, 50][n % 4])));
        let counts = uses.buckets(EXCHANGES).counts;
        assert_eq!(counts[..8], [1_000, 1_000, 1_000, 0, 0, 0, 1_000, 0]);
    }

    #[test]
    fn empty_is_none_and_takes_no_heap() {
        let histogram = of(&[]);
        assert_eq!(histogram.snapshot(), None);
        assert_eq!(histogram.few.capacity(), 0);
        assert!(histogram.many.is_none());
        assert!(size_of::<Histogram>() <= 64);
    }

    #[test]
    fn one_sample_is_every_quantile() {
        let d = of(&[0.25]).snapshot().unwrap();
        assert_eq!([d.min, d.p50, d.p90, d.p999, d.max, d.sum], [0.25; 6]);
    }

    #[test]
    fn few_samples_are_exact_and_the_tail_is_the_largest() {
        let d = of(&[5.0, 1.0, 4.0, 2.0, 3.0, 6.0, 7.0, 8.0, 9.0, 10.0]).snapshot().unwrap();
        assert_eq!([d.p50, d.p90, d.p95, d.p99], [5.0, 9.0, 10.0, 10.0]);
    }

    #[test]
    fn zeros_negatives_and_the_not_finite() {
        let mut samples = vec![0.0; 60];
        samples.extend([-1.0, f64::NAN, f64::INFINITY, f64::NEG_INFINITY, 3.0]);
        let d = of(&samples).snapshot().unwrap();
        assert_eq!((d.count, d.min, d.p50, d.p95, d.max, d.sum), (62, 0.0, 0.0, 0.0, 3.0, 3.0));
    }

    #[test]
    fn optional_samples_count_only_when_there() {
        let mut histogram = Histogram::default();
        histogram.record_opt(None);
        histogram.record_opt(Some(1.0));
        assert_eq!(histogram.count(), 1);
    }

    #[test]
    fn extremes_do_not_disturb_the_others() {
        let mut samples: Vec<f64> = (1..=1000).map(|n| f64::from(n) * 1e-6).collect();
        samples.extend([f64::MAX, f64::MIN_POSITIVE]);
        let d = of(&samples).snapshot().unwrap();
        assert_eq!((d.min, d.max), (f64::MIN_POSITIVE, f64::MAX));
        assert!((d.p50 - 5e-4).abs() < 5e-6);
    }

    proptest! {
        #[test]
        fn quantiles_are_within_one_percent(exponents in prop::collection::vec(-9.0..15.0f64, 1..600)) {
            let samples: Vec<f64> = exponents.iter().map(|e| 10f64.powf(*e)).collect();
            check(&samples, &of(&samples));
        }

        #[test]
        fn merged_is_as_recorded_at_once(
            left in prop::collection::vec(0.0..10.0f64, 0..60),
            right in prop::collection::vec(0.0..1e-3f64, 0..60),
        ) {
            let mut merged = of(&left);
            merged.merge(&of(&right));
            let all: Vec<f64> = left.iter().chain(&right).copied().collect();
            if all.is_empty() {
                prop_assert_eq!(merged.snapshot(), None);
            } else {
                check(&all, &merged);
            }
        }

        #[test]
        fn never_panics(samples in prop::collection::vec(any::<f64>(), 0..100)) {
            let _ = of(&samples).snapshot();
        }
    }
}
