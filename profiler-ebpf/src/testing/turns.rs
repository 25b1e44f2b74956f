//! What a turn is split into: parts that add up, and the calls that took most of it.

use proptest::collection::vec;
use proptest::prelude::*;

use crate::claim::{Claim, SHARED_NS, key};
use crate::turn::{Blocked, CALLS, Call, Turn, phase};

fn call(nr: u32, target: u64) -> Call {
    Call { target, nr, pad: 0 }
}

/// A turn from 0 in which calls blocked one after the other.
fn blocked(calls: &[(u32, u64, u64)]) -> Turn {
    let mut turn = Turn::default();
    turn.begin(0);
    for (nr, target, ns) in calls {
        let until = turn.end + ns;
        turn.book(phase::BLOCKED, &call(*nr, *target), until);
    }
    turn
}

#[test]
fn many_small_calls_on_one_target_are_one_entry() {
    let turn = blocked(&[(45, 7, 1_000); 300]);
    assert_eq!(turn.calls[0], Blocked { ns: 300_000, target: 7, nr: 45, count: 300 });
    assert_eq!(turn.calls[1].count, 0);
    assert_eq!((turn.blocked, turn.elsewhere), (300_000, 0));
}

#[test]
fn the_same_call_on_another_target_is_another_entry() {
    let turn = blocked(&[(45, 7, 10), (45, 8, 20), (0, 7, 30)]);
    assert_eq!(turn.calls.map(|c| c.ns), [10, 20, 30, 0]);
}

#[test]
fn the_longest_four_stay_and_the_rest_is_summed() {
    let turn = blocked(&[(1, 0, 50), (2, 0, 10), (3, 0, 40), (4, 0, 30), (5, 0, 5), (6, 0, 60)]);
    let mut kept = turn.calls.map(|c| (c.nr, c.ns));
    kept.sort_unstable();
    assert_eq!(kept, [(1, 50), (3, 40), (4, 30), (6, 60)]);
    assert_eq!((turn.elsewhere, turn.elsewhere_count), (15, 2));
}

#[test]
fn a_clock_that_steps_back_books_nothing() {
    let mut turn = Turn::default();
    turn.begin(1_000);
    turn.book(phase::RUNNING, &Call::default(), 900);
    turn.book(phase::RUNNING, &Call::default(), 1_100);
    assert_eq!((turn.on_cpu, turn.length()), (100, 100));
}

#[test]
fn a_set_is_shared_from_the_second_thread_on_and_not_for_ever() {
    let mut set = Claim { tid: 5, ..Claim::default() };
    set.by(5, 100);
    assert!(!set.is_shared(100), "one thread alone");
    set.by(6, 200);
    assert!(set.is_shared(200) && set.is_shared(199 + SHARED_NS));
    set.by(6, 300);
    assert!(!set.is_shared(200 + SHARED_NS), "the second has it alone since");
    assert_ne!(key(1, 5), key(5, 1));
    assert_eq!(key(1, -1) >> 32, 1);
}

proptest! {
    #[test]
    fn the_parts_add_up(steps in vec((0u8..3, 0u32..8, 0u64..3, 0u64..1_000_000), 0..200)) {
        let mut turn = Turn::default();
        turn.begin(17);
        let mut truth = [0u64; 3];
        let mut counts = 0;
        for (phase, nr, target, ns) in steps {
            let until = turn.end + ns;
            turn.book(phase, &call(nr, target), until);
            truth[phase as usize] += ns;
            counts += u32::from(phase == phase::BLOCKED && ns > 0);
        }
        prop_assert_eq!([turn.on_cpu, turn.run_queue, turn.blocked], truth);
        prop_assert_eq!(turn.length(), truth.iter().sum::<u64>());
        let named: u64 = turn.calls.iter().map(|c| c.ns).sum();
        prop_assert_eq!(named + turn.elsewhere, turn.blocked);
        prop_assert_eq!(turn.calls.iter().map(|c| c.count).sum::<u32>() + turn.elsewhere_count, counts);
        for a in 0..CALLS {
            for b in a + 1..CALLS {
                let (a, b) = (turn.calls[a], turn.calls[b]);
                prop_assert!(a.count == 0 || b.count == 0 || (a.nr, a.target) != (b.nr, b.target));
            }
        }
    }
}
