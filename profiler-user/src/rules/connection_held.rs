//! `connection-held`: a MySQL session sat idle in an open transaction. It keeps its locks and its view of the data
//! meanwhile, and its connection serves nobody. Where it is known which HTTP request left it so: whether that was over
//! by then, or went on with something else.

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

/// From this part of the time on it was idle after the response, for the most of it.
const AFTER: f64 = 0.5;

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
            if let Some(longest) = Longest::of(&peer).filter(|longest| longest.idle >= least) {
                verdict.add(said(self, facts, &peer, &longest));
            }
        }
    }
}

/// The longest time that a session was idle so, seconds.
#[derive(Debug, Clone, Copy)]
struct Longest<'a> {
    idle: f64,
    route: Option<&'a str>,
    /// How much of it was after the response of that route.
    after_response: Option<f64>,
}

impl<'a> Longest<'a> {
    fn of(peer: &Peer<'a>) -> Option<Self> {
        let all = peer.rows.iter().filter_map(|row| {
            Some(Self {
                idle: row.longest_open_transaction?,
                route: row.open_transaction_route.as_deref(),
                after_response: row.open_transaction_after_response,
            })
        });
        all.max_by(|one, two| one.idle.total_cmp(&two.idle))
    }

    /// What the request did meanwhile.
    fn story(&self) -> Option<String> {
        let (route, after) = (self.route?, self.after_response?);
        Some(if after >= AFTER * self.idle {
            format!("{route} had left it open: {} of that were after its response.", duration(after))
        } else {
            format!(
                "{route} was still at work for {} of that, and did something else.",
                duration(self.idle - after)
            )
        })
    }
}

fn said<'a>(rule: &'a dyn Rule, facts: &Facts<'a>, peer: &Peer<'a>, longest: &Longest<'_>) -> Said<'a> {
    let idle = longest.idle;
    let open = peer.sum(|row| row.open_transactions);
    let mut detail =
        "Its locks and its snapshot were held meanwhile, and the connection served nobody.".to_owned();
    if let Some(story) = longest.story() {
        detail = format!("{story} {detail}");
    }
    if open > 0 {
        let sessions = units::things(open, "session was", "sessions were");
        detail.push_str(&format!(" {sessions} idle in a transaction when the recording ended."));
    }
    let mut evidence = evidence([
        ("peer", json!(peer.address)),
        ("longest_idle_seconds", json!(idle)),
        ("open_transactions", json!(open)),
    ]);
    evidence.extend(longest.route.map(|route| ("route".to_owned(), json!(route))));
    evidence.extend(longest.after_response.map(|after| ("after_response_seconds".to_owned(), json!(after))));
    evidence.extend(peer.looked_up().map(|name| ("peer_name".to_owned(), json!(name))));
    Said {
        title: format!(
            "{}: a transaction on {} was open and idle for {}{}",
            facts.name(peer.service),
            peer.name(),
            duration(idle),
            longest.route.map(|route| format!(", by {route}")).unwrap_or_default()
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

    #[test]
    fn the_route_that_left_it_open() {
        for (after, story) in [
            (Some(11.8), "POST /orders had left it open: 11.8 s of that were after its response. Its locks"),
            (
                Some(0.0),
                "POST /orders was still at work for 12.0 s of that, and did something else. Its locks",
            ),
            (None, "Its locks"),
        ] {
            let row = ConnectionRow {
                open_transaction_route: Some("POST /orders".into()),
                open_transaction_after_response: after,
                ..held(Some(12.0), 1)
            };
            let shorter = ConnectionRow { netns: 7, ..held(Some(9.0), 1) };
            let found = findings(&with_connections(vec![shorter, row]), ID);
            assert!(found[0].title.ends_with("idle for 12.0 s, by POST /orders"), "{}", found[0].title);
            assert!(found[0].detail.starts_with(story), "{}", found[0].detail);
            assert_eq!(found[0].evidence["route"], "POST /orders");
            assert_eq!(found[0].evidence.get("after_response_seconds").and_then(|s| s.as_f64()), after);
        }
    }

    /// The nearest healthy ones: transactions with short pauses, sessions that are idle outside of one.
    #[test]
    fn what_is_idle_and_holds_nothing() {
        for row in [held(Some(0.4), 2), held(None, 0)] {
            assert_eq!(findings(&with_connections(vec![row.clone()]), ID), [], "{row:#?}");
        }
    }
}
