//! `cpu-starvation`: an event loop could run and got no CPU. Other threads had the CPUs, or its cgroup had used up its
//! quota.
//!
//! Not for one hiccup: it takes several stalls of that kind, or a loop that waits for a CPU more than it works, so long
//! at a time that its clients feel it.

use serde_json::json;

use super::stalled::{Stalled, held, is_starved};
use super::thresholds::{Threshold, Thresholds, Unit};
use super::{Facts, Rule, Said, Verdict, advice, event_loop_blocked};
use crate::output::style::units::{self, duration};
use crate::report::{LoopRow, Severity};
use crate::stall::Stall;
use crate::stall::cause::Cause;

pub(super) const ID: &str = "cpu-starvation";

const STALLS: Threshold = Threshold {
    key: "stalls",
    unit: Unit::Count,
    default: 3.0,
    meaning: "stalls of the service's loops that would have been far from one with a CPU at hand",
};
const SHARE: Threshold = Threshold {
    key: "share",
    unit: Unit::Share,
    default: 0.5,
    meaning: "time that the loops waited for a CPU, of that and the time in their turns",
};
const WAIT: Threshold = Threshold {
    key: "wait",
    unit: Unit::Seconds,
    default: 0.005,
    meaning: "with `share`: wait for a CPU in a turn on average",
};
const WAITED: Threshold = Threshold {
    key: "waited",
    unit: Unit::Seconds,
    default: 1.0,
    meaning: "with `share`: waits for a CPU in sum",
};

#[derive(Debug)]
pub(super) struct CpuStarvation;

/// How long loops waited for a CPU.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
struct Waited {
    turns: u64,
    busy: f64,
    /// In turns, and between the end of a wait and the turn.
    run_queue: f64,
    late: f64,
}

impl Waited {
    fn of(loops: &[&LoopRow]) -> Self {
        loops.iter().filter(|row| row.turn.is_some()).fold(Self::default(), |sum, row| Self {
            turns: sum.turns + row.turns,
            busy: sum.busy + row.busy_seconds,
            run_queue: sum.run_queue + row.run_queue_seconds,
            late: sum.late + row.late_seconds,
        })
    }

    fn seconds(&self) -> f64 {
        self.run_queue + self.late
    }

    fn share(&self) -> f64 {
        let all = self.busy + self.late;
        if all > 0.0 { self.seconds() / all } else { 0.0 }
    }

    fn a_turn(&self) -> f64 {
        self.seconds() / self.turns.max(1) as f64
    }
}

/// The stalls of loops that are due to the lack of a CPU.
fn starved<'a>(loops: &[&'a LoopRow], thresholds: &Thresholds) -> Stalled<'a> {
    let least = thresholds.of(event_loop_blocked::ID, &event_loop_blocked::STALL);
    Stalled::of(loops, |stall| is_starved(stall, least))
}

fn waits_long(waited: &Waited, thresholds: &Thresholds) -> bool {
    waited.share() >= thresholds.of(ID, &SHARE)
        && waited.a_turn() >= thresholds.of(ID, &WAIT)
        && waited.seconds() >= thresholds.of(ID, &WAITED)
}

/// Whether a service's loops are starved of CPU.
pub(super) fn is_starving(loops: &[&LoopRow], thresholds: &Thresholds) -> bool {
    thresholds.enabled(ID)
        && (starved(loops, thresholds).count() as f64 >= thresholds.of(ID, &STALLS)
            || waits_long(&Waited::of(loops), thresholds))
}

impl Rule for CpuStarvation {
    fn id(&self) -> &'static str {
        ID
    }

    fn severity(&self) -> Severity {
        Severity::Warning
    }

    fn thresholds(&self) -> &'static [Threshold] {
        &[STALLS, SHARE, WAIT, WAITED]
    }

    fn judge(&self, facts: &Facts<'_>, thresholds: &Thresholds, verdict: &mut Verdict) {
        for (service, loops) in facts.loops() {
            if is_starving(&loops, thresholds) {
                let stalled = starved(&loops, thresholds);
                verdict.add(said(self, facts, service, &stalled, Waited::of(&loops), &loops));
            }
        }
    }
}

fn said<'a>(
    rule: &'a dyn Rule,
    facts: &Facts<'a>,
    service: &'a str,
    stalled: &Stalled<'_>,
    waited: Waited,
    loops: &[&LoopRow],
) -> Said<'a> {
    let name = facts.name(service);
    let throttled = stalled.sum(|stall| stall.throttled.unwrap_or(0.0));
    let by_quota = stalled.sum(|stall| if stall.cause == Cause::Throttled { held(stall) } else { 0.0 });
    let is_throttled = by_quota > stalled.sum(held) / 2.0;
    let (count, sum) = (stalled.count(), stalled.sum(held));
    let title = if is_throttled {
        format!("{name}: its CPU quota was used up, and its event loop waited though it could run")
    } else {
        format!("{name}: its event loop could run and got no CPU")
    };
    let mut sentences = Vec::new();
    let is_known = waited.seconds() > 0.0;
    if is_known {
        sentences.push(format!(
            "Its loops waited {} for a CPU, {:.0} % of their busy time, {} in a turn on average.",
            duration(waited.seconds()),
            100.0 * waited.share(),
            duration(waited.a_turn())
        ));
    }
    if count > 0 {
        let stalls = units::things(count, "stall", "stalls");
        let run_queue = duration(stalled.sum(|stall| stall.run_queue));
        sentences
            .push(format!("{stalls}, {} in sum, of which {run_queue} waiting for a CPU.", duration(sum)));
    }
    if throttled > 0.0 {
        sentences.push(format!("Its cgroup was throttled for {} of them.", duration(throttled)));
    }
    let mut evidence = stalled.evidence();
    if is_known {
        evidence.insert("cpu_wait_seconds".into(), json!(waited.seconds()));
        evidence.insert("cpu_wait_share".into(), json!(waited.share()));
        evidence.insert("cpu_wait_a_turn_seconds".into(), json!(waited.a_turn()));
    }
    evidence.insert("throttled_seconds".into(), json!(throttled));
    let pid = if stalled.is_empty() { loops.first().map_or(0, |row| row.pid) } else { stalled.pid() };
    Said {
        rule,
        service,
        subject: "event loop".into(),
        title,
        detail: sentences.join(" "),
        evidence,
        advice: if is_throttled { advice::throttling(pid) } else { advice::starvation() },
        seen: if stalled.is_empty() { facts.whole() } else { stalled.seen() },
        ongoing: stalled.stalls().any(|stall: &Stall| stall.ongoing),
        count: count.max(1),
        weight: sum,
    }
}

#[cfg(test)]
mod tests {
    use super::super::sample::{distribution, event_loop, findings, stall, with_stalls};
    use super::*;
    use crate::report::Report;

    fn hiccup() -> Stall {
        stall(Cause::CpuStarvation, 0.0, 0.02, 0.15)
    }

    fn waiting(run_queue: f64, late: f64, turns: u64) -> Report {
        let row = LoopRow {
            turns,
            busy_seconds: run_queue + 2.0,
            on_cpu_seconds: 2.0,
            run_queue_seconds: run_queue,
            blocked_seconds: 0.0,
            late_seconds: late,
            turn: Some(distribution(turns, 0.001)),
            ..event_loop(Vec::new())
        };
        Report { event_loops: vec![row], ..with_stalls(Vec::new()) }
    }

    #[test]
    fn stalls_for_want_of_a_cpu_again_and_again() {
        let report = with_stalls(vec![hiccup(); 3]);
        let found = findings(&report, ID);
        let [finding] = found.as_slice() else { panic!("{found:#?}") };
        assert_eq!((finding.severity, finding.count), (Severity::Warning, 3));
        assert_eq!(finding.title, "uvicorn shop:app: its event loop could run and got no CPU");
        assert!(finding.advice.contains("pidstat"), "{}", finding.advice);
        let blocked = findings(&report, event_loop_blocked::ID);
        assert_eq!(blocked[0].explained_by.as_deref(), Some(ID));
    }

    /// While a recording goes on its loops come with the stalls of the last while, and without the waits of all their
    /// turns.
    #[test]
    fn while_it_goes_on_the_stalls_alone_tell() {
        let live = |stalls: usize| {
            let mut report = with_stalls(vec![hiccup(); stalls]);
            let row = &mut report.event_loops[0];
            (row.run_queue_seconds, row.late_seconds) = (0.0, 0.0);
            let verdict = super::super::judge_live(&Facts::of(&report), &Thresholds::default());
            verdict.findings().into_iter().find(|finding| finding.id == ID)
        };
        assert_eq!(live(2), None);
        let finding = live(3).unwrap();
        assert!(finding.detail.starts_with("3 stalls, 510 ms in sum"), "{}", finding.detail);
        assert!(!finding.evidence.contains_key("cpu_wait_share"), "{:#?}", finding.evidence);
    }

    #[test]
    fn a_quota_that_is_used_up() {
        let mut throttled = hiccup();
        (throttled.cause, throttled.throttled) = (Cause::Throttled, Some(0.15));
        let found = findings(&with_stalls(vec![throttled; 3]), ID);
        assert!(found[0].title.contains("CPU quota was used up"), "{found:#?}");
        assert!(found[0].advice.contains("cpu.max"), "{}", found[0].advice);
        assert!((found[0].evidence["throttled_seconds"].as_f64().unwrap() - 0.45).abs() < 1e-9);
    }

    #[test]
    fn a_loop_that_waits_for_a_cpu_more_than_it_works() {
        let found = findings(&waiting(4.0, 1.0, 500), ID);
        assert!(
            found[0]
                .detail
                .starts_with("Its loops waited 5.00 s for a CPU, 71 % of their busy time, 10.0 ms")
        );
    }

    /// The nearest healthy ones: a hiccup or two; a busy loop on a busy host; short waits of a loop that is mostly
    /// idle; one that waited long once.
    #[test]
    fn a_hiccup_is_no_starvation() {
        for report in [
            with_stalls(vec![hiccup(); 2]),
            waiting(1.5, 0.4, 300),
            waiting(3.0, 3.0, 100_000),
            waiting(0.4, 0.5, 20),
        ] {
            assert_eq!(findings(&report, ID), [], "{report:#?}");
        }
    }
}
