//! `connection-per-request`: a service opens about one database connection for each request that it serves, and pays for
//! a handshake each time.
//!
//! A habit, not a burst: connections that are opened over many seconds and closed again. A pool that is filled, at once
//! or slowly, keeps what it opens. Where some routes do it, or no HTTP request is seen (FastCGI, HTTP/2, TLS, workers),
//! connections that live for a moment and are all closed again, for longer than a burst, tell it alone; beside requests
//! only if they carry hardly a command.

use serde_json::json;

use super::peer::Peer;
use super::stalled::runtime;
use super::thresholds::{Threshold, Thresholds, Unit};
use super::{About, Facts, Rule, Said, Verdict, evidence};
use crate::output::style::units::{self, amount, duration, rate};
use crate::report::Severity;

pub(super) const ID: &str = "connection-per-request";

const USES: Threshold = Threshold {
    key: "uses",
    unit: Unit::Count,
    default: 2.0,
    meaning: "requests served for each connection opened: fewer than that",
};
const RATE: Threshold = Threshold {
    key: "rate",
    unit: Unit::PerSecond,
    default: 1.0,
    meaning: "connections opened to one database: more than that",
};
const CONNECTIONS: Threshold = Threshold {
    key: "connections",
    unit: Unit::Count,
    default: 10.0,
    meaning: "connections that it takes to judge",
};
const SECONDS: Threshold = Threshold {
    key: "seconds",
    unit: Unit::Count,
    default: 3.0,
    meaning: "seconds in which some were opened; in fewer it is a burst",
};

/// A service that opens more than so many for each request opens them for something else, too.
const MOST_A_REQUEST: f64 = 5.0;
/// Connections that live for longer than this share of the window are kept, not thrown away.
const SHORT: f64 = 0.25;
/// Without requests: seconds in which some were opened, at least; the share of them that is over; how long half of them
/// lived, at the most.
const LONG: u64 = 5;
const OVER: f64 = 0.8;
const MOMENT: f64 = 1.0;
/// With fewer there is nothing that could be said.
const SOME: u64 = 5;

#[derive(Debug)]
pub(super) struct ConnectionPerRequest;

impl Rule for ConnectionPerRequest {
    fn id(&self) -> &'static str {
        ID
    }

    fn severity(&self) -> Severity {
        Severity::Warning
    }

    fn thresholds(&self) -> &'static [Threshold] {
        &[USES, RATE, CONNECTIONS, SECONDS]
    }

    fn about(&self) -> About {
        About::Peer
    }

    fn takes_all(&self) -> bool {
        true
    }

    fn judge(&self, facts: &Facts<'_>, thresholds: &Thresholds, verdict: &mut Verdict) {
        let (uses, least_rate) = (thresholds.of(ID, &USES), thresholds.of(ID, &RATE));
        for peer in Peer::mysql(facts) {
            let opened = peer.sum(|row| row.established);
            let (requests, _) = facts.served(peer.service);
            let (count, served) = (opened as f64, requests as f64);
            let a_request = served < uses * count && count <= MOST_A_REQUEST * served;
            let often = count > least_rate * facts.window.seconds;
            if !a_request {
                // Some requests open one, or what opens them is no request that could be read.
                let least = thresholds.of(ID, &CONNECTIONS);
                let seconds = thresholds.of(ID, &SECONDS).max(LONG as f64);
                let each = peer.most(|row| row.exchanges_per_connection);
                let once = requests == 0 || each.is_some_and(|commands| commands.p50 < uses);
                let lasts = count >= least && peer.opening_seconds() as f64 >= seconds;
                if often && once && lasts && is_momentary(&peer) {
                    verdict.add(said(self, facts, &peer, opened, None));
                }
                continue;
            }
            if opened < SOME || !often || !is_thrown_away(&peer, opened, facts.window.seconds) {
                continue;
            }
            let seconds = peer.opening_seconds();
            if count < thresholds.of(ID, &CONNECTIONS) || (seconds as f64) < thresholds.of(ID, &SECONDS) {
                let reason = format!(
                    "{} to {} for {}, opened within {}: too few, or too short a time, to tell a habit",
                    units::things(opened, "connection", "connections"),
                    peer.name(),
                    units::things(requests, "request", "requests"),
                    units::things(seconds, "second", "seconds"),
                );
                verdict.not_enough(self, peer.service, reason);
            } else {
                verdict.add(said(self, facts, &peer, opened, Some(requests)));
            }
        }
    }
}

/// Whether most of the connections that were opened have been closed again, soon.
fn is_thrown_away(peer: &Peer<'_>, opened: u64, window: f64) -> bool {
    let soon = peer.most(|row| row.lifetime).is_none_or(|lifetime| lifetime.p50 <= SHORT * window);
    soon && 2 * peer.lived() >= opened
}

/// Whether about all of the connections that were opened are over, after a moment.
fn is_momentary(peer: &Peer<'_>) -> bool {
    let soon = peer.most(|row| row.lifetime).is_some_and(|lifetime| lifetime.p50 < MOMENT);
    soon && peer.lived() as f64 >= OVER * peer.sum(|row| row.established) as f64
}

/// Commands of one connection on average, of those that could be read from begin to end.
fn commands_each(peer: &Peer<'_>) -> Option<f64> {
    let read = peer.sum(|row| row.exchanges_per_connection.map_or(0, |exchanges| exchanges.count));
    (read > 0).then(|| peer.total(|row| row.exchanges_per_connection) / read as f64)
}

/// `compared`: the requests that open them, where it is about each of them.
fn said<'a>(
    rule: &'a dyn Rule,
    facts: &Facts<'a>,
    peer: &Peer<'a>,
    opened: u64,
    compared: Option<u64>,
) -> Said<'a> {
    let name = facts.name(peer.service);
    let window = facts.window.seconds;
    let asked = compared.map(|requests| requests as f64 / opened.max(1) as f64);
    let (requests, _) = facts.served(peer.service);
    let exchanges = peer.most(|row| row.exchanges_per_connection);
    let uses = asked.or_else(|| commands_each(peer));
    let title = format!(
        "{name}: opens a database connection for {}: {} to {}",
        match asked {
            None if exchanges.is_some_and(|exchanges| exchanges.p50 < 2.0) => "each command or two",
            None => "each few commands",
            Some(uses) if uses < 0.75 => "each request, or several",
            Some(_) => "about each request",
        },
        rate(opened, window),
        peer.name()
    );
    let (_, served) = facts.served(peer.service);
    let handshake = peer.total(|row| row.connect) + peer.total(|row| row.handshake);
    let share = (served > 0.0).then_some(handshake / served);
    let connections = units::things(opened, "connection", "connections");
    let mut detail = match asked {
        Some(uses) => {
            let requests = units::things(requests, "request", "requests");
            format!("{connections} for {requests}, {uses:.2} requests each.")
        }
        None if requests > 0 => format!("{connections}: some of its requests open one."),
        None => format!("{connections}; no HTTP request that it serves was seen."),
    };
    if handshake > 0.0 {
        detail.push_str(&format!(
            " Connecting and signing in took {} in sum, {} each",
            duration(handshake),
            duration(handshake / opened.max(1) as f64),
        ));
        let of = share.map(|share| format!(", {:.0} % of the time that its requests take", 100.0 * share));
        detail.push_str(&format!("{}.", of.unwrap_or_default()));
    }
    if let Some(exchanges) = exchanges {
        detail.push_str(&format!(" Each carries {} commands (median).", amount(exchanges.p50)));
    }
    let mut evidence = evidence([
        ("peer", json!(peer.address)),
        ("connections", json!(opened)),
        ("requests", json!(requests)),
        ("opened_per_second", json!(opened as f64 / window)),
        ("handshake_seconds", json!(handshake)),
        ("opening_seconds", json!(peer.opening_seconds())),
    ]);
    evidence.extend(uses.map(|uses| ("uses_per_connection".to_owned(), json!(uses))));
    evidence.extend(share.map(|share| ("handshake_share".to_owned(), json!(share))));
    evidence
        .extend(exchanges.map(|exchanges| ("exchanges_per_connection_p50".to_owned(), json!(exchanges.p50))));
    evidence.extend(peer.most(|row| row.lifetime).map(|d| ("lifetime_p50_seconds".to_owned(), json!(d.p50))));
    evidence.extend(peer.looked_up().map(|name| ("peer_name".to_owned(), json!(name))));
    Said {
        title,
        detail,
        evidence,
        advice: advice(runtime(facts.service(peer.service))),
        count: opened,
        weight: handshake,
        ..Said::of(rule, facts, peer.service, peer.address)
    }
}

/// What to switch on, and what tells that it is on.
fn advice(runtime: &str) -> String {
    let keep = match runtime {
        "python" => {
            "Keep connections. Django: `CONN_MAX_AGE = 60` and `CONN_HEALTH_CHECKS = True` in DATABASES. SQLAlchemy: \
             one engine for the process, and not `NullPool`. Elsewhere a pool that is made once (`aiomysql.create_pool`, \
             `dbutils.pooled_db`)."
        }
        "php" => {
            "Keep connections: `PDO::ATTR_PERSISTENT => true`, or `p:` before the host's name with mysqli. Laravel: \
             `options` of the connection."
        }
        "node" | "bun" | "deno" => {
            "Make a pool once, at start (mysql2: `createPool`), in place of `createConnection` in each request."
        }
        "go" => {
            "Open one `sql.DB` for the process, and raise `SetMaxIdleConns`: it keeps 2 by default and closes the others."
        }
        "java" => {
            "Use a pool (HikariCP) as DataSource, in place of `DriverManager.getConnection` in each request."
        }
        "ruby" => "Keep clients in a pool (ActiveRecord's own, or the `connection_pool` gem).",
        _ => "Keep connections in a pool that is made once for the process.",
    };
    format!(
        "{keep} Then `SHOW GLOBAL STATUS LIKE 'Connections'` in `mysql` hardly grows any more under load."
    )
}

#[cfg(test)]
mod tests {
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
}
