//! `connection-failures`: connections of a service are refused, time out, cannot leave the host, or end in the middle of
//! an exchange: by a reset, or an HTTP server's FIN.
//!
//! Not for one that failed among thousands, for daemons that every program asks after and few hosts run, for the address
//! of another family that is tried first, for a client that waited for its server at the start and got in, nor for
//! connections that the server ended while idle and MySQL servers end in any way (`server-gone-away`). A response that
//! has no other end than the connection's, and a stream, are whole when the server hangs up; long polls that a restart
//! cuts are asked again ([`waited`]).

mod advice;
mod failures;
mod served;
#[cfg(test)]
mod tests;
mod told;
mod waited;
mod ways;

use std::collections::BTreeMap;

use super::peer::Peer;
use super::thresholds::{Threshold, Thresholds, Unit};
use super::{About, Facts, Rule, Verdict, server_gone_away};
use crate::report::Severity;
use failures::Failures;
pub(crate) use failures::is_optional;
use told::Crowds;
use waited::Waited;
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

#[derive(Debug)]
pub(super) struct ConnectionFailures;

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
        let mut waited: BTreeMap<&str, Waited> = BTreeMap::new();
        for peer in &peers {
            let all = Failures::of(facts, peer, &ways);
            let failed = many(all.failed, all.attempted);
            let cut = many(all.cut(), all.connections);
            if (failed && all.failed as f64 >= least) || (cut && all.cut() as f64 >= least) {
                failing.entry(peer.service).or_default().push((peer, all));
            } else if all.waited.count as f64 >= least {
                let sum = waited.entry(peer.service).or_default();
                *sum = sum.and(all.waited);
            } else if (failed && all.connections == 0) || cut {
                unclear.entry(peer.service).or_default().push((peer, all));
            }
        }
        for (_, crowd) in failing {
            told::of(self, facts, crowd).into_iter().for_each(|said| verdict.add(said));
        }
        let enough = |cut: u64, connections: u64| many(cut, connections) && cut as f64 >= least;
        served::judge(self, facts, enough, verdict);
        for (service, waited) in waited {
            verdict.not_enough(self, service, waited.reason());
        }
        for (service, crowd) in unclear {
            for reason in told::too_little(&crowd, least) {
                verdict.not_enough(self, service, reason);
            }
        }
    }
}
