//! One stack out of several. In come the stacks seen of one stall, out goes the one that stands for it: that of the call
//! which most of them are in. Pure.

use rustc_hash::FxHashMap;

use crate::stall::{Frame, Holder};

/// A stack, and when it was read: between these two, ns.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sample {
    pub begun: u64,
    pub ended: u64,
    pub stack: Vec<Frame>,
    pub holder: Option<Holder>,
}

impl Sample {
    /// The memory that it takes.
    pub fn bytes(&self) -> usize {
        let of_frame = |frame: &Frame| {
            size_of::<Frame>() + frame.function.len() + frame.file.as_ref().map_or(0, String::len)
        };
        let held = self.holder.iter().flat_map(|holder| &holder.stack);
        size_of::<Self>() + self.stack.iter().chain(held).map(of_frame).sum::<usize>()
    }

    /// Whether it was read between these two instants. What was read before or after is of another turn.
    pub fn is_within(&self, start: u64, end: u64) -> bool {
        self.begun >= start && self.ended <= end
    }
}

/// The stack on the heaviest path: from the outermost frame inwards always the call that most samples are in, and of
/// those that are as many the one seen last. A loop's thread that computes calls many functions; where it stays shows
/// in the frames that the samples share.
pub fn heaviest(samples: &[&Sample]) -> Vec<Frame> {
    let mut left: Vec<&[Frame]> =
        samples.iter().map(|sample| sample.stack.as_slice()).filter(|stack| !stack.is_empty()).collect();
    let mut depth = 0;
    while left.len() > 1 {
        depth += 1;
        let mut votes: FxHashMap<Option<&Frame>, (usize, usize)> = FxHashMap::default();
        for (at, stack) in left.iter().enumerate() {
            let vote = votes.entry(frame_at(stack, depth)).or_default();
            *vote = (vote.0 + 1, at);
        }
        let Some((frame, _)) = votes.into_iter().max_by_key(|(_, vote)| *vote) else { break };
        let Some(frame) = frame else {
            // They all end here.
            left.retain(|stack| stack.len() < depth);
            break;
        };
        left.retain(|stack| frame_at(stack, depth) == Some(frame));
    }
    left.last().map(|stack| stack.to_vec()).unwrap_or_default()
}

/// The thread that was seen most often with the interpreter's lock, and its heaviest stack.
pub fn holder(samples: &[&Sample]) -> Option<Holder> {
    let mut times: FxHashMap<u32, usize> = FxHashMap::default();
    for held in samples.iter().filter_map(|sample| sample.holder.as_ref()) {
        *times.entry(held.tid).or_default() += 1;
    }
    let (tid, _) = times.into_iter().max_by_key(|(tid, times)| (*times, *tid))?;
    let of_it = samples.iter().filter_map(|sample| sample.holder.as_ref()).filter(|held| held.tid == tid);
    let stacks: Vec<_> =
        of_it.map(|held| Sample { begun: 0, ended: 0, stack: held.stack.clone(), holder: None }).collect();
    Some(Holder { tid, stack: heaviest(&stacks.iter().collect::<Vec<_>>()) })
}

/// The frame so many steps from the outermost one, which is the first.
fn frame_at(stack: &[Frame], depth: usize) -> Option<&Frame> {
    stack.len().checked_sub(depth).and_then(|at| stack.get(at))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(frames: &[(&str, u32)]) -> Sample {
        let stack = frames
            .iter()
            .map(|(name, line)| Frame {
                function: (*name).to_owned(),
                file: Some("app.py".to_owned()),
                line: Some(*line),
            })
            .collect();
        Sample { begun: 10, ended: 20, stack, holder: None }
    }

    fn chosen(samples: &[Sample]) -> Vec<(String, u32)> {
        let stack = heaviest(&samples.iter().collect::<Vec<_>>());
        stack.into_iter().map(|f| (f.function, f.line.unwrap_or(0))).collect()
    }

    #[test]
    fn a_sample_of_another_turn_is_none() {
        let one = sample(&[("a", 1)]);
        assert!(one.is_within(10, 20));
        assert!(!one.is_within(11, 20), "the turn before");
        assert!(!one.is_within(0, 19), "the turn was over when it was read");
    }

    #[test]
    fn the_call_that_most_samples_are_in() {
        assert_eq!(chosen(&[]), []);
        let handler = ("handler", 7);
        let samples = [
            sample(&[("x", 1), handler, ("main", 1)]),
            sample(&[("y", 1), handler, ("main", 1)]),
            sample(&[("x", 2), handler, ("main", 1)]),
            sample(&[("other", 3), ("main", 2)]),
            sample(&[("other", 3), ("main", 2)]),
        ];
        // No two of the handler's are alike, but three are in it.
        assert_eq!(chosen(&samples)[1..], [("handler".to_owned(), 7), ("main".to_owned(), 1)]);
    }

    #[test]
    fn one_that_ends_where_most_end() {
        let samples = [sample(&[("leaf", 9), ("main", 1)]), sample(&[("main", 1)]), sample(&[("main", 1)])];
        assert_eq!(chosen(&samples), [("main".to_owned(), 1)]);
    }

    #[test]
    fn whoever_had_the_lock_most_often() {
        let with = |tid: u32, name: &str| {
            let stack = sample(&[(name, 1)]).stack;
            Sample { holder: Some(Holder { tid, stack }), ..sample(&[("loop", 1)]) }
        };
        let samples = [with(5, "a"), with(6, "b"), with(6, "b"), sample(&[("loop", 1)])];
        let found = holder(&samples.iter().collect::<Vec<_>>()).unwrap();
        assert_eq!((found.tid, found.stack[0].function.as_str()), (6, "b"));
        assert_eq!(holder(&[&sample(&[("loop", 1)])]), None);
    }
}
