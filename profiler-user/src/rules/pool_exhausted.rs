//! `pool-exhausted`: there are not enough database connections. By its errors: the server refuses more. By its flat
//! ceiling: for most of the time that a service asks the server anything the same number of connections is busy, next to
//! never more, they are about all that it has and keeps, and it has more requests in hand.
//!
//! Workers with a connection each are no pool: they never have more requests in hand than connections. Load that varies
//! on its own has no ceiling: it spends little time at its highest levels ([`crate::aggregate::levels::Plateau`]).

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::peer::{Peer, errors, listed};
use super::stalled::runtime;
use super::thresholds::{Threshold, Thresholds, Unit};
use super::{About, Facts, Rule, Said, Verdict, evidence};
use crate::output::style::units::{self, amount, duration};
use crate::report::{Counters, MysqlRow, Role, Severity};

pub(super) const ID: &str = "pool-exhausted";

const ERRORS: Threshold = Threshold {
    key: "errors",
    unit: Unit::Count,
    default: 1.0,
    meaning: "errors 1040, 1203 and 1226 from one server: too many connections, or too many of one user",
};
const BUSY: Threshold = Threshold {
    key: "busy",
    unit: Unit::Share,
    default: 0.5,
    meaning: "time at the ceiling, of the time with one connection busy or more",
};
const FULL: Threshold =
    Threshold { key: "full", unit: Unit::Seconds, default: 1.0, meaning: "with `busy`: time at the ceiling" };
const CONNECTIONS: Threshold = Threshold {
    key: "connections",
    unit: Unit::Count,
    default: 2.0,
    meaning: "with `busy`: connections at the ceiling, at least",
};

/// ER_CON_COUNT_ERROR, ER_TOO_MANY_USER_CONNECTIONS, ER_USER_LIMIT_REACHED.
const TOO_MANY: &[&str] = &["1040", "1203", "1226"];
/// So many times as many requests in hand as connections, on average.
const CROWD: f64 = 1.2;
/// A pool that keeps its connections opens no more of them than this many times its ceiling: it replaces some. Or those
/// that were closed lived for no more than this part of the time of all: something beside it opens short ones.
const KEPT: u64 = 3;
const SHORT: f64 = 0.5;
/// Of the time with requests in hand, that with one connection busy at the least: requests that wait for one are there only
/// then.
const ASKED: f64 = 0.5;
/// Connections beyond the ceiling that are usually open, at the most, as a part of it. With more there is room
/// in a pool that those who wait do not get at, or something else bounds the load.
const ROOM: f64 = 0.25;
/// What a server has refused and what its clients were told of differ by no more than this part: either end may be seen
/// without the other at the recording's begin and end.
const ABOUT: f64 = 0.1;
/// Of `full`: with less there is nothing that could be said.
const PART: f64 = 0.25;

#[derive(Debug)]
pub(super) struct PoolExhausted;

/// A service's connections to a server, and the requests that it had in hand.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Ceiling {
    /// How many are busy at the ceiling, and how many are usually open.
    connections: u64,
    open: u64,
    /// The most that were open at one time, and how many were opened.
    peak: u64,
    opened: u64,
    /// Time that connections which were closed had lived for, and time of all, seconds.
    closed: f64,
    all: f64,
    /// Time at the ceiling, and with one busy or more, seconds.
    full: f64,
    used: f64,
    /// Connections that are busy, and requests read and not answered, on average over the time with one busy or more.
    busy: f64,
    in_hand: f64,
    /// Time with requests in hand, at the least, seconds.
    at_work: f64,
    /// Processes that share them.
    processes: u64,
}

impl Ceiling {
    fn of(facts: &Facts<'_>, peer: &Peer<'_>) -> Self {
        let used = peer.seconds(|row| row.used_seconds);
        let own = || facts.listeners.iter().filter(|row| row.service == peer.service);
        let served: f64 = own().map(|row| row.concurrency * facts.window.seconds).sum();
        let most = own().map(|row| row.peak_in_flight).sum::<u64>().max(1) as f64;
        let over = |seconds: f64| if used > 0.0 { seconds / used } else { 0.0 };
        Self {
            connections: peer.sum(|row| row.ceiling),
            open: peer.sum(|row| row.usually_open),
            peak: peer.sum(|row| row.peak),
            opened: peer.sum(|row| row.established),
            closed: peer.total(|row| row.lifetime),
            all: peer.seconds(|row| row.busy_seconds + row.idle_seconds),
            full: peer.seconds(|row| row.full_seconds),
            used,
            busy: over(peer.seconds(|row| row.busy_seconds)),
            in_hand: over(served).min(most),
            at_work: served / most,
            processes: own().map(|row| row.processes).max().unwrap_or(0),
        }
    }

    /// The share of the time with one busy or more that is spent at the ceiling.
    fn share(&self) -> f64 {
        if self.used > 0.0 { self.full / self.used } else { 0.0 }
    }

    /// Whether requests outnumber the same connections, most of the time.
    fn is_hit(&self, thresholds: &Thresholds) -> bool {
        let crowd = CROWD * self.connections as f64;
        self.connections as f64 >= thresholds.of(ID, &CONNECTIONS)
            && self.is_kept()
            && self.used >= ASKED * self.at_work
            && self.share() >= thresholds.of(ID, &BUSY)
            && self.in_hand > crowd
    }

    fn is_kept(&self) -> bool {
        self.opened <= KEPT * self.connections || self.closed <= SHORT * self.all
    }

    /// Whether connections are usually open that are not used while requests wait.
    fn has_room(&self) -> bool {
        let spare = self.open.saturating_sub(self.connections) as f64;
        spare > ROOM * self.connections as f64
    }

    /// Requests in hand without a connection that is busy for them, on average.
    fn waiting(&self) -> f64 {
        (self.in_hand - self.busy).max(0.0)
    }
}

impl Rule for PoolExhausted {
    fn id(&self) -> &'static str {
        ID
    }

    fn severity(&self) -> Severity {
        Severity::Critical
    }

    fn thresholds(&self) -> &'static [Threshold] {
        &[ERRORS, BUSY, FULL, CONNECTIONS]
    }

    fn about(&self) -> About {
        About::Peer
    }

    fn takes_all(&self) -> bool {
        true
    }

    fn judge(&self, facts: &Facts<'_>, thresholds: &Thresholds, verdict: &mut Verdict) {
        let least = thresholds.of(ID, &FULL);
        let mut told = Vec::new();
        for peer in Peer::mysql(facts) {
            let errors = refusals(&peer.mysql_errors(facts), &peer.counters(|row| &row.farewells));
            let ceiling = Ceiling::of(facts, &peer);
            if enough(&errors, thresholds) {
                verdict.add(refused(self, facts, &peer, &errors, &ceiling));
                told.push((peer, errors.values().sum()));
            } else if ceiling.is_hit(thresholds) && ceiling.full >= PART * least {
                if ceiling.has_room() {
                    verdict.not_enough(self, peer.service, bounded(&peer, &ceiling));
                } else if ceiling.full >= least {
                    verdict.add(flat(self, facts, &peer, &ceiling));
                } else {
                    verdict.not_enough(self, peer.service, too_short(&peer, &ceiling));
                }
            }
        }
        servers(self, facts, thresholds, &told, verdict);
    }
}

fn too_short(peer: &Peer<'_>, ceiling: &Ceiling) -> String {
    format!(
        "{} to {}, all of them busy for {}: too short a time to judge",
        units::things(ceiling.connections, "connection", "connections"),
        peer.name(),
        duration(ceiling.full),
    )
}

fn bounded(peer: &Peer<'_>, ceiling: &Ceiling) -> String {
    format!(
        "{} of {} to {} are busy at a time and no more, while {} requests are in hand: the pool of one process may be \
         exhausted and another's not, or something else bounds the load",
        units::count(ceiling.connections),
        units::things(ceiling.open, "connection", "connections"),
        peer.name(),
        amount(ceiling.in_hand),
    )
}

/// Errors that say that there are too many, said in reply or unasked.
fn refusals(errors: &Counters, farewells: &Counters) -> Counters {
    let count = |error: &str| {
        let of = |counters: &Counters| counters.get(error).copied().unwrap_or(0);
        of(errors).max(of(farewells))
    };
    let all = TOO_MANY.iter().map(|error| ((*error).to_owned(), count(error)));
    all.filter(|(_, count)| *count > 0).collect()
}

fn enough(errors: &Counters, thresholds: &Thresholds) -> bool {
    let count: u64 = errors.values().sum();
    count > 0 && count as f64 >= thresholds.of(ID, &ERRORS)
}

/// Servers whose clients are on other hosts: those whose refusals no client on this host was `told` of.
fn servers(
    rule: &dyn Rule,
    facts: &Facts<'_>,
    thresholds: &Thresholds,
    told: &[(Peer<'_>, u64)],
    verdict: &mut Verdict,
) {
    let mut services: BTreeMap<&str, Vec<&MysqlRow>> = BTreeMap::new();
    for row in facts.mysql.iter().filter(|row| row.role == Role::Server) {
        services.entry(&row.service).or_default().push(row);
    }
    for (service, rows) in services {
        let errors = refusals(&errors(rows.into_iter()), &Counters::new());
        let times: u64 = errors.values().sum();
        if !enough(&errors, thresholds) || is_told(facts, service, times, told) {
            continue;
        }
        verdict.add(Said {
            title: format!(
                "{}: turned clients away {}: too many connections ({})",
                facts.name(service),
                units::things(times, "time", "times"),
                listed(&errors)
            ),
            detail: "Its clients got the error in place of a connection.".into(),
            evidence: evidence([("errors", json!(errors))]),
            advice: limits(),
            count: times,
            ..Said::of(rule, facts, service, "clients")
        });
    }
}

/// Whether clients on this host were told of a server's refusals: they came to its socket for sure; or they may have, and
/// those of one address were told of about as many as it has refused.
fn is_told(facts: &Facts<'_>, service: &str, times: u64, told: &[(Peer<'_>, u64)]) -> bool {
    let own: Vec<_> = facts.listeners.iter().filter(|row| row.service == service).collect();
    let mut perhaps: BTreeMap<&str, u64> = BTreeMap::new();
    for (peer, refused) in told {
        let comes: Vec<_> = own.iter().map(|row| peer.comes_to(row)).collect();
        if comes.contains(&Some(true)) {
            return true;
        }
        if comes.contains(&None) {
            *perhaps.entry(peer.address).or_default() += refused;
        }
    }
    perhaps.values().any(|refused| refused.abs_diff(times) as f64 <= ABOUT * times as f64)
}

fn refused<'a>(
    rule: &'a dyn Rule,
    facts: &Facts<'a>,
    peer: &Peer<'a>,
    errors: &Counters,
    ceiling: &Ceiling,
) -> Said<'a> {
    let times: u64 = errors.values().sum();
    let title = format!(
        "{}: the MySQL server {} turned it away {}: too many connections ({})",
        facts.name(peer.service),
        peer.name(),
        units::things(times, "time", "times"),
        listed(errors)
    );
    let detail = format!(
        "It had up to {} at a time, and opened {}.",
        units::things(ceiling.peak, "connection", "connections"),
        units::count(ceiling.opened)
    );
    let mut evidence = numbers(peer, ceiling);
    evidence.insert("errors".into(), json!(errors));
    Said {
        title,
        detail,
        evidence,
        advice: limits(),
        count: times,
        ..Said::of(rule, facts, peer.service, peer.address)
    }
}

fn flat<'a>(rule: &'a dyn Rule, facts: &Facts<'a>, peer: &Peer<'a>, ceiling: &Ceiling) -> Said<'a> {
    let waiting = ceiling.waiting();
    let (requests, _) = facts.served(peer.service);
    let each = waiting * ceiling.used / requests.max(1) as f64;
    let connections = units::things(ceiling.connections, "connection", "connections");
    // Its processes have a pool each, and are not told apart.
    let exhausted = if ceiling.processes > 1 {
        format!("its pools to {}, {connections} in all, are exhausted", peer.name())
    } else {
        format!("its pool of {connections} to {} is exhausted", peer.name())
    };
    let title = format!(
        "{}: {exhausted}: {} requests wait for one on average",
        facts.name(peer.service),
        amount(waiting)
    );
    let detail = format!(
        "All of them are busy for {:.0} % of the {} that it has asked anything in, next to never more; {} requests are in \
         hand then, on average. Each spends {} without a connection that works for it.",
        100.0 * ceiling.share(),
        duration(ceiling.used),
        amount(ceiling.in_hand),
        duration(each)
    );
    let mut evidence = numbers(peer, ceiling);
    evidence.insert("waiting_requests".into(), json!(waiting));
    evidence.insert("wait_mean_seconds".into(), json!(each));
    Said {
        title,
        detail,
        evidence,
        advice: advice(runtime(facts.service(peer.service))),
        weight: waiting * ceiling.used,
        ..Said::of(rule, facts, peer.service, peer.address)
    }
}

fn numbers(peer: &Peer<'_>, ceiling: &Ceiling) -> BTreeMap<String, Value> {
    let mut numbers = evidence([
        ("peer", json!(peer.address)),
        ("ceiling", json!(ceiling.connections)),
        ("usually_open", json!(ceiling.open)),
        ("opened", json!(ceiling.opened)),
        ("full_seconds", json!(ceiling.full)),
        ("used_seconds", json!(ceiling.used)),
        ("full_share", json!(ceiling.share())),
        ("busy_connections", json!(ceiling.busy)),
        ("requests_in_hand", json!(ceiling.in_hand)),
    ]);
    numbers.extend(peer.looked_up().map(|name| ("peer_name".to_owned(), json!(name))));
    numbers
}

fn limits() -> String {
    "`SHOW VARIABLES LIKE 'max%connections'` and `SHOW GLOBAL STATUS LIKE 'Max_used_connections'` in `mysql` are the limit \
     and the most so far; `SHOW PROCESSLIST` shows who holds them. Bound each service's pool, so that workers x pool size \
     stay below the limit, or put a proxy (ProxySQL) in between."
        .into()
}

fn advice(runtime: &str) -> String {
    let larger = match runtime {
        "python" => "SQLAlchemy: `pool_size` and `max_overflow`.",
        "node" | "bun" | "deno" => "mysql2: `connectionLimit` (10 by default).",
        "java" => "HikariCP: `maximumPoolSize` (10 by default).",
        "go" => "`SetMaxOpenConns`.",
        "ruby" => "`pool` in database.yml (5 by default).",
        _ => "The pool's size is in its settings.",
    };
    format!(
        "Look at the statements first: the slowest ones in the report hold the connections; `SHOW FULL PROCESSLIST` shows \
         them. Give a connection back before slow work that needs none. Then a larger pool. {larger}"
    )
}

#[cfg(test)]
mod tests {
    use super::super::sample::{distribution, findings, judged, listener, pool, short, with_connections};
    use super::*;
    use crate::report::{ConnectionRow, ListenerRow, Report};

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
            assert!(
                finding.title.contains("its pool of 5 connections to 10.0.0.9:3306"),
                "{}",
                finding.title
            );
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
        assert!(
            title.contains("its pools to 10.0.0.9:3306, 10 connections in all, are exhausted"),
            "{title}"
        );
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
}
