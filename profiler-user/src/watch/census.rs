//! Which loops serve, of those that answer neither HTTP nor MySQL: a few at a time are looked at, and one whose set has
//! clients' connections is a server's. In come all loops, out goes which of them to look at; pure.

use profiler_ebpf::loops::Loop;
use rustc_hash::FxHashMap;

use super::shared::Shared;

/// Loops are picked so often, and so many: looking at one borrows each descriptor of its set.
const EVERY_NS: u64 = 250_000_000;
const PICKED: usize = 4;
/// The same loop again after so long.
const AGAIN_NS: u64 = 5_000_000_000;
/// Loops remembered at the most.
const MOST: usize = 8_192;

/// What has been looked at.
#[derive(Debug, Default)]
pub struct Census {
    /// By process and thread: when, and how many turns the loop had had by then.
    asked: FxHashMap<(u32, u32), (u64, u64)>,
    next: u64,
}

impl Census {
    /// The loops to look at now: those that are not `known` to serve, have a set of their own, and have had turns since
    /// they were last looked at. Who was never looked at goes first.
    pub fn pick(&mut self, loops: &[Loop], known: impl Fn(&Loop) -> bool, now: u64) -> Vec<Loop> {
        if now < self.next {
            return Vec::new();
        }
        self.next = now + EVERY_NS;
        if self.asked.len() >= MOST {
            self.asked.retain(|_, (at, _)| now.saturating_sub(*at) < AGAIN_NS);
        }
        let mut open: Vec<_> = loops
            .iter()
            .filter(|l| l.turn.set >= 0 && l.turns > 0 && !known(l))
            .filter_map(|l| match self.asked.get(&key(l)) {
                None => Some((0, l)),
                Some((at, turns)) => {
                    (l.turns != *turns && now.saturating_sub(*at) >= AGAIN_NS).then_some((*at, l))
                }
            })
            .collect();
        if open.is_empty() {
            return Vec::new();
        }
        let shared = Shared::of(loops, now);
        open.retain(|(_, l)| !shared.has(&l.turn));
        open.sort_by_key(|(at, l)| (*at, std::cmp::Reverse(l.turns)));
        open.truncate(PICKED);
        let picked: Vec<_> = open.into_iter().map(|(_, l)| *l).collect();
        for l in &picked {
            self.asked.insert(key(l), (now, l.turns));
        }
        picked
    }
}

fn key(l: &Loop) -> (u32, u32) {
    (l.turn.pid, l.turn.tid)
}

#[cfg(test)]
mod tests {
    use super::*;
    use profiler_ebpf::wait::kind;

    const SECOND: u64 = 1_000_000_000;

    fn loop_of(tid: u32, set: i32, turns: u64) -> Loop {
        let mut l = Loop::default();
        (l.turn.pid, l.turn.tid) = (10, tid);
        l.adopt(kind::EPOLL, set, SECOND);
        l.turns = turns;
        l
    }

    fn tids(picked: &[Loop]) -> Vec<u32> {
        picked.iter().map(|l| l.turn.tid).collect()
    }

    #[test]
    fn a_few_at_a_time_the_busiest_first_and_all_in_the_end() {
        let loops: Vec<_> = (1..=6).map(|tid| loop_of(tid, tid as i32, tid.into())).collect();
        let mut census = Census::default();
        assert_eq!(tids(&census.pick(&loops, |_| false, SECOND)), [6, 5, 4, 3]);
        assert!(census.pick(&loops, |_| false, SECOND + EVERY_NS / 2).is_empty());
        assert_eq!(tids(&census.pick(&loops, |_| false, SECOND + EVERY_NS)), [2, 1]);
        assert!(census.pick(&loops, |_| false, SECOND + 2 * EVERY_NS).is_empty());
    }

    #[test]
    fn again_only_if_it_has_had_turns_since() {
        let mut loops = [loop_of(1, 3, 5), loop_of(2, 4, 5)];
        let mut census = Census::default();
        census.pick(&loops, |_| false, SECOND);
        loops[1].turns = 6;
        assert!(census.pick(&loops, |_| false, 2 * SECOND).is_empty());
        assert_eq!(tids(&census.pick(&loops, |_| false, SECOND + AGAIN_NS)), [2]);
    }

    #[test]
    fn neither_what_is_known_nor_shared_sets_nor_what_has_no_set() {
        let (mut one, mut two) = (loop_of(1, 9, 5), loop_of(2, 9, 5));
        (one.claimed, two.claimed) = (SECOND, SECOND);
        let loops = [one, two, loop_of(3, -1, 5), loop_of(4, 7, 0), loop_of(5, 8, 5), loop_of(6, 6, 5)];
        let mut census = Census::default();
        assert_eq!(tids(&census.pick(&loops, |l| l.turn.tid == 5, SECOND)), [6]);
    }
}
