//! `connection-failures`: connections of a service are refused, time out, cannot leave the host, or end in the middle of
//! an exchange: by a reset, or an HTTP server's FIN.
//!
//! Not for one that failed among thousands, for daemons that every program asks after and few hosts run, for the address
//! of another family that is tried first, for a client that waited for its server at the start and got in, nor for
//! connections that the server ended while idle and MySQL servers end in any way (`server-gone-away`). A response that
//! has no other end than the connection's, and a stream, are whole when the server hangs up.

mod served;
mod ways;

use std::collections::BTreeMap;
use std::net::IpAddr;

use serde_json::json;

use super::peer::{Peer, listed};
use super::thresholds::{Threshold, Thresholds, Unit};
use super::{About, Facts, Rule, Said, Verdict, evidence, server_gone_away};
use crate::output::style::units::{self, rate};
use crate::report::{Counters, Severity};
use ways::Ways;

pub(super) const ID: &str = "connection-failures";

const FAILURES: Threshold = Threshold {
    key: "failures",
    unit: Unit::Count,
    default: 3.0,
    meaning: "connects to one peer that failed; connections to it that it reset or closed in use",
};
const SHARE: Threshold = Threshold {
    key: "share",
    unit: Unit::Share,
    default: 0.01,
    meaning: "of those tried; of those that there were",
};

/// Unix sockets of daemons that libraries ask after, whether they run or not.
const OPTIONAL: &[&str] = &[
    "unix:/dev/log",
    "unix:/run/avahi-daemon/",
    "unix:/run/dbus/",
    "unix:/run/nscd/",
    "unix:/run/pcscd/",
    "unix:/run/systemd/",
    "unix:/run/user/",
    "unix:/run/uuidd/",
    "unix:/tmp/.X11-unix/",
    "unix:@/tmp/.X11-unix/",
    "unix:/var/lib/sss/",
    "unix:/var/run/avahi-daemon/",
    "unix:/var/run/dbus/",
    "unix:/var/run/nscd/",
    "unix:/var/run/uuidd/",
];

/// Errors of connects that nobody listens for.
const NOBODY: &[&str] = &["ECONNREFUSED", "ENOENT"];

/// Peers of a service that have a finding each; more are one finding.
const HANDFUL: usize = 8;
/// So many of those are named.
const NAMED: usize = 10;

/// What there is to advise on where a server has hung up: in place of an error's name.
const HUNG_UP: &str = "hung up";

/// Where to look for what ended a server's process, or made it hang up.
const HANGS_UP: &str = "The server's log says more for that time: gunicorn `WORKER TIMEOUT` (`--timeout`), a proxy that its \
                        own upstream went away, any a crash or a restart. On its host `journalctl -k | grep -i 'killed \
                        process'` shows what the kernel has killed for want of memory, `coredumpctl list` what crashed.";

/// An abstract Unix socket: a name of which programs find out by a connect whether another one has it.
const ABSTRACT: &str = "unix:@";

#[derive(Debug)]
pub(super) struct ConnectionFailures;

/// What went wrong with the connections to one peer.
#[derive(Debug, Clone, Default, PartialEq)]
struct Failures {
    /// Connects, by the error's name.
    connects: Counters,
    failed: u64,
    attempted: u64,
    /// Ended within an exchange by a reset, or for want of an answer.
    resets: u64,
    timeouts: u64,
    /// HTTP: ended by the server's FIN before the response had its end.
    hung_up: u64,
    /// Those that there were.
    connections: u64,
}

impl Failures {
    fn of(facts: &Facts<'_>, peer: &Peer<'_>, ways: &Ways<'_>) -> Self {
        let mut connects = peer.counters(|row| &row.failed);
        if peer.address.starts_with(ABSTRACT) {
            connects.retain(|error, _| !NOBODY.contains(&error.as_str()));
        }
        let failed = connects.values().sum();
        let mysql = peer.rows.iter().any(|row| row.protocol == "mysql");
        let errors = mysql.then(|| peer.mysql_errors(facts));
        let too_large = errors.and_then(|mut errors| errors.remove(server_gone_away::TOO_LARGE)).unwrap_or(0);
        let all = Self {
            connects,
            failed,
            attempted: peer.sum(|row| row.attempted),
            resets: peer.sum(|row| row.cut_by.reset).saturating_sub(too_large),
            timeouts: peer.sum(|row| row.cut_by.timeout),
            hung_up: peer.sum(|row| if row.protocol == "http" { row.cut_by.peer } else { 0 }),
            connections: peer.sum(|row| row.established + row.preexisting),
        };
        if is_optional(peer.address) || has_got_in(peer) || ways.has_other(peer, failed) {
            return Self { connects: Counters::new(), failed: 0, ..all };
        }
        all
    }

    fn cut(&self) -> u64 {
        self.resets + self.timeouts + self.hung_up
    }

    /// The error of most connects.
    fn most(&self) -> &str {
        self.connects.iter().max_by_key(|(_, count)| **count).map_or("", |(name, _)| name)
    }

    /// What is behind most of it: the error of connects, [`HUNG_UP`], or nothing: resets.
    fn worst(&self) -> &str {
        if self.failed >= self.cut() {
            self.most()
        } else if self.hung_up > self.resets + self.timeouts {
            HUNG_UP
        } else {
            ""
        }
    }

    /// Of several peers.
    fn sum<T>(crowd: &[(T, Self)]) -> Self {
        crowd.iter().fold(Self::default(), |mut sum, (_, all)| {
            for (error, count) in &all.connects {
                *sum.connects.entry(error.clone()).or_default() += count;
            }
            sum.failed += all.failed;
            sum.attempted += all.attempted;
            sum.resets += all.resets;
            sum.timeouts += all.timeouts;
            sum.hung_up += all.hung_up;
            sum.connections += all.connections;
            sum
        })
    }

    /// What is too little to judge.
    fn few(&self) -> String {
        if self.cut() > 0 {
            return units::things(self.cut(), "connection was cut", "connections were cut");
        }
        format!("{} of {} connects failed ({})", self.failed, self.attempted, listed(&self.connects))
    }

    /// Those that ended in the middle of an exchange: `9 connections were reset`.
    fn cuts(&self) -> String {
        let ways = [
            (self.resets, "reset"),
            (self.timeouts, "without an answer any more"),
            (self.hung_up, "closed by the server"),
        ];
        let mut ways = ways.into_iter().filter(|(count, _)| *count > 0);
        let Some((count, how)) = ways.next() else { return String::new() };
        let first = format!("{} {how}", units::things(count, "connection was", "connections were"));
        ways.fold(first, |told, (count, how)| format!("{told}, {} {how}", units::count(count)))
    }
}

/// Whether an address is of a daemon that libraries ask after, whether it runs or not.
pub(crate) fn is_optional(address: &str) -> bool {
    OPTIONAL.iter().any(|path| address.starts_with(path))
}

/// Whether all attempts that failed came before the first that did not: a client that waited for its server.
fn has_got_in(peer: &Peer<'_>) -> bool {
    let mut failing = peer.rows.iter().filter(|row| !row.failed.is_empty());
    failing.all(|row| match (row.first_established, row.last_failed) {
        (Some(first), Some(last)) => first > last,
        _ => false,
    })
}

impl Rule for ConnectionFailures {
    fn id(&self) -> &'static str {
        ID
    }

    fn severity(&self) -> Severity {
        Severity::Critical
    }

    fn thresholds(&self) -> &'static [Threshold] {
        &[FAILURES, SHARE]
    }

    fn about(&self) -> About {
        About::Peer
    }

    fn reasons(&self) -> &'static [&'static str] {
        &[server_gone_away::ID]
    }

    fn takes_all(&self) -> bool {
        true
    }

    fn judge(&self, facts: &Facts<'_>, thresholds: &Thresholds, verdict: &mut Verdict) {
        let (least, share) = (thresholds.of(ID, &FAILURES), thresholds.of(ID, &SHARE));
        let many = |part: u64, whole: u64| part > 0 && part as f64 >= share * whole as f64;
        let peers = Peer::all(facts, |_| true);
        let ways = Ways::of(&peers);
        let (mut failing, mut unclear) = (Crowds::new(), Crowds::new());
        for peer in &peers {
            let all = Failures::of(facts, peer, &ways);
            let failed = many(all.failed, all.attempted);
            let cut = many(all.cut(), all.connections);
            if (failed && all.failed as f64 >= least) || (cut && all.cut() as f64 >= least) {
                failing.entry(peer.service).or_default().push((peer, all));
            } else if (failed && all.connections == 0) || cut {
                unclear.entry(peer.service).or_default().push((peer, all));
            }
        }
        for (_, crowd) in failing {
            if crowd.len() > HANDFUL {
                said_of_many(self, facts, crowd).into_iter().for_each(|said| verdict.add(said));
                continue;
            }
            for (peer, all) in crowd {
                let said = said(self, facts, peer, &peer.name(), &all);
                verdict.add(with_peer(said, peer));
            }
        }
        let enough = |cut: u64, connections: u64| many(cut, connections) && cut as f64 >= least;
        served::judge(self, facts, enough, verdict);
        for (service, crowd) in unclear {
            let reason =
                |all: &Failures, whom: &str| format!("{} at {whom}; it takes {least} to judge", all.few());
            if crowd.len() > HANDFUL {
                let all = Failures::sum(&crowd);
                verdict.not_enough(self, service, reason(&all, &peers_of(&crowd)) + " at one");
                continue;
            }
            for (peer, all) in crowd {
                verdict.not_enough(self, service, reason(&all, &peer.name()));
            }
        }
    }
}

/// By service: its peers at which something went wrong.
type Crowds<'a, 'b> = BTreeMap<&'a str, Vec<(&'b Peer<'a>, Failures)>>;

/// `10,000 peers`.
fn peers_of<T>(crowd: &[T]) -> String {
    units::things(crowd.len() as u64, "peer", "peers")
}

/// So many that they are one finding, with the worst by name.
fn said_of_many<'a>(
    rule: &'a dyn Rule,
    facts: &Facts<'a>,
    mut crowd: Vec<(&Peer<'a>, Failures)>,
) -> Option<Said<'a>> {
    crowd.sort_by_key(|(_, all)| std::cmp::Reverse(all.failed + all.cut()));
    let sum = Failures::sum(&crowd);
    let (worst, _) = crowd.first()?;
    let mut said = said(rule, facts, worst, &peers_of(&crowd), &sum);
    let named = crowd.iter().take(NAMED);
    let list: Vec<_> = named
        .clone()
        .map(|(peer, all)| format!("{} {}x", peer.name(), units::count(all.failed + all.cut())))
        .collect();
    let others = crowd.len() - list.len();
    said.detail.push_str(&format!(" Most at {}", list.join(", ")));
    if others > 0 {
        said.detail.push_str(&format!(" and {}", units::things(others as u64, "other", "others")));
    }
    said.detail.push('.');
    let worst: Vec<_> = named
        .map(|(peer, all)| json!({ "peer": peer.address, "failed": all.failed, "cut": all.cut() }))
        .collect();
    said.evidence.insert("peers".into(), json!(crowd.len()));
    said.evidence.insert("worst".into(), json!(worst));
    said.subject = "peers".into();
    Some(said)
}

/// About one peer.
fn with_peer<'a>(mut said: Said<'a>, peer: &Peer<'a>) -> Said<'a> {
    said.evidence.insert("peer".into(), json!(peer.address));
    said.evidence.extend(peer.looked_up().map(|name| ("peer_name".to_owned(), json!(name))));
    said
}

/// What happened at a peer, or at all that are called `whom`.
fn said<'a>(rule: &'a dyn Rule, facts: &Facts<'a>, peer: &Peer<'a>, whom: &str, all: &Failures) -> Said<'a> {
    let (name, window) = (facts.name(peer.service), facts.window.seconds);
    let title = if all.failed >= all.cut() {
        format!(
            "{name}: {} of {} connects to {} failed: {}",
            units::count(all.failed),
            units::count(all.attempted),
            whom,
            meaning(all.most())
        )
    } else if all.hung_up > all.resets + all.timeouts {
        let requests = units::things(all.hung_up, "request", "requests");
        format!("{name}: {} hung up in the middle of {requests}", whom)
    } else {
        format!("{name}: {} in the middle of an exchange, with {}", all.cuts(), whom)
    };
    let mut sentences = Vec::new();
    if all.failed > 0 {
        sentences.push(format!("Connects: {}; {}.", listed(&all.connects), rate(all.failed, window)));
    }
    if all.cut() > 0 {
        sentences.push(format!(
            "Of {}, {} in the middle of an exchange; {}.",
            units::things(all.connections, "connection", "connections"),
            all.cuts(),
            rate(all.cut(), window)
        ));
    }
    let mut evidence = evidence([
        ("failed", json!(all.connects)),
        ("attempted", json!(all.attempted)),
        ("failures_per_second", json!((all.failed + all.cut()) as f64 / window)),
        ("resets", json!(all.resets)),
        ("timeouts", json!(all.timeouts)),
        ("hung_up", json!(all.hung_up)),
        ("cut", json!(all.cut())),
        ("connections", json!(all.connections)),
    ]);
    if all.attempted > 0 {
        evidence.insert("failed_share".into(), json!(all.failed as f64 / all.attempted as f64));
    }
    Said {
        title,
        detail: sentences.join(" "),
        evidence,
        advice: advice(all.worst(), peer),
        count: all.failed + all.cut(),
        ..Said::of(rule, facts, peer.service, peer.address)
    }
}

/// An error in words.
fn meaning(error: &str) -> String {
    let words = match error {
        "ECONNREFUSED" => "refused",
        "ETIMEDOUT" => "no answer",
        "abandoned" => return "given up before there was an answer".into(),
        "EHOSTUNREACH" | "ENETUNREACH" | "EHOSTDOWN" | "ENETDOWN" => "unreachable",
        "EADDRNOTAVAIL" => "no free port, or no address to connect from",
        "ENOENT" => "no such socket",
        "EAGAIN" => "the server's backlog is full",
        "EACCES" | "EPERM" => "not allowed",
        "ECONNRESET" => "reset",
        other => return other.to_owned(),
    };
    format!("{words} ({error})")
}

fn is_loopback(host: &str) -> bool {
    host.parse::<IpAddr>().is_ok_and(|ip| ip.to_canonical().is_loopback())
}

/// What shows more, by [`Failures::worst`].
fn advice(error: &str, peer: &Peer<'_>) -> String {
    let (host, port) = peer.address.rsplit_once(':').unwrap_or((peer.address, ""));
    let host = host.trim_start_matches('[').trim_end_matches(']');
    match error {
        "ECONNREFUSED" | "ENOENT" if peer.is_unix() => format!(
            "No server has this socket open: `ss -xl | grep {}`. Start it, or correct the path in the settings of either.",
            peer.address.trim_start_matches("unix:")
        ),
        "ECONNREFUSED" => {
            let wider = if is_loopback(host) { "" } else { ", or have it listen on more than 127.0.0.1" };
            format!(
                "Nothing listens there, or a firewall turns connections away: `ss -tlnp 'sport = :{port}'` on {host}. \
                 Start the server, or correct the address{wider}."
            )
        }
        "EADDRNOTAVAIL" => {
            "Keep connections in place of opening new ones; `ss -s` counts those in TIME_WAIT. For a while \
             `sysctl net.ipv4.tcp_tw_reuse=1` and a wider `net.ipv4.ip_local_port_range` help."
                .into()
        }
        "EHOSTUNREACH" | "ENETUNREACH" | "EHOSTDOWN" | "ENETDOWN" => {
            format!("`ip route get {host}` shows where packets would go, `ip neigh` who answers.")
        }
        "EAGAIN" => format!(
            "The server does not accept as fast as connections come: `ss -xl | grep {}` shows its backlog (Recv-Q). More \
             workers, or a larger backlog (`net.core.somaxconn` bounds it).",
            peer.address.trim_start_matches("unix:")
        ),
        "EACCES" | "EPERM" => {
            "Look at the socket's rights, the firewall's output rules and the audit log (SELinux, AppArmor)."
                .into()
        }
        HUNG_UP => format!("{HANGS_UP} A FIN within microseconds of the request is its keep-alive timeout."),
        "" | "ECONNRESET" => format!(
            "The peer closed with data unread, crashed, or something between cut it off: look into its log. `tcpdump -ni any \
             'tcp[tcpflags] & tcp-rst != 0 and port {port}'` shows who sends the resets."
        ),
        _ => format!(
            "Packets are dropped on the way (a firewall, a host that is down, a full backlog): `ss -tn state syn-sent` shows \
             who waits; on {host} `nstat -az TcpExtListenDrops TcpExtListenOverflows` counts what was turned away."
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::super::sample::{findings, judged, pool, with_connections};
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
        let told =
            "3 connections were reset, 2 without an answer any more, 4 closed by the server in the middle";
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
                vec![
                    at("[::1]:9000", failing("ECONNREFUSED", 60, 60)),
                    at("127.0.0.1:9000", failing("", 0, 60)),
                ],
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
        let found = findings(
            &with_connections(vec![at("unix:/run/mysqld/mysqld.sock", failing("ENOENT", 5, 5))]),
            ID,
        );
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
        let reason = "10001 of 10001 connects failed (ECONNREFUSED 10001x) at 10,000 peers; it takes 3 to judge at one";
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
}
