//! What a row makes of lives and exchanges.

use super::*;

const SECOND: u64 = 1_000_000_000;
const ID: Id = (1, 1);

fn life() -> Life {
    Life { t_connect: 9 * SECOND, t_open: 10 * SECOND, ..Life::default() }
}

#[test]
fn from_open_to_close() {
    let mut row = Row::default();
    row.opened(&life(), 5 * SECOND, true);
    let open = row.report(true);
    assert_eq!((open.established, open.live, open.peak, open.attempted), (1, 1, 1, 1));
    assert_eq!(open.connect.unwrap().sum, 1.0);
    let over = Life {
        t_end: 14 * SECOND,
        t_closed: 20 * SECOND,
        busy: SECOND,
        exchanges: 3,
        end: end::OURS,
        ..life()
    };
    row.closed(&over, Protocol::Http, 5 * SECOND);
    let closed = row.report(true);
    assert_eq!((closed.closed, closed.live, closed.closed_by.us), (1, 0, 1));
    assert_eq!((closed.busy_seconds, closed.idle_seconds), (1.0, 3.0));
    assert_eq!(closed.lifetime.unwrap().sum, 4.0);
    assert_eq!(closed.exchanges_per_connection.unwrap().sum, 3.0);
}

#[test]
fn what_stood_before_us_has_no_lifetime_and_counts_within_the_window() {
    let mut row = Row::default();
    row.stood();
    let over = Life { t_end: 12 * SECOND, busy: 60 * SECOND, end: end::PEERS, ..Life::default() };
    row.closed(&over, Protocol::Mysql, 10 * SECOND);
    let row = row.report(true);
    assert_eq!((row.established, row.preexisting, row.live, row.closed_by.peer), (0, 1, 0, 1));
    assert_eq!((row.lifetime, row.exchanges_per_connection), (None, None));
    assert_eq!((row.busy_seconds, row.idle_seconds), (2.0, 0.0));
}

#[test]
fn what_was_encrypted_says_nothing_of_use() {
    let mut row = Row::default();
    row.opened(&life(), 0, true);
    let over = Life { t_end: 14 * SECOND, marks: mark::TLS | mark::MYSQL, end: end::ABORTED, ..life() };
    row.closed(&over, Protocol::Mysql, 0);
    let row = row.report(true);
    assert_eq!((row.exchanges_per_connection, row.busy_seconds, row.idle_seconds), (None, 0.0, 0.0));
    assert_eq!(row.closed_by.us, 1);
}

#[test]
fn gone_by_what_the_server_did() {
    let mut row = Row::default();
    for (end, farewell, by) in [(end::PEERS, 4031, "4031"), (end::RESET, 0, "reset"), (end::PEERS, 0, "fin")]
    {
        row.opened(&life(), 0, true);
        let over = Life { end, farewell, marks: mark::GONE, idle: SECOND, t_end: 11 * SECOND, ..life() };
        row.closed(&over, Protocol::Mysql, 0);
        assert_eq!(row.report(true).gone_by[by], 1);
    }
    let row = row.report(true);
    assert_eq!((row.gone, row.gone_idle.unwrap().p50, row.gone_at.unwrap().p50), (3, 1.0, 11.0));
    assert_eq!(row.farewells, Counters::from([("4031".to_owned(), 1)]));
}

/// A command that came too late was not under way when the server ended it.
#[test]
fn cut_by_what_ended_it() {
    let mut row = Row::default();
    for (end, marks) in [
        (end::PEERS, mark::CUT),
        (end::RESET, mark::CUT),
        (end::OURS, mark::CUT),
        (end::PEERS, mark::CUT | mark::GONE),
        (end::PEERS, 0),
    ] {
        row.opened(&life(), 0, true);
        row.closed(&Life { end, marks, ..life() }, Protocol::Mysql, 0);
    }
    let row = row.report(true);
    let cut_by = ClosedBy { us: 1, peer: 1, reset: 1, ..ClosedBy::default() };
    assert_eq!((row.cut, row.cut_by, row.closed_by.peer, row.gone), (3, cut_by, 3, 1));
}

/// `count` connections that are asked again as soon as they have answered, `times` times.
fn keep_busy(row: &mut Row, count: u64, times: u64) {
    for n in 0..times {
        (0..count).for_each(|_| row.exchanged(ID, (20 + n) * SECOND, (21 + n) * SECOND));
    }
}

#[test]
fn time_with_all_of_them_busy() {
    let mut row = Row::default();
    (0..2).for_each(|_| row.opened(&life(), 0, true));
    for (start, end) in [(10, 14), (12, 15), (20, 21)] {
        row.exchanged(ID, start * SECOND, end * SECOND);
    }
    let row = row.report(true);
    assert_eq!((row.ceiling, row.used_seconds, row.full_seconds), (2, 6.0, 2.0));
}

/// A migration at the start, and a check of its health that is under way for a moment.
#[test]
fn one_more_for_a_moment_does_not_raise_the_ceiling() {
    let mut row = Row::default();
    (0..6).for_each(|_| row.opened(&life(), 0, true));
    row.exchanged(ID, 10 * SECOND, 11 * SECOND);
    row.exchanged(ID, 22 * SECOND, 22 * SECOND + SECOND / 10);
    row.closed(&life(), Protocol::Mysql, 0);
    keep_busy(&mut row, 5, 20);
    let row = row.report(true);
    assert_eq!((row.peak, row.ceiling, row.usually_open), (6, 5, 5));
    assert_eq!((row.used_seconds, row.full_seconds), (21.0, 20.0));
}

/// Each new one is opened before the old one is closed.
#[test]
fn a_pool_that_has_replaced_its_connections() {
    let mut row = Row::default();
    (0..5).for_each(|_| row.opened(&life(), 0, true));
    for n in 0..5 {
        row.opened(&life(), 0, true);
        row.closed(&life(), Protocol::Mysql, 0);
        (0..5).for_each(|_| row.exchanged(ID, (20 + n) * SECOND, (21 + n) * SECOND));
    }
    let row = row.report(true);
    assert_eq!((row.peak, row.established, row.ceiling, row.usually_open), (6, 10, 5, 5));
    assert_eq!(row.full_seconds, row.used_seconds);
}

/// Two processes with a pool each are one row: both are full, or one is.
#[test]
fn pools_of_several_processes_are_one() {
    for (busy, ceiling) in [(10, 10), (5, 5)] {
        let mut row = Row::default();
        (0..10).for_each(|_| row.opened(&life(), 0, true));
        keep_busy(&mut row, busy, 20);
        let row = row.report(true);
        assert_eq!((row.ceiling, row.usually_open), (ceiling, 10));
    }
}

#[test]
fn failures_by_name() {
    let mut row = Row::default();
    [111, 111, 99, 0].into_iter().for_each(|error| row.failed(error, SECOND, 0));
    let row = row.report(true);
    let want = [("ECONNREFUSED", 2), ("EADDRNOTAVAIL", 1), ("abandoned", 1)].map(|(e, n)| (e.to_owned(), n));
    assert_eq!(row.failed, Counters::from(want));
    assert_eq!((row.attempted, row.established), (4, 0));
}

#[test]
fn a_wait_loop_and_what_came_of_it() {
    let at = |row: &mut Row, second: u64| row.failed(111, second * SECOND, 5 * SECOND);
    let times = |row: &Row| (row.report(true).first_established, row.report(true).last_failed);
    let mut row = Row::default();
    assert_eq!(times(&row), (None, None));
    at(&mut row, 8);
    at(&mut row, 7);
    // What the row was touched by since is no failure.
    row.touched = 20 * SECOND;
    assert_eq!(times(&row), (None, Some(3.0)), "nothing was established");
    row.opened(&life(), 5 * SECOND, true);
    row.opened(&Life { t_open: 12 * SECOND, ..life() }, 5 * SECOND, true);
    assert_eq!(times(&row), (Some(5.0), Some(3.0)));
    let mut other = Row::default();
    at(&mut other, 20);
    other.merge(&row);
    assert_eq!(times(&other), (Some(5.0), Some(15.0)));
    row.merge(&other);
    assert_eq!(times(&row), (Some(5.0), Some(15.0)));
}

#[test]
fn merged_rows_sum_up() {
    let (mut one, mut other) = (Row::default(), Row::default());
    one.opened(&life(), 0, false);
    other.stood();
    other.failed(111, SECOND, 0);
    other.time_wait = Some(2);
    one.merge(&other);
    let row = one.report(false);
    assert_eq!((row.established, row.preexisting, row.live, row.time_wait), (1, 1, 2, Some(2)));
    assert_eq!(row.attempted, 0, "clients only");
}
