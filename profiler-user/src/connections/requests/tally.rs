//! Which of many spans of time cover an instant: some instants and all spans come in, for each instant goes out whether
//! none, one or several do, and which one. Pure; what it costs grows with both numbers, not with their product.

/// What covers an instant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cover {
    Nobody,
    /// The only one, by its place among the spans.
    One(usize),
    Several,
}

/// The answers.
#[derive(Debug)]
pub(super) struct Tally<K> {
    instants: Vec<K>,
    /// How many spans cover each instant, and the sum of their places: of a single one that is its place.
    sums: Vec<(isize, isize)>,
}

impl<K: Copy + Ord> Tally<K> {
    /// Spans are told by their first and last instant.
    pub(super) fn new(mut instants: Vec<K>, spans: impl IntoIterator<Item = (K, K)>) -> Self {
        instants.sort_unstable();
        instants.dedup();
        // At first only what begins, and has ended, at each.
        let mut sums = vec![(0, 0); instants.len() + 1];
        for (place, (first, last)) in (0..).zip(spans) {
            let begin = instants.partition_point(|instant| *instant < first);
            let end = instants.partition_point(|instant| *instant <= last);
            if begin < end {
                sums[begin] = (sums[begin].0 + 1, sums[begin].1 + place);
                sums[end] = (sums[end].0 - 1, sums[end].1 - place);
            }
        }
        let mut now = (0, 0);
        for sum in &mut sums {
            now = (now.0 + sum.0, now.1 + sum.1);
            *sum = now;
        }
        Self { instants, sums }
    }

    /// What covers one of the instants.
    pub(super) fn at(&self, instant: K) -> Cover {
        let known = self.instants.binary_search(&instant).ok();
        match known.and_then(|at| self.sums.get(at)) {
            None | Some((0, _)) => Cover::Nobody,
            Some((1, place)) => Cover::One(place.unsigned_abs()),
            Some(_) => Cover::Several,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn first_and_last_instants_are_covered() {
        let tally = Tally::new(vec![9, 10, 20, 21, 20], [(10, 20), (20, 20), (30, 5)]);
        let covers = [9, 10, 20, 21, 11].map(|instant| tally.at(instant));
        assert_eq!(covers, [Cover::Nobody, Cover::One(0), Cover::Several, Cover::Nobody, Cover::Nobody]);
        assert_eq!(Tally::new(vec![(2, 7)], [((1, 0), (1, 9)), ((2, 0), (2, 9))]).at((2, 7)), Cover::One(1));
    }

    proptest! {
        #[test]
        fn as_looked_up_one_by_one(
            instants in prop::collection::vec(0_u8..30, 1..20),
            spans in prop::collection::vec((0_u8..30, 0_u8..30), 0..20),
        ) {
            let tally = Tally::new(instants.clone(), spans.clone());
            for instant in instants {
                let covers = |span: &(u8, u8)| span.0 <= instant && instant <= span.1;
                let mut places = (0..spans.len()).filter(|place| covers(&spans[*place]));
                let cover = match (places.next(), places.next()) {
                    (None, _) => Cover::Nobody,
                    (Some(place), None) => Cover::One(place),
                    _ => Cover::Several,
                };
                prop_assert_eq!(tally.at(instant), cover);
            }
        }
    }
}
