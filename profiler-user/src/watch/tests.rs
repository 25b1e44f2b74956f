//! Which stalls are told of and when, what is found out of them, and whose they are.

mod sets;

use super::*;
use crate::stall::cause::Cause;
use crate::stall::kind::What;
use crate::stall::{Confidence, Kind};
use profiler_ebpf::loops::inside;
use profiler_ebpf::turn::Call;
use profiler_ebpf::wait::kind;

const MS: u64 = 1_000_000;
const SECOND: u64 = 1_000 * MS;
const RECVFROM: u32 = 45;
const FUTEX: u32 = 202;

/// Descriptors as a test wants them, and what was asked.
#[derive(Default)]
struct World {
    connections: Option<Connections>,
    gone: bool,
    asked: Vec<u64>,
    throttled: Option<u64>,
    /// CPU time of other threads, and what each look adds to it.
    others: Option<(u64, u64)>,
}

impl Sight for World {
    fn connections(&mut self, _: u32, _: i32) -> Option<Connections> {
        self.connections
    }

    fn is_gone(&mut self, _: &Turn) -> bool {
        self.gone
    }

    fn target(&mut self, _: &Turn, (_, descriptor): (u32, u64)) -> Option<Target> {
        self.asked.push(descriptor);
        let local = "127.0.0.1:50000".parse().unwrap();
        let peer = format!("127.0.0.1:{descriptor}").parse().unwrap();
        Some(Target {
            text: format!("tcp {peer}"),
            what: What::Socket,
            ends: Some(Ends::Inet { local, peer }),
        })
    }

    fn throttled(&mut self, _: &Turn) -> Option<u64> {
        self.throttled
    }

    fn interpreter(&mut self, _: &Turn) -> Option<u64> {
        let (now, more) = self.others.as_mut()?.to_owned();
        self.others = Some((now + more, more));
        Some(now)
    }
}

/// A loop whose turn began at one second.
fn loop_of(tid: u32, set: i32) -> Loop {
    let mut l = Loop::default();
    l.turn.pid = 10;
    l.turn.tid = tid;
    l.adopt(kind::EPOLL, set, SECOND);
    l.inside = inside::WAIT;
    l.claimed = SECOND;
    assert_eq!(l.wait_exit(kind::EPOLL, false, SECOND), 0);
    l
}

fn block(l: &mut Loop, nr: u32, target: u64, now: u64) {
    l.switch_out(false, || Call { nr, target, pad: 0 }, u64::MAX, now);
}

fn watch() -> Watch {
    Watch::new(100 * MS)
}

#[test]
fn a_stall_is_told_of_while_it_lasts_and_again() {
    let (mut watch, mut world) = (watch(), World::default());
    let mut l = loop_of(11, 5);
    block(&mut l, RECVFROM, 7, SECOND + MS);
    let mut told = |at| {
        watch
            .look(&[l], SECOND + at, &mut world)
            .into_iter()
            .map(|s| (s.seconds, s.ongoing))
            .collect::<Vec<_>>()
    };
    assert_eq!(told(99 * MS), []);
    assert_eq!(told(110 * MS), [(0.11, true)]);
    assert_eq!(told(135 * MS), []);
    assert_eq!(told(1_200 * MS), [(1.2, true)]);
}

#[test]
fn a_thread_that_does_not_come_back_is_told_of_ever_less_often() {
    let (mut watch, mut world) = (watch(), World::default());
    let l = loop_of(11, 5);
    let told = |watch: &mut Watch, world: &mut World| {
        let looks = (0..=4_000).map(|n| n * 25 * MS);
        looks.map(|at| watch.look(&[l], SECOND + at, world).len()).sum::<usize>()
    };
    assert_eq!(told(&mut watch, &mut world), 8, "in 100 s, of low confidence");
    let mut watch = Watch::new(100 * MS);
    world.connections = Some(Connections { accepted: 1, listeners: 1, ..Connections::default() });
    assert_eq!(told(&mut watch, &mut world), 100, "clients wait for this one");
}

#[test]
fn targets_are_looked_up_once_and_only_descriptors() {
    let (mut watch, mut world) = (watch(), World::default());
    let mut l = loop_of(11, 5);
    block(&mut l, FUTEX, 0xdead_beef, SECOND);
    l.switch_in(SECOND + 50 * MS);
    block(&mut l, RECVFROM, 7, SECOND + 50 * MS);
    let told = watch.look(&[l], SECOND + 200 * MS, &mut world);
    let named: Vec<_> =
        told[0].blocked_in.iter().map(|b| (b.syscall.as_str(), b.target.as_deref())).collect();
    assert_eq!(named, [("recvfrom", Some("tcp 127.0.0.1:7")), ("futex", None)]);
    watch.look(&[l], SECOND + 1_300 * MS, &mut world);
    assert_eq!(world.asked, [7]);
    // The record of its end has what was found.
    l.switch_in(SECOND + 1_400 * MS);
    l.wait_enter(kind::EPOLL, 5, 100 * MS, SECOND + 1_400 * MS);
    let mut ended = Stall::of(l.turn, false).unwrap();
    watch.ended(&mut ended, 3 * SECOND, &mut world);
    assert_eq!(ended.blocked_in[0].target.as_deref(), Some("tcp 127.0.0.1:7"));
    assert_eq!(world.asked, [7]);
}

#[test]
fn who_is_blocked_on_a_connection_asks_for_an_answer() {
    let (mut watch, mut world) = (watch(), World::default());
    let (mut asks, mut sleeps) = (loop_of(11, 5), loop_of(12, 6));
    block(&mut asks, RECVFROM, 7, SECOND);
    block(&mut sleeps, FUTEX, 7, SECOND);
    let now = SECOND + 200 * MS;
    let told = watch.look(&[asks, sleeps], now, &mut world);
    assert_eq!(told.iter().map(|s| s.blocked_in[0].kind).collect::<Vec<_>>(), [Kind::Socket, Kind::Lock]);
    let ends = ["127.0.0.1:50000", "127.0.0.1:7"].map(|end| end.parse().unwrap());
    let ends = vec![Ends::Inet { local: ends[0], peer: ends[1] }];
    assert_eq!(watch.asking(now), [Asking { tid: 11, start: SECOND, ends }]);
    assert_eq!(watch.asking(now + MS), [], "of an earlier look");
    let late = SECOND + ASKING_NS;
    assert_eq!(watch.look(&[asks], late, &mut world).len(), 1);
    assert_eq!(watch.asking(late).len(), 1, "told of");
    watch.look(&[asks], late + 25 * MS, &mut world);
    assert_eq!(watch.asking(late + 25 * MS), [], "it goes on and on");
}

/// A loop that has waited 5 ms on the same word, time and again.
fn contended() -> Loop {
    let mut l = loop_of(11, 5);
    for n in 0..30 {
        block(&mut l, FUTEX, 0xdead_beef, SECOND + n * 5 * MS);
        l.switch_in(SECOND + (n + 1) * 5 * MS);
    }
    l
}

#[test]
fn a_lock_is_the_interpreters_when_its_other_threads_compute() {
    for (others, expected) in [
        (None, Cause::BlockingCall),
        (Some((0, 0)), Cause::BlockingCall),
        (Some((7 * SECOND, 95 * MS)), Cause::InterpreterLock),
    ] {
        let (mut watch, mut world) = (watch(), World { others, ..World::default() });
        let mut l = contended();
        watch.look(&[l], SECOND + 151 * MS, &mut world);
        l.wait_enter(kind::EPOLL, 5, 100 * MS, SECOND + 151 * MS);
        let mut ended = Stall::of(l.turn, false).unwrap();
        watch.ended(&mut ended, SECOND + 251 * MS, &mut world);
        assert_eq!(ended.cause, expected, "{others:?}");
    }
}

#[test]
fn a_throttled_group_is_told_from_a_busy_machine() {
    for (throttled, expected, part) in [
        (None, Cause::CpuStarvation, None),
        (Some(20 * MS), Cause::CpuStarvation, Some(0.02)),
        (Some(900 * MS), Cause::Throttled, Some(0.2)),
    ] {
        let (mut watch, mut world) = (watch(), World { throttled, ..World::default() });
        let mut l = loop_of(11, 5);
        l.switch_out(true, || unreachable!(), u64::MAX, SECOND);
        let told = &watch.look(&[l], SECOND + 200 * MS, &mut world)[0];
        assert_eq!((told.cause, told.throttled), (expected, part));
    }
}

#[test]
fn a_loop_with_an_accepted_connection_is_a_servers() {
    let (mut watch, mut world) = (watch(), World::default());
    let mut l = loop_of(11, 5);
    assert_eq!(watch.look(&[l], 2 * SECOND, &mut world)[0].confidence, Confidence::Low, "not to be seen");
    world.connections = Some(Connections::default());
    assert_eq!(watch.look(&[l], 4 * SECOND, &mut world)[0].confidence, Confidence::Low, "no connection");
    world.connections = Some(Connections { accepted: 3, unread: 2, backlog: 1, listeners: 0 });
    let told = &watch.look(&[l], 8 * SECOND, &mut world)[0];
    assert_eq!(told.confidence, Confidence::High);
    assert_eq!(told.waiting, Some(Waiting { requests: 2, connections: 1 }));
    // At its end the connection is closed already.
    world.connections = Some(Connections::default());
    l.wait_enter(kind::EPOLL, 5, 100 * MS, 9 * SECOND);
    let mut ended = Stall::of(l.turn, false).unwrap();
    watch.ended(&mut ended, 9 * SECOND, &mut world);
    assert_eq!(ended.confidence, Confidence::High);
    // The next one is too short to be looked at.
    ended.turn.start += SECOND;
    watch.ended(&mut ended, 11 * SECOND, &mut world);
    assert_eq!(ended.confidence, Confidence::High, "it served a moment ago");
    ended.turn.start += SECOND;
    watch.ended(&mut ended, 11 * SECOND + SERVING_NS, &mut world);
    assert_eq!(ended.confidence, Confidence::Low, "it has served no one for long");
}

#[test]
fn a_loop_read_while_it_changed_is_left_for_the_next_look() {
    let (mut watch, mut world) = (watch(), World::default());
    let mut l = loop_of(11, 5);
    l.turn.blocked = 5;
    assert_eq!(watch.look(&[l], 2 * SECOND, &mut world), []);
    l.turn.blocked = 0;
    l.turn.start = 3 * SECOND;
    assert_eq!(watch.look(&[l], 2 * SECOND, &mut world), [], "begins after it ends");
}

#[test]
fn what_no_record_comes_for_is_forgotten() {
    let (mut watch, mut world) = (watch(), World::default());
    watch.look(&[loop_of(11, 5)], 2 * SECOND, &mut world);
    assert_eq!(watch.seen.len(), 1);
    watch.look(&[], 2 * SECOND + KEEP_NS, &mut world);
    assert_eq!(watch.seen.len(), 0);
}

#[test]
fn what_a_thread_has_answered_in_makes_it_a_server() {
    let one = Connections { accepted: 1, ..Connections::default() };
    let (mut watch, mut world) = (watch(), World { connections: Some(one), ..World::default() });
    let l = loop_of(11, 5);
    assert_eq!(watch.look(&[l], SECOND + 200 * MS, &mut world)[0].confidence, Confidence::Low);
    watch.note(&[l], |tid| (tid == 11).then_some(Protocol::Http));
    assert_eq!(watch.look(&[l], SECOND + 2_000 * MS, &mut world)[0].confidence, Confidence::High);
}
