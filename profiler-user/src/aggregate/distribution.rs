//! A distribution while it grows: durations, sizes and counts go in, [`Distribution`] comes out.
//!
//! Rows of a report are many and most of them see few exchanges, so the first samples are kept as they are (and their
//! quantiles are exact); only past 16 of them a DDSketch (relative error 1 %, Masson et al., VLDB 2019) takes over.
//! Sum, smallest and largest are exact always.
//!
//! A quantile is by nearest rank: the smallest sample that at least that share of the samples do not exceed.

#[cfg(test)]
mod tests;

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
