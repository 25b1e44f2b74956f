//! Quantiles against the sorted samples, few and many of them; buckets; what is no sample.

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
        assert!(found >= truth && found as f64 <= 1.0 + 1.021 * truth as f64, "{bound}: {found} of {truth}");
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
