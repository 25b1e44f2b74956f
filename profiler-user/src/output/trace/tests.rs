//! Tests of the trace lines.

use super::*;
use crate::exchange::{MysqlError, Times};

fn at() -> Timestamp {
    "2026-09-01T12:00:00.123456789Z".parse().unwrap()
}

fn exchange(role: Role, call: Call) -> Exchange {
    Exchange {
        pid: 42,
        tid: 43,
        comm: "uvicorn".into(),
        role,
        local: "127.0.0.1:8080".into(),
        peer: "127.0.0.1:50000".into(),
        local_port: 8080,
        peer_port: 50000,
        times: Times {
            opened: None,
            accepted: None,
            arrival: (role == Role::Server).then_some(1_000_000),
            start: Some(2_000_000),
            request_end: Some(2_000_000),
            first: Some(4_000_000),
            last: 5_000_000,
        },
        request_bytes: 120,
        response_bytes: 2_300,
        transport_error: None,
        stream: false,
        truncated: false,
        call,
    }
}

fn http(path: &str, status: Option<u16>) -> Call {
    Call::Http(HttpCall {
        method: "GET".into(),
        path: path.into(),
        route: "/orders/{id}".into(),
        route_source: RouteSource::Template,
        status,
    })
}

fn mysql() -> MysqlCall {
    MysqlCall {
        command: "query",
        digest: Some(0xc0ffee),
        digest_text: Some("SELECT *\n FROM t WHERE id = ?".into()),
        schema: Some("shop".into()),
        ..MysqlCall::default()
    }
}

/// The line behind its time of day, which depends on the machine's time zone.
fn line(exchange: &Exchange) -> String {
    let line = text(exchange, "orders", at(), &Style::plain(80));
    assert_eq!(&line[2..3], ":");
    assert_eq!(&line[5..13], ":00.123 ", "{line}");
    line[13..].to_owned()
}

#[test]
fn a_served_request() {
    let exchange = exchange(Role::Server, http("/orders/7", Some(200)));
    assert_eq!(line(&exchange), "<- orders[42] GET /orders/7 200  4.00 ms  queue 1.00 ms  120 B / 2.30 kB");
    assert_eq!(
        json(&exchange, "orders", at()).unwrap(),
        concat!(
            r#"{"type":"exchange","time":"2026-09-01T12:00:00.123456789Z","service":"orders","pid":42,"tid":43,"#,
            r#""comm":"uvicorn","role":"server","local":"127.0.0.1:8080","peer":"127.0.0.1:50000","#,
            r#""protocol":"http","method":"GET","path":"/orders/7","route":"/orders/{id}","route_source":"template","#,
            r#""status":200,"clock":"arrival","duration":0.004,"first_byte":0.003,"queue":0.001,"#,
            r#""phases":{"queue":0.001,"receive":0.0,"send":0.001,"serve":0.002},"#,
            r#""request_bytes":120,"response_bytes":2300}"#
        )
    );
}

#[test]
fn impossible_times_are_said_as_they_are() {
    let mut exchange = exchange(Role::Server, http("/", Some(200)));
    exchange.times.first = Some(1_500_000);
    let value: serde_json::Value = serde_json::from_str(&json(&exchange, "orders", at()).unwrap()).unwrap();
    assert_eq!(value["phases"]["serve"], -0.0005);
}

#[test]
fn a_query_with_an_error() {
    let error = Some(MysqlError { number: 1146, sqlstate: Some("42S02".into()) });
    let exchange = exchange(Role::Client, Call::Mysql(MysqlCall { error, ..mysql() }));
    assert_eq!(
        line(&exchange),
        "-> orders[42] SELECT * FROM t WHERE id = ? error 1146  3.00 ms  120 B / 2.30 kB"
    );
    let value: serde_json::Value = serde_json::from_str(&json(&exchange, "orders", at()).unwrap()).unwrap();
    assert_eq!(value["error_type"], "1146");
    assert_eq!(value["sqlstate"], "42S02");
    assert_eq!(value["digest"], "0000000000c0ffee");
    assert_eq!(value.get("clock"), None);
    assert_eq!(value.get("queue"), None);
}

#[test]
fn a_query_with_rows_and_flags() {
    let call = MysqlCall { rows_returned: Some(1), no_index: true, server_slow: true, ..mysql() };
    let line = line(&exchange(Role::Client, Call::Mysql(call)));
    assert!(line.ends_with("id = ? ok  3.00 ms  120 B / 2.30 kB  1 row  no index  slow"), "{line}");
    let ping = MysqlCall { command: "ping", ..MysqlCall::default() };
    assert!(self::line(&exchange(Role::Client, Call::Mysql(ping))).contains("] (ping) ok  "));
}

#[test]
fn a_cut_connection_and_a_stream_have_no_invented_outcome() {
    let mut cut = exchange(Role::Server, http("/", None));
    cut.transport_error = Some("ECONNRESET".into());
    cut.times.start = None;
    cut.times.arrival = None;
    assert_eq!(line(&cut), "<- orders[42] GET / ECONNRESET  -  120 B / 2.30 kB");
    assert!(!json(&cut, "orders", at()).unwrap().contains("duration"));

    let mut stream = exchange(Role::Server, http("/events", Some(200)));
    stream.stream = true;
    assert!(line(&stream).contains(" 200  stream  "), "{}", line(&stream));
    let stream = json(&stream, "orders", at()).unwrap();
    assert!(stream.contains(r#""stream":true"#) && !stream.contains("duration"), "{stream}");
}

#[test]
fn secrets_and_escape_sequences_stay_home() {
    let exchange = exchange(Role::Server, http("/a\x1b[2J?token=secret", Some(200)));
    let line = line(&exchange);
    assert!(line.contains("GET /a\\x1b[2J 200"), "{line}");
    let json = json(&exchange, "or\x1bders", at()).unwrap();
    assert!(!json.contains("secret") && !json.contains('\x1b'), "{json}");
}

#[test]
fn a_terminal_gets_lines_that_fit() {
    let exchange =
        exchange(Role::Server, http(&format!("/{}", "\u{6771}\u{4eac}/long/".repeat(40)), Some(500)));
    let style = Style { line: Some(100), ..Style::plain(100) };
    let line = text(&exchange, "orders", at(), &style);
    assert!(width(&line) <= 100, "{line}");
    assert!(line.contains('\u{2026}'));
    let painted = text(&exchange, "orders", at(), &Style { colour: true, ..style });
    assert!(painted.contains("\x1b[31m500\x1b[0m"), "{painted}");
}
