//! The lengths of a loop's turns: a histogram of the kernel half goes in, a distribution for the report and buckets for
//! metrics come out.

use profiler_ebpf::histogram::{self, Histogram};

use crate::aggregate::buckets::{Buckets, LOOP_SECONDS};
use crate::report::Distribution;

pub(super) fn seconds(ns: u64) -> f64 {
    ns as f64 / 1e9
}

/// A histogram of the kernel half as metrics have it.
pub(super) fn buckets(turns: &Histogram) -> Buckets {
    let mut buckets = Buckets::new(LOOP_SECONDS);
    let filled = turns.buckets.iter().enumerate().filter(|(_, count)| **count > 0);
    let values = filled
        .map(|(at, count)| (seconds(histogram::middle(at).clamp(turns.min, turns.max)), u64::from(*count)));
    buckets.record_each(values, seconds(turns.sum));
    buckets
}

/// The distribution of a histogram, seconds; None while it is empty. A quantile is by nearest rank.
pub(super) fn distribution(turns: &Histogram) -> Option<Distribution> {
    let count: u64 = turns.buckets.iter().map(|n| u64::from(*n)).sum();
    if count == 0 {
        return None;
    }
    let quantile = |share: f64| {
        let rank = ((count as f64 * share).ceil() as u64).max(1);
        let mut before = 0;
        let at = turns.buckets.iter().position(|n| {
            before += u64::from(*n);
            before >= rank
        });
        seconds(histogram::middle(at.unwrap_or(0)).clamp(turns.min, turns.max))
    };
    Some(Distribution {
        count,
        sum: seconds(turns.sum),
        min: seconds(turns.min),
        p50: quantile(0.5),
        p90: quantile(0.9),
        p95: quantile(0.95),
        p99: quantile(0.99),
        p999: quantile(0.999),
        max: seconds(turns.max),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quantile_is_near_the_truth() {
        let mut turns = Histogram::default();
        (1..=1_000).for_each(|n| turns.add(n * 50_000));
        let d = distribution(&turns).unwrap();
        assert_eq!((d.count, d.min, d.max), (1_000, 0.000_05, 0.05));
        for (found, expected) in [(d.p50, 0.025), (d.p90, 0.045), (d.p99, 0.049_5), (d.p999, 0.049_95)] {
            assert!((found - expected).abs() <= 0.01 * expected, "{found} for {expected}");
        }
        assert_eq!(distribution(&Histogram::default()), None);
        let metric = buckets(&turns);
        assert_eq!((metric.count, metric.counts[3], metric.counts[4]), (1_000, 80, 100));
        assert!((metric.sum - d.sum).abs() < 1e-9);
    }
}
