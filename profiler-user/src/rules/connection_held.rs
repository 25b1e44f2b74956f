//! `connection-held`: a MySQL session sat idle in an open transaction. It keeps its locks and its view of the data
//! meanwhile, and its connection serves nobody.

use serde_json::json;

use super::peer::Peer;
use super::stalled::runtime;
use super::thresholds::{Threshold, Thresholds, Unit};
use super::{About, Facts, Rule, Said, Verdict, evidence};
use crate::output::style::units::{self, duration};
use crate::report::Severity;

pub(super) const ID: &str = "connection-held";

const IDLE: Threshold = Threshold {
    key: "idle",
    unit: Unit::Seconds,
    default: 5.0,
    meaning: "time between two commands of an open transaction",
};

#[derive(Debug)]
pub(super) struct ConnectionHeld;

impl Rule for ConnectionHeld {
    fn id(&self) -> &'static str {
        ID
    }

    fn severity(&self) -> Severity {
        Severity::Info
    }

    fn thresholds(&self) -> &'static [Threshold] {
        &[IDLE]
    }

    fn about(&self) -> About {
        About::Peer
    }

    fn takes_all(&self) -> bool {
        true
    }

    fn judge(&self, facts: &Facts<'_>, thresholds: &Thresholds, verdict: &mut Verdict) {
        let least = thresholds.of(ID, &IDLE);
        for peer in Peer::mysql(facts) {
            let idle = peer.greatest(|row| row.longest_open_transaction);
            if let Some(idle) = idle.filter(|idle| *idle >= least) {
                verdict.add(said(self, facts, &peer, idle));
            }
        }
    }
}

fn said<'a>(rule: &'a dyn Rule, facts: &Facts<'a>, peer: &Peer<'a>, idle: f64) -> Said<'a> {
    let open = peer.sum(|row| row.open_transactions);
    let mut detail =
        "Its locks and its snapshot were held meanwhile, and the connection served nobody.".to_owned();
    if open > 0 {
        let sessions = units::things(open, "session was", "sessions were");
        detail.push_str(&format!(" {sessions} idle in a transaction when the recording ended."));
    }
    let mut evidence = evidence([
        ("peer", json!(peer.address)),
        ("longest_idle_seconds", json!(idle)),
        ("open_transactions", json!(open)),
    ]);
    evidence.extend(peer.looked_up().map(|name| ("peer_name".to_owned(), json!(name))));
    Said {
        title: format!(
            "{}: a transaction on {} was open and idle for {}",
            facts.name(peer.service),
            peer.name(),
            duration(idle)
        ),
        detail,
        evidence,
        advice: advice(runtime(facts.service(peer.service))),
        ongoing: open > 0,
        count: open.max(1),
        weight: idle,
        ..Said::of(rule, facts, peer.service, peer.address)
    }
}

fn advice(runtime: &str) -> String {
    let end = match runtime {
        "python" => {
            "End it before other work: `with session.begin():`, `transaction.atomic()`; with PyMySQL and mysqlclient a \
             SELECT alone opens one unless `autocommit` is on."
        }
        "java" => "Keep `@Transactional` off methods that call other services.",
        _ => "Commit or roll back before other work, and give the connection back.",
    };
    format!(
        "{end} `SELECT * FROM information_schema.innodb_trx ORDER BY trx_started` in `mysql` shows what is open."
    )
}

#[cfg(test)]
mod tests {
    use super::super::sample::{findings, pool, with_connections};
    use super::*;
    use crate::report::ConnectionRow;

    fn held(idle: Option<f64>, open: u64) -> ConnectionRow {
        ConnectionRow { longest_open_transaction: idle, open_transactions: open, ..pool() }
    }

    #[test]
    fn a_session_that_never_commits() {
        let found = findings(&with_connections(vec![held(Some(12.0), 1)]), ID);
        let [finding] = found.as_slice() else { panic!("{found:#?}") };
        assert_eq!(
            finding.title,
            "uvicorn shop:app: a transaction on 10.0.0.9:3306 was open and idle for 12.0 s"
        );
        assert_eq!((finding.severity, finding.ongoing), (Severity::Info, true));
        assert!(finding.advice.contains("innodb_trx"), "{}", finding.advice);
        assert!(!findings(&with_connections(vec![held(Some(12.0), 0)]), ID)[0].ongoing);
    }

    /// The nearest healthy ones: transactions with short pauses, sessions that are idle outside of one.
    #[test]
    fn what_is_idle_and_holds_nothing() {
        for row in [held(Some(0.4), 2), held(None, 0)] {
            assert_eq!(findings(&with_connections(vec![row.clone()]), ID), [], "{row:#?}");
        }
    }
}
