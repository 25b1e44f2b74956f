//! Pools at their ceiling, servers that turn clients away, and the nearest healthy ones.

use super::super::sample::{distribution, findings, judged, listener, pool, short, with_connections};
use super::refusals::TOO_MANY;
use super::*;
use crate::report::{ConnectionRow, ListenerRow, MysqlRow, Report, Role};

/// A pool that is asked for `used` seconds, `full` of them at its ceiling, of a service with `in_hand` requests
/// meanwhile.
fn report(row: ConnectionRow, used: f64, full: f64, in_hand: f64) -> Report {
    let busy_seconds = full * row.ceiling as f64 + (used - full);
    let row = ConnectionRow { used_seconds: used, full_seconds: full, busy_seconds, ..row };
    let mut report = with_connections(vec![row]);
    report.listeners = vec![ListenerRow {
        processes: 1,
        concurrency: in_hand * used / 30.0,
        peak_in_flight: in_hand.ceil() as u64,
        ..listener()
    }];
    report
}

fn five() -> ConnectionRow {
    ConnectionRow { ceiling: 5, usually_open: 5, ..pool() }
}

fn turned_away(role: Role, error: &str) -> Report {
    let mut report = with_connections(vec![pool()]);
    report.mysql = vec![MysqlRow {
        service: "shop".into(),
        role,
        peer: (role == Role::Client).then(|| "10.0.0.9:3306".into()),
        errors: [(error.to_owned(), 7)].into(),
        ..crate::output::text::sample::mysql_row("handshake", None)
    }];
    report
}

#[test]
fn a_server_that_takes_no_more() {
    for error in TOO_MANY {
        let found = findings(&turned_away(Role::Client, error), ID);
        let title = format!(
            "uvicorn shop:app: the MySQL server 10.0.0.9:3306 turned it away 7 times: too many connections ({error} 7x)"
        );
        assert_eq!((found[0].title.as_str(), found[0].count), (title.as_str(), 7));
        assert!(found[0].advice.contains("Max_used_connections"), "{}", found[0].advice);
    }
    let found = findings(&turned_away(Role::Server, "1040"), ID);
    assert_eq!((found[0].subject.as_str(), found[0].count), ("clients", 7));
}

/// Refusals that a client of this host was told of are no news at the server; those of another server are.
#[test]
fn each_server_is_told_of_once() {
    let server = |service: &str, refused: u64| MysqlRow {
        service: service.into(),
        role: Role::Server,
        errors: [("1040".to_owned(), refused)].into(),
        ..crate::output::text::sample::mysql_row("handshake", None)
    };
    let socket = |address: &str, netns: u32| ListenerRow {
        service: "db".into(),
        address: address.into(),
        netns,
        ..listener()
    };
    let here = listener().netns;
    for (what, sockets, refused, clients) in [
        ("its own socket", vec![socket("10.0.0.9:3306", here)], 7, 0),
        ("others were refused, too", vec![socket("10.0.0.9:3306", here)], 90, 0),
        ("any address", vec![socket("0.0.0.0:3306", here)], 7, 0),
        ("a container's", vec![socket("[::]:3306", 7), socket("[::]:33060", 7)], 7, 0),
        ("another server", vec![socket("0.0.0.0:3306", here)], 90, 1),
        ("another address", vec![socket("127.0.0.1:3306", here)], 7, 1),
        ("another port", vec![socket("10.0.0.9:3307", here)], 7, 1),
        ("no socket", vec![], 7, 1),
    ] {
        let mut report = turned_away(Role::Client, "1040");
        report.mysql.push(server("db", refused));
        report.listeners = sockets;
        let found = findings(&report, ID);
        let of = |service: &str| found.iter().filter(|finding| finding.service == service).count();
        assert_eq!((of("shop"), of("db")), (1, clients), "{what}: {found:#?}");
    }
}

/// For a part of the recording alone, too.
#[test]
fn a_pool_of_five_under_twenty_clients() {
    for used in [29.0, 4.0] {
        let found = findings(&report(five(), used, 0.9 * used, 19.0), ID);
        let [finding] = found.as_slice() else { panic!("{found:#?}") };
        assert_eq!(
            finding.title,
            "uvicorn shop:app: its pool of 5 connections to 10.0.0.9:3306 is exhausted: 14.4 requests wait for one on \
             average"
        );
        assert_eq!(finding.evidence["ceiling"], 5);
        let each = finding.evidence["wait_mean_seconds"].as_f64().unwrap();
        assert!((each - 14.4 * used / 600.0).abs() < 1e-9, "{each}");
        assert!(finding.advice.contains("pool_size"), "{}", finding.advice);
    }
}

/// A migration at the start; each connection replaced by another; a check of its health that opens one each second;
/// one that is open and not used.
#[test]
fn a_pool_of_five_and_what_is_beside_it() {
    let short = Some(distribution(30, 0.02));
    for (what, row) in [
        ("one more", ConnectionRow { established: 6, peak: 6, ..five() }),
        ("replaced", ConnectionRow { established: 10, peak: 6, ..five() }),
        ("checks", ConnectionRow { established: 35, closed: 30, lifetime: short, peak: 6, ..five() }),
        ("unused", ConnectionRow { established: 6, peak: 6, usually_open: 6, ..five() }),
    ] {
        let found = findings(&report(row, 29.0, 26.0, 19.0), ID);
        let [finding] = found.as_slice() else { panic!("{what}: {found:#?}") };
        assert_eq!(finding.evidence["ceiling"], 5, "{what}");
        assert!(finding.title.contains("its pool of 5 connections to 10.0.0.9:3306"), "{}", finding.title);
    }
}

/// Requests that wait for something else, and two queries at a time now and then; a connection beside a small ceiling.
#[test]
fn a_small_ceiling() {
    let two = ConnectionRow { established: 2, peak: 2, ceiling: 2, usually_open: 2, ..pool() };
    let mut elsewhere = report(two.clone(), 2.0, 2.0, 5.0);
    elsewhere.listeners[0].concurrency = 5.0;
    assert_eq!(findings(&elsewhere, ID), []);
    assert_eq!(findings(&report(two.clone(), 29.0, 26.0, 5.0), ID).len(), 1);
    let verdict = judged(&report(ConnectionRow { usually_open: 3, ..two }, 29.0, 26.0, 5.0));
    assert_eq!((verdict.found.len(), verdict.undecided.len()), (0, 1), "{verdict:#?}");
}

/// A pool for each of two processes. Where one of them is full and the other is not, that is not known.
#[test]
fn pools_of_two_processes() {
    let of = |ceiling: u64| {
        let row = ConnectionRow { established: 10, peak: 10, ceiling, usually_open: 10, ..pool() };
        let mut report = report(row, 29.0, 26.0, 19.0);
        report.listeners[0].processes = 2;
        judged(&report)
    };
    let both = of(10);
    let [found] = both.found.as_slice() else { panic!("{both:#?}") };
    let title = &found.finding.title;
    assert!(title.contains("its pools to 10.0.0.9:3306, 10 connections in all, are exhausted"), "{title}");
    let one = of(5);
    assert_eq!((one.found.len(), one.undecided.len()), (0, 1), "{one:#?}");
    assert!(one.undecided[0].reason.starts_with("5 of 10 connections to 10.0.0.9:3306"), "{one:#?}");
}

/// The nearest healthy ones: workers with a connection each; a pool with room, and load that varies; requests that
/// wait for something else; one connection for the process; connections that come and go; another error.
#[test]
fn enough_connections() {
    let one = ConnectionRow { peak: 1, live: 1, established: 1, ceiling: 1, usually_open: 1, ..pool() };
    let come_and_go =
        ConnectionRow { lifetime: Some(distribution(600, 0.2)), idle_seconds: 0.0, ..short(600, 0.2) };
    for (what, report) in [
        ("workers", report(five(), 29.0, 25.0, 5.0)),
        ("room", report(five(), 20.0, 2.0, 7.0)),
        ("something else", report(five(), 29.0, 3.0, 19.0)),
        ("one", report(one, 29.0, 29.0, 19.0)),
        ("come and go", report(ConnectionRow { ceiling: 4, ..come_and_go }, 29.0, 25.0, 19.0)),
        ("a burst", report(five(), 0.2, 0.2, 20.0)),
        ("another error", turned_away(Role::Client, "1045")),
    ] {
        let verdict = judged(&report);
        assert!(verdict.undecided.is_empty(), "{what}: {verdict:#?}");
        assert!(verdict.found.iter().all(|found| found.finding.id != ID), "{what}: {verdict:#?}");
    }
}

#[test]
fn a_moment_is_not_enough() {
    let verdict = judged(&report(five(), 0.5, 0.4, 20.0));
    assert_eq!((verdict.found.len(), verdict.undecided.len()), (0, 1), "{verdict:#?}");
    assert!(verdict.undecided[0].reason.contains("busy for 400 ms"), "{verdict:#?}");
}
