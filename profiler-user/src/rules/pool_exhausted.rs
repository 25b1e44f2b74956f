//! `pool-exhausted`: there are not enough database connections. By its errors: the server refuses more. By its flat
//! ceiling: for most of the time that a service asks the server anything the same number of connections is busy, next to
//! never more, they are about all that it has and keeps, and it has more requests in hand.
//!
//! Workers with a connection each are no pool: they never have more requests in hand than connections. Load that varies
//! on its own has no ceiling: it spends little time at its highest levels ([`crate::aggregate::levels::Plateau`]).

mod ceiling;
mod refusals;
#[cfg(test)]
mod tests;
mod told;

use super::peer::Peer;
use super::thresholds::{Threshold, Thresholds, Unit};
use super::{About, Facts, Rule, Verdict};
use crate::report::Severity;
use ceiling::Ceiling;

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

/// Of `full`: with less there is nothing that could be said.
const PART: f64 = 0.25;

#[derive(Debug)]
pub(super) struct PoolExhausted;

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
            let errors = refusals::of(&peer.mysql_errors(facts), &peer.counters(|row| &row.farewells));
            let ceiling = Ceiling::of(facts, &peer);
            if refusals::enough(&errors, thresholds) {
                verdict.add(refusals::said(self, facts, &peer, &errors, &ceiling));
                told.push((peer, errors.values().sum()));
            } else if ceiling.is_hit(thresholds) && ceiling.full >= PART * least {
                if ceiling.has_room() {
                    verdict.not_enough(self, peer.service, told::bounded(&peer, &ceiling));
                } else if ceiling.full >= least {
                    verdict.add(told::said(self, facts, &peer, &ceiling));
                } else {
                    verdict.not_enough(self, peer.service, told::too_short(&peer, &ceiling));
                }
            }
        }
        refusals::servers(self, facts, thresholds, &told, verdict);
    }
}
