//! The loop machine, one fact each.

use crate::loops::{Loop, STRAY, STRAY_NS, inside, said};
use crate::turn::{Call, Turn, call, flag, phase};
use crate::wait::{self, NO_SET, kind};

const THRESHOLD: u64 = 100;
const SET: i32 = 5;

/// Numbers of arch/x86/entry/syscalls/syscall_64.tbl.
const RECVFROM: u32 = 45;
const EPOLL_WAIT: u32 = 232;

/// A thread whose time goes on step by step.
struct Thread {
    l: Loop,
    now: u64,
    said: u32,
}

impl Thread {
    /// In its first wait.
    fn new() -> Self {
        let mut l = Loop::default();
        l.adopt(kind::EPOLL, SET, 1_000);
        l.inside = inside::WAIT;
        Self { l, now: 1_000, said: 0 }
    }

    fn after(&mut self, ns: u64) -> &mut Self {
        self.now += ns;
        self
    }

    fn enter(&mut self, kind: u32, set: i32) -> &mut Self {
        self.said |= self.l.wait_enter(kind, set, THRESHOLD, self.now);
        self
    }

    fn wait(&mut self) -> &mut Self {
        self.enter(kind::EPOLL, SET)
    }

    fn exit(&mut self, kind: u32) -> &mut Self {
        self.said |= self.l.wait_exit(kind, false, self.now);
        self
    }

    fn ready(&mut self) -> &mut Self {
        self.exit(kind::EPOLL)
    }

    fn block(&mut self, nr: u32, target: u64) -> &mut Self {
        self.said |= self.l.switch_out(false, || Call { target, nr, pad: 0 }, THRESHOLD, self.now);
        self
    }

    fn preempt(&mut self) -> &mut Self {
        self.said |= self.l.switch_out(true, || panic!("asked for a call"), THRESHOLD, self.now);
        self
    }

    fn run(&mut self) -> &mut Self {
        self.said |= self.l.switch_in(self.now);
        self
    }

    fn wake(&mut self) -> &mut Self {
        self.l.wake(self.now);
        self
    }

    /// The turn that was a stall.
    fn stall(&self) -> Turn {
        assert_eq!(self.said & said::STALL, said::STALL, "no stall: {:?}", self.l);
        self.l.turn
    }
}

fn parts(turn: &Turn) -> [u64; 3] {
    [turn.on_cpu, turn.run_queue, turn.blocked]
}

#[test]
fn a_turn_is_split_into_its_parts() {
    let mut t = Thread::new();
    t.after(10).ready().after(20).block(RECVFROM, 9).after(70).wake().after(5).run();
    t.after(3).preempt().after(4).run().after(1).wait();
    let turn = t.stall();
    assert_eq!((turn.length(), parts(&turn), turn.switches), (103, [24, 9, 70], 2));
    assert_eq!((turn.calls[0].nr, turn.calls[0].target, turn.calls[0].count), (RECVFROM, 9, 1));
    assert_eq!((t.said, turn.flags), (said::TURN | said::STALL, 0));
    assert_eq!((t.l.turns, t.l.busy, t.l.longest, t.l.stalls), (1, 103, 103, 1));
}

#[test]
fn without_the_wake_up_the_wait_for_a_cpu_belongs_to_the_call() {
    let mut t = Thread::new();
    t.ready().block(RECVFROM, 9).after(100).run().wait();
    assert_eq!(parts(&t.stall()), [0, 0, 100]);
}

#[test]
fn a_short_turn_is_only_counted() {
    let mut t = Thread::new();
    t.ready().after(THRESHOLD - 1).wait();
    assert_eq!((t.said, t.l.turns, t.l.busy, t.l.stalls), (said::TURN, 1, 99, 0));
    t.after(500).ready().after(1).wait();
    assert_eq!((t.said, t.l.turns, t.l.busy), (said::TURN, 2, 100), "the wait itself is not busy");
}

#[test]
fn a_wait_on_another_set_is_a_call_not_an_end() {
    let mut t = Thread::new();
    t.ready().after(1).enter(kind::POLL, NO_SET).block(7, 12).after(60).run().exit(kind::POLL);
    t.enter(kind::EPOLL, SET + 1).block(EPOLL_WAIT, SET as u64 + 1).after(60).run().exit(kind::EPOLL);
    assert_eq!(t.said, 0);
    t.after(2).wait();
    let turn = t.stall();
    assert_eq!(parts(&turn), [3, 0, 120]);
    assert_eq!([turn.calls[0].nr, turn.calls[1].nr], [7, EPOLL_WAIT]);
}

#[test]
fn a_wait_without_patience_ends_the_turn() {
    let mut t = Thread::new();
    for _ in 0..10 {
        t.ready().after(60).wait();
    }
    assert_eq!((t.said, t.l.turns, t.l.busy), (said::TURN, 10, 600), "600 in all, but served every 60");
}

#[test]
fn a_running_stall_can_be_read() {
    let mut t = Thread::new();
    assert_eq!(t.l.at(2_000), None);
    t.ready().after(10).block(RECVFROM, 9).after(500);
    let turn = t.l.at(t.now).unwrap();
    assert_eq!((turn.length(), parts(&turn)), (510, [10, 0, 500]));
    assert_eq!((turn.calls[0].nr, turn.calls[0].ns), (RECVFROM, 500));
    assert_eq!(t.l.turn.blocked, 0, "reading changes nothing");
}

#[test]
fn a_lost_switch_in_leaves_the_call_its_time() {
    let mut t = Thread::new();
    t.ready().block(RECVFROM, 9).after(150).wait();
    let turn = t.stall();
    assert_eq!((parts(&turn), turn.flags), ([0, 0, 150], flag::UNCERTAIN));
    assert_eq!(t.said & said::SWITCH_LOST, said::SWITCH_LOST);
}

/// For how long it ran unseen is known by its CPU time.
#[test]
fn a_lost_switch_in_is_made_good() {
    for (at_the_end, expected) in [(120, [120, 30, 0]), (0, [0, 150, 0]), (900, [150, 0, 0])] {
        let mut t = Thread::new();
        t.ready().preempt().l.cpu_time = 7_000;
        t.after(150);
        assert!(t.l.lacks_switch_in());
        t.l.ran(7_000 + at_the_end);
        t.wait();
        assert_eq!((parts(&t.stall()), t.l.turn.flags), (expected, flag::UNCERTAIN));
        t.after(50).ready().after(10).wait();
        assert_eq!((t.l.on_cpu, t.l.turn.flags), (expected[0] + 10, 0), "the next is its own");
    }
}

#[test]
fn a_lost_switch_out_is_noticed() {
    let mut t = Thread::new();
    t.ready().after(150).run().wait();
    assert_eq!((parts(&t.stall()), t.l.turn.flags), ([150, 0, 0], flag::UNCERTAIN));
    assert_eq!(t.said & said::SWITCH_LOST, said::SWITCH_LOST);
}

#[test]
fn what_was_lost_in_one_turn_does_not_mark_the_next() {
    let mut t = Thread::new();
    t.block(EPOLL_WAIT, SET as u64).ready().after(150).wait();
    assert_eq!(t.stall().flags, 0);
    assert_eq!(t.said & said::SWITCH_LOST, said::SWITCH_LOST);
}

#[test]
fn a_wait_whose_begin_was_lost_ends_the_turn_when_the_thread_sleeps_in_it() {
    let mut t = Thread::new();
    t.ready().after(40).block(EPOLL_WAIT, SET as u64);
    assert_eq!((t.said, t.l.turns, t.l.busy, t.l.open), (said::TURN | said::WAIT_LOST, 1, 40, 0));
    t.after(5_000).wake().run().ready().after(1).wait();
    assert_eq!((t.said, t.l.turns, t.l.busy), (said::TURN | said::WAIT_LOST, 2, 41));
}

#[test]
fn a_turn_whose_end_was_lost_is_dropped() {
    let mut t = Thread::new();
    t.ready().after(40).after(5_000).ready();
    assert_eq!((t.said, t.l.turns, t.l.open), (said::WAIT_LOST, 0, 0));
    t.wait().ready().after(7).wait();
    assert_eq!((t.l.turns, t.l.busy), (1, 7));
}

#[test]
fn a_turn_whose_begin_was_lost_is_not_measured() {
    let mut t = Thread::new();
    t.after(5_000).wait();
    assert_eq!((t.said, t.l.turns, t.l.inside), (said::WAIT_LOST, 0, inside::WAIT));
}

#[test]
fn a_wait_on_no_set_begins_no_turn() {
    let mut t = Thread::new();
    t.said |= t.l.wait_exit(kind::EPOLL, true, t.now);
    t.after(500).wait();
    assert_eq!((t.said, t.l.turns), (0, 0));
}

#[test]
fn epoll_takes_the_loop_from_poll_and_not_the_other_way() {
    let mut t = Thread::new();
    t.l.adopt(kind::POLL, NO_SET, t.now);
    t.exit(kind::POLL).after(500).wait();
    assert_eq!((t.l.turn.wait, t.l.turn.set, t.said, t.l.turns), (kind::EPOLL, SET, 0, 0));
    t.ready();
    for _ in 0..2 * STRAY {
        t.after(STRAY_NS).enter(kind::POLL, NO_SET).exit(kind::POLL);
    }
    assert_eq!(t.l.turn.wait, kind::EPOLL);
}

#[test]
fn a_thread_that_has_moved_to_another_set_has_its_loop_there() {
    let mut t = Thread::new();
    t.ready();
    for n in 0..=STRAY {
        assert_eq!(t.l.turn.set, SET, "after {n} waits elsewhere");
        t.after(STRAY_NS / 8).enter(kind::EPOLL, SET + 1);
        if t.l.turn.set == SET {
            t.exit(kind::EPOLL);
        }
    }
    assert_eq!((t.l.turn.set, t.said, t.l.turns), (SET + 1, 0, 0), "the turn without an end is no stall");
    t.ready().after(3).enter(kind::EPOLL, SET + 1);
    assert_eq!((t.said, t.l.turns, t.l.busy), (said::TURN, 1, 3));
}

#[test]
fn a_busy_wait_for_a_child_is_no_move() {
    let mut t = Thread::new();
    t.ready();
    for _ in 0..10 * STRAY {
        t.after(1).enter(kind::EPOLL, SET + 1).exit(kind::EPOLL);
    }
    t.wait();
    assert_eq!(t.stall().length(), 10 * STRAY as u64);
}

#[test]
fn a_loop_that_cannot_take_its_events_is_late() {
    let mut t = Thread::new();
    t.block(EPOLL_WAIT, SET as u64).after(50).wake().after(30).run().ready();
    assert_eq!((t.l.late, t.l.lates, t.said), (30, 1, 0));
    t.wait().preempt().after(7).run();
    assert_eq!((t.l.late, t.l.lates), (37, 2));
    t.block(EPOLL_WAIT, SET as u64).after(50).run();
    assert_eq!(t.l.late, 37, "without a wake-up nothing is known");
}

#[test]
fn a_wake_up_of_a_thread_that_runs_says_nothing() {
    let mut t = Thread::new();
    t.ready().after(5).wake().after(5);
    assert_eq!((t.l.phase, parts(&t.l.at(t.now).unwrap())), (phase::RUNNING, [10, 0, 0]));
}

#[test]
fn the_end_of_the_thread_ends_the_turn() {
    let mut t = Thread::new();
    t.ready().after(200);
    t.said |= t.l.exit(THRESHOLD, t.now);
    assert_eq!((t.stall().length(), t.l.turn.flags), (200, flag::EXITED));
    assert_eq!(Thread::new().l.exit(THRESHOLD, 9_999), 0);
}

#[test]
fn waits_by_number() {
    let sets =
        [(232, kind::EPOLL, 3), (281, kind::EPOLL, 3), (441, kind::EPOLL, 3), (426, kind::IO_URING, 3)];
    let none = [(7, kind::POLL), (271, kind::POLL), (23, kind::SELECT), (270, kind::SELECT)];
    for (nr, kind, set) in sets {
        assert_eq!((wait::of(nr), wait::set(kind, 3)), (kind, set));
    }
    for (nr, kind) in none {
        assert_eq!((wait::of(nr), wait::set(kind, 3)), (kind, NO_SET));
    }
    for nr in [0, RECVFROM, call::FAULT, call::UNKNOWN] {
        assert_eq!(wait::of(nr), 0);
    }
    assert!(wait::ring_waits(1, 1) && !wait::ring_waits(0, 1) && !wait::ring_waits(1, 0));
    assert!(wait::outranks(kind::EPOLL, kind::IO_URING) && wait::outranks(kind::IO_URING, kind::SELECT));
    assert!(!wait::outranks(kind::SELECT, kind::POLL) && !wait::outranks(kind::POLL, kind::SELECT));
}
