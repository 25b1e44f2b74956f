//! `queue-buildup`: requests wait in the kernel, to be accepted or to be read, or clients are turned away, while
//! the service's CPU has room: its workers are too few, or wait for something themselves.

use serde_json::json;

use super::listening::{cpu_share, is_saturated, numbers, p95, waited, worst};
use super::stalled::runtime;
use super::thresholds::{Threshold, Thresholds, Unit};
use super::{
    About, Facts, Rule, Said, Verdict, cpu_starvation, event_loop_blocked, pool_exhausted, single_worker,
    stuck_server,
};
use crate::output::style::units::{self, duration};
use crate::report::{ListenerRow, Severity};

pub(super) const ID: &str = "queue-buildup";

const WAIT: Threshold = Threshold {
    key: "wait",
    unit: Unit::Seconds,
    default: 0.1,
    meaning: "the wait to be accepted, or to be read, that one in twenty passes",
};
const REQUESTS: Threshold = Threshold {
    key: "requests",
    unit: Unit::Count,
    default: 20.0,
    meaning: "with `wait`: connections or requests whose wait is known",
};

/// With fewer that waited there is nothing that could be said.
const SOME: f64 = 3.0;

#[derive(Debug)]
pub(super) struct QueueBuildup;

/// The longer of the two waits, of so many at least.
fn longest(row: &ListenerRow, least: f64) -> Option<f64> {
    [p95(row.accept_wait, least), p95(row.queue, least)].into_iter().flatten().reduce(f64::max)
}

/// Whether there was no room for more connections, and some came.
fn is_full(row: &ListenerRow) -> bool {
    row.overflows > 0 && row.backlog_max.is_none_or(|most| row.peak_backlog >= most)
}

/// Whether it is found that there is one worker for all that wait.
fn is_told(verdict: &Verdict, row: &ListenerRow) -> bool {
    verdict.found.iter().map(|found| &found.finding).any(|finding| {
        finding.id == single_worker::ID && finding.service == row.service && finding.subject == row.address
    })
}

impl Rule for QueueBuildup {
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
        &[event_loop_blocked::ID, stuck_server::ID, single_worker::ID, pool_exhausted::ID, cpu_starvation::ID]
    }

    fn takes_all(&self) -> bool {
        true
    }

    fn judge(&self, facts: &Facts<'_>, thresholds: &Thresholds, verdict: &mut Verdict) {
        let (wait, least) = (thresholds.of(ID, &WAIT), thresholds.of(ID, &REQUESTS));
        let builds_up = |row: &ListenerRow| {
            let late = longest(row, SOME).filter(|late| *late >= wait);
            late.or(is_full(row).then_some(0.0))
        };
        for (row, late) in worst(facts, builds_up) {
            let enough = is_full(row) || longest(row, least).is_some_and(|late| late >= wait);
            let share = cpu_share(facts, row);
            // A queue before a CPU that is busy is what a queue is for; one before a single worker is told of already.
            let told = share.is_some_and(is_saturated) || is_told(verdict, row);
            if told && !is_full(row) {
                continue;
            }
            let missing = match share {
                _ if !enough => format!("it takes {least} that waited to judge"),
                None => "how busy its CPU is is not known".into(),
                Some(share) if is_saturated(share) => {
                    format!("its CPU is busy {:.0} % of the time: more work than it can do", 100.0 * share)
                }
                Some(_) => {
                    verdict.add(said(self, facts, row, late));
                    continue;
                }
            };
            let what = match is_full(row) {
                true => format!("clients turned away {}", units::things(row.overflows, "time", "times")),
                false => format!("requests that waited {} (p95)", duration(late)),
            };
            verdict.not_enough(self, &row.service, format!("{what} at {}; {missing}", row.address));
        }
    }
}

fn said<'a>(rule: &'a dyn Rule, facts: &Facts<'a>, row: &'a ListenerRow, late: f64) -> Said<'a> {
    let name = facts.name(&row.service);
    let share = cpu_share(facts, row).unwrap_or(0.0);
    let title = if is_full(row) {
        format!(
            "{name}: the backlog of {} was full, and clients were turned away {}",
            row.address,
            units::things(row.overflows, "time", "times")
        )
    } else {
        format!(
            "{name}: at {} one in twenty waits over {} to be served, and its CPU has room",
            row.address,
            duration(late)
        )
    };
    let waits = [("accepted", row.accept_wait), ("read", row.queue)];
    let waits = waits.into_iter().filter_map(|(to_be, waits)| {
        let waits = waits?;
        Some(format!("to be {to_be} p50 {} p95 {}", duration(waits.p50), duration(waits.p95)))
    });
    let waits: Vec<_> = waits.collect();
    let mut detail = String::new();
    if !waits.is_empty() {
        detail.push_str(&format!("Waits: {}. ", waits.join(", ")));
    }
    detail.push_str(&format!(
        "{} in {}, up to {} at a time; their CPU is busy {:.0} % of the time. Backlog: up to {}{}.",
        units::things(row.workers, "thread", "threads"),
        units::things(row.processes, "process", "processes"),
        units::things(row.peak_in_flight, "request", "requests"),
        100.0 * share,
        units::count(row.peak_backlog),
        row.backlog_max.map(|most| format!(" of {}", units::count(most))).unwrap_or_default(),
    ));
    let mut evidence = numbers(row);
    evidence.insert("cpu_share".into(), json!(share));
    Said {
        title,
        detail,
        evidence,
        advice: advice(row, runtime(facts.service(&row.service))),
        count: row.overflows.max(1),
        weight: waited(row),
        ..Said::of(rule, facts, &row.service, &row.address)
    }
}

fn advice(row: &ListenerRow, runtime: &str) -> String {
    let more = match runtime {
        "python" => "more workers or threads (gunicorn: `--workers`, `--threads`)",
        "node" | "bun" | "deno" => "more processes (`cluster`)",
        "ruby" => "more threads or workers (puma: `-t`, `-w`)",
        "php" => "more children (`pm.max_children`)",
        _ => "more workers",
    };
    let look = format!(
        "Its workers wait for something themselves (a database, another service, a lock), or do not accept in time: the \
         slowest routes and statements of the report show where. Then {more}."
    );
    if is_full(row) {
        let port = row.address.rsplit(':').next().unwrap_or_default();
        format!(
            "{look} `ss -tln 'sport = :{port}'` shows the backlog (Recv-Q of Send-Q): a larger one (`--backlog`, \
             `listen()`; `net.core.somaxconn` bounds it) takes bursts, not a lack of workers."
        )
    } else {
        look
    }
}

#[cfg(test)]
mod tests {
    use super::super::sample::{distribution, findings, judged, listener, sleep, with_listener, with_stalls};
    use super::*;
    use crate::report::Report;

    /// 20 clients of four workers that wait for something.
    fn waiting() -> ListenerRow {
        ListenerRow {
            accept_wait: Some(distribution(600, 0.2)),
            peak_in_flight: 20,
            concurrency: 4.0,
            peak_backlog: 16,
            ..listener()
        }
    }

    /// A small backlog and a slow acceptor: hardly any time is spent serving.
    fn full() -> ListenerRow {
        ListenerRow {
            workers: 1,
            processes: 1,
            requests: 12,
            accept_wait: Some(distribution(12, 1.5)),
            queue: None,
            concurrency: 0.01,
            peak_in_flight: 6,
            peak_backlog: 6,
            backlog_max: Some(5),
            overflows: 30,
            cpu: Some(0.01),
            ..listener()
        }
    }

    #[test]
    fn workers_that_are_too_few() {
        let found = findings(&with_listener(waiting()), ID);
        let [finding] = found.as_slice() else { panic!("{found:#?}") };
        assert_eq!(
            finding.title,
            "uvicorn shop:app: at 0.0.0.0:8000 one in twenty waits over 500 ms to be served, and its CPU has room"
        );
        assert!(finding.detail.contains("to be accepted p50 200 ms p95 500 ms"), "{}", finding.detail);
        assert!(finding.detail.contains("4 threads in 4 processes, up to 20 requests"), "{}", finding.detail);
        assert_eq!(finding.evidence["peak_backlog"], 16);
    }

    #[test]
    fn a_full_backlog_of_a_slow_acceptor() {
        let verdict = judged(&with_listener(full()));
        let [found] = verdict.found.as_slice() else { panic!("{verdict:#?}") };
        let title =
            "uvicorn shop:app: the backlog of 0.0.0.0:8000 was full, and clients were turned away 30 times";
        assert_eq!((found.finding.id.as_str(), found.finding.title.as_str()), (ID, title));
        assert!(found.finding.advice.contains("sport = :8000"), "{}", found.finding.advice);
    }

    #[test]
    fn a_blocked_loop_is_why() {
        let loops = with_stalls(vec![sleep(0.5)]);
        let report = Report { event_loops: loops.event_loops, ..with_listener(waiting()) };
        assert_eq!(findings(&report, ID)[0].explained_by.as_deref(), Some(event_loop_blocked::ID));
    }

    /// The nearest healthy ones: short waits, workers whose CPU is busy, a backlog that was deep and never full.
    #[test]
    fn queues_that_are_well() {
        let queue = Some(distribution(600, 0.03));
        for row in [
            ListenerRow { queue, accept_wait: None, ..waiting() },
            ListenerRow { cpu: Some(3.6), ..waiting() },
            ListenerRow { peak_backlog: 900, ..listener() },
        ] {
            assert_eq!(judged(&with_listener(row.clone())), Verdict::default(), "{row:#?}");
        }
    }

    #[test]
    fn what_is_missing_is_said() {
        for (row, says) in [
            (ListenerRow { accept_wait: Some(distribution(12, 0.2)), ..waiting() }, "it takes 20"),
            (ListenerRow { cpu: None, ..waiting() }, "is not known"),
            (
                ListenerRow { cpu: Some(3.9), overflows: 4, peak_backlog: 2_049, ..waiting() },
                "busy 98 % of the time",
            ),
        ] {
            let verdict = judged(&with_listener(row));
            assert_eq!((verdict.found.len(), verdict.undecided.len()), (0, 1), "{verdict:#?}");
            assert!(verdict.undecided[0].reason.contains(says), "{verdict:#?}");
        }
    }
}
