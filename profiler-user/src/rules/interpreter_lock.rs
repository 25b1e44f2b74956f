//! `interpreter-lock-contention`: the loop's thread waited for the interpreter's lock, which other threads of the process
//! held. The loop has work, the CPU may be free, and only one thread of the interpreter runs at a time.

use serde_json::json;

use super::culprit::named;
use super::stalled::{Stalled, held};
use super::thresholds::{Threshold, Thresholds, Unit};
use super::{Facts, Rule, Said, Verdict, advice};
use crate::output::style::units::{self, duration};
use crate::report::Severity;
use crate::stall::cause::Cause;
use crate::stall::{BlockedIn, Stall, place};

pub(super) const ID: &str = "interpreter-lock-contention";

const SECONDS: Threshold = Threshold {
    key: "seconds",
    unit: Unit::Seconds,
    default: 0.1,
    meaning: "stalls spent waiting for the lock, in sum",
};

#[derive(Debug)]
pub(super) struct InterpreterLock;

impl Rule for InterpreterLock {
    fn id(&self) -> &'static str {
        ID
    }

    fn severity(&self) -> Severity {
        Severity::Warning
    }

    fn thresholds(&self) -> &'static [Threshold] {
        &[SECONDS]
    }

    fn judge(&self, facts: &Facts<'_>, thresholds: &Thresholds, verdict: &mut Verdict) {
        for (service, loops) in facts.loops() {
            let stalled = Stalled::of(&loops, |stall| stall.cause == Cause::InterpreterLock);
            if !stalled.is_empty() && stalled.sum(held) >= thresholds.of(ID, &SECONDS) {
                verdict.add(said(self, facts, service, &stalled));
            }
        }
    }
}

/// The waits for the lock in a stall.
fn waits(stall: &Stall) -> Option<&BlockedIn> {
    stall.blocked_in.iter().find(|blocked| blocked.syscall.starts_with("futex"))
}

fn said<'a>(rule: &'a dyn Rule, facts: &Facts<'a>, service: &'a str, stalled: &Stalled<'_>) -> Said<'a> {
    let count: u64 = stalled.stalls().filter_map(waits).map(|w| u64::from(w.count)).sum();
    let seconds: f64 = stalled.stalls().filter_map(waits).map(|w| w.seconds).sum();
    let mean = seconds / count.max(1) as f64;
    let holder = stalled.stalls().find_map(|stall| stall.lock_holder.as_ref());
    let at = holder.and_then(|holder| place::of(&holder.stack)).map(named);
    let title = format!(
        "{}: its event loop waited {} for the interpreter lock, which other threads held",
        facts.name(service),
        duration(seconds)
    );
    let mut detail = format!(
        "{} for the lock, {} each, in {}.",
        units::things(count, "wait", "waits"),
        duration(mean),
        units::things(stalled.count(), "stall", "stalls")
    );
    if let Some(holder) = holder {
        let at = at.as_deref().map(|at| format!(", at {at}")).unwrap_or_default();
        detail.push_str(&format!(" Thread {} held it{at}.", holder.tid));
    }
    let mut evidence = stalled.evidence();
    evidence.insert("lock_waits".into(), json!(count));
    evidence.insert("lock_wait_seconds".into(), json!(seconds));
    evidence.insert("lock_wait_mean_seconds".into(), json!(mean));
    if let Some(holder) = holder {
        evidence.insert("lock_holder_tid".into(), json!(holder.tid));
        if let Some(at) = at {
            evidence.insert("lock_holder_code".into(), json!(at));
        }
    }
    Said {
        rule,
        service,
        subject: "event loop".into(),
        title,
        detail,
        evidence,
        advice: advice::interpreter_lock(stalled.pid()),
        seen: stalled.seen(),
        ongoing: stalled.ongoing(),
        count: stalled.count(),
        weight: stalled.sum(held),
    }
}

#[cfg(test)]
mod tests {
    use super::super::event_loop_blocked;
    use super::super::sample::{blocked, findings, frame, stall, with_stalls};
    use super::*;
    use crate::stall::{Holder, Kind};

    fn contended(count: u32, seconds: f64) -> Stall {
        let mut stall = stall(Cause::InterpreterLock, seconds, 0.02, 0.0);
        stall.blocked_in = vec![blocked("futex", Kind::Lock, None, count, seconds)];
        stall
    }

    #[test]
    fn a_thread_that_computes_beside_the_loop() {
        let mut stall = contended(50, 0.25);
        stall.lock_holder =
            Some(Holder { tid: 4250, stack: vec![frame("crunch", "/srv/shop/report.py", 9)] });
        let report = with_stalls(vec![stall]);
        let found = findings(&report, ID);
        assert_eq!(found.len(), 1);
        let title = "uvicorn shop:app: its event loop waited 250 ms for the interpreter lock, which other threads held";
        assert_eq!(found[0].title, title);
        let detail = "50 waits for the lock, 5.00 ms each, in 1 stall. Thread 4250 held it, at shop/report.py:9 in crunch.";
        assert_eq!(found[0].detail, detail);
        assert!(found[0].advice.contains("py-spy dump --nonblocking --pid 4242"), "{}", found[0].advice);
        let because = findings(&report, event_loop_blocked::ID)[0].explained_by.clone();
        assert_eq!(because.as_deref(), Some(ID));
    }

    /// The nearest healthy ones: a wait for another lock, and one that was short.
    #[test]
    fn another_lock_is_not_the_interpreters() {
        let mut other = stall(Cause::BlockingCall, 0.3, 0.0, 0.0);
        other.blocked_in = vec![blocked("futex", Kind::Lock, None, 1, 0.3)];
        for stall in [other, contended(9, 0.05)] {
            assert_eq!(findings(&with_stalls(vec![stall.clone()]), ID), [], "{stall:#?}");
        }
    }
}
