//! The buckets of turns' lengths.

use proptest::prelude::*;

use crate::histogram::{BUCKETS, Histogram, bucket, middle};

/// The first length that is no longer told from longer ones.
const LONGEST: u64 = 1 << 43;

proptest! {
    #[test]
    fn a_length_is_known_to_one_per_cent(ns in 4_096..LONGEST) {
        let error = middle(bucket(ns)).abs_diff(ns);
        prop_assert!(error * 100 <= ns, "{ns} is taken for {}", middle(bucket(ns)));
    }

    #[test]
    fn longer_turns_are_in_later_buckets(a: u64, b: u64) {
        prop_assert!(bucket(a.min(b)) <= bucket(a.max(b)));
        prop_assert!(bucket(a) < BUCKETS);
    }
}

#[test]
fn every_bucket_has_its_middle() {
    for at in 0..BUCKETS {
        assert_eq!(bucket(middle(at)), at);
    }
    assert_eq!((bucket(0), bucket(63), bucket(64)), (0, 0, 1));
    assert_eq!([bucket(LONGEST - 1), bucket(LONGEST), bucket(u64::MAX)], [BUCKETS - 1; 3]);
}

#[test]
fn the_ends_are_exact() {
    let mut histogram = Histogram::default();
    for ns in [5_000_000, 777, 123_456_789_012] {
        histogram.add(ns);
    }
    assert_eq!((histogram.count, histogram.min, histogram.max), (3, 777, 123_456_789_012));
    assert_eq!(histogram.sum, 123_461_789_789);
    assert_eq!(histogram.buckets.iter().sum::<u32>(), 3);
}
