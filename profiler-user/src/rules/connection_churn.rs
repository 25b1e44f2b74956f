//! `connection-churn`: a service opens connections to one peer by the dozen each second and closes them at once. Each
//! costs both ends a handshake, and the end that closes first a port for a minute.

use serde_json::json;

use super::peer::Peer;
use super::stalled::runtime;
use super::thresholds::{Threshold, Thresholds, Unit};
use super::{About, Facts, Rule, Said, Verdict, connection_per_request, evidence};
use crate::output::style::units::{self, duration, rate};
use crate::report::Severity;

pub(super) const ID: &str = "connection-churn";

const RATE: Threshold = Threshold {
    key: "rate",
    unit: Unit::PerSecond,
    default: 50.0,
    meaning: "connections opened to one peer: more than that",
};
const LIFETIME: Threshold = Threshold {
    key: "lifetime",
    unit: Unit::Seconds,
    default: 1.0,
    meaning: "half of them live for less than that",
};
const SECONDS: Threshold = Threshold {
    key: "seconds",
    unit: Unit::Count,
    default: 3.0,
    meaning: "seconds in which some were opened; in fewer it is a burst",
};

/// A closed connection keeps its port for so long (TCP_TIMEWAIT_LEN, include/net/tcp.h).
const TIME_WAIT: f64 = 60.0;
/// Ports for connections to one peer, by default (inet_init_net(), net/ipv4/af_inet.c: 32768 to 60999).
const PORTS: f64 = 28_232.0;

#[derive(Debug)]
pub(super) struct ConnectionChurn;

impl Rule for ConnectionChurn {
    fn id(&self) -> &'static str {
        ID
    }

    fn severity(&self) -> Severity {
        Severity::Warning
    }

    fn thresholds(&self) -> &'static [Threshold] {
        &[RATE, LIFETIME, SECONDS]
    }

    fn about(&self) -> About {
        About::Peer
    }

    fn reasons(&self) -> &'static [&'static str] {
        &[connection_per_request::ID]
    }

    fn takes_all(&self) -> bool {
        true
    }

    fn judge(&self, facts: &Facts<'_>, thresholds: &Thresholds, verdict: &mut Verdict) {
        let (least, longest) = (thresholds.of(ID, &RATE), thresholds.of(ID, &LIFETIME));
        for peer in Peer::all(facts, |_| true) {
            let opened = peer.sum(|row| row.established);
            let short = peer.most(|row| row.lifetime).is_some_and(|lifetime| lifetime.p50 < longest);
            if opened as f64 <= least * facts.window.seconds || !short || 2 * peer.lived() < opened {
                continue;
            }
            let seconds = peer.opening_seconds();
            if (seconds as f64) < thresholds.of(ID, &SECONDS) {
                let opened = units::things(opened, "short connection", "short connections");
                let reason = format!(
                    "{opened} to {} within {}: a burst, or too short a recording",
                    peer.name(),
                    units::things(seconds, "second", "seconds")
                );
                verdict.not_enough(self, peer.service, reason);
            } else {
                verdict.add(said(self, facts, &peer, opened));
            }
        }
    }
}

fn said<'a>(rule: &'a dyn Rule, facts: &Facts<'a>, peer: &Peer<'a>, opened: u64) -> Said<'a> {
    let window = facts.window.seconds;
    let lifetime = peer.most(|row| row.lifetime).unwrap_or_default();
    let title = format!(
        "{}: opens {} to {} and closes them after {}",
        facts.name(peer.service),
        rate(opened, window),
        peer.name(),
        duration(lifetime.p50)
    );
    let mut detail = format!(
        "{} in {}; lifetimes: p50 {}, p99 {}.",
        units::things(opened, "connection", "connections"),
        duration(window),
        duration(lifetime.p50),
        duration(lifetime.p99)
    );
    let mut evidence = evidence([
        ("peer", json!(peer.address)),
        ("connections", json!(opened)),
        ("opened_per_second", json!(opened as f64 / window)),
        ("lifetime_p50_seconds", json!(lifetime.p50)),
        ("lifetime_p99_seconds", json!(lifetime.p99)),
        ("opening_seconds", json!(peer.opening_seconds())),
        ("closed_by_us", json!(peer.sum(|row| row.closed_by.us))),
    ]);
    evidence.extend(peer.looked_up().map(|name| ("peer_name".to_owned(), json!(name))));
    if peer.rows.iter().any(|row| row.time_wait.is_some()) {
        let waiting = peer.sum(|row| row.time_wait.unwrap_or(0));
        evidence.insert("time_wait".into(), json!(waiting));
        if waiting > 0 {
            detail.push_str(&format!(
                " {} in TIME_WAIT at the end.",
                units::things(waiting, "socket was", "sockets were")
            ));
        }
    }
    if !peer.is_unix() && 2 * peer.sum(|row| row.closed_by.us) > opened {
        let held = opened as f64 / window * TIME_WAIT;
        evidence.insert("ports_held".into(), json!(held));
        detail.push_str(&format!(
            " It closes first, so each keeps its port for {}: at this rate {} of the {} that there are by default \
             for one peer.",
            duration(TIME_WAIT),
            units::count((held.min(PORTS)) as u64),
            units::count(PORTS as u64),
        ));
    }
    Said {
        title,
        detail,
        evidence,
        advice: advice(runtime(facts.service(peer.service)), peer),
        count: opened,
        weight: peer.total(|row| row.connect) + peer.total(|row| row.handshake),
        ..Said::of(rule, facts, peer.service, peer.address)
    }
}

fn advice(runtime: &str, peer: &Peer<'_>) -> String {
    let http = peer.rows.iter().any(|row| row.protocol == "http");
    let keep = match runtime {
        "python" if http => "Share one client (`requests.Session`, `httpx.Client`, `aiohttp.ClientSession`).",
        "node" | "bun" | "deno" if http => "Share one agent with `keepAlive: true`.",
        "go" if http => "Share one `http.Client`, read bodies to their end, and raise `MaxIdleConnsPerHost`.",
        "nginx" if http => {
            "Set `keepalive` in the upstream, with `proxy_http_version 1.1` and an empty `Connection` header."
        }
        _ if http => "Share one client that keeps connections alive.",
        _ => "Keep connections: one client or pool for the process, made at start.",
    };
    format!("{keep} `ss -tan state time-wait | wc -l` counts the ports that are held.")
}

#[cfg(test)]
mod tests {
    use super::super::sample::{findings, judged, pool, short, with_connections};
    use super::*;
    use crate::report::ConnectionRow;

    fn to_redis(count: u64, lifetime: f64) -> ConnectionRow {
        ConnectionRow { peer: "10.0.0.8:6379".into(), protocol: "other".into(), ..short(count, lifetime) }
    }

    #[test]
    fn dozens_a_second_with_short_lives() {
        let found = findings(&with_connections(vec![to_redis(6_000, 0.001)]), ID);
        let [finding] = found.as_slice() else { panic!("{found:#?}") };
        assert_eq!(
            finding.title,
            "uvicorn shop:app: opens 200/s to 10.0.0.8:6379 and closes them after 1.00 ms"
        );
        assert!(finding.detail.contains("12,000 of the 28,232"), "{}", finding.detail);
        assert_eq!((finding.evidence["time_wait"].as_u64(), finding.count), (Some(6_000), 6_000));
        assert_eq!(finding.explained_by, None);
    }

    #[test]
    fn one_for_each_request_is_why() {
        let mut report = with_connections(vec![short(3_000, 0.01), to_redis(6_000, 0.001)]);
        report.http[0].count = 3_000;
        let because: Vec<_> =
            findings(&report, ID).into_iter().map(|f| (f.subject, f.explained_by)).collect();
        let reason = Some(connection_per_request::ID.to_owned());
        assert_eq!(because, [("10.0.0.8:6379".into(), None), ("10.0.0.9:3306".into(), reason)]);
    }

    /// The nearest healthy ones: a slower pace, long lives, connections that are kept.
    #[test]
    fn what_is_no_churn() {
        let kept = ConnectionRow { established: 3_000, opening_seconds: 20, live: 3_000, ..pool() };
        for row in [to_redis(1_400, 0.001), to_redis(6_000, 2.0), kept] {
            assert_eq!(findings(&with_connections(vec![row.clone()]), ID), [], "{row:#?}");
        }
    }

    #[test]
    fn a_burst_is_no_churn() {
        let burst = ConnectionRow { opening_seconds: 2, ..to_redis(6_000, 0.001) };
        let verdict = judged(&with_connections(vec![burst]));
        assert_eq!((verdict.found.len(), verdict.undecided.len()), (0, 1), "{verdict:#?}");
    }
}
