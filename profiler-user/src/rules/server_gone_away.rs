//! `server-gone-away`: a server ended connections that its client still wanted. A MySQL server: idle ones that the client
//! then wrote to, or ones in use; by whom, as far as the way tells in which they ended. An HTTP server: idle ones
//! ([`keep_alive`]).
//!
//! MySQL says error 4031 before it hangs up on an idle connection, MariaDB sends a reset without a word, older servers and
//! KILL a FIN. What an operator kills is idle for any time, what a timeout ends for whole seconds.
//!
//! Not for connections that the server ended and nobody asked for again. Those that a pool has found dead by a ping, or by
//! `SELECT 1` before each use, are not counted.

mod keep_alive;
mod mysql;
mod signs;
#[cfg(test)]
mod tests;
mod told;

use super::peer::Peer;
use super::thresholds::{Threshold, Thresholds, Unit};
use super::{About, Facts, Rule, Verdict};
use crate::report::{Finding, Severity};

pub(super) const ID: &str = "server-gone-away";

const CONNECTIONS: Threshold = Threshold {
    key: "connections",
    unit: Unit::Count,
    default: 1.0,
    meaning: "connections that the server ended and the client still wanted",
};

/// ER_NET_PACKET_TOO_LARGE: more than max_allowed_packet.
pub(super) const TOO_LARGE: &str = "1153";

#[derive(Debug)]
pub(super) struct ServerGoneAway;

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
            let Some(ended) = mysql::Ended::of(facts, &peer) else { continue };
            if ended.count() > 0 && ended.count() as f64 >= thresholds.of(ID, &CONNECTIONS) {
                verdict.add(told::said(self, facts, &peer, &ended));
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
