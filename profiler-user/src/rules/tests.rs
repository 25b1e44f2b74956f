//! What holds for all rules together.

use super::sample::{
    distribution, judged, listener, pool, queried, short, sleep, stall, with_connections, with_listener,
    with_stalls,
};
use super::*;
use crate::output::text::sample::mysql_row;
use crate::report::{ClosedBy, Distribution};
use crate::stall::cause::Cause;

#[test]
fn ids_are_names_and_each_its_own() {
    let ids: Vec<_> = ALL.iter().map(|rule| rule.id()).collect();
    for (at, id) in ids.iter().enumerate() {
        assert!(id.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-'), "{id}");
        assert!(!ids[..at].contains(id), "{id} twice");
    }
    for rule in ALL {
        assert!(rule.reasons().iter().all(|reason| ids.contains(reason)), "{}", rule.id());
    }
}

#[test]
fn nothing_comes_of_nothing() {
    assert_eq!(judged(&crate::output::text::sample::empty()), Verdict::default());
    assert_eq!(judged(&crate::output::text::sample::busy()), Verdict::default());
}

#[test]
fn worst_first_and_reasons_before_what_they_explain() {
    let mut lock = stall(Cause::InterpreterLock, 0.2, 0.0, 0.0);
    lock.blocked_in = vec![super::sample::blocked("futex", crate::stall::Kind::Lock, None, 40, 0.2)];
    let report = with_stalls(vec![lock, queried(1, 2.0, 0.0)]);
    let findings = judged(&report).findings();
    let ids: Vec<_> = findings.iter().map(|finding| finding.id.as_str()).collect();
    assert_eq!(ids, ["blocking-query-in-event-loop", "event-loop-blocked", "interpreter-lock-contention"]);
    assert_eq!(findings[1].explained_by.as_deref(), Some("blocking-query-in-event-loop"));
}

#[test]
fn loops_of_one_service_are_one_finding_and_services_are_apart() {
    let mut report = with_stalls(vec![sleep(0.3)]);
    let mut second = report.event_loops[0].clone();
    second.tid = 4243;
    let other = LoopRow { service: "nobody-knows".into(), ..second.clone() };
    report.event_loops.extend([second, other]);
    let findings = judged(&report).findings();
    let services: Vec<_> = findings.iter().map(|finding| (finding.service.as_str(), finding.count)).collect();
    assert_eq!(services, [("shop", 2), ("nobody-knows", 1)]);
    assert!(findings[1].title.starts_with("nobody-knows: "), "{}", findings[1].title);
}

#[test]
fn a_rule_that_is_off_says_nothing() {
    let file = "[event-loop-blocked]\nenabled = false";
    let thresholds: Thresholds = toml::from_str(file).unwrap();
    let report = with_stalls(vec![sleep(0.3)]);
    assert_eq!(judge(&Facts::of(&report), &thresholds).found, []);
}

/// What a person reads at night: one line, and no word that is not there.
#[test]
fn every_finding_is_complete() {
    let mut lock = stall(Cause::InterpreterLock, 0.2, 0.0, 0.0);
    lock.blocked_in = vec![super::sample::blocked("futex", crate::stall::Kind::Lock, None, 40, 0.2)];
    let starved = stall(Cause::CpuStarvation, 0.0, 0.02, 0.2);
    let mut stalls = vec![lock, queried(9, 0.5, 0.0), sleep(0.2)];
    stalls.extend(vec![starved; 3]);
    let findings = judged(&with_stalls(stalls)).findings();
    assert_eq!(findings.len(), 4);
    for finding in findings {
        for text in [&finding.title, &finding.detail, &finding.advice, &finding.subject] {
            assert!(!text.is_empty() && !text.contains('\n') && !text.contains("  "), "{finding:#?}");
        }
        assert!(finding.evidence.contains_key("stalled_seconds"), "{finding:#?}");
        assert!(finding.first_seen < finding.last_seen, "{finding:#?}");
    }
}

/// How a server and its clients get on, each case with what is found of it, the reason last, and with nothing else.
fn troubles() -> Vec<(&'static str, Report, Vec<&'static str>)> {
    let ended = |how: &str, idle: f64| {
        let idle = Some(Distribution { min: idle, max: idle, ..distribution(4, idle) });
        ConnectionRow { gone: 4, gone_by: [(how.to_owned(), 4)].into(), gone_idle: idle, ..pool() }
    };
    let reset = ClosedBy { reset: 4, ..ClosedBy::default() };
    let hung_up = ClosedBy { peer: 4, ..ClosedBy::default() };
    let refused = |row: ConnectionRow| ConnectionRow {
        failed: [("ECONNREFUSED".to_owned(), 20)].into(),
        attempted: row.established + 20,
        ..row
    };
    let nobody = || refused(ConnectionRow { established: 0, live: 0, peak: 0, exchanges: 0, ..pool() });
    let midway = |protocol: &str, cut_by| ConnectionRow {
        protocol: protocol.into(),
        cut: 4,
        closed: 4,
        cut_by,
        closed_by: cut_by,
        ..pool()
    };
    let crowd =
        || ListenerRow { workers: 21, processes: 1, peak_in_flight: 20, concurrency: 2.6, ..listener() };
    let worn = ConnectionRow {
        used_seconds: 4.0,
        ceiling: 5,
        full_seconds: 3.5,
        usually_open: 5,
        busy_seconds: 19.0,
        ..pool()
    };
    let exhausted = Report { connections: vec![worn], ..with_listener(crowd()) };
    let mut too_many = with_connections(vec![pool()]);
    let errors = [("1040".to_owned(), 5)].into();
    too_many.mysql = vec![MysqlRow { service: "shop".into(), errors, ..mysql_row("handshake", None) }];
    too_many.mysql[0].peer = Some("10.0.0.9:3306".into());
    let slow_accept = ListenerRow {
        workers: 1,
        processes: 1,
        requests: 36,
        accept_wait: Some(distribution(36, 0.12)),
        queue: Some(distribution(36, 0.06)),
        concurrency: 0.002,
        peak_in_flight: 12,
        peak_backlog: 3,
        backlog_max: Some(2),
        overflows: 40,
        ..listener()
    };
    let one = ListenerRow {
        workers: 1,
        processes: 1,
        queue: Some(distribution(600, 0.2)),
        accept_wait: None,
        concurrency: 8.0,
        peak_in_flight: 50,
        cpu: Some(0.99),
        ..listener()
    };
    let silent = ListenerRow { longest_silence: 9.0, peak_in_flight: 6, ..listener() };
    vec![
        ("wait_timeout of MariaDB", with_connections(vec![ended("reset", 1.0)]), vec!["server-gone-away"]),
        ("wait_timeout of MySQL", with_connections(vec![ended("4031", 1.0)]), vec!["server-gone-away"]),
        ("KILL, idle", with_connections(vec![ended("fin", 1.3)]), vec!["server-gone-away"]),
        ("KILL, running", with_connections(vec![midway("mysql", hung_up)]), vec!["server-gone-away"]),
        (
            "restart",
            with_connections(vec![refused(ended("fin", 1.3))]),
            vec!["connection-failures", "server-gone-away"],
        ),
        ("refused", with_connections(vec![nobody()]), vec!["connection-failures"]),
        (
            "a reset in mid-response",
            with_connections(vec![midway("http", reset)]),
            vec!["connection-failures"],
        ),
        ("an exhausted pool", exhausted, vec!["pool-exhausted"]),
        ("too many connections", too_many, vec!["pool-exhausted"]),
        ("one for each request", with_connections(vec![short(600, 0.02)]), vec!["connection-per-request"]),
        ("a full backlog", with_listener(slow_accept), vec!["queue-buildup"]),
        ("one worker", with_listener(one), vec!["single-worker"]),
        ("stuck", with_listener(silent), vec!["stuck-server"]),
        ("all is well", Report { connections: vec![pool()], ..with_listener(listener()) }, vec![]),
    ]
}

#[test]
fn troubles_of_connections_are_not_taken_for_one_another() {
    for (what, report, expected) in troubles() {
        let verdict = judged(&report);
        assert_eq!(verdict.undecided, [], "{what}");
        let mut findings = verdict.findings();
        findings.sort_by_key(|finding| finding.explained_by.is_none());
        let ids: Vec<_> = findings.iter().map(|finding| finding.id.as_str()).collect();
        assert_eq!(ids, expected, "{what}");
        if let [consequence, reason] = findings.as_slice() {
            assert_eq!(consequence.explained_by.as_ref(), Some(&reason.id), "{what}");
        }
    }
}

#[test]
fn every_finding_about_connections_is_complete() {
    for finding in troubles().iter().flat_map(|(_, report, _)| judged(report).findings()) {
        for text in [&finding.title, &finding.detail, &finding.advice, &finding.subject] {
            assert!(!text.is_empty() && !text.contains('\n') && !text.contains("  "), "{finding:#?}");
        }
        assert!(finding.title.starts_with("uvicorn shop:app: ") && finding.count > 0, "{finding:#?}");
        let known = finding.evidence.contains_key("peer") || finding.evidence.contains_key("address");
        assert!(known && finding.first_seen < finding.last_seen, "{finding:#?}");
    }
}

/// Two peers of one service: the trouble with one is no reason for that with the other.
#[test]
fn a_reason_is_about_the_same_peer() {
    let (_, restart, _) = troubles().swap_remove(4);
    let other = ConnectionRow { peer: "10.0.0.10:3306".into(), ..restart.connections[0].clone() };
    let (_, refused, _) = troubles().swap_remove(5);
    let report = with_connections(vec![other, refused.connections[0].clone()]);
    let verdict = judged(&report);
    let reasons = verdict.found.iter().filter(|found| found.finding.id == "connection-failures");
    let reasons: BTreeMap<_, _> = reasons
        .map(|found| (found.finding.subject.as_str(), found.finding.explained_by.as_deref()))
        .collect();
    let expected = [("10.0.0.9:3306", None), ("10.0.0.10:3306", Some("server-gone-away"))];
    assert_eq!(reasons, BTreeMap::from(expected));
}
