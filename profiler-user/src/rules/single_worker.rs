//! `single-worker`: one thread serves all requests of a listening socket, several come at a time, and they wait for it.
//!
//! Many requests at one worker are not enough: an event loop serves them all at a time, and no one waits. Nor are waits
//! alone: the worker must be what they wait for, that is be at work while they wait.

use serde_json::json;

use super::listening::{cpu_share, is_saturated, numbers, p95, waited, worst};
use super::stalled::runtime;
use super::thresholds::{Threshold, Thresholds, Unit};
use super::{About, Facts, Rule, Said, Verdict, event_loop_blocked, stuck_server};
use crate::output::style::units::{self, amount, duration};
use crate::report::{ListenerRow, Severity};

pub(super) const ID: &str = "single-worker";

const WAIT: Threshold = Threshold {
    key: "wait",
    unit: Unit::Seconds,
    default: 0.05,
    meaning: "the wait to be accepted, or to be read, that one in twenty passes",
};
const REQUESTS: Threshold = Threshold {
    key: "requests",
    unit: Unit::Count,
    default: 20.0,
    meaning: "connections or requests whose wait is known",
};

/// Accept waits tell of requests where there is a connection for so many of them at the most.
const KEPT_ALIVE: u64 = 5;
/// The least share of the time under load that it serves.
const AT_WORK: f64 = 0.5;
/// With fewer that waited there is nothing that could be said.
const SOME: f64 = 3.0;

#[derive(Debug)]
pub(super) struct SingleWorker;

/// The worse of the two waits, of so many at least, in words.
fn worse(row: &ListenerRow, least: f64) -> Option<String> {
    let waits =
        [("request", "read", p95(row.queue, least)), ("connection", "accepted", p95(row.accept_wait, least))];
    let waits = waits.into_iter().filter_map(|(who, to_be, wait)| Some((who, to_be, wait?)));
    let (who, to_be, wait) = waits.max_by(|a, b| a.2.total_cmp(&b.2))?;
    Some(format!("one {who} in twenty waits over {} to be {to_be}", duration(wait)))
}

/// The longer of the two waits that tell of requests, of so many at least.
fn longest(row: &ListenerRow, least: f64) -> Option<f64> {
    let accept = row.accept_wait.filter(|waits| KEPT_ALIVE * waits.count >= row.requests);
    [p95(accept, least), p95(row.queue, least)].into_iter().flatten().reduce(f64::max)
}

/// Requests that wait or are being served, on average.
fn in_flight(row: &ListenerRow, window: f64) -> f64 {
    row.concurrency + waited(row) / window
}

/// Whether it serves while requests wait. There were never more of them than at the peak, so the time under load was at
/// least their number on average over that at the peak; of that time it served so much at the most.
fn is_at_work(row: &ListenerRow, window: f64) -> bool {
    let under_load = in_flight(row, window) / row.peak_in_flight.max(1) as f64;
    row.concurrency >= AT_WORK * under_load
}

impl Rule for SingleWorker {
    fn id(&self) -> &'static str {
        ID
    }

    fn severity(&self) -> Severity {
        Severity::Critical
    }

    fn thresholds(&self) -> &'static [Threshold] {
        &[WAIT, REQUESTS]
    }

    fn about(&self) -> About {
        About::Listener
    }

    fn reasons(&self) -> &'static [&'static str] {
        &[event_loop_blocked::ID, stuck_server::ID]
    }

    fn takes_all(&self) -> bool {
        true
    }

    fn judge(&self, facts: &Facts<'_>, thresholds: &Thresholds, verdict: &mut Verdict) {
        let (wait, least) = (thresholds.of(ID, &WAIT), thresholds.of(ID, &REQUESTS));
        let window = facts.window.seconds;
        let waits = |row: &ListenerRow| {
            let crowded = row.peak_in_flight > 1 && in_flight(row, window) > 1.0;
            let serves = facts.served(&row.service).0 > 0;
            let one = row.workers == 1 && crowded && serves && is_at_work(row, window);
            longest(row, SOME).filter(|late| one && *late >= wait)
        };
        for (row, late) in worst(facts, waits) {
            let enough = longest(row, least).is_some_and(|late| late >= wait);
            if let Some(worse) = worse(row, least).filter(|_| enough) {
                verdict.add(said(self, facts, row, &worse));
            } else {
                let reason = format!(
                    "one worker at {}, for which requests waited {} (p95): too few of them to judge",
                    row.address,
                    duration(late)
                );
                verdict.not_enough(self, &row.service, reason);
            }
        }
    }
}

fn said<'a>(rule: &'a dyn Rule, facts: &Facts<'a>, row: &'a ListenerRow, worse: &str) -> Said<'a> {
    let mean = in_flight(row, facts.window.seconds);
    let share = cpu_share(facts, row);
    let title = format!("{}: one thread serves {}, and {worse}", facts.name(&row.service), row.address);
    let mut detail = format!(
        "{} in flight on average and {} at the most, of which it works at {}.",
        amount(mean),
        units::count(row.peak_in_flight),
        amount(row.concurrency)
    );
    if let Some(share) = share {
        detail.push_str(&format!(" It uses {:.0} % of a CPU.", 100.0 * share));
    }
    if row.overflows > 0 {
        let times = units::things(row.overflows, "time", "times");
        detail.push_str(&format!(" Clients were turned away {times} and try again: the backlog was full."));
    }
    let mut evidence = numbers(row);
    evidence.insert("in_flight_mean".into(), json!(mean));
    Said {
        title,
        detail,
        evidence,
        advice: advice(runtime(facts.service(&row.service)), share.is_some_and(is_saturated)),
        weight: waited(row),
        ..Said::of(rule, facts, &row.service, &row.address)
    }
}

fn advice(runtime: &str, is_saturated: bool) -> String {
    let more = match (runtime, is_saturated) {
        ("python", true) => {
            "Run more processes, about one for each CPU: `gunicorn --workers`, `uvicorn --workers`."
        }
        ("python", false) => {
            "Serve several at a time: `gunicorn --threads 8` or more `--workers`; in an asynchronous server `await` what \
             waits."
        }
        ("node" | "bun" | "deno", _) => "Run more processes: `cluster`, `pm2 start -i max`.",
        ("ruby", true) => "Run more processes: `puma -w`.",
        ("ruby", false) => "Run more threads: `puma -t`.",
        _ => "Give it more worker threads or processes.",
    };
    format!("{more} `top -H` shows whether the one thread computes or waits.")
}

#[cfg(test)]
mod tests {
    use super::super::sample::{distribution, findings, judged, listener, with_listener};
    use super::super::{judge_live, queue_buildup};
    use super::*;

    /// One process, 50 clients: all the time is spent serving.
    fn crowded() -> ListenerRow {
        ListenerRow {
            workers: 1,
            processes: 1,
            peak_in_flight: 50,
            concurrency: 9.0,
            queue: Some(distribution(600, 0.06)),
            accept_wait: Some(distribution(50, 0.002)),
            cpu: Some(0.98),
            ..listener()
        }
    }

    #[test]
    fn fifty_clients_of_one_process() {
        let report = with_listener(crowded());
        let verdict = judged(&report);
        let [found] = verdict.found.as_slice() else { panic!("{verdict:#?}") };
        assert_eq!(found.finding.id, ID);
        assert_eq!(
            found.finding.title,
            "uvicorn shop:app: one thread serves 0.0.0.0:8000, and one request in twenty waits over 150 ms to be read"
        );
        assert!(
            found.finding.detail.contains("works at 9. It uses 98 % of a CPU"),
            "{}",
            found.finding.detail
        );
        assert!(found.finding.advice.contains("--workers"), "{}", found.finding.advice);
        assert_eq!(judge_live(&Facts::of(&report), &Thresholds::default()), Verdict::default());
    }

    /// A few clients that keep their connections: what they wait for is to be accepted.
    #[test]
    fn the_worse_wait_is_named() {
        for (accept, says) in [
            (distribution(30, 3.2), "one connection in twenty waits over 8.00 s to be accepted"),
            (distribution(30, 0.01), "one request in twenty waits over 150 ms to be read"),
            (distribution(5, 3.2), "one request in twenty waits over 150 ms to be read"),
        ] {
            let row = ListenerRow { accept_wait: Some(accept), requests: 168, ..crowded() };
            let found = findings(&with_listener(row), ID);
            assert!(found[0].title.ends_with(says), "{}", found[0].title);
        }
    }

    /// Requests that wait for a worker which waits itself; a full backlog is a consequence.
    #[test]
    fn one_synchronous_worker() {
        let row = ListenerRow {
            accept_wait: Some(distribution(600, 0.5)),
            queue: None,
            concurrency: 0.97,
            peak_in_flight: 20,
            cpu: Some(0.03),
            ..crowded()
        };
        assert_eq!(judged(&with_listener(row.clone())).found.len(), 1, "the queue goes without saying");
        let full = ListenerRow { overflows: 7, peak_backlog: 2_049, ..row };
        let report = with_listener(full);
        assert_eq!(findings(&report, ID)[0].explained_by, None);
        assert_eq!(findings(&report, queue_buildup::ID)[0].explained_by.as_deref(), Some(ID));
    }

    /// The nearest healthy ones: a loop that serves many at a time without a wait; one request at a time; more workers;
    /// clients that connected all at once and keep their connections; a worker that is not what they wait for; a server
    /// of another protocol.
    #[test]
    fn one_worker_that_is_enough() {
        let quick = Some(distribution(600, 0.001));
        for row in [
            ListenerRow { queue: quick, concurrency: 30.0, ..crowded() },
            ListenerRow { peak_in_flight: 1, concurrency: 0.3, ..crowded() },
            ListenerRow { workers: 2, processes: 2, cpu: Some(1.9), ..crowded() },
            ListenerRow { queue: quick, accept_wait: Some(distribution(50, 0.1)), ..crowded() },
            ListenerRow { concurrency: 0.01, ..crowded() },
            ListenerRow { service: "mysqld-1".into(), ..crowded() },
        ] {
            assert_eq!(findings(&with_listener(row.clone()), ID), [], "{row:#?}");
        }
    }

    #[test]
    fn a_few_requests_are_not_enough() {
        let row = ListenerRow { queue: Some(distribution(12, 4.0)), accept_wait: None, ..crowded() };
        let verdict = judged(&with_listener(row));
        assert_eq!((verdict.found.len(), verdict.undecided.len()), (0, 1), "{verdict:#?}");
    }
}
