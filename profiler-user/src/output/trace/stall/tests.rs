//! Tests of the lines of stalls.

use profiler_ebpf::turn::{Blocked, Turn};
use profiler_ebpf::wait::kind;

use super::*;

fn at() -> Timestamp {
    "2026-09-01T12:00:00.123456789Z".parse().unwrap()
}

fn stall() -> Stall {
    let mut turn =
        Turn { pid: 42, tid: 43, wait: kind::EPOLL, start: 1, end: 300_000_001, ..Turn::default() };
    turn.calls[0] = Blocked { ns: 280_000_000, target: 9, nr: 45, count: 3 };
    (turn.blocked, turn.on_cpu) = (280_000_000, 20_000_000);
    turn.comm[..7].copy_from_slice(b"uvicorn");
    let mut stall = Stall::of(turn, false).unwrap();
    stall.blocked_in[0].target = Some("tcp 10.0.0.1:3306".into());
    stall
}

/// The line behind its time of day, which depends on the machine's time zone.
fn line(stall: &Stall) -> String {
    let line = text(stall, "orders", at(), &Style::plain(80));
    line[13..].to_owned()
}

#[test]
fn a_stall_says_why_and_on_what() {
    let mut stall = stall();
    assert_eq!(
        line(&stall),
        "!! orders[42] event loop stalled  300 ms  on a socket  cpu 20.0 ms  run queue 0 s  blocked 280 ms  \
         in recvfrom tcp 10.0.0.1:3306 x3 280 ms"
    );
    stall.blocked_in[0].kind = Kind::Database;
    stall.queries = Some(Queries {
        peer: "10.0.0.1:3306".into(),
        digest: "00".into(),
        digest_text: "SELECT *\n FROM t".into(),
        count: 300,
        seconds: 0.29,
    });
    stall.waiting = Some(Waiting { requests: 1, connections: 2 });
    stall.ongoing = true;
    assert_eq!(
        line(&stall),
        "!! orders[42] event loop stalls  300 ms  on a database  300 queries to 10.0.0.1:3306 290 ms: SELECT * FROM t  \
         cpu 20.0 ms  run queue 0 s  blocked 280 ms  in recvfrom tcp 10.0.0.1:3306 x3 280 ms  \
         1 request and 2 connections waiting"
    );
}

#[test]
fn a_stall_as_json() {
    let value: serde_json::Value =
        serde_json::from_str(&json(&stall(), "orders", at(), at()).unwrap()).unwrap();
    assert_eq!((&value["type"], &value["service"]), (&"stall".into(), &"orders".into()));
    assert_eq!(
        (&value["cause"], &value["blocked_in"][0]["kind"]),
        (&"blocking-call".into(), &"socket".into())
    );
    assert_eq!(value.get("queries"), None);
}

#[test]
fn escape_sequences_stay_home() {
    let mut stall = stall();
    stall.blocked_in[0].target = Some("/tmp/\x1b[2J".into());
    let line = text(&stall, "or\x1bders", at(), &Style::plain(80));
    assert!(!line.contains('\x1b'), "{line}");
}
