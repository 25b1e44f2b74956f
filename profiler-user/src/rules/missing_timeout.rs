//! `missing-timeout`: a call to another service has been waiting for its answer for so long that nobody can still want
//! it. Told of while it waits, and over when it ends.
//!
//! What waits by design is not counted as waiting: streams, a replication's binlog, requests that say so themselves
//! ([`crate::parse::patience`]). Nor is an answer that has begun and goes on: it waits since its last byte.

use serde_json::json;

use super::peer::Peer;
use super::stalled::runtime;
use super::thresholds::{Threshold, Thresholds, Unit};
use super::{About, Facts, Rule, Said, Verdict, evidence};
use crate::output::style::units::{self, duration};
use crate::report::Severity;

pub(super) const ID: &str = "missing-timeout";

const AGE: Threshold = Threshold {
    key: "age",
    unit: Unit::Seconds,
    default: 30.0,
    meaning: "age of the oldest call to one peer that has no end",
};

#[derive(Debug)]
pub(super) struct MissingTimeout;

impl Rule for MissingTimeout {
    fn id(&self) -> &'static str {
        ID
    }

    fn severity(&self) -> Severity {
        Severity::Warning
    }

    fn thresholds(&self) -> &'static [Threshold] {
        &[AGE]
    }

    fn about(&self) -> About {
        About::Peer
    }

    fn judge(&self, facts: &Facts<'_>, thresholds: &Thresholds, verdict: &mut Verdict) {
        let least = thresholds.of(ID, &AGE);
        for peer in Peer::all(facts, |row| row.waiting > 0) {
            let oldest = peer.greatest(|row| row.oldest_waiting);
            if let Some(oldest) = oldest.filter(|oldest| *oldest >= least) {
                verdict.add(said(self, facts, &peer, oldest));
            }
        }
    }
}

fn said<'a>(rule: &'a dyn Rule, facts: &Facts<'a>, peer: &Peer<'a>, oldest: f64) -> Said<'a> {
    let waiting = peer.sum(|row| row.waiting);
    let mysql = peer.rows.iter().any(|row| row.protocol == "mysql");
    let title = format!(
        "{}: has been waiting for {} for {}",
        facts.name(peer.service),
        peer.name(),
        duration(oldest)
    );
    let detail = format!(
        "{} without an end when last looked at; the oldest is {} old.",
        units::things(waiting, "call was", "calls were"),
        duration(oldest)
    );
    let mut evidence = evidence([
        ("peer", json!(peer.address)),
        ("waiting", json!(waiting)),
        ("oldest_seconds", json!(oldest)),
    ]);
    evidence.extend(peer.looked_up().map(|name| ("peer_name".to_owned(), json!(name))));
    Said {
        title,
        detail,
        evidence,
        advice: advice(runtime(facts.service(peer.service)), mysql),
        ongoing: true,
        count: waiting,
        weight: oldest,
        ..Said::of(rule, facts, peer.service, peer.address)
    }
}

fn advice(runtime: &str, mysql: bool) -> String {
    let limit = match (runtime, mysql) {
        ("python", true) => "Set `read_timeout` (PyMySQL, mysqlclient).",
        ("python", false) => "Set a timeout in each call: requests has none by default (`timeout=(3, 10)`).",
        ("node" | "bun" | "deno", true) => "Set `timeout` in the query's options (mysql2).",
        ("node" | "bun" | "deno", false) => {
            "Give calls an end: `fetch(url, { signal: AbortSignal.timeout(10_000) })`."
        }
        ("go", _) => "Set `http.Client.Timeout`, or pass a context with a deadline.",
        ("java", true) => "Set `socketTimeout` in the JDBC URL.",
        ("java", false) => "Set connect and read timeouts of the client: many have none by default.",
        ("php", false) => "Set `CURLOPT_TIMEOUT`, or `timeout` in Guzzle.",
        (_, true) => "Set a read timeout in the driver.",
        (_, false) => "Set a timeout in the client.",
    };
    if mysql {
        format!(
            "{limit} `SHOW FULL PROCESSLIST` in `mysql` shows what the statement waits for; `max_execution_time` \
             (MariaDB: `max_statement_time`) bounds it at the server."
        )
    } else {
        format!("{limit} `ss -tnpo` shows whether the connection still has a peer that answers.")
    }
}

#[cfg(test)]
mod tests {
    use super::super::sample::{findings, pool, with_connections};
    use super::*;
    use crate::report::{ConnectionRow, Role};

    fn waiting(count: u64, oldest: Option<f64>) -> ConnectionRow {
        ConnectionRow { waiting: count, oldest_waiting: oldest, ..pool() }
    }

    #[test]
    fn a_call_without_an_end() {
        let report = with_connections(vec![waiting(3, Some(42.0))]);
        let found = findings(&report, ID);
        let [finding] = found.as_slice() else { panic!("{found:#?}") };
        assert_eq!(finding.title, "uvicorn shop:app: has been waiting for 10.0.0.9:3306 for 42.0 s");
        assert_eq!((finding.count, finding.ongoing), (3, true));
        assert!(finding.advice.contains("read_timeout"), "{}", finding.advice);
        let live = super::super::judge_live(&Facts::of(&report), &Thresholds::default());
        assert_eq!(live.findings(), found, "while it goes on as at its end");
        let http = ConnectionRow { protocol: "http".into(), ..waiting(1, Some(31.0)) };
        assert!(findings(&with_connections(vec![http]), ID)[0].advice.contains("timeout=(3, 10)"));
    }

    /// The nearest healthy ones: a slow call, a stream or a watch (which the rows do not count as waiting), a server's
    /// requests.
    #[test]
    fn what_may_wait() {
        let server = ConnectionRow { role: Role::Server, ..waiting(1, Some(42.0)) };
        for row in [waiting(1, Some(12.0)), waiting(0, None), server] {
            assert_eq!(findings(&with_connections(vec![row.clone()]), ID), [], "{row:#?}");
        }
    }
}
