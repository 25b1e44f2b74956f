//! `event-loop-lag`: the loop is never held for long enough to count as blocked, but its turns are so long that requests
//! wait in the kernel before it reads them.
//!
//! Long waits alone are not enough: a server may read late for reasons of its own (no worker is free, and it is no
//! loop). Nor are they where many short requests fill a turn together: such a loop is saturated, no handler of it is
//! slow.

use serde_json::json;

use super::thresholds::{Threshold, Thresholds, Unit};
use super::{Facts, Rule, Said, Verdict, advice, cpu_starvation, event_loop_blocked, evidence};
use crate::output::style::units::{self, duration};
use crate::report::{Distribution, HttpRow, LoopRow, Role, Severity};

pub(super) const ID: &str = "event-loop-lag";

const QUEUE: Threshold = Threshold {
    key: "queue",
    unit: Unit::Seconds,
    default: 0.05,
    meaning: "the wait between a request's arrival and its first read that one request in a hundred passes",
};
const REQUESTS: Threshold = Threshold {
    key: "requests",
    unit: Unit::Count,
    default: 100.0,
    meaning: "requests with a known wait that it takes to judge",
};
const TURN: Threshold = Threshold {
    key: "turn",
    unit: Unit::Seconds,
    default: 0.025,
    meaning: "the longest turn: shorter ones do not explain the wait",
};

/// So many requests a turn, in turns of much the same length, are a crowd.
const CROWD: f64 = 4.0;
/// A request that holds its loop for less than this on average, seconds, is a short one.
const SHORT: f64 = 0.005;
/// The p99 of turns of much the same length is not over so many times their median.
pub(super) const ALIKE: f64 = 4.0;
/// Routes named in the text.
const NAMED: usize = 3;

#[derive(Debug)]
pub(super) struct EventLoopLag;

/// The requests of one service that waited to be read.
#[derive(Debug, Default)]
struct Queue<'a> {
    routes: Vec<(&'a HttpRow, Distribution)>,
    count: u64,
    /// At least so many waited longer than the threshold.
    late: f64,
}

impl<'a> Queue<'a> {
    fn of(rows: &'a [HttpRow], service: &str, threshold: f64) -> Self {
        let mut queue = Self::default();
        for row in rows.iter().filter(|row| row.role == Role::Server && row.service == service) {
            if let Some(waits) = row.phases.get("queue").filter(|waits| waits.count > 0) {
                queue.routes.push((row, *waits));
                queue.count += waits.count;
                queue.late += over(waits, threshold) * waits.count as f64;
            }
        }
        queue.routes.sort_by(|a, b| b.1.sum.total_cmp(&a.1.sum));
        queue
    }
}

/// The share of values that are over a limit, at least.
fn over(d: &Distribution, limit: f64) -> f64 {
    let shares = [(d.min, 1.0), (d.p50, 0.5), (d.p90, 0.1), (d.p95, 0.05), (d.p99, 0.01), (d.p999, 0.001)];
    let share = shares.into_iter().find(|(value, _)| *value > limit).map_or(0.0, |(_, share)| share);
    // Of few values a quantile may be the greatest alone.
    let one: f64 = if d.max > limit { 1.0 / d.count.max(1) as f64 } else { 0.0 };
    one.max(share)
}

/// The turns of the loop that had the longest.
fn longest<'a>(loops: &[&'a LoopRow]) -> Option<(&'a LoopRow, Distribution)> {
    let turns = loops.iter().filter_map(|row| Some((*row, row.turn?)));
    turns.max_by(|a, b| a.1.max.total_cmp(&b.1.max))
}

/// Whether the turns are long because many short requests came at a time.
pub(super) fn is_crowd(loops: &[&LoopRow], requests: u64) -> bool {
    let turns: u64 = loops.iter().filter(|row| row.turn.is_some()).map(|row| row.turns).sum();
    let busy: f64 = loops.iter().map(|row| row.busy_seconds).sum();
    if busy > SHORT * requests as f64 {
        return false;
    }
    let alike = loops.iter().filter_map(|row| row.turn).all(|turn| turn.p99 <= ALIKE * turn.p50);
    alike && requests as f64 >= CROWD * turns.max(1) as f64
}

impl Rule for EventLoopLag {
    fn id(&self) -> &'static str {
        ID
    }

    fn severity(&self) -> Severity {
        Severity::Warning
    }

    fn thresholds(&self) -> &'static [Threshold] {
        &[QUEUE, REQUESTS, TURN]
    }

    fn reasons(&self) -> &'static [&'static str] {
        &[cpu_starvation::ID]
    }

    fn takes_all(&self) -> bool {
        true
    }

    fn judge(&self, facts: &Facts<'_>, thresholds: &Thresholds, verdict: &mut Verdict) {
        let limit = thresholds.of(ID, &QUEUE);
        for (service, loops) in facts.loops() {
            let blocked = |found: &super::Found| {
                found.finding.id == event_loop_blocked::ID && found.finding.service == service
            };
            if verdict.found.iter().any(blocked) {
                continue;
            }
            let Some((_, turn)) = longest(&loops) else { continue };
            let queue = Queue::of(facts.http, service, limit);
            let late = queue.late >= 0.01 * queue.count as f64 && queue.late > 0.0;
            if !late || turn.max < thresholds.of(ID, &TURN) || is_crowd(&loops, queue.count) {
                continue;
            }
            let needed = thresholds.of(ID, &REQUESTS);
            if (queue.count as f64) < needed {
                let requests = units::things(queue.count, "request", "requests");
                let late = duration(limit);
                let reason =
                    format!("{requests}, some read more than {late} late; it takes {needed} to judge");
                verdict.not_enough(self, service, reason);
            } else {
                verdict.add(said(self, facts, service, &loops, &queue, limit));
            }
        }
    }
}

fn said<'a>(
    rule: &'a dyn Rule,
    facts: &Facts<'a>,
    service: &'a str,
    loops: &[&LoopRow],
    queue: &Queue<'_>,
    limit: f64,
) -> Said<'a> {
    let name = facts.name(service);
    let percent = 100.0 * queue.late / queue.count.max(1) as f64;
    let title = format!(
        "{name}: its event loop reads requests late: at least {percent:.0} % wait over {}",
        duration(limit)
    );
    let (row, turn) = longest(loops).map_or((None, Distribution::default()), |(row, turn)| (Some(row), turn));
    let route = |row: &HttpRow| format!("{} {}", row.method, row.route);
    let waits = queue.routes.iter().take(NAMED).map(|(row, waits)| {
        format!("{} p50 {} p99 {}", route(row), duration(waits.p50), duration(waits.p99))
    });
    let mut busy: Vec<_> =
        queue.routes.iter().filter_map(|(row, _)| Some((row, row.phases.get("serve")?))).collect();
    busy.sort_by(|a, b| b.1.sum.total_cmp(&a.1.sum));
    let busy: Vec<_> = busy.iter().take(NAMED).map(|(row, _)| route(row)).collect();
    let detail = format!(
        "Turns of the loop: p50 {}, p99 {}, {} the longest; it is busy {:.0} % of the time. Waits before the first \
         read: {}.{}",
        duration(turn.p50),
        duration(turn.p99),
        duration(turn.max),
        100.0 * row.map_or(0.0, |row| row.utilization),
        waits.collect::<Vec<_>>().join(", "),
        if busy.is_empty() { String::new() } else { format!(" Most time is served on {}.", busy.join(", ")) },
    );
    let evidence = evidence([
        ("turn_p50_seconds", json!(turn.p50)),
        ("turn_p99_seconds", json!(turn.p99)),
        ("turn_max_seconds", json!(turn.max)),
        ("turns", json!(loops.iter().map(|row| row.turns).sum::<u64>())),
        ("utilization", json!(row.map_or(0.0, |row| row.utilization))),
        ("requests", json!(queue.count)),
        ("late_share_at_least", json!(percent / 100.0)),
        ("queue_threshold_seconds", json!(limit)),
        ("routes", json!(busy)),
    ]);
    let pid = row.map_or(0, |row| row.pid);
    Said {
        title,
        detail,
        evidence,
        advice: next_step(super::stalled::runtime(facts.service(service)), pid),
        ..Said::of(rule, facts, service, "event loop")
    }
}

pub(super) fn next_step(runtime: &str, pid: u32) -> String {
    let next = "`hostprof record --stall-threshold 20ms` names the calls that hold it.";
    match runtime {
        "python" => format!(
            "{next} `py-spy record --nonblocking --pid {pid} -d 30 -o profile.svg` shows where it computes. More workers \
             (`--workers`) share the requests among more loops."
        ),
        "node" | "bun" | "deno" => format!(
            "{next} {} More processes (`cluster`) share the requests among more loops.",
            advice::profile(runtime)
        ),
        _ => format!("{next} `perf top -p {pid}` shows where it computes."),
    }
}

#[cfg(test)]
mod tests {
    use super::super::sample::{distribution, event_loop, findings, http_row, judged, sleep, with_stalls};
    use super::*;
    use crate::report::Report;

    /// Requests of a service, and the turns of its loop: count and median of each.
    fn lagging(requests: (u64, f64), turns: (u64, f64)) -> Report {
        let mut report = with_stalls(Vec::new());
        let mut row = http_row("GET", "/orders", Some(200), requests.0, 0.02);
        row.service = "shop".into();
        row.phases = [
            ("queue".to_owned(), distribution(requests.0, requests.1)),
            ("serve".to_owned(), distribution(requests.0, 0.01)),
        ]
        .into();
        report.http = vec![row];
        let turn = Some(distribution(turns.0, turns.1));
        report.event_loops = vec![LoopRow { turns: turns.0, turn, ..event_loop(Vec::new()) }];
        report
    }

    #[test]
    fn requests_wait_for_long_turns() {
        let found = findings(&lagging((500, 0.03), (700, 0.008)), ID);
        let [finding] = found.as_slice() else { panic!("{found:#?}") };
        assert_eq!(
            finding.title,
            "uvicorn shop:app: its event loop reads requests late: at least 10 % wait over 50.0 ms"
        );
        assert!(finding.detail.contains("64.0 ms the longest"), "{}", finding.detail);
        assert!(finding.detail.ends_with("Most time is served on GET /orders."), "{}", finding.detail);
        assert_eq!(finding.severity, Severity::Warning);
    }

    /// The nearest healthy ones: a server that is no loop; a loop with short turns; one with short waits; one that many
    /// short requests saturate; one that is blocked, which is said already.
    #[test]
    fn waits_that_the_loops_turns_do_not_explain() {
        let lag = lagging((500, 0.03), (700, 0.008));
        let no_loop = Report { event_loops: Vec::new(), ..lag.clone() };
        let mut blocked = lag.clone();
        blocked.event_loops[0].stalls = event_loop(vec![sleep(0.3)]).stalls;
        for report in [
            no_loop,
            blocked,
            lagging((500, 0.03), (700, 0.001)),
            lagging((500, 0.005), (700, 0.008)),
            lagging((50_000, 0.03), (700, 0.008)),
        ] {
            let verdict = judged(&report);
            assert!(verdict.found.iter().all(|found| found.finding.id != ID), "{verdict:#?}");
            assert_eq!(verdict.undecided, []);
        }
    }

    #[test]
    fn it_takes_a_whole_recording() {
        let report = lagging((500, 0.03), (700, 0.008));
        let (facts, thresholds) = (Facts::of(&report), Thresholds::default());
        assert_eq!(super::super::judge(&facts, &thresholds).found.len(), 1);
        assert_eq!(super::super::judge_live(&facts, &thresholds), Verdict::default());
    }

    #[test]
    fn a_few_requests_are_not_enough() {
        let verdict = judged(&lagging((40, 0.03), (70, 0.008)));
        assert_eq!(verdict.found, []);
        assert!(verdict.undecided[0].reason.starts_with("40 requests, some read"), "{verdict:#?}");
    }

    #[test]
    fn a_share_is_never_overstated() {
        let d = distribution(1_000, 0.01);
        assert_eq!(over(&d, 0.001), 1.0);
        assert_eq!(over(&d, 0.015), 0.1);
        assert_eq!(over(&d, 0.039), 0.01);
        assert_eq!(over(&d, 0.07), 0.001);
        assert_eq!(over(&d, 0.09), 0.0);
        assert_eq!(over(&distribution(10, 0.01), 0.07), 0.1);
    }
}
