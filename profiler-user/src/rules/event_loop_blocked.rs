//! `event-loop-blocked`: a serving event loop did not return to its wait for too long, so every client of it waited.
//!
//! Counts only stalls during which it had connections. Stalls of a loop that could have run and got no CPU are not its
//! own doing: they count where they are more than a hiccup (`cpu-starvation`).

use serde_json::json;

use super::culprit::blame;
use super::stalled::{Stalled, held, is_starved, runtime};
use super::thresholds::{Threshold, Thresholds, Unit};
use super::{
    Facts, Rule, Said, Verdict, advice, blocking_query, cpu_starvation, event_loop_lag, interpreter_lock,
};
use crate::output::style::units::{self, duration};
use crate::report::{LoopRow, Severity};
use crate::stall::cause::Cause;

pub(super) const ID: &str = "event-loop-blocked";

pub(super) const STALL: Threshold = Threshold {
    key: "stall",
    unit: Unit::Seconds,
    default: 0.1,
    meaning: "time between two waits of the loop; what is shorter than `--stall-threshold` is not seen",
};

/// Culprits named in the text.
const NAMED: usize = 3;

#[derive(Debug)]
pub(super) struct EventLoopBlocked;

impl Rule for EventLoopBlocked {
    fn id(&self) -> &'static str {
        ID
    }

    fn severity(&self) -> Severity {
        Severity::Critical
    }

    fn thresholds(&self) -> &'static [Threshold] {
        &[STALL]
    }

    fn reasons(&self) -> &'static [&'static str] {
        &[blocking_query::ID, interpreter_lock::ID, cpu_starvation::ID]
    }

    fn judge(&self, facts: &Facts<'_>, thresholds: &Thresholds, verdict: &mut Verdict) {
        let least = thresholds.of(ID, &STALL);
        for (service, loops) in facts.loops() {
            let all = Stalled::of(&loops, |stall| held(stall) >= least);
            let own = Stalled::of(&loops, |stall| held(stall) >= least && !is_starved(stall, least));
            let stalled = if cpu_starvation::is_starving(&loops, thresholds) { all.clone() } else { own };
            if !stalled.is_empty() && is_crowd(facts, service, &loops, &stalled) {
                let stalls = units::things(stalled.count(), "turn", "turns");
                let reason =
                    format!("{stalls} of up to {}, full of short requests", duration(stalled.longest()));
                verdict.not_enough(
                    self,
                    service,
                    format!("{reason}: its loop is saturated, no handler is slow"),
                );
            } else if !stalled.is_empty() {
                verdict.add(said(self, facts, service, &stalled, least));
            } else if !all.is_empty() {
                let stalls = units::things(all.count(), "stall", "stalls");
                let reason = format!("{stalls}, {} in sum, for want of a CPU", duration(all.sum(held)));
                verdict.not_enough(self, service, format!("{reason}: too few to say more"));
            } else {
                unseen(self, service, &loops, least, verdict);
            }
        }
    }
}

/// Whether the stalls are turns much like the others, which many short requests fill together.
fn is_crowd(facts: &Facts<'_>, service: &str, loops: &[&LoopRow], stalled: &Stalled<'_>) -> bool {
    let (requests, _) = facts.served(service);
    let turn = loops.iter().filter_map(|row| row.turn).map(|turn| turn.p50).fold(0.0, f64::max);
    stalled.stalls().all(|stall| blame(stall) == Cause::Cpu)
        && stalled.longest() <= event_loop_lag::ALIKE * turn
        && event_loop_lag::is_crowd(loops, requests)
}

/// A thread that serves has stalled, and whether it had connections then is not known.
fn unseen(rule: &EventLoopBlocked, service: &str, loops: &[&LoopRow], least: f64, verdict: &mut Verdict) {
    let serving = loops.iter().filter(|row| row.turn.is_some());
    let long: Vec<f64> =
        serving.flat_map(|row| &row.stalls).map(|row| held(&row.stall)).filter(|s| *s >= least).collect();
    if let Some(longest) = long.iter().copied().reduce(f64::max) {
        let stalls = units::things(long.len() as u64, "stall", "stalls");
        let reason =
            format!("{stalls}, the longest {}, of a loop in which no connection was seen", duration(longest));
        verdict.not_enough(rule, service, reason);
    }
}

fn said<'a>(
    rule: &'a dyn Rule,
    facts: &Facts<'a>,
    service: &'a str,
    stalled: &Stalled<'_>,
    least: f64,
) -> Said<'a> {
    let name = facts.name(service);
    let count = stalled.count();
    let (sum, longest) = (stalled.sum(held), stalled.longest());
    let title = match count {
        1 if stalled.ongoing() => format!("{name}: its event loop has been blocked for {}", duration(sum)),
        1 => format!("{name}: its event loop was blocked for {}", duration(sum)),
        _ => format!(
            "{name}: its event loop was blocked {} times, {} in sum, {} the longest",
            units::count(count),
            duration(sum),
            duration(longest)
        ),
    };
    let parts = stalled.parts();
    let named = parts.iter().take(NAMED).map(|part| match count {
        1 => part.name.clone(),
        _ => format!("{} ({}x, {})", part.name, units::count(part.stalls), duration(part.seconds)),
    });
    let mut detail = format!("Held by {}", named.collect::<Vec<_>>().join("; "));
    if let Some(more) = parts.len().checked_sub(NAMED).filter(|more| *more > 0) {
        detail.push_str(&format!("; and {more} more"));
    }
    detail.push_str(&format!(
        ". Of the time: CPU {}, waiting for a CPU {}, blocked {}.",
        duration(stalled.sum(|stall| stall.on_cpu)),
        duration(stalled.sum(|stall| stall.run_queue)),
        duration(stalled.sum(|stall| stall.blocked)),
    ));
    if let Some((requests, connections)) = stalled.waiting() {
        let waiting = [
            (requests, units::things(requests.into(), "request", "requests")),
            (connections, units::things(connections.into(), "new connection", "new connections")),
        ];
        let waiting: Vec<_> =
            waiting.into_iter().filter(|(count, _)| *count > 0).map(|(_, things)| things).collect();
        if !waiting.is_empty() {
            detail.push_str(&format!(" Up to {} waited at a time.", waiting.join(" and ")));
        }
    }
    let mut evidence = stalled.evidence();
    evidence.insert("threshold_seconds".into(), json!(least));
    let advice =
        parts.first().map(|part| advice::about(part.worst, runtime(facts.service(service)), part.worst.pid));
    Said {
        rule,
        service,
        subject: "event loop".into(),
        title,
        detail,
        evidence,
        advice: advice.unwrap_or_default(),
        seen: stalled.seen(),
        ongoing: stalled.ongoing(),
        count,
        weight: sum,
    }
}

#[cfg(test)]
mod tests {
    use super::super::sample::{
        blocked, distribution, findings, http_row, judged, sleep, stall, with_stalls,
    };
    use super::*;
    use crate::report::HttpRow;
    use crate::stall::{Confidence, Kind};

    #[test]
    fn handlers_that_sleep_on_the_loop() {
        let report = with_stalls(vec![sleep(0.3), sleep(0.5)]);
        let found = findings(&report, ID);
        let [finding] = found.as_slice() else { panic!("{found:#?}") };
        assert_eq!((finding.severity, finding.service.as_str()), (Severity::Critical, "shop"));
        assert_eq!(
            finding.title,
            "uvicorn shop:app: its event loop was blocked 2 times, 802 ms in sum, 501 ms the longest"
        );
        assert_eq!(
            finding.detail,
            "Held by sleeping (clock_nanosleep) at shop/app.py:40 in wait (2x, 802 ms). Of the time: CPU 2.00 ms, \
             waiting for a CPU 0 s, blocked 800 ms. Up to 3 requests and 1 new connection waited at a time."
        );
        assert!(finding.advice.contains("asyncio.sleep"), "{}", finding.advice);
        assert_eq!((finding.count, finding.ongoing), (2, false));
        assert_eq!(finding.first_seen, "2026-09-01T12:00:01.000000000Z");
        assert_eq!(finding.last_seen, "2026-09-01T12:00:02.501000000Z");
        assert_eq!(finding.evidence["held_by"][0]["syscall"], "clock_nanosleep");
        assert_eq!(finding.evidence["held_by"][0]["code"], "shop/app.py:40 in wait");
        assert_eq!(finding.explained_by, None);
        assert_eq!(judged(&report).found.len(), 1, "and nothing else");
    }

    #[test]
    fn a_stall_that_goes_on_counts() {
        let mut stall = sleep(3.0);
        stall.ongoing = true;
        let found = findings(&with_stalls(vec![stall]), ID);
        assert!(found[0].ongoing && found[0].title.contains("has been blocked for 3.00 s"), "{found:#?}");
    }

    /// The nearest healthy ones: a thread without clients, a stop by a signal, one hiccup for want of a CPU, a turn
    /// below the threshold.
    #[test]
    fn what_holds_no_client_is_no_finding() {
        let mut batch = sleep(5.0);
        batch.confidence = Confidence::Low;
        let mut stopped = stall(Cause::Stopped, 2.0, 0.01, 0.0);
        stopped.blocked_in = vec![blocked("stopped", Kind::Stopped, None, 1, 2.0)];
        let hiccup = stall(Cause::CpuStarvation, 0.0, 0.02, 0.12);
        for stall in [batch, stopped, hiccup, sleep(0.09)] {
            let found = findings(&with_stalls(vec![stall.clone()]), ID);
            assert_eq!(found, [], "{stall:#?}");
        }
    }

    #[test]
    fn what_is_not_known_is_said() {
        let mut unseen = sleep(5.0);
        unseen.confidence = Confidence::Low;
        let hiccup = stall(Cause::CpuStarvation, 0.0, 0.02, 0.12);
        for (stall, says) in [(unseen, "no connection was seen"), (hiccup, "for want of a CPU")] {
            let verdict = judged(&with_stalls(vec![stall]));
            assert_eq!(verdict.undecided.len(), 1, "{verdict:#?}");
            assert!(verdict.undecided[0].reason.contains(says), "{verdict:#?}");
        }
    }

    /// A turn full of short requests has no slow handler; one full of long ones has.
    #[test]
    fn a_crowd_of_short_requests_is_no_block() {
        let of = |requests: u64, busy_seconds: f64| {
            let mut report = with_stalls(vec![stall(Cause::Cpu, 0.0, 0.104, 0.0)]);
            let row = http_row("GET", "/items", Some(200), requests, 0.04);
            report.http = vec![HttpRow { service: "shop".into(), ..row }];
            let row = &mut report.event_loops[0];
            (row.turns, row.busy_seconds, row.turn) = (450, busy_seconds, Some(distribution(450, 0.034)));
            let live = super::super::judge_live(&Facts::of(&report), &Thresholds::default());
            let all = judged(&report);
            assert_eq!(live, all, "while it goes on as at its end");
            all
        };
        let crowd = of(29_000, 5.0);
        assert_eq!((crowd.found.len(), crowd.undecided.len()), (0, 1), "{crowd:#?}");
        assert_eq!(of(2_000, 15.0).found.len(), 1);
    }

    #[test]
    fn a_higher_threshold_silences_it() {
        let report = with_stalls(vec![sleep(0.3)]);
        let thresholds = Thresholds::default().with(ID, &STALL, 1.0);
        assert_eq!(super::super::judge(&Facts::of(&report), &thresholds), Verdict::default());
    }

    /// Its own computing took longer than the threshold: that it waited for a CPU as well is no excuse.
    #[test]
    fn a_long_handler_on_a_busy_host_is_the_loops_own() {
        let found = findings(&with_stalls(vec![stall(Cause::CpuStarvation, 0.0, 0.2, 0.3)]), ID);
        assert_eq!(found.len(), 1);
    }
}
