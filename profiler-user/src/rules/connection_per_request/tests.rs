//! Services that connect for each request, with and without requests that can be seen, and the nearest healthy ones.

use super::super::sample::{distribution, findings, judged, pool, short, with_connections};
use super::*;
use crate::report::{ConnectionRow, Report, Role};

#[test]
fn a_framework_that_connects_for_each_request() {
    let found = findings(&with_connections(vec![short(600, 0.02)]), ID);
    let [finding] = found.as_slice() else { panic!("{found:#?}") };
    assert_eq!(
        finding.title,
        "uvicorn shop:app: opens a database connection for about each request: 20.0/s to 10.0.0.9:3306"
    );
    assert_eq!(
        finding.detail,
        "600 connections for 600 requests, 1.00 requests each. Connecting and signing in took 1.32 s in sum, 2.20 ms \
         each, 11 % of the time that its requests take. Each carries 3 commands (median)."
    );
    assert_eq!((finding.severity, finding.count), (Severity::Warning, 600));
    assert!((finding.evidence["handshake_share"].as_f64().unwrap() - 0.11).abs() < 1e-9);
    assert_eq!(finding.evidence["uses_per_connection"], 1.0);
    assert!(finding.advice.contains("CONN_MAX_AGE"), "{}", finding.advice);
}

/// The nearest healthy ones: a pool; one that is filled at start over TCP and again over the server's Unix socket;
/// one that grows; connections that each request opens and that live on; one that a few requests share; a worker that
/// connects far more often than it is asked.
#[test]
fn what_is_no_habit() {
    let probe = ConnectionRow { opening_seconds: 1, peak: 1, ..short(10, 0.004) };
    let socket = ConnectionRow { peer: "unix:/run/mysqld/mysqld.sock".into(), established: 10, ..pool() };
    let growing = ConnectionRow { established: 400, live: 400, opening_seconds: 25, ..pool() };
    let slow = ConnectionRow { lifetime: Some(distribution(400, 12.0)), ..short(400, 12.0) };
    for (what, rows) in [
        ("pool", vec![pool()]),
        ("filled twice", vec![probe, socket]),
        ("grows or lives on", vec![growing]),
        ("long lives", vec![slow]),
        ("shared", vec![short(200, 0.05)]),
        ("a worker", vec![short(6_000, 0.002)]),
        ("the server's end", vec![ConnectionRow { role: Role::Server, ..short(600, 0.02) }]),
    ] {
        assert_eq!(findings(&with_connections(rows), ID), [], "{what}");
    }
}

#[test]
fn some_of_its_requests_open_one_for_a_single_command() {
    let single = ConnectionRow {
        exchanges_per_connection: Some(distribution(60, 1.0)),
        exchanges: 60,
        ..short(60, 0.004)
    };
    let found = findings(&with_connections(vec![single]), ID);
    let [finding] = found.as_slice() else { panic!("{found:#?}") };
    let title =
        "uvicorn shop:app: opens a database connection for each command or two: 2.00/s to 10.0.0.9:3306";
    assert_eq!(finding.title, title);
    assert!(finding.detail.starts_with("60 connections: some of its requests open one."), "{finding:#?}");
    assert_eq!(finding.evidence["uses_per_connection"], 1.0);
}

fn without_http(row: ConnectionRow) -> Report {
    Report { http: Vec::new(), ..with_connections(vec![row]) }
}

/// Requests that cannot be read: FastCGI, HTTP/2, TLS.
#[test]
fn a_framework_whose_requests_are_not_seen() {
    let found = findings(&without_http(short(600, 0.02)), ID);
    let [finding] = found.as_slice() else { panic!("{found:#?}") };
    assert_eq!(
        finding.title,
        "uvicorn shop:app: opens a database connection for each few commands: 20.0/s to 10.0.0.9:3306"
    );
    assert_eq!(
        finding.detail,
        "600 connections; no HTTP request that it serves was seen. Connecting and signing in took 1.32 s in sum, \
         2.20 ms each. Each carries 3 commands (median)."
    );
    assert_eq!(finding.evidence["uses_per_connection"], 3.0);
    assert!(!finding.evidence.contains_key("handshake_share"), "{finding:#?}");
    let encrypted = ConnectionRow { exchanges_per_connection: None, ..short(600, 0.02) };
    let found = findings(&without_http(encrypted), ID);
    assert!(!found[0].evidence.contains_key("uses_per_connection"), "{found:#?}");
}

/// The nearest healthy ones: a pool; connections that live for a while; those of which many are kept; a job that runs
/// for a moment; a probe each second; connections of which nobody knows how long they lived.
#[test]
fn what_is_no_habit_where_no_request_is_seen() {
    for (what, row) in [
        ("pool", pool()),
        ("long lives", short(600, 1.5)),
        ("kept", ConnectionRow { lifetime: Some(distribution(400, 0.02)), ..short(600, 0.02) }),
        ("a job", ConnectionRow { opening_seconds: 4, ..short(600, 0.02) }),
        ("a probe", short(30, 0.004)),
        ("lives that nobody knows", ConnectionRow { lifetime: None, ..short(600, 0.02) }),
    ] {
        assert_eq!(judged(&without_http(row)).found, [], "{what}");
    }
}

#[test]
fn a_few_are_not_enough() {
    let mut report = with_connections(vec![ConnectionRow { opening_seconds: 2, ..short(40, 0.02) }]);
    report.http[0].count = 40;
    let verdict = judged(&report);
    assert_eq!(verdict.found, []);
    assert!(verdict.undecided[0].reason.contains("within 2 seconds"), "{verdict:#?}");
}
