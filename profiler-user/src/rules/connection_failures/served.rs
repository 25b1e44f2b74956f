//! The same seen by the server, where the clients are on other hosts: its process ended in the middle of requests.
//!
//! Not for connections that clients end, nor for those that a server closes without an answer and goes on (a timeout, a
//! request that it will not have): that is what its clients brought about as often as not.

use std::collections::BTreeMap;

use serde_json::json;

use super::super::{Facts, Rule, Said, Verdict, evidence};
use crate::output::style::units::{self, rate};
use crate::report::{ConnectionRow, Role};

/// What to do about a server that was stopped on purpose, and what follows if it was not.
const STOPPED: &str = "If it was stopped for a restart or a deployment, give it time to finish what it has in hand: gunicorn \
                       `--graceful-timeout`, uvicorn `--timeout-graceful-shutdown`, systemd `TimeoutStopSec`. Else it crashed \
                       or was killed.";

/// A server's HTTP connections with other hosts.
#[derive(Debug, Clone, Copy, Default)]
struct Served {
    /// Cut by the end of its process.
    cut: u64,
    connections: u64,
}

/// Adds a finding for each service at which `enough` were cut, of so many that there were.
pub(super) fn judge(
    rule: &dyn Rule,
    facts: &Facts<'_>,
    enough: impl Fn(u64, u64) -> bool,
    verdict: &mut Verdict,
) {
    let mut services: BTreeMap<&str, Served> = BTreeMap::new();
    for row in facts.connections.iter().filter(|row| row.role == Role::Server && row.protocol == "http") {
        if is_elsewhere(&row.peer) {
            let served = services.entry(&row.service).or_default();
            served.cut += row.cut_by_exit;
            served.connections += row.established + row.preexisting;
        }
    }
    for (service, served) in services {
        if enough(served.cut, served.connections) && !is_told_by_a_client(facts, service) {
            verdict.add(said(rule, facts, service, served));
        }
    }
}

/// Whether a server's peer may be on another host.
fn is_elsewhere(peer: &str) -> bool {
    !peer.starts_with("unix:")
        && !super::advice::is_loopback(peer.trim_start_matches('[').trim_end_matches(']'))
}

/// Whether clients on this host were hung up on at a port of the service: a container's, say. They say more.
fn is_told_by_a_client(facts: &Facts<'_>, service: &str) -> bool {
    let port = |address: &str| address.rsplit_once(':').map(|(_, port)| port.to_owned());
    let own = facts.listeners.iter().filter(|row| row.service == service);
    let ports: Vec<_> = own.map(|row| port(&row.address)).collect();
    let hung_up =
        |row: &&ConnectionRow| row.role == Role::Client && row.protocol == "http" && row.cut_by.peer > 0;
    facts.connections.iter().filter(hung_up).any(|row| ports.contains(&port(&row.peer)))
}

fn said<'a>(rule: &'a dyn Rule, facts: &Facts<'a>, service: &'a str, served: Served) -> Said<'a> {
    let requests = units::things(served.cut, "request", "requests");
    Said {
        title: format!("{}: its processes ended in the middle of {requests}", facts.name(service)),
        detail: format!(
            "Of {}, {} had a request under way when the process that had accepted them ended; {}.",
            units::things(served.connections, "connection", "connections"),
            units::count(served.cut),
            rate(served.cut, facts.window.seconds)
        ),
        evidence: evidence([
            ("cut_by_exit", json!(served.cut)),
            ("connections", json!(served.connections)),
            ("failures_per_second", json!(served.cut as f64 / facts.window.seconds)),
        ]),
        advice: format!("{STOPPED} {}", super::advice::HANGS_UP),
        count: served.cut,
        ..Said::of(rule, facts, service, "clients")
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::sample::{findings, listener, pool, with_connections};
    use super::super::ID;
    use crate::report::{ClosedBy, ConnectionRow, ListenerRow, Report, Role};

    fn served(peer: &str, cut_by_exit: u64, established: u64) -> ConnectionRow {
        let by = ClosedBy { us: 9, ..ClosedBy::default() };
        ConnectionRow {
            role: Role::Server,
            peer: peer.into(),
            protocol: "http".into(),
            established,
            closed: 9,
            cut: 9,
            cut_by: by,
            closed_by: by,
            cut_by_exit,
            ..pool()
        }
    }

    #[test]
    fn processes_that_end_in_the_middle_of_requests() {
        let rows = vec![served("10.0.0.7", 5, 40), served("10.0.0.8", 4, 40), served("127.0.0.1", 9, 40)];
        let found = findings(&with_connections(rows), ID);
        let [finding] = found.as_slice() else { panic!("{found:#?}") };
        assert_eq!(finding.title, "uvicorn shop:app: its processes ended in the middle of 9 requests");
        assert_eq!((finding.subject.as_str(), finding.count), ("clients", 9));
        assert!(finding.detail.starts_with("Of 80 connections, 9 had"), "{}", finding.detail);
        for word in ["--graceful-timeout", "WORKER TIMEOUT"] {
            assert!(finding.advice.contains(word), "{}", finding.advice);
        }
    }

    /// The nearest healthy ones: a server that closes without an answer and goes on; clients on this host, who tell it
    /// themselves; two of thousands.
    #[test]
    fn what_is_no_crash() {
        for row in [
            served("10.0.0.7", 0, 40),
            served("127.0.0.1", 9, 40),
            served("::1", 9, 40),
            served("unix:/run/app.sock", 9, 40),
            served("10.0.0.7", 4, 4_000),
            served("10.0.0.7", 2, 40),
            ConnectionRow { protocol: "other".into(), ..served("10.0.0.7", 9, 40) },
        ] {
            assert_eq!(findings(&with_connections(vec![row.clone()]), ID), [], "{row:#?}");
        }
    }

    /// One in a container of this host: its own finding is enough.
    #[test]
    fn a_client_of_this_host_tells_it() {
        let by = ClosedBy { peer: 9, ..ClosedBy::default() };
        let client = ConnectionRow {
            service: "proxy".into(),
            role: Role::Client,
            peer: "172.17.0.2:8000".into(),
            cut_by: by,
            ..served("", 0, 40)
        };
        for (address, count) in [("0.0.0.0:8000", 0), ("0.0.0.0:8001", 1)] {
            let rows = vec![served("172.17.0.1", 9, 40), client.clone()];
            let listener = ListenerRow { service: "shop".into(), address: address.into(), ..listener() };
            let report = Report { listeners: vec![listener], ..with_connections(rows) };
            let of_server = findings(&report, ID).into_iter().filter(|finding| finding.service == "shop");
            assert_eq!(of_server.count(), count, "{address}");
        }
    }
}
