use super::*;
use crate::stall::Frame;
use profiler_ebpf::wait::kind;

const MS: u64 = 1_000_000;

fn turn(start: u64, end: u64) -> Turn {
    Turn { pid: 1, tid: 2, wait: kind::EPOLL, start: start * MS, end: end * MS, ..Turn::default() }
}

fn answer(start: u64, at: u64, function: &str) -> Answer {
    Answer {
        ask: Ask { pid: 1, tid: 2, start: start * MS },
        begun: at * MS,
        ended: (at + 1) * MS,
        stack: vec![Frame { function: function.to_owned(), file: None, line: None }],
        holder: None,
        problem: None,
    }
}

/// Stacks without a reader, of which these turns have been looked at.
fn stacks(turns: &[Turn]) -> Stacks {
    let mut stacks = Stacks::new(false, 100 * MS);
    for turn in turns {
        stacks.seen.insert((turn.tid, turn.start), Seen::default());
    }
    stacks
}

fn functions(stacks: &mut Stacks, turn: Turn, ongoing: bool) -> Vec<String> {
    let mut stall = Stall::of(turn, ongoing).unwrap();
    stacks.dress(&mut stall);
    stall.stack.into_iter().map(|frame| frame.function).collect()
}

#[test]
fn a_stack_goes_on_its_own_turn_only() {
    let mut stacks = stacks(&[turn(1_000, 1_300), turn(1_300, 1_600)]);
    for (start, at) in [(1_000, 1_100), (1_000, 1_350), (1_300, 1_350)] {
        keep(&mut stacks.seen, &mut stacks.counts, answer(start, at, &format!("{start} {at}")));
    }
    assert_eq!(functions(&mut stacks, turn(1_000, 1_200), true), ["1000 1100"]);
    assert_eq!(functions(&mut stacks, turn(1_000, 1_300), false), ["1000 1100"]);
    assert_eq!(functions(&mut stacks, turn(1_300, 1_600), false), ["1300 1350"]);
    assert_eq!(stacks.counts, Counts { taken: 3, late: 1, ..Counts::default() }, "one was read too late");
    keep(&mut stacks.seen, &mut stacks.counts, answer(1_000, 1_200, "over and told of"));
    assert_eq!(stacks.counts.late, 2);
    assert!(stacks.seen.is_empty());
}

#[test]
fn a_lock_holder_is_that_of_a_lock() {
    let mut stacks = stacks(&[turn(1_000, 1_300)]);
    let held = crate::stall::Holder { tid: 9, stack: answer(0, 0, "worker").stack };
    let with = Answer { holder: Some(held.clone()), ..answer(1_000, 1_100, "loop") };
    keep(&mut stacks.seen, &mut stacks.counts, with);
    let mut stall = Stall::of(turn(1_000, 1_200), true).unwrap();
    stacks.dress(&mut stall);
    assert_eq!(stall.lock_holder, None, "any thread may have it while a loop sleeps");
    stall.cause = Cause::InterpreterLock;
    stacks.dress(&mut stall);
    assert_eq!(stall.lock_holder, Some(held));
}

#[test]
fn what_failed_is_counted() {
    let mut stacks = stacks(&[turn(1_000, 1_300)]);
    let ask = Ask { pid: 1, tid: 2, start: 1_000 * MS };
    keep(&mut stacks.seen, &mut stacks.counts, Answer::none(ask, 0, 0, Problem::Torn));
    assert_eq!(stacks.counts, Counts { failed: 1, ..Counts::default() });
    keep(&mut stacks.seen, &mut stacks.counts, Answer::none(ask, 0, 0, Problem::Dropped));
    assert_eq!(stacks.counts, Counts { failed: 1, skipped: 1, ..Counts::default() });
    assert_eq!(functions(&mut stacks, turn(1_000, 1_300), false), [""; 0]);
}

#[test]
fn no_more_is_kept_than_there_is_room_for() {
    const TURNS: u64 = 64;
    let of = |tid| Turn { tid, ..turn(1_000, 1_300) };
    let mut stacks = stacks(&(0..TURNS as u32).map(of).collect::<Vec<_>>());
    let name = "a".repeat(BYTES / 1_000);
    for n in 0..TURNS * 17 {
        let mut answer = answer(1_000, 1_100, &name);
        answer.ask.tid = (n % TURNS) as u32;
        keep(&mut stacks.seen, &mut stacks.counts, answer);
    }
    assert!(stacks.counts.skipped > 0 && stacks.counts.late == 0, "{:?}", stacks.counts);
    let counted: usize = stacks.seen.values().map(|seen| seen.bytes).sum();
    let samples = stacks.seen.values().flat_map(|seen| &seen.samples);
    assert_eq!(counted, samples.map(Sample::bytes).sum::<usize>());
    assert!((BYTES - BYTES / 500..=BYTES).contains(&counted), "{counted}");
}

#[test]
fn off_is_off() {
    let mut stacks = Stacks::new(false, 100 * MS);
    stacks.look(&[Long { turn: turn(1_000, 1_300), serves: true }], 1_300 * MS);
    stacks.collect();
    assert_eq!(stacks.counts, Counts::default());
    assert!(stacks.seen.is_empty());
}
