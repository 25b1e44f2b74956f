//! How MySQL servers hang up, each way and those that are much like it.

use serde_json::json;

use super::super::sample::{distribution, findings, judged, listener, pool, with_connections};
use super::super::{connection_failures, sample};
use super::mysql::{KILLED, TIMEOUT};
use super::*;
use crate::report::{ClosedBy, ConnectionRow, Distribution, HttpRow, ListenerRow, MysqlRow, Report};

fn exactly(count: u64, value: f64) -> Option<Distribution> {
    let d = distribution(count, value);
    Some(Distribution { min: value, max: value + 0.004, ..d })
}

fn gone(how: &str, count: u64, idle: Option<Distribution>) -> ConnectionRow {
    let gone_by = [(how.to_owned(), count)].into();
    ConnectionRow { gone: count, gone_by, gone_idle: idle, ..pool() }
}

fn killed(count: u64) -> ConnectionRow {
    let by = ClosedBy { peer: count, ..ClosedBy::default() };
    ConnectionRow { cut: count, cut_by: by, closed_by: by, ..pool() }
}

fn refused(mut row: ConnectionRow) -> ConnectionRow {
    row.failed = [("ECONNREFUSED".to_owned(), 6)].into();
    row.attempted += 6;
    row
}

fn mysql(report: &mut Report, command: &str, error: &str, count: u64) {
    let row = MysqlRow {
        service: "shop".into(),
        peer: Some("10.0.0.9:3306".into()),
        errors: [(error.to_owned(), count)].into(),
        ..crate::output::text::sample::mysql_row(command, None)
    };
    report.mysql.push(row);
}

fn cause(row: ConnectionRow) -> String {
    let found = findings(&with_connections(vec![row.clone()]), ID);
    let [finding] = found.as_slice() else { panic!("{row:#?}: {found:#?}") };
    finding.evidence["cause"].as_str().unwrap_or_default().to_owned()
}

#[test]
fn a_timeout_names_its_seconds() {
    let found = findings(&with_connections(vec![gone("reset", 3, exactly(3, 1.001))]), ID);
    assert_eq!(
        found[0].title,
        "uvicorn shop:app: the MySQL server 10.0.0.9:3306 ended 3 connections that were idle after 1 s \
         (wait_timeout), and were used again"
    );
    assert_eq!(found[0].evidence["wait_timeout_seconds"], 1.0);
    assert!(found[0].advice.contains("SHOW VARIABLES LIKE 'wait_timeout'"), "{}", found[0].advice);
    assert!(found[0].advice.contains("pool_pre_ping"), "{}", found[0].advice);
    let idle = "(reset 3x); they had been idle for 1.00 s;";
    assert!(found[0].detail.contains(idle), "{}", found[0].detail);
    let found = findings(&with_connections(vec![gone("fin", 3, Some(distribution(3, 3.0)))]), ID);
    assert!(found[0].detail.contains("idle for 1.50 s to 24.0 s;"), "{}", found[0].detail);
}

/// Each way of hanging up, and those that are much like it.
#[test]
fn causes_are_told_apart() {
    for (expected, row) in [
        ("wait_timeout", gone("4031", 1, exactly(1, 1.0))),
        ("wait_timeout", gone("4031", 5, Some(distribution(5, 3.0)))),
        ("wait_timeout", gone("reset", 1, exactly(1, 1.1))),
        ("wait_timeout", gone("reset", 1, exactly(1, 0.973))),
        ("wait_timeout", gone("reset", 9, exactly(9, 28_800.2))),
        ("unknown", gone("reset", 1, exactly(1, 0.8))),
        ("wait_timeout", gone("fin", 4, exactly(4, 60.01))),
        ("wait_timeout", refused(gone("4031", 1, exactly(1, 1.0)))),
        ("killed", killed(1)),
        ("killed", gone("fin", 1, exactly(1, 1.0))),
        ("killed", gone("fin", 5, Some(distribution(5, 3.0)))),
        ("killed", gone("1927", 1, exactly(1, 0.3))),
        ("restart", refused(killed(2))),
        ("restart", refused(gone("fin", 5, exactly(5, 2.4)))),
        ("restart", gone("1053", 5, exactly(5, 2.4))),
        ("unknown", gone("reset", 5, Some(distribution(5, 3.0)))),
    ] {
        assert_eq!(cause(row.clone()), expected, "{row:#?}");
    }
}

#[test]
fn a_packet_that_is_too_large() {
    let reset = ClosedBy { reset: 4, ..ClosedBy::default() };
    let mut report = with_connections(vec![ConnectionRow { cut: 4, cut_by: reset, ..pool() }]);
    mysql(&mut report, "query", TOO_LARGE, 4);
    let verdict = judged(&report);
    let [found] = verdict.found.as_slice() else { panic!("{verdict:#?}") };
    assert_eq!(found.finding.evidence["cause"], "max_allowed_packet");
}

/// The client asked again when the new server was there already: the server's socket tells.
#[test]
fn a_restart_that_no_connect_met() {
    let ended = ConnectionRow { gone_at: exactly(5, 12.0), ..gone("fin", 5, exactly(5, 2.4)) };
    let here = ConnectionRow { peer: "127.0.0.1:3306".into(), ..ended.clone() };
    for (row, address, closed_at, cause) in [
        (&ended, "10.0.0.9:3306", vec![12.6], "restart"),
        (&here, "0.0.0.0:3306", vec![12.6], "restart"),
        (&ended, "0.0.0.0:3306", vec![12.6], "killed"),
        (&here, "0.0.0.0:3307", vec![12.6], "killed"),
        (&here, "127.0.0.1:3306", vec![25.0], "killed"),
        (&here, "127.0.0.1:3306", vec![], "killed"),
    ] {
        let listener =
            ListenerRow { service: "mysqld".into(), address: address.into(), closed_at, ..listener() };
        let report = Report { listeners: vec![listener], ..with_connections(vec![row.clone()]) };
        assert_eq!(findings(&report, ID)[0].evidence["cause"], cause, "{address}");
    }
}

/// The client writes on, fails, and does not read what the server has said.
#[test]
fn a_packet_that_is_too_large_to_be_sent() {
    let by = ClosedBy { peer: 4, ..ClosedBy::default() };
    for (bytes, cause) in [(1_048_576.0, "max_allowed_packet"), (60.0, "killed")] {
        let row = ConnectionRow { cut: 4, cut_by: by, ..gone("fin", 4, Some(distribution(4, 0.03))) };
        let mut report = with_connections(vec![row]);
        mysql(&mut report, "query", "EPIPE", 4);
        report.mysql[0].request_bytes = Distribution { max: bytes, ..distribution(4, bytes) };
        let finding = &findings(&report, ID)[0];
        assert_eq!(
            (&finding.evidence["cause"], finding.count),
            (&json!(cause), if bytes > 100.0 { 4 } else { 8 })
        );
    }
}

#[test]
fn what_a_restart_refuses_is_explained_by_it() {
    let report = with_connections(vec![refused(killed(2))]);
    let refused = findings(&report, connection_failures::ID);
    assert_eq!(refused[0].explained_by.as_deref(), Some(ID));
}

fn statements(count: u64, text: &str) -> MysqlRow {
    MysqlRow {
        service: "shop".into(),
        peer: Some("10.0.0.9:3306".into()),
        count,
        ..crate::output::text::sample::mysql_row("query", Some(text))
    }
}

fn validated(gone: u64) -> ConnectionRow {
    ConnectionRow { gone_validated: gone, ..gone_by_fin(3) }
}

fn gone_by_fin(count: u64) -> ConnectionRow {
    gone("fin", count, exactly(count, 1.0))
}

/// A service that answers no HTTP request and listens nowhere.
fn script(row: ConnectionRow) -> Report {
    Report { http: Vec::new(), ..with_connections(vec![row]) }
}

/// A pool that asks `SELECT 1` before each use has lost nothing, nor has one that tests its idle connections more often
/// than they are used; a script that asks nothing else means it.
#[test]
fn validation_queries_expect_it() {
    for (gone, text, count, left) in [
        (3, "SELECT name FROM items WHERE id = ?", 40, 0),
        (3, "SELECT name FROM items WHERE id = ?", 2, 0),
        (3, "INSERT INTO items VALUES (...)", 1, 0),
        (2, "SELECT name FROM items WHERE id = ?", 40, 1),
        (2, "SELECT name FROM items WHERE id = ?", 2, 1),
        (3, "SET NAMES utf8mb4", 40, 3),
        (3, "SHOW VARIABLES", 40, 3),
        (3, "SELECT CONNECTION_ID ( )", 40, 3),
        (3, "ROLLBACK", 40, 3),
        (3, "SELECT ?", 40, 3),
    ] {
        let mut report = script(validated(gone));
        report.mysql = vec![statements(40, "SELECT ? FROM DUAL"), statements(count, text)];
        // What MariaDB says to a session that was killed is read as the answer.
        report.mysql[0].errors = [(KILLED.to_owned(), gone)].into();
        let left = if left == 3 { left + gone } else { left };
        let found = findings(&report, ID);
        assert_eq!(found.iter().map(|finding| finding.count).sum::<u64>(), left, "{text}: {found:#?}");
    }
}

/// At night a server's pool tests its idle connections, and nobody asks for anything: no request has failed.
#[test]
fn an_idle_servers_pool_tests_its_connections() {
    for (statuses, listens, count) in [
        (vec![200, 404], false, 0),
        (vec![200, 500], false, 1),
        (vec![], true, 0),
        (vec![500], true, 1),
        (vec![], false, 1),
    ] {
        let mut report = script(validated(3));
        report.mysql = vec![statements(40, "SELECT ?")];
        let row = |status: &u16| HttpRow {
            service: "shop".into(),
            ..sample::http_row("GET", "/health", Some(*status), 3, 0.001)
        };
        report.http = statuses.iter().map(row).collect();
        report.services[0].listens = if listens { vec!["0.0.0.0:8000".into()] } else { Vec::new() };
        assert_eq!(findings(&report, ID).len(), count, "{statuses:?} {listens}");
    }
    // A probe that gave up, and errors that are fewer than the connections that ended.
    let mut report = script(validated(3));
    report.mysql = vec![statements(40, "SELECT ?")];
    let row = |status, count| HttpRow {
        service: "shop".into(),
        ..sample::http_row("GET", "/health", status, count, 0.001)
    };
    let given_up = HttpRow { error_type: Some("closed".into()), ..row(None, 5) };
    for (failed, count) in [(2, 0), (3, 1)] {
        report.http = vec![given_up.clone(), row(Some(502), failed)];
        assert_eq!(findings(&report, ID).len(), count, "{failed}");
    }
}

/// Tests that met a reset said so at once: those that got no answer are others.
#[test]
fn tests_of_two_kinds() {
    let reset = |tested| ConnectionRow { gone_validated: tested, ..gone("reset", 10, exactly(10, 1.0)) };
    let by = ClosedBy { peer: 3, ..ClosedBy::default() };
    let mut report = script(ConnectionRow { cut: 3, cut_by: by, ..reset(10) });
    report.mysql = vec![statements(40, "SELECT ?"), statements(5, "SELECT name FROM items WHERE id = ?")];
    report.mysql[0].errors = [("closed".to_owned(), 3), ("EPIPE".to_owned(), 10)].into();
    assert_eq!(findings(&report, ID), [], "a healthy pool");
    report.mysql[0].errors = [("closed".to_owned(), 1), ("EPIPE".to_owned(), 10)].into();
    assert_eq!(findings(&report, ID)[0].evidence["ended_in_use"], 2);
}

/// Where both a test and a query that was wanted met closed connections, the numbers are the query's, and the text says
/// what the others were.
#[test]
fn tests_beside_what_was_wanted() {
    let mut report = script(validated(2));
    report.mysql = vec![statements(40, "SELECT ?"), statements(5, "SELECT name FROM items WHERE id = ?")];
    let found = findings(&report, ID);
    assert!(found[0].title.contains("1 connection "), "{}", found[0].title);
    assert_eq!((&found[0].evidence["gone"], &found[0].evidence["gone_tested"]), (&json!(1), &json!(2)));
    let detail = "3 connections ended while idle (fin 3x); they had been idle for 1.00 s. To 1 of them the client wrote a \
                  statement that it wanted answered";
    assert!(found[0].detail.starts_with(detail), "{}", found[0].detail);
    // One that ended within its test is none that was wanted.
    report.connections = vec![killed(3)];
    report.mysql[0].errors = [("closed".to_owned(), 2)].into();
    assert_eq!(findings(&report, ID)[0].evidence["ended_in_use"], 1);
}

/// A ping that failed takes nothing from what others wrote to.
#[test]
fn pings_are_no_part_of_it() {
    let mut report = with_connections(vec![gone("fin", 3, exactly(3, 1.0))]);
    mysql(&mut report, "ping", "EPIPE", 3);
    assert_eq!(findings(&report, ID)[0].count, 3);
}

/// The nearest healthy ones: idle connections that the server ended and nobody used again; a client that leaves in
/// the middle; no MySQL.
#[test]
fn what_nobody_missed() {
    let by = ClosedBy { peer: 5, ..ClosedBy::default() };
    let own = ClosedBy { us: 2, ..ClosedBy::default() };
    let farewells = [(TIMEOUT.to_owned(), 5)].into();
    for report in [
        with_connections(vec![ConnectionRow { closed: 5, closed_by: by, farewells, ..pool() }]),
        with_connections(vec![ConnectionRow { cut: 2, cut_by: own, ..pool() }]),
        with_connections(vec![ConnectionRow { protocol: "http".into(), ..killed(3) }]),
    ] {
        assert_eq!(sample::findings(&report, ID), [], "{:#?}", report.connections);
    }
}
