//! What several rounds say together: numbers go in, their median and range come out.

use serde_json::{Value, json};

/// The median, the least and the most of some numbers.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Spread {
    pub(super) median: f64,
    pub(super) least: f64,
    pub(super) most: f64,
}

impl Spread {
    /// None of no numbers.
    pub(super) fn of(values: &[f64]) -> Option<Self> {
        let mut sorted = values.to_vec();
        sorted.sort_by(f64::total_cmp);
        let (least, most) = (*sorted.first()?, *sorted.last()?);
        let (low, high) = (sorted[(sorted.len() - 1) / 2], sorted[sorted.len() / 2]);
        Some(Self { median: f64::midpoint(low, high), least, most })
    }

    /// Of the differences within each round.
    pub(super) fn of_pairs(with: &[f64], without: &[f64]) -> Option<Self> {
        Self::of(&with.iter().zip(without).map(|(with, without)| with - without).collect::<Vec<_>>())
    }

    pub(super) fn json(self) -> Value {
        json!({ "median": self.median, "min": self.least, "max": self.most })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_in_the_middle_or_between_the_two() {
        assert_eq!(Spread::of(&[3.0, 1.0, 2.0]), Some(Spread { median: 2.0, least: 1.0, most: 3.0 }));
        assert_eq!(Spread::of(&[4.0, 1.0, 2.0, 3.0]), Some(Spread { median: 2.5, least: 1.0, most: 4.0 }));
        assert_eq!(Spread::of(&[]), None);
    }

    #[test]
    fn differences_are_taken_round_by_round() {
        // The second round fell on a busy moment: both took longer.
        let pairs = Spread::of_pairs(&[11.0, 111.0, 12.0], &[10.0, 110.0, 10.0]);
        assert_eq!(pairs, Some(Spread { median: 1.0, least: 1.0, most: 2.0 }));
    }
}
