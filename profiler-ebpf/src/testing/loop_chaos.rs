//! Any events in any order, some of them lost: times are never negative, parts add up, and what is whole is right.

use std::vec::Vec;

use proptest::collection::vec;
use proptest::prelude::*;

use crate::loops::{Loop, inside, said};
use crate::turn::{Call, Turn, flag};
use crate::wait::kind;

const THRESHOLD: u64 = 1_000;

#[derive(Clone, Copy, Debug)]
enum Event {
    Enter(u32, i32),
    Exit(u32, bool),
    Out(bool, u32, u64),
    In,
    Wake,
    Read,
}

fn event() -> impl Strategy<Value = Event> {
    let kind = prop::sample::select(std::vec![kind::EPOLL, kind::POLL, kind::SELECT, kind::IO_URING]);
    let nr = prop::sample::select(std::vec![232u32, 281, 7, 45, 202, 0xfffe, 426]);
    prop_oneof![
        3 => (kind.clone(), 3i32..6).prop_map(|(k, s)| Event::Enter(k, s)),
        3 => (kind, prop::bool::weighted(0.1)).prop_map(|(k, f)| Event::Exit(k, f)),
        2 => (any::<bool>(), nr, 3u64..6).prop_map(|(r, n, t)| Event::Out(r, n, t)),
        2 => Just(Event::In),
        1 => Just(Event::Wake),
        1 => Just(Event::Read),
    ]
}

fn adds_up(turn: &Turn) -> Result<(), TestCaseError> {
    prop_assert!(turn.end >= turn.start);
    prop_assert_eq!(turn.on_cpu + turn.run_queue + turn.blocked, turn.length());
    let named: u64 = turn.calls.iter().map(|c| c.ns).sum();
    prop_assert_eq!(named + turn.elsewhere, turn.blocked);
    Ok(())
}

/// Feeds the machine; returns the stalls it has told of.
fn feed(l: &mut Loop, event: Event, now: u64) -> Option<Turn> {
    let call = |nr, target| Call { target, nr, pad: 0 };
    let said = match event {
        Event::Enter(kind, set) => l.wait_enter(kind, set, THRESHOLD, now),
        Event::Exit(kind, failed) => l.wait_exit(kind, failed, now),
        Event::Out(runnable, nr, target) => l.switch_out(runnable, || call(nr, target), THRESHOLD, now),
        Event::In => l.switch_in(now),
        Event::Wake => {
            l.wake(now);
            0
        }
        Event::Read => 0,
    };
    (said & said::STALL != 0).then_some(l.turn)
}

/// A thread that works through turns as real ones do: the events, and how long each turn took and was blocked.
#[derive(Clone, Debug)]
struct Work {
    waited: u64,
    steps: Vec<(u64, bool, u64)>,
}

fn work() -> impl Strategy<Value = Work> {
    let step = (0u64..600, any::<bool>(), 1u64..600);
    (0u64..5_000, vec(step, 0..5)).prop_map(|(waited, steps)| Work { waited, steps })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 600, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn nothing_makes_a_part_negative(events in vec((event(), 0i64..20_000), 0..200), back in 0i64..500) {
        let mut l = Loop::default();
        l.adopt(kind::EPOLL, 3, 1_000_000);
        let (mut now, mut busy, mut turns) = (1_000_000i64, 0, 0);
        for (event, passed) in events {
            // The clocks of two CPUs differ.
            now += passed - back;
            let stall = feed(&mut l, event, now.max(0) as u64);
            adds_up(&l.turn)?;
            if let Some(turn) = l.at(now.max(0) as u64) {
                adds_up(&turn)?;
            }
            if let Some(turn) = stall {
                prop_assert!(turn.length() >= THRESHOLD);
            }
            if l.turns > turns {
                prop_assert_eq!(l.busy - busy, l.turn.length());
            }
            (busy, turns) = (l.busy, l.turns);
            prop_assert_eq!(l.on_cpu + l.run_queue + l.blocked, l.busy);
            prop_assert!(l.open == 0 || l.inside != inside::WAIT);
            prop_assert!(l.longest <= l.busy);
        }
    }

    #[test]
    fn whole_turns_are_right_and_a_lost_event_costs_one_at_the_most(works in vec(work(), 1..20), lose in any::<prop::sample::Index>(), whole: bool) {
        let mut events = Vec::new();
        let mut now = 10_000u64;
        let mut truth = Vec::new();
        for work in &works {
            events.push((now, Event::Out(false, 232, 3)));
            now += work.waited;
            events.push((now, Event::In));
            events.push((now, Event::Exit(kind::EPOLL, false)));
            let (begun, mut blocked) = (now, 0);
            for (ran, runnable, off) in &work.steps {
                now += ran;
                events.push((now, Event::Out(*runnable, 45, 9)));
                now += off;
                events.push((now, Event::In));
                blocked += if *runnable { 0 } else { *off };
            }
            events.push((now, Event::Enter(kind::EPOLL, 3)));
            truth.push((now - begun, blocked));
        }
        let lost = (!whole).then(|| lose.index(events.len()));
        let mut l = Loop::default();
        l.adopt(kind::EPOLL, 3, 10_000);
        l.inside = inside::WAIT;
        let mut told = 0;
        let mut stalls = Vec::new();
        for (n, (now, event)) in events.iter().enumerate() {
            if Some(n) == lost {
                continue;
            }
            let before = l;
            stalls.extend(feed(&mut l, *event, *now));
            // What the machine says of lost events is seen in its state.
            told += u32::from(before.turn.flags & flag::UNCERTAIN == 0 && l.turn.flags & flag::UNCERTAIN != 0);
        }
        if lost.is_none() {
            let long = truth.iter().filter(|(length, _)| *length >= THRESHOLD);
            let expected: Vec<_> = long.copied().collect();
            let found: Vec<_> = stalls.iter().map(|turn| (turn.length(), turn.blocked)).collect();
            prop_assert_eq!(found, expected);
            prop_assert_eq!((l.turns, told), (truth.len() as u64, 0));
            prop_assert_eq!(l.busy, truth.iter().map(|t| t.0).sum::<u64>());
        } else {
            // One lost event costs one turn at the most, and never makes one longer than it was.
            prop_assert!(l.turns + 1 >= truth.len() as u64);
            for stall in &stalls {
                prop_assert!(truth.iter().any(|(length, _)| *length == stall.length()));
            }
        }
    }
}
