//! What a survey sees while it is so.

use super::*;
use crate::connections::surveys::LONG_NS;
use crate::parse::patience::Patience;

#[test]
fn requests_that_wait_are_seen_while_they_do() {
    let mut stage = stage();
    let (client, server) =
        (event(what::OPENED, role::CLIENT, 5, opened()), event(what::OPENED, role::SERVER, 6, opened()));
    feed(&mut stage, &client, Some("app"));
    feed(&mut stage, &server, Some("web"));
    stage.survey();
    for event in [&client, &server] {
        // SAFETY: plain numbers.
        let mut conn: Conn = unsafe { std::mem::zeroed() };
        (conn.record, conn.life) = (record(event), event.life);
        (conn.record.proto, conn.state) = (proto::HTTP, state::REQUEST);
        conn.record.request.t_start = 4 * SECOND;
        stage.see(&conn, &UnderWay::default(), 10 * SECOND);
    }
    // And one that nobody has accepted yet.
    // SAFETY: plain numbers.
    let mut waits: Conn = unsafe { std::mem::zeroed() };
    waits.record = record(&event(what::OPENED, role::SERVER, 7, Life::default()));
    waits.t_ready = 3 * SECOND;
    stage.see(&waits, &UnderWay::default(), 10 * SECOND);
    stage.surveyed(10 * SECOND);
    let rows = all(&stage);
    let row = rows.iter().find(|row| row.service == "app").unwrap();
    assert_eq!((row.waiting, row.oldest_waiting), (1, Some(6.0)));
    assert_eq!(rows.iter().find(|row| row.service == "web").unwrap().waiting, 0);
    let listeners = stage.listener_rows(0, 10 * SECOND, |_| true, |_| None);
    let l = &listeners[0];
    assert_eq!((l.in_flight, l.peak_in_flight, l.unread, l.oldest_waiting), (2, 2, 1, Some(7.0)));
    assert_eq!((l.silent, l.longest_silence, l.requests), (Some(9.0), 7.0, 0));
}

/// A pool of two: one works on a report, the other one on small things.
#[test]
fn a_long_query_beside_many_short_ones() {
    let mut stage = stage();
    let (long, short) =
        (event(what::OPENED, role::CLIENT, 5, opened()), event(what::OPENED, role::CLIENT, 6, opened()));
    for open in [&long, &short] {
        feed(&mut stage, open, Some("app"));
    }
    // SAFETY: plain numbers.
    let mut conn: Conn = unsafe { std::mem::zeroed() };
    (conn.record, conn.life) = (record(&long), long.life);
    (conn.record.proto, conn.state, conn.record.request.t_start) = (proto::MYSQL, state::REQUEST, 3 * SECOND);
    for n in 0..2_000 {
        let now = 3 * SECOND + n * 1_000;
        if n == 100 {
            stage.survey();
            stage.see(&conn, &UnderWay::default(), now);
            stage.surveyed(now);
        }
        stage.exchange(&record(&short), &mut mysql(Role::Client, now, now + 1_000, Some(false)));
    }
    stage.exchange(&record(&long), &mut mysql(Role::Client, 3 * SECOND, 3 * SECOND + 2_000_000, Some(false)));
    let row = only(&stage);
    assert_eq!((row.ceiling, row.full_seconds, row.used_seconds), (2, 0.002, 0.002));
}

#[test]
fn requests_that_say_that_they_wait_do_not_count_as_waiting() {
    let mut stage = stage();
    let event = event(what::OPENED, role::CLIENT, 5, opened());
    feed(&mut stage, &event, Some("app"));
    // SAFETY: plain numbers.
    let mut conn: Conn = unsafe { std::mem::zeroed() };
    (conn.record, conn.life) = (record(&event), event.life);
    (conn.record.proto, conn.state) = (proto::HTTP, state::REQUEST);
    conn.record.request.t_start = 4 * SECOND;
    assert!(!stage.wants_patience(&conn, 4 * SECOND + LONG_NS - 1), "not asked for at once");
    for (patience, now, expected) in [
        (None, 10, (1, Some(6.0))),
        (Some(Patience::Endless), 100, (0, None)),
        (Some(Patience::UpTo(60.0)), 10, (0, None)),
        (Some(Patience::UpTo(60.0)), 100, (1, Some(96.0))),
    ] {
        assert!(stage.wants_patience(&conn, now * SECOND));
        stage.survey();
        stage.see(&conn, &UnderWay { call: None, patience }, now * SECOND);
        stage.surveyed(now * SECOND);
        let row = only(&stage);
        assert_eq!((row.waiting, row.oldest_waiting), expected, "{patience:?}");
    }
}

#[test]
fn connections_whose_end_was_not_heard_do_not_stay() {
    let mut stage = stage();
    feed(&mut stage, &event(what::OPENED, role::CLIENT, 5, opened()), Some("app"));
    for now in 1..100 {
        stage.survey();
        stage.surveyed(now * SECOND);
    }
    assert_eq!((only(&stage).live, stage.table.len()), (0, 0));
}
