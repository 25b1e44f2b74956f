//! Whose a set is: threads that share one, threads whose set is closed, sets without connections.

use profiler_ebpf::claim::SHARED_NS;

use super::*;

#[test]
fn threads_that_share_a_set_are_passed_over_until_they_no_longer_do() {
    let (mut watch, mut world) = (watch(), World::default());
    let (mut one, other, third) = (loop_of(11, 5), loop_of(12, 5), loop_of(13, 6));
    let tids = |told: Vec<Stall>| told.iter().map(|stall| stall.tid).collect::<Vec<_>>();
    assert_eq!(tids(watch.look(&[one, other, third], 2 * SECOND, &mut world)), [13]);
    // One has waited on it since, the other has not.
    one.claimed = SECOND + SHARED_NS;
    assert_eq!(tids(watch.look(&[one, other], 2 * SECOND + SHARED_NS, &mut world)), [11]);
}

/// A thread that waits on the set for ever makes it shared for ever.
#[test]
fn who_waits_on_a_set_shares_it() {
    let (mut watch, mut world) = (watch(), World::default());
    let (busy, mut idle) = (loop_of(11, 5), loop_of(12, 5));
    idle.wait_enter(kind::EPOLL, 5, 100 * MS, SECOND);
    assert_eq!(watch.look(&[busy, idle], 60 * SECOND, &mut world), []);
}

/// A worker that once waited on a set of its own, and closed it, goes on with what it is for, whatever has the set's
/// number afterwards.
#[test]
fn a_thread_whose_set_is_closed_has_no_loop() {
    let accepted = Connections { accepted: 2, ..Connections::default() };
    let (mut watch, mut world) = (watch(), World { connections: Some(accepted), ..World::default() });
    world.gone = true;
    let mut l = loop_of(11, 5);
    block(&mut l, FUTEX, 7, SECOND + MS);
    assert_eq!(watch.look(&[l], SECOND + 30 * MS, &mut world), []);
    assert!(watch.long(&[l], SECOND + 60 * MS, 50 * MS).is_empty());
    world.gone = false;
    assert_eq!(watch.look(&[l], SECOND + 200 * MS, &mut world), []);
    assert_eq!(watch.running(&[l], SECOND + 2_000 * MS, &mut world), []);
    let mut stall = Stall::of(l.at(SECOND + 2_100 * MS).unwrap(), false).unwrap();
    assert!(!watch.ended(&mut stall, SECOND + 2_100 * MS, &mut world));
    assert!(watch.is_closed(&l));
    // A turn that nobody has looked at.
    stall.turn.start += SECOND;
    assert!(!watch.ended(&mut stall, SECOND + 2_100 * MS, &mut world));
}

/// It has another set by now, and a loop with it.
#[test]
fn a_thread_that_has_its_set_again_is_a_loop_again() {
    let (mut watch, mut world) = (watch(), World { gone: true, ..World::default() });
    let l = loop_of(11, 5);
    watch.look(&[l], SECOND + 30 * MS, &mut world);
    assert!(watch.is_closed(&l));
    world.gone = false;
    let mut idle = l;
    idle.wait_enter(kind::EPOLL, 5, u64::MAX, SECOND + 60 * MS);
    watch.look(&[idle], SECOND + 70 * MS, &mut world);
    assert!(!watch.is_closed(&l));
    let mut l = idle;
    l.wait_exit(kind::EPOLL, false, 2 * SECOND);
    assert_eq!(watch.look(&[l], 2 * SECOND + 200 * MS, &mut world).len(), 1);
    assert!(watch.is_loops(&l.turn));
}

/// A set without connections is one all the same (granian's).
#[test]
fn a_loop_without_connections_is_told_of_with_low_confidence() {
    let none = Some(Connections::default());
    let (mut watch, mut world) = (watch(), World { connections: none, ..World::default() });
    let l = loop_of(11, 5);
    let told = watch.look(&[l], SECOND + 200 * MS, &mut world);
    assert_eq!(told.iter().map(|stall| stall.confidence).collect::<Vec<_>>(), [Confidence::Low]);
    assert!(!watch.is_closed(&l));
}
