//! `connection-per-request`: a service opens about one database connection for each request that it serves, and pays for
//! a handshake each time.
//!
//! A habit, not a burst: connections that are opened over many seconds and closed again. A pool that is filled, at once
//! or slowly, keeps what it opens. Where some routes do it, or no HTTP request is seen (FastCGI, HTTP/2, TLS, workers),
//! connections that live for a moment and are all closed again, for longer than a burst, tell it alone; beside requests
//! only if they carry hardly a command.

#[cfg(test)]
mod tests;
mod told;

use super::peer::Peer;
use super::thresholds::{Threshold, Thresholds, Unit};
use super::{About, Facts, Rule, Verdict};
use crate::output::style::units;
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
                    verdict.add(told::said(self, facts, &peer, opened, None));
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
                verdict.add(told::said(self, facts, &peer, opened, Some(requests)));
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
