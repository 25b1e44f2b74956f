//! HTTP servers that end idle connections, for each reason, and the nearest healthy ones.

use super::super::super::sample::{distribution, findings, listener, pool, with_connections};
use super::super::super::{connection_failures, server_gone_away::ID};
use super::*;
use crate::report::{ClosedBy, ConnectionRow, ListenerRow, Report};

fn between(count: u64, min: f64, max: f64) -> Option<Distribution> {
    Some(Distribution { min, max, p50: (min + max) / 2.0, ..distribution(count, max) })
}

fn gone(how: &str, count: u64, idle: (f64, f64), at: (f64, f64)) -> ConnectionRow {
    ConnectionRow {
        protocol: "http".into(),
        peer: "10.0.0.7:8000".into(),
        gone: count,
        gone_by: [(how.to_owned(), count)].into(),
        gone_idle: between(count, idle.0, idle.1),
        gone_at: between(count, at.0, at.1),
        ..pool()
    }
}

fn refused(row: ConnectionRow) -> ConnectionRow {
    ConnectionRow { failed: [("ECONNREFUSED".to_owned(), 6)].into(), attempted: 11, ..row }
}

#[test]
fn a_timeout_names_its_seconds_and_the_settings() {
    let mut report = with_connections(vec![gone("fin", 3, (5.0, 5.004), (6.0, 21.0))]);
    report.services[0].runtime = Some("nginx".into());
    let found = findings(&report, ID);
    let [finding] = found.as_slice() else { panic!("{found:#?}") };
    assert_eq!(
        finding.title,
        "uvicorn shop:app: the HTTP server 10.0.0.7:8000 ended 3 connections that were idle after 5 s (keep-alive \
         timeout), and requests were written to them"
    );
    assert_eq!((finding.evidence["keep_alive_seconds"].as_f64(), finding.count), (Some(5.0), 3));
    for setting in ["server.keepAliveTimeout", "--keep-alive", "--timeout-keep-alive", "proxy_next_upstream"]
    {
        assert!(finding.advice.contains(setting), "{}", finding.advice);
    }
    assert!(finding.detail.contains("(fin 3x); they had been idle for 5.00 s."), "{}", finding.detail);
}

/// Each way, and those that are much like it.
#[test]
fn causes_are_told_apart() {
    for (expected, row) in [
        (KEEP_ALIVE, gone("fin", 3, (2.0, 2.0), (6.0, 6.0))),
        (KEEP_ALIVE, gone("fin", 5, (2.1, 2.9), (6.0, 20.0))),
        (KEEP_ALIVE, gone("fin", 4, (2.1, 2.9), (6.0, 6.01))),
        (KEEP_ALIVE, gone("reset", 4, (60.01, 60.02), (61.0, 80.0))),
        (KEEP_ALIVE, refused(gone("fin", 4, (5.0, 5.01), (6.0, 20.0)))),
        ("restart", gone("fin", 4, (0.3, 9.0), (12.0, 12.1))),
        ("restart", refused(gone("fin", 1, (2.0, 2.0), (12.0, 12.0)))),
        ("restart", refused(gone("fin", 4, (0.01, 0.05), (12.0, 12.1)))),
        ("restart", refused(gone("fin", 4, (1.3, 4.4), (3.0, 12.1)))),
        ("unknown", gone("reset", 4, (1.3, 4.4), (3.0, 12.1))),
    ] {
        let found = findings(&with_connections(vec![row.clone()]), ID);
        assert_eq!(found.len(), 1, "{row:#?}");
        assert_eq!(found[0].evidence["cause"], expected, "{row:#?}");
    }
}

/// Those who reuse connections meet a closed one now and then.
#[test]
fn a_race_among_many_connections() {
    let of = |count, all| ConnectionRow { established: all, ..gone("fin", count, (5.0, 5.01), (6.0, 20.0)) };
    for (row, found) in [(of(2, 2), 0), (of(3, 300), 1), (of(30, 3_001), 0)] {
        assert_eq!(findings(&with_connections(vec![row.clone()]), ID).len(), found, "{row:#?}");
    }
}

/// What was refused long before is of a server that was not up yet.
#[test]
fn a_server_that_was_waited_for_was_not_restarted() {
    let row = |last_failed| ConnectionRow {
        last_failed: Some(last_failed),
        ..refused(gone("fin", 3, (2.0, 2.0), (12.0, 12.0)))
    };
    for (last_failed, expected) in [(3.0, KEEP_ALIVE), (11.0, "restart"), (13.0, "restart")] {
        let found = findings(&with_connections(vec![row(last_failed)]), ID);
        assert_eq!(found[0].evidence["cause"], expected, "{last_failed}");
    }
}

/// The server's own socket tells of a restart that no connect met.
#[test]
fn a_server_of_this_host_that_went_down() {
    for (closed_at, expected) in [(vec![12.3], "restart"), (vec![29.0], KEEP_ALIVE), (vec![], KEEP_ALIVE)] {
        let row = gone("fin", 4, (5.0, 5.01), (12.0, 12.1));
        let listener =
            ListenerRow { service: "app".into(), address: row.peer.clone(), closed_at, ..listener() };
        let report = Report { listeners: vec![listener], ..with_connections(vec![row]) };
        assert_eq!(findings(&report, ID)[0].evidence["cause"], expected);
    }
}

/// The nearest healthy ones: clients that noticed, whatever ended their connections; a server that hangs up on an
/// upload; one of another protocol.
#[test]
fn what_is_no_race() {
    let by = ClosedBy { peer: 9, ..ClosedBy::default() };
    let noticed = ConnectionRow { closed: 9, closed_by: by, ..gone("fin", 0, (5.0, 5.0), (6.0, 6.0)) };
    let early = gone("fin", 3, (0.000_1, 0.002), (3.0, 20.0));
    let other = ConnectionRow { protocol: "other".into(), ..gone("fin", 3, (5.0, 5.0), (6.0, 20.0)) };
    for row in [ConnectionRow { gone_idle: None, gone_at: None, ..noticed }, early, other] {
        assert_eq!(findings(&with_connections(vec![row.clone()]), ID), [], "{row:#?}");
    }
}

/// A restart explains what is refused; a keep-alive timeout does not.
#[test]
fn what_it_explains() {
    for (at, because) in [((6.0, 20.0), None), ((12.0, 12.1), Some(ID))] {
        let report = with_connections(vec![refused(gone("fin", 4, (5.0, 5.01), at))]);
        let refused = findings(&report, connection_failures::ID);
        assert_eq!(refused[0].explained_by.as_deref(), because);
    }
}
