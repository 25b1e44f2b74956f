//! Tests of which commands belong to which stall.

use profiler_ebpf::turn::{Blocked, Turn};
use profiler_ebpf::wait::kind;

use super::*;
use crate::exchange::{HttpCall, MysqlCall, Times};
use crate::report::RouteSource;

const MS: u64 = 1_000_000;
const START: u64 = 1_000 * MS;
const PEER: &str = "10.0.0.1:3306";
const TID: u32 = 7;

/// A finished query of `ms`, begun so many ms into the turn.
fn query(text: &str, at: u64, ms: u64) -> Exchange {
    let start = START + at * MS;
    Exchange {
        pid: 6,
        tid: TID,
        comm: String::new(),
        role: Role::Client,
        local: "10.0.0.2:50000".into(),
        peer: PEER.into(),
        local_port: 50_000,
        peer_port: 3_306,
        times: Times { start: Some(start), last: start + ms * MS, ..Times::default() },
        request_bytes: 1,
        response_bytes: 1,
        transport_error: None,
        stream: false,
        truncated: false,
        call: Call::Mysql(MysqlCall {
            command: "query",
            digest: Some(text.len() as u64),
            digest_text: Some(text.into()),
            ..MysqlCall::default()
        }),
    }
}

fn asked(text: &str, at: u64, ms: u64) -> Asked {
    Asked {
        start: START + at * MS,
        last: START + (at + ms) * MS,
        peer: PEER.into(),
        digest: Some(text.len() as u64),
        text: Some(text.into()),
        command: "query",
    }
}

/// A stall of 300 ms, most of it in reads of the server.
fn stall() -> Stall {
    let mut turn =
        Turn { tid: TID, wait: kind::EPOLL, start: START, end: START + 300 * MS, ..Turn::default() };
    turn.calls[0] = Blocked { ns: 280 * MS, target: 9, nr: 45, count: 3 };
    (turn.blocked, turn.on_cpu) = (280 * MS, 20 * MS);
    let mut stall = Stall::of(turn, false).unwrap();
    stall.cause = Cause::BlockingCall;
    stall.blocked_in[0].target = Some(format!("tcp {PEER}"));
    stall
}

fn dressed(ledger: &Ledger) -> Stall {
    let mut stall = stall();
    ledger.dress(&mut stall);
    stall
}

fn told(ledger: &Ledger) -> Option<(String, u32, f64)> {
    dressed(ledger).queries.map(|q| (q.digest_text, q.count, q.seconds))
}

#[test]
fn each_query_of_the_turn_counts_once() {
    let mut ledger = Ledger::default();
    (0..300).for_each(|n| ledger.finished(&query("SELECT a", n, 1)));
    assert_eq!(told(&ledger), Some(("SELECT a".into(), 300, 0.3)));
    let stall = dressed(&ledger);
    assert_eq!(stall.digest.as_deref(), Some("0000000000000008"));
    assert_eq!(stall.blocked_in[0].kind, Kind::Database);
    // Again, once it is over, and the last one is told of late.
    ledger.over(&stall);
    ledger.finished(&query("SELECT a", 299, 1));
    assert_eq!(told(&ledger).map(|(_, count, _)| count), Some(301));
}

#[test]
fn what_began_or_ended_outside_the_turn_is_not_the_turns() {
    for late in [false, true] {
        let mut ledger = Ledger::default();
        if late {
            ledger.over(&stall());
        }
        let mut early = query("SELECT a", 0, 10);
        early.times.start = Some(START - MS);
        ledger.finished(&early);
        ledger.finished(&query("SELECT a", 290, 20));
        ledger.finished(&query("SELECT a", 400, 20));
        let mut other = query("SELECT a", 10, 10);
        other.tid += 1;
        ledger.finished(&other);
        let mut server = query("SELECT a", 10, 10);
        server.role = Role::Server;
        ledger.finished(&server);
        let mut http = query("SELECT a", 10, 10);
        http.call = Call::Http(HttpCall {
            method: "GET".into(),
            path: "/".into(),
            route: "/".into(),
            route_source: RouteSource::Template,
            status: None,
        });
        ledger.finished(&http);
        assert_eq!(told(&ledger), None, "late: {late}");
    }
}

#[test]
fn one_that_is_under_way_counts_until_it_is_told_of() {
    let mut ledger = Ledger::default();
    ledger.finished(&query("SELECT a", 0, 10));
    ledger.under_way(TID, START, asked("SELECT slow", 20, 100));
    ledger.under_way(TID, START, asked("SELECT slow", 20, 250));
    assert_eq!(told(&ledger), Some(("SELECT slow".into(), 2, 0.26)));
    ledger.over(&stall());
    assert_eq!(told(&ledger), Some(("SELECT slow".into(), 2, 0.26)));
    ledger.finished(&query("SELECT slow", 20, 260));
    assert_eq!(told(&ledger), Some(("SELECT slow".into(), 2, 0.27)), "as its record has it");
}

#[test]
fn of_several_servers_and_statements_those_with_most_time() {
    let mut ledger = Ledger::default();
    let mut elsewhere = query("SELECT b", 0, 50);
    elsewhere.peer = "10.0.0.9:3306".into();
    ledger.finished(&elsewhere);
    ledger.finished(&query("SELECT aa", 60, 20));
    ledger.finished(&query("SELECT a", 80, 25));
    ledger.finished(&query("SELECT aa", 110, 20));
    assert_eq!(told(&ledger), Some(("SELECT aa".into(), 3, 0.065)));
    assert_eq!(dressed(&ledger).digest, None, "a fifth of the time that it was blocked");
}

#[test]
fn a_sign_in_counts_only_where_nothing_else_was_asked() {
    let mut ledger = Ledger::default();
    let mut ping = query("", 0, 200);
    ping.call = Call::Mysql(MysqlCall { command: "ping", ..MysqlCall::default() });
    ledger.finished(&ping);
    assert_eq!(told(&ledger), Some(("(ping)".into(), 1, 0.2)));
    assert_eq!(dressed(&ledger).digest, None);
    ledger.finished(&query("SELECT a", 210, 10));
    assert_eq!(told(&ledger), Some(("SELECT a".into(), 1, 0.01)));
}

#[test]
fn statements_beyond_the_room_count_together() {
    let mut ledger = Ledger::default();
    (0..100).for_each(|n| ledger.finished(&query(&"x".repeat(n as usize + 1), n, 1)));
    assert_eq!(told(&ledger), Some((OTHERS.into(), 100, 0.1)));
}

#[test]
fn what_nobody_can_ask_for_is_forgotten() {
    let mut ledger = Ledger::default();
    (0..3).for_each(|n| ledger.finished(&query("SELECT a", n * 100, 1)));
    ledger.forget(START + LATE_NS + 150 * MS, |_| None);
    assert_eq!((ledger.kept, told(&ledger).map(|(_, count, _)| count)), (1, Some(1)));
    ledger.forget(START + 100 * LATE_NS, |tid| (tid == TID).then_some(START));
    assert_eq!(ledger.kept, 1, "its turn goes on");
    ledger.forget(START + 100 * LATE_NS, |_| None);
    assert_eq!((ledger.kept, ledger.threads.len()), (0, 0));
}

#[test]
fn what_finds_no_room_is_counted() {
    let mut ledger = Ledger::default();
    (0..MOST_OF_THREAD + 5).for_each(|_| ledger.finished(&query("SELECT a", 0, 1)));
    assert_eq!((ledger.forgotten, ledger.kept), (5, MOST_OF_THREAD));
    for n in 0..MOST {
        let mut other = query("SELECT a", 0, 1);
        other.tid = 100 + n as u32;
        ledger.finished(&other);
    }
    assert_eq!((ledger.forgotten, ledger.kept), (5 + MOST_OF_THREAD as u64, MOST));
}

/// Stalls of years ago make room for those of today, and keep what was said of them.
#[test]
fn the_oldest_stalls_are_forgotten_first() {
    let mut ledger = Ledger::default();
    ledger.finished(&query("SELECT a", 10, 100));
    let first = dressed(&ledger);
    ledger.over(&first);
    for n in 1..=MOST_STALLS as u64 {
        let mut next = stall();
        (next.turn.start, next.turn.end) = (START + n * 1_000 * MS, START + n * 1_000 * MS + 300 * MS);
        ledger.finished(&query("SELECT b", n * 1_000 + 10, 100));
        ledger.over(&next);
        ledger.dress(&mut next);
        assert!(next.queries.is_some(), "stall {n}");
    }
    let mut again = first.clone();
    ledger.dress(&mut again);
    assert_eq!(again.queries, first.queries);
    assert!(again.queries.is_some());
}
