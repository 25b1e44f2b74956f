//! Each way of failing, and the nearest healthy ones.

use super::super::sample::{findings, judged, pool, with_connections};
use super::told::HANDFUL;
use super::*;
use crate::report::{ClosedBy, ConnectionRow, Role};

fn failing(error: &str, failed: u64, attempted: u64) -> ConnectionRow {
    ConnectionRow {
        peer: "10.0.0.7:9000".into(),
        protocol: "unknown".into(),
        established: attempted - failed,
        attempted,
        failed: [(error.to_owned(), failed)].into(),
        live: 0,
        ..pool()
    }
}

fn at(peer: &str, row: ConnectionRow) -> ConnectionRow {
    ConnectionRow { peer: peer.into(), ..row }
}

fn cut(protocol: &str, count: u64, cut_by: ClosedBy) -> ConnectionRow {
    let row = ConnectionRow { protocol: protocol.into(), established: 40, closed: 40, ..pool() };
    ConnectionRow { cut: count, cut_by, closed_by: cut_by, peer: "10.0.0.7:9000".into(), ..row }
}

#[test]
fn connects_that_fail_are_named_by_their_error() {
    for (error, says, try_this) in [
        ("ECONNREFUSED", "refused (ECONNREFUSED)", "sport = :9000"),
        ("ETIMEDOUT", "no answer (ETIMEDOUT)", "syn-sent"),
        ("EHOSTUNREACH", "unreachable (EHOSTUNREACH)", "ip route get 10.0.0.7"),
        ("EADDRNOTAVAIL", "no free port", "TIME_WAIT"),
        ("abandoned", "given up before", "syn-sent"),
    ] {
        let found = findings(&with_connections(vec![failing(error, 12, 12)]), ID);
        let [finding] = found.as_slice() else { panic!("{error}: {found:#?}") };
        let title = format!("uvicorn shop:app: 12 of 12 connects to 10.0.0.7:9000 failed: {says}");
        assert!(finding.title.starts_with(&title), "{}", finding.title);
        assert!(finding.advice.contains(try_this), "{}", finding.advice);
        assert_eq!((finding.evidence["failed"][error].as_u64(), finding.count), (Some(12), 12));
    }
}

#[test]
fn a_reset_in_the_middle_of_a_response() {
    for protocol in ["http", "mysql"] {
        let row = cut(protocol, 9, ClosedBy { reset: 9, ..ClosedBy::default() });
        let verdict = judged(&with_connections(vec![row]));
        let [found] = verdict.found.as_slice() else { panic!("{verdict:#?}") };
        let title =
            "uvicorn shop:app: 9 connections were reset in the middle of an exchange, with 10.0.0.7:9000";
        assert_eq!((found.finding.id.as_str(), found.finding.title.as_str()), (ID, title));
        assert!(found.finding.advice.contains("tcp-rst"), "{}", found.finding.advice);
    }
}

/// A server that closes in the middle of responses: a worker that was killed, say.
#[test]
fn a_server_that_hangs_up() {
    let row = cut("http", 9, ClosedBy { peer: 9, ..ClosedBy::default() });
    let verdict = judged(&with_connections(vec![row.clone()]));
    let [found] = verdict.found.as_slice() else { panic!("{verdict:#?}") };
    let title = "uvicorn shop:app: 10.0.0.7:9000 hung up in the middle of 9 requests";
    assert_eq!((found.finding.id.as_str(), found.finding.title.as_str()), (ID, title));
    assert_eq!((found.finding.evidence["hung_up"].as_u64(), found.finding.count), (Some(9), 9));
    assert!(found.finding.advice.contains("WORKER TIMEOUT"), "{}", found.finding.advice);
    let by = ClosedBy { peer: 4, reset: 3, timeout: 2, ..ClosedBy::default() };
    let mixed = &findings(&with_connections(vec![cut("http", 9, by)]), ID)[0];
    let told = "3 connections were reset, 2 without an answer any more, 4 closed by the server in the middle";
    assert!(mixed.detail.contains(told), "{}", mixed.detail);
    assert!(mixed.title.contains("3 connections were reset"), "{}", mixed.title);
}

/// The nearest healthy ones: one among thousands; the cache of names that this host does not run; the address of
/// the other family; a client that breaks off itself; a server that ends idle connections, by a reset or a FIN, or
/// that hangs up once in hundreds of connections; what a server's own rows say of its clients.
#[test]
fn what_fails_and_harms_nobody() {
    let idle = ClosedBy { reset: 9, ..ClosedBy::default() };
    let own = ClosedBy { us: 9, ..ClosedBy::default() };
    let peers = |count| ClosedBy { peer: count, ..ClosedBy::default() };
    for (what, rows) in [
        ("one of thousands", vec![failing("ECONNREFUSED", 4, 3_000)]),
        ("nscd", vec![at("unix:/var/run/nscd/socket", failing("ENOENT", 600, 600))]),
        (
            "IPv6 first",
            vec![at("[::1]:9000", failing("ECONNREFUSED", 60, 60)), at("127.0.0.1:9000", failing("", 0, 60))],
        ),
        ("broken off", vec![cut("http", 9, own)]),
        ("idle, by a FIN", vec![ConnectionRow { closed_by: peers(9), ..cut("http", 0, peers(0)) }]),
        ("one of hundreds", vec![ConnectionRow { established: 400, ..cut("http", 3, peers(3)) }]),
        ("clients", vec![ConnectionRow { role: Role::Server, ..cut("http", 9, peers(9)) }]),
        ("idle", vec![ConnectionRow { closed_by: idle, ..cut("http", 0, ClosedBy::default()) }]),
    ] {
        let verdict = judged(&with_connections(rows));
        assert_eq!(verdict, Verdict::default(), "{what}");
    }
}

#[test]
fn a_loopback_server_need_not_listen_on_more() {
    for (peer, wider) in [
        ("127.0.0.1:9000", false),
        ("127.0.0.53:9000", false),
        ("[::1]:9000", false),
        ("10.0.0.7:9000", true),
    ] {
        let found = findings(&with_connections(vec![at(peer, failing("ECONNREFUSED", 12, 12))]), ID);
        assert_eq!(found[0].advice.contains("more than 127.0.0.1"), wider, "{}", found[0].advice);
    }
}

/// Abstract names that nobody has; but a server of such a name that does not accept is one.
#[test]
fn abstract_names_are_tried() {
    for (error, count) in [("ECONNREFUSED", 0), ("ENOENT", 0), ("EAGAIN", 1)] {
        let row = at("unix:@nstat0", failing(error, 12, 12));
        let verdict = judged(&with_connections(vec![row]));
        assert_eq!((verdict.found.len(), verdict.undecided.len()), (count, 0), "{error}: {verdict:#?}");
    }
}

/// A wait loop that got in is none; one beside it that did not, or a server that goes away afterwards, is.
#[test]
fn a_client_that_waited_for_its_server() {
    let waited = |first, last| {
        let row = failing("ECONNREFUSED", 4, 5);
        ConnectionRow { first_established: Some(first), last_failed: Some(last), ..row }
    };
    let other = ConnectionRow { netns: 7, ..failing("ECONNREFUSED", 12, 12) };
    for (rows, count) in [
        (vec![waited(0.5, 0.4)], 0),
        (vec![waited(0.5, 0.6)], 1),
        (vec![waited(0.5, 0.5)], 1),
        (vec![waited(0.5, 0.4), other], 1),
        (vec![ConnectionRow { preexisting: 5, ..waited(0.5, 0.4) }], 1),
    ] {
        let verdict = judged(&with_connections(rows.clone()));
        assert_eq!((verdict.found.len(), verdict.undecided.len()), (count, 0), "{rows:#?}");
    }
}

#[test]
fn another_port_or_name_is_another_service() {
    let refused = || at("[::1]:9000", failing("ECONNREFUSED", 60, 60));
    let other = at("127.0.0.1:9001", failing("", 0, 60));
    let named = |name: &str, row| ConnectionRow { peer_name: Some(name.into()), ..row };
    let elsewhere = named("b.example", at("10.0.0.1:9000", failing("", 0, 60)));
    for rows in [vec![refused(), other], vec![named("a.example", refused()), elsewhere]] {
        assert_eq!(findings(&with_connections(rows.clone()), ID).len(), 1, "{rows:#?}");
    }
}

#[test]
fn a_socket_that_is_not_there() {
    let found =
        findings(&with_connections(vec![at("unix:/run/mysqld/mysqld.sock", failing("ENOENT", 5, 5))]), ID);
    assert!(found[0].title.ends_with("no such socket (ENOENT)"), "{found:#?}");
    assert!(found[0].advice.contains("ss -xl | grep /run/mysqld/mysqld.sock"), "{}", found[0].advice);
}

/// Thousands of peers: one finding for those that fail often, one word for those that do not; a handful has one
/// each.
#[test]
fn a_crowd_of_peers_is_one_finding() {
    let host = |n: u64| format!("10.1.{}.{}:{}", n / 250, n % 250, 9000 + n % 3);
    let row = |n: u64, failed| at(&host(n), failing("ECONNREFUSED", failed, failed));
    let crowd = |peers: u64, failed: u64, worst| -> Vec<_> {
        (0..peers).map(|n| row(n, if n == 77 { worst } else { failed })).collect()
    };
    let verdict = judged(&with_connections(crowd(10_000, 12, 13)));
    let [found] = verdict.found.as_slice() else { panic!("{} findings", verdict.found.len()) };
    let finding = &found.finding;
    let title =
        "uvicorn shop:app: 120,001 of 120,001 connects to 10,000 peers failed: refused (ECONNREFUSED)";
    assert_eq!((finding.title.as_str(), finding.subject.as_str()), (title, "peers"));
    assert!(finding.detail.contains(&format!("Most at {} 13x, ", host(77))), "{}", finding.detail);
    assert!(finding.detail.ends_with(" and 9,990 others."), "{}", finding.detail);
    assert_eq!((finding.evidence["peers"].as_u64(), finding.count), (Some(10_000), 120_001));
    assert_eq!(finding.evidence["worst"].as_array().map(Vec::len), Some(10));
    assert_eq!(finding.evidence["worst"][0]["peer"], host(77));

    let verdict = judged(&with_connections(crowd(10_000, 1, 2)));
    assert_eq!((verdict.found.len(), verdict.undecided.len()), (0, 1));
    let reason =
        "10001 of 10001 connects failed (ECONNREFUSED 10001x) at 10,000 peers; it takes 3 to judge at one";
    assert_eq!(verdict.undecided[0].reason, reason);

    let few = with_connections(crowd(HANDFUL as u64, 12, 12));
    assert_eq!(findings(&few, ID).len(), HANDFUL);
}

/// Of a crowd, too, those that were reached by the other family's address are none.
#[test]
fn a_crowd_that_was_reached_the_other_way() {
    let named = |name: u64, row| ConnectionRow { peer_name: Some(format!("h{name}.example")), ..row };
    let both = |n: u64| {
        let v6 = named(n, at(&format!("[2001:db8::{n}]:9000"), failing("ENETUNREACH", 60, 60)));
        [v6, named(n, at(&format!("10.1.0.{n}:9000"), failing("", 0, 60)))]
    };
    let verdict = judged(&with_connections((0..200).flat_map(both).collect()));
    assert_eq!(verdict, Verdict::default());
}

#[test]
fn one_is_not_enough() {
    let verdict = judged(&with_connections(vec![failing("ECONNREFUSED", 1, 1)]));
    assert_eq!((verdict.found.len(), verdict.undecided.len()), (0, 1), "{verdict:#?}");
    assert!(verdict.undecided[0].reason.starts_with("1 of 1 connects failed"), "{verdict:#?}");
}
