//! `blocking-query-in-event-loop`: a turn of the loop was spent waiting for replies of a database, so no other client
//! was served meanwhile.

use std::collections::BTreeMap;

use serde_json::json;

use super::stalled::{Stalled, held, runtime};
use super::thresholds::{Threshold, Thresholds, Unit};
use super::{Facts, Rule, Said, Verdict, event_loop_blocked};
use crate::output::style::units::{self, duration};
use crate::report::{LoopRow, Severity};
use crate::stall::{Queries, Stall};

pub(super) const ID: &str = "blocking-query-in-event-loop";

const SHARE: Threshold = Threshold {
    key: "share",
    unit: Unit::Share,
    default: 0.5,
    meaning: "wait for the queries, of the stall's time without that for a CPU",
};

#[derive(Debug)]
pub(super) struct BlockingQuery;

impl Rule for BlockingQuery {
    fn id(&self) -> &'static str {
        ID
    }

    fn severity(&self) -> Severity {
        Severity::Critical
    }

    fn thresholds(&self) -> &'static [Threshold] {
        &[SHARE]
    }

    fn judge(&self, facts: &Facts<'_>, thresholds: &Thresholds, verdict: &mut Verdict) {
        let least = thresholds.of(event_loop_blocked::ID, &event_loop_blocked::STALL);
        let share = thresholds.of(ID, &SHARE);
        for (service, loops) in facts.loops() {
            for stalled in by_digest(&loops, |stall| held(stall) >= least && is_queries(stall, share)) {
                verdict.add(said(self, facts, service, &stalled));
            }
        }
    }
}

/// Whether a stall's time was mostly spent waiting for queries.
fn is_queries(stall: &Stall, share: f64) -> bool {
    let own = stall.on_cpu + stall.blocked;
    stall.queries.as_ref().is_some_and(|queries| queries.count > 0 && queries.seconds >= share * own)
}

/// The stalls of each statement.
fn by_digest<'a>(loops: &[&'a LoopRow], wanted: impl Fn(&Stall) -> bool) -> Vec<Stalled<'a>> {
    let mut by_digest: BTreeMap<&str, Stalled<'a>> = BTreeMap::new();
    for row in Stalled::of(loops, wanted).rows {
        let digest = row.stall.queries.as_ref().map_or("", |queries| &queries.digest);
        by_digest.entry(digest).or_default().rows.push(row);
    }
    by_digest.into_values().collect()
}

fn said<'a>(rule: &'a dyn Rule, facts: &Facts<'a>, service: &'a str, stalled: &Stalled<'_>) -> Said<'a> {
    let name = facts.name(service);
    let queries = || stalled.stalls().filter_map(|stall| stall.queries.as_ref());
    let count: u64 = queries().map(|q| u64::from(q.count)).sum();
    let seconds: f64 = queries().map(|q| q.seconds).sum();
    let most = queries().map(|q| q.count).max().unwrap_or(0);
    let mean = seconds / count.max(1) as f64;
    let stalls = stalled.count();
    let turns = units::things(stalls, "time", "times");
    let title = if most > 1 {
        format!(
            "{name}: its event loop was blocked {turns} by up to {} queries in a row, {} each",
            units::count(most.into()),
            duration(mean)
        )
    } else {
        format!("{name}: its event loop was blocked {turns} by a query of {}", duration(mean))
    };
    let first = queries().next();
    let text = first.map_or("", |q: &Queries| &q.digest_text);
    let peer = first.map_or("", |q| &q.peer);
    let detail = format!(
        "{text} on {peer}: {}, {} in sum, while no other client of the loop was served.{}",
        units::things(count, "query", "queries"),
        duration(seconds),
        if most > 1 {
            format!(" {:.0} in a turn on average.", count as f64 / stalls.max(1) as f64)
        } else {
            String::new()
        },
    );
    let mut evidence = stalled.evidence();
    evidence.insert("peer".into(), json!(peer));
    evidence.insert("digest".into(), json!(first.map_or("", |q| &q.digest)));
    evidence.insert("digest_text".into(), json!(text));
    evidence.insert("queries".into(), json!(count));
    evidence.insert("queries_a_turn_max".into(), json!(most));
    evidence.insert("query_seconds".into(), json!(seconds));
    evidence.insert("query_mean_seconds".into(), json!(mean));
    let digest = first.map(|q| q.digest.clone()).filter(|digest| !digest.is_empty());
    Said {
        rule,
        service,
        subject: digest.unwrap_or_else(|| "unknown statement".into()),
        title,
        detail,
        evidence,
        advice: advice(runtime(facts.service(service)), most),
        seen: stalled.seen(),
        ongoing: stalled.ongoing(),
        count: stalls,
        weight: stalled.sum(held),
    }
}

fn advice(runtime: &str, most: u32) -> String {
    let driver = match runtime {
        "python" => {
            "Use an asynchronous driver (asyncmy, aiomysql), or run the call in a thread: `await \
             asyncio.to_thread(f)`; in FastAPI and Starlette a handler declared `def`, not `async def`, is run in one."
        }
        "node" | "bun" | "deno" => "Use a driver that does not block (mysql2), with `await`.",
        _ => "Use a driver that does not block, or run the call in a thread (tokio: `spawn_blocking`).",
    };
    if most > 1 {
        format!("{driver} And ask once in place of {most} times: a JOIN, or `WHERE id IN (...)`.")
    } else {
        format!("{driver} And `EXPLAIN ANALYZE` the statement in `mysql`: it may want an index.")
    }
}

#[cfg(test)]
mod tests {
    use super::super::sample::{findings, queried, stall, with_stalls};
    use super::*;
    use crate::stall::cause::Cause;

    #[test]
    fn one_slow_query() {
        let report = with_stalls(vec![queried(1, 0.4, 0.01), queried(1, 0.2, 0.01)]);
        let found = findings(&report, ID);
        let [finding] = found.as_slice() else { panic!("{found:#?}") };
        assert_eq!(
            finding.title,
            "uvicorn shop:app: its event loop was blocked 2 times by a query of 300 ms"
        );
        assert!(
            finding.detail.starts_with("SELECT name FROM customers WHERE id = ? on 10.0.0.9:3306: 2 queries")
        );
        assert!(finding.advice.contains("asyncmy") && finding.advice.contains("EXPLAIN ANALYZE"));
        assert_eq!((finding.subject.as_str(), finding.count), ("00c0ffee00c0ffee", 2));
        let blocked = findings(&report, event_loop_blocked::ID);
        assert_eq!(blocked[0].explained_by.as_deref(), Some(ID));
    }

    #[test]
    fn many_small_queries_in_one_turn() {
        let found = findings(&with_stalls(vec![queried(300, 0.33, 0.06)]), ID);
        let title =
            "uvicorn shop:app: its event loop was blocked 1 time by up to 300 queries in a row, 1.10 ms each";
        assert_eq!(found[0].title, title);
        assert_eq!(found[0].evidence["queries_a_turn_max"], 300);
        assert!(found[0].advice.contains("ask once in place of 300 times"), "{}", found[0].advice);
    }

    /// The nearest healthy ones: a turn that computed, and asked the database a little; one that waited for something
    /// else.
    #[test]
    fn a_query_on_the_side_is_not_what_blocks() {
        let mut computing = queried(1, 0.02, 0.3);
        computing.cause = Cause::Cpu;
        let other = stall(Cause::BlockingCall, 0.3, 0.0, 0.0);
        assert_eq!(findings(&with_stalls(vec![computing, other]), ID), []);
    }

    #[test]
    fn what_another_thing_held_longer_is_not_explained_by_it() {
        let report = with_stalls(vec![queried(1, 0.2, 0.0), stall(Cause::Cpu, 0.0, 0.9, 0.0)]);
        assert_eq!(findings(&report, ID).len(), 1);
        assert_eq!(findings(&report, event_loop_blocked::ID)[0].explained_by, None);
    }
}
