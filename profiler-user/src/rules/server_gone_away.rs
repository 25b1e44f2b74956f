//! `server-gone-away`: a server ended connections that its client still wanted. A MySQL server: idle ones that the client
//! then wrote to, or ones in use; by whom, as far as the way tells in which they ended. An HTTP server: idle ones
//! ([`keep_alive`]).
//!
//! MySQL says error 4031 before it hangs up on an idle connection, MariaDB sends a reset without a word, older servers and
//! KILL a FIN. What an operator kills is idle for any time, what a timeout ends for whole seconds.
//!
//! Not for connections that the server ended and nobody asked for again. Those that a pool has found dead by a ping are
//! not counted as gone to begin with.

mod keep_alive;

use serde_json::json;

use super::peer::{Peer, errors, listed};
use super::stalled::runtime;
use super::thresholds::{Threshold, Thresholds, Unit};
use super::{About, Facts, Rule, Said, Verdict, evidence};
use crate::exchange::is_validation;
use crate::output::style::units::{self, duration};
use crate::report::{Counters, Distribution, Finding, ListenerRow, MysqlRow, Role, Severity};

pub(super) const ID: &str = "server-gone-away";

const CONNECTIONS: Threshold = Threshold {
    key: "connections",
    unit: Unit::Count,
    default: 1.0,
    meaning: "connections that the server ended and the client still wanted",
};

/// ER_NET_PACKET_TOO_LARGE: more than max_allowed_packet.
pub(super) const TOO_LARGE: &str = "1153";
/// ER_CLIENT_INTERACTION_TIMEOUT.
const TIMEOUT: &str = "4031";
/// ER_SERVER_SHUTDOWN.
const SHUTDOWN: &str = "1053";
/// ER_CONNECTION_KILLED.
const KILLED: &str = "1927";
/// A server's timers are late by no more than this, seconds, and a hundredth of the time.
const LATE: f64 = 0.25;
/// A client reads its last reply so long after the server began to wait, seconds.
const EARLY: f64 = 0.1;
/// A server closes its socket so long before it ends connections, and it is found closed so much later, seconds.
const SOON: f64 = 2.0;
const LATER: f64 = 3.0;
/// A command of so many bytes may be longer than a server takes.
const LONG: f64 = 262_144.0;
/// Timeouts that people set are multiples of so many seconds, where only that tells.
const ROUND: f64 = 10.0;

#[derive(Debug)]
pub(super) struct ServerGoneAway;

/// Why a server ended connections.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Cause {
    /// They were idle for too long: so many seconds, where that is known.
    WaitTimeout(Option<f64>),
    Killed,
    Restart,
    TooLarge,
    Unknown,
}

/// The connections to one server that it ended.
#[derive(Debug, Clone, Default)]
struct Ended {
    /// Idle, and written to afterwards; how they ended, and how long they had been idle.
    gone: u64,
    by: Counters,
    idle: Option<Distribution>,
    /// In the middle of a command, or with the words that it is shutting down or was told to.
    in_use: u64,
    too_large: u64,
    /// Errors said, asked or unasked.
    errors: Counters,
    farewells: Counters,
    /// Connects that nobody listened to.
    refused: u64,
    /// Its socket was closed at that time.
    went_down: bool,
}

impl Ended {
    /// None where there are none, which is soon said.
    fn of(facts: &Facts<'_>, peer: &Peer<'_>) -> Option<Self> {
        let errors = peer.mysql_errors(facts);
        if errors.is_empty() && peer.sum(|row| row.gone + row.cut_by.peer) == 0 {
            return None;
        }
        let (expected, asked) = if validates(facts, peer) {
            (peer.sum(|row| row.gone_validated), validation_errors(facts, peer))
        } else {
            (0, Counters::new())
        };
        let of = |errors: &Counters, number: &str| errors.get(number).copied().unwrap_or(0);
        let error = |number: &str| of(&errors, number) - of(&asked, number);
        let unsent = unsent(facts, peer);
        let too_large = error(TOO_LARGE) + unsent;
        Some(Self {
            gone: peer.sum(|row| row.gone).saturating_sub(unsent + expected),
            by: peer.counters(|row| &row.gone_by),
            idle: peer.most(|row| row.gone_idle),
            in_use: peer.sum(|row| row.cut_by.peer).saturating_sub(too_large)
                + error(SHUTDOWN)
                + error(KILLED),
            too_large,
            went_down: went_down(facts, peer),
            farewells: peer.counters(|row| &row.farewells),
            refused: refused_connects(facts, peer),
            errors,
        })
    }

    fn count(&self) -> u64 {
        self.gone + self.in_use + self.too_large
    }

    /// Whether half of the idle ones or more ended so.
    fn mostly(&self, how: &str) -> bool {
        self.gone > 0 && mostly(&self.by, how)
    }

    fn said(&self, number: &str) -> bool {
        [&self.by, &self.errors, &self.farewells].iter().any(|counters| counters.contains_key(number))
    }

    fn cause(&self) -> Cause {
        let whole = self.idle.and_then(whole_seconds);
        if self.mostly(TIMEOUT) {
            return Cause::WaitTimeout(whole.or_else(|| self.idle.map(|idle| idle.p50.floor())));
        }
        if self.mostly("reset") && whole.is_some() {
            return Cause::WaitTimeout(whole);
        }
        if self.too_large > 0 && self.too_large >= self.gone + self.in_use {
            return Cause::TooLarge;
        }
        if self.said(SHUTDOWN) || self.refused > 0 || self.went_down {
            return Cause::Restart;
        }
        let round = whole.filter(|seconds| seconds % ROUND == 0.0);
        let several = self.idle.is_some_and(|idle| idle.count >= 3);
        match round {
            Some(_) if self.mostly("fin") && several && self.in_use == 0 => Cause::WaitTimeout(round),
            _ if self.in_use > 0 || self.mostly("fin") || self.said(KILLED) => Cause::Killed,
            _ => Cause::Unknown,
        }
    }
}

/// Whether a service asks before it uses a connection: for each validation query there is a statement that wants
/// something. What clients set and show when they sign in is none.
fn validates(facts: &Facts<'_>, peer: &Peer<'_>) -> bool {
    let (mut asked, mut wanted) = (0, 0);
    for row in peer.mysql_rows(facts) {
        match row.digest_text.as_deref() {
            Some(text) if is_validation(text) => asked += row.count,
            Some(text) if !["SET ", "SHOW "].iter().any(|word| text.starts_with(word)) => wanted += row.count,
            _ => {}
        }
    }
    wanted >= asked
}

/// Errors that validation queries ended with.
fn validation_errors(facts: &Facts<'_>, peer: &Peer<'_>) -> Counters {
    let asked = |row: &&MysqlRow| row.digest_text.as_deref().is_some_and(is_validation);
    errors(peer.mysql_rows(facts).filter(asked))
}

/// Whether half of them or more ended so.
fn mostly(by: &Counters, how: &str) -> bool {
    2 * by.get(how).copied().unwrap_or(0) >= by.values().sum()
}

/// Connects to the same address that nobody listened to, whatever is known of their protocol.
fn refused_connects(facts: &Facts<'_>, peer: &Peer<'_>) -> u64 {
    let all = Peer::all(facts, |row| row.service == peer.service && row.peer == peer.address);
    let failed = all.first().map(|peer| peer.counters(|row| &row.failed)).unwrap_or_default();
    ["ECONNREFUSED", "ENOENT"].iter().filter_map(|name| failed.get(*name)).sum()
}

/// Whether the server, if it is on this host, went down when it ended them.
fn went_down(facts: &Facts<'_>, peer: &Peer<'_>) -> bool {
    let closed = facts.listeners.iter().filter(|row| listens(row, peer));
    let closed: Vec<f64> = closed.flat_map(|row| &row.closed_at).copied().collect();
    let ended = peer.rows.iter().filter_map(|row| row.gone_at);
    ended.into_iter().any(|at| closed.iter().any(|closed| (at.p50 - SOON..at.p50 + LATER).contains(closed)))
}

/// Whether connections to this peer come to that socket. An address that stands for all of a host is taken for its
/// loopback alone: its others are not known here.
fn listens(row: &ListenerRow, peer: &Peer<'_>) -> bool {
    if !peer.rows.iter().any(|own| own.netns == row.netns) {
        return false;
    }
    let split =
        |address: &str| address.rsplit_once(':').map(|(host, port)| (host.to_owned(), port.to_owned()));
    let (Some((host, port)), Some((own, own_port))) = (split(&row.address), split(peer.address)) else {
        return false;
    };
    let any = ["0.0.0.0", "[::]"].contains(&host.as_str());
    row.address == peer.address || (any && port == own_port && (own.starts_with("127.") || own == "[::1]"))
}

/// Commands so long that the server hung up before it had all of them, and whose client writes on and never reads why.
fn unsent(facts: &Facts<'_>, peer: &Peer<'_>) -> u64 {
    let long = facts.mysql.iter().filter(|row| {
        let own = row.role == Role::Client && row.service == peer.service;
        own && row.peer.as_deref() == Some(peer.address) && row.request_bytes.max >= LONG
    });
    let errors = long.flat_map(|row| &row.errors);
    errors
        .filter(|(error, _)| ["EPIPE", "ECONNRESET"].contains(&error.as_str()))
        .map(|(_, count)| count)
        .sum()
}

/// The whole seconds that all of these times agree on. A client that read its last reply late was idle for less than the
/// server's timer ran.
fn whole_seconds(idle: Distribution) -> Option<f64> {
    let seconds = (idle.min + EARLY).floor();
    (seconds >= 1.0 && idle.max <= seconds + LATE + seconds / 100.0).then_some(seconds)
}

impl Cause {
    fn name(self) -> &'static str {
        match self {
            Self::WaitTimeout(_) => "wait_timeout",
            Self::Killed => "killed",
            Self::Restart => "restart",
            Self::TooLarge => "max_allowed_packet",
            Self::Unknown => "unknown",
        }
    }
}

impl Rule for ServerGoneAway {
    fn id(&self) -> &'static str {
        ID
    }

    fn severity(&self) -> Severity {
        Severity::Critical
    }

    fn thresholds(&self) -> &'static [Threshold] {
        &[CONNECTIONS]
    }

    fn about(&self) -> About {
        About::Peer
    }

    fn takes_all(&self) -> bool {
        true
    }

    fn explains(&self, finding: &Finding) -> bool {
        finding.evidence.get("cause").is_none_or(|cause| cause != keep_alive::KEEP_ALIVE)
    }

    fn judge(&self, facts: &Facts<'_>, thresholds: &Thresholds, verdict: &mut Verdict) {
        for peer in Peer::mysql(facts) {
            let Some(ended) = Ended::of(facts, &peer) else { continue };
            if ended.count() > 0 && ended.count() as f64 >= thresholds.of(ID, &CONNECTIONS) {
                verdict.add(said(self, facts, &peer, &ended));
            }
        }
        for peer in Peer::http(facts) {
            if let Some(gone) = keep_alive::Gone::of(facts, &peer)
                && gone.count as f64 >= thresholds.of(ID, &CONNECTIONS)
            {
                verdict.add(keep_alive::said(self, facts, &peer, &gone));
            }
        }
    }
}

fn said<'a>(rule: &'a dyn Rule, facts: &Facts<'a>, peer: &Peer<'a>, ended: &Ended) -> Said<'a> {
    let cause = ended.cause();
    let (name, server) = (facts.name(peer.service), peer.name());
    let count = ended.count();
    let connections = units::things(count, "connection", "connections");
    let title = match cause {
        Cause::WaitTimeout(seconds) => {
            let after = seconds.map(|seconds| format!(" after {}", whole(seconds))).unwrap_or_default();
            format!(
                "{name}: the MySQL server {server} ended {connections} that were idle{after} (wait_timeout), and were \
                 used again"
            )
        }
        Cause::Killed => format!("{name}: {connections} to the MySQL server {server} were killed"),
        Cause::Restart => {
            format!("{name}: the MySQL server {server} was restarted, and ended {connections}")
        }
        Cause::TooLarge => {
            format!(
                "{name}: the MySQL server {server} ended {connections}: a packet was over max_allowed_packet"
            )
        }
        Cause::Unknown => {
            format!("{name}: the MySQL server {server} ended {connections} that were used again")
        }
    };
    let mut evidence = evidence([
        ("peer", json!(peer.address)),
        ("cause", json!(cause.name())),
        ("gone", json!(ended.gone)),
        ("ended_in_use", json!(ended.in_use)),
        ("too_large", json!(ended.too_large)),
        ("gone_by", json!(ended.by)),
        ("farewells", json!(ended.farewells)),
        ("refused_connects", json!(ended.refused)),
    ]);
    if let Some(idle) = ended.idle {
        evidence.insert("idle_p50_seconds".into(), json!(idle.p50));
        evidence.insert("idle_max_seconds".into(), json!(idle.max));
    }
    if let Cause::WaitTimeout(Some(seconds)) = cause {
        evidence.insert("wait_timeout_seconds".into(), json!(seconds));
    }
    evidence.extend(peer.looked_up().map(|name| ("peer_name".to_owned(), json!(name))));
    Said {
        title,
        detail: detail(cause, ended),
        evidence,
        advice: advice(cause, runtime(facts.service(peer.service))),
        count,
        ..Said::of(rule, facts, peer.service, peer.address)
    }
}

/// `1 s`, `28,800 s`.
fn whole(seconds: f64) -> String {
    format!("{} s", units::count(seconds as u64))
}

/// `1.00 s`, `1.00 s to 3.00 s`.
fn span(idle: Distribution) -> String {
    let (least, most) = (duration(idle.min), duration(idle.max));
    if least == most { least } else { format!("{least} to {most}") }
}

fn detail(cause: Cause, ended: &Ended) -> String {
    let mut sentences = Vec::new();
    if ended.gone > 0 {
        let idle = ended.idle.map(|idle| format!("; they had been idle for {}", span(idle)));
        sentences.push(format!(
            "{} ended while idle ({}){}; the client wrote to them afterwards, which is error 2006 or 2013 there.",
            units::things(ended.gone, "connection", "connections"),
            listed(&ended.by),
            idle.unwrap_or_default()
        ));
    }
    if ended.in_use > 0 {
        let connections = units::things(ended.in_use, "connection", "connections");
        sentences.push(format!("{connections} ended within a command, which is error 2013."));
    }
    if ended.too_large > 0 {
        let commands = units::things(ended.too_large, "command was", "commands were");
        sentences.push(format!("{commands} longer than the server takes (error 1153)."));
    }
    if ended.refused > 0 {
        let connects = units::things(ended.refused, "connect was", "connects were");
        sentences.push(format!("{connects} refused."));
    }
    if cause == Cause::Killed {
        sentences
            .push("A FIN without a word is how KILL ends a connection, and a server that goes down.".into());
    }
    sentences.join(" ")
}

fn advice(cause: Cause, runtime: &str) -> String {
    let check = match runtime {
        "python" => {
            "SQLAlchemy: `pool_pre_ping=True`, and `pool_recycle` below it. Django: `CONN_HEALTH_CHECKS = True`, and \
             `CONN_MAX_AGE` below it."
        }
        "java" => "HikariCP: `maxLifetime` and `idleTimeout` below it.",
        "go" => "`SetConnMaxIdleTime` or `SetConnMaxLifetime` below it.",
        "node" | "bun" | "deno" => "mysql2: `createPool` with `maxIdle` and `idleTimeout` below it.",
        "php" => "Connect anew where a connection has been idle for longer (Laravel: `DB::reconnect()`).",
        _ => "Have the pool check connections before it gives them away, or drop them after less than that.",
    };
    match cause {
        Cause::WaitTimeout(_) => {
            format!("`SHOW VARIABLES LIKE 'wait_timeout'` in `mysql` is the server's limit. {check}")
        }
        Cause::Killed => {
            "The server's error log and `SHOW GLOBAL STATUS LIKE 'Uptime'` tell a crash from a KILL; `SHOW GLOBAL STATUS \
             LIKE 'Aborted_clients'` counts both. Look for who kills: pt-kill, an operator, a proxy's timeout."
                .into()
        }
        Cause::Restart => {
            "`SHOW GLOBAL STATUS LIKE 'Uptime'` and the server's error log tell when and why. Have the client try again \
             after errors 2006 and 2013, with a pool that checks connections."
                .into()
        }
        Cause::TooLarge => {
            "`SHOW VARIABLES LIKE 'max_allowed_packet'` is the server's limit: raise it, or send less at a time (rows of \
             one INSERT, blobs)."
                .into()
        }
        Cause::Unknown => format!(
            "A reset without a word is MariaDB's wait_timeout, or a firewall or proxy that forgets idle connections. {check}"
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::super::sample::{distribution, findings, judged, listener, pool, with_connections};
    use super::super::{connection_failures, sample};
    use super::*;
    use crate::report::{ClosedBy, ConnectionRow, Report};

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

    /// A pool that asks `SELECT 1` before each use has lost nothing; one that asks nothing else means it.
    #[test]
    fn validation_queries_expect_it() {
        let validated = |count| ConnectionRow { gone_validated: count, ..gone("fin", 3, exactly(3, 1.0)) };
        let statements = |count: u64, text: &str| MysqlRow {
            service: "shop".into(),
            peer: Some("10.0.0.9:3306".into()),
            count,
            ..crate::output::text::sample::mysql_row("query", Some(text))
        };
        for (gone, text, left) in [
            (3, "SELECT name FROM items WHERE id = ?", 0),
            (2, "SELECT name FROM items WHERE id = ?", 1),
            (3, "SET NAMES utf8mb4", 3),
            (3, "SHOW VARIABLES", 3),
            (3, "SELECT ?", 3),
        ] {
            let mut report = with_connections(vec![validated(gone)]);
            report.mysql = vec![statements(40, "SELECT ? FROM DUAL"), statements(40, text)];
            // What MariaDB says to a session that was killed is read as the answer.
            report.mysql[0].errors = [(KILLED.to_owned(), gone)].into();
            let left = if left == 3 { left + gone } else { left };
            let found = findings(&report, ID);
            assert_eq!(found.iter().map(|finding| finding.count).sum::<u64>(), left, "{text}: {found:#?}");
        }
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
}
