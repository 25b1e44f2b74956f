//! `stuck-server`: requests are in flight, and for seconds not a byte of an answer has come. Told of while it lasts, and
//! over when it answers; a whole recording tells of the longest time, too.
//!
//! Not for a server that is idle, that is slow with one request, that sends a long answer or waits for a client to send, or
//! that usually answers late (long polls); nor for a database, whose statements may take long.

use serde_json::json;

use super::listening::{is_database, numbers, worst};
use super::stalled::runtime;
use super::thresholds::{Threshold, Thresholds, Unit};
use super::{About, Facts, Rule, Said, Verdict, event_loop_blocked, missing_timeout, pool_exhausted};
use crate::output::style::units::{self, duration};
use crate::report::{ListenerRow, Severity};

pub(super) const ID: &str = "stuck-server";

const SILENCE: Threshold = Threshold {
    key: "silence",
    unit: Unit::Seconds,
    default: 5.0,
    meaning: "time for which requests waited and not a byte was answered",
};

#[derive(Debug)]
pub(super) struct StuckServer;

impl StuckServer {
    fn judge_by(
        &self,
        facts: &Facts<'_>,
        thresholds: &Thresholds,
        verdict: &mut Verdict,
        silence: impl Fn(&ListenerRow) -> Option<f64>,
    ) {
        let least = thresholds.of(ID, &SILENCE);
        let long = |row: &ListenerRow| silence(row).filter(|seconds| *seconds >= least);
        for (row, seconds) in worst(facts, long) {
            if !is_database(facts, &row.service) {
                let ongoing = row.silence.is_some_and(|now| now >= least);
                verdict.add(said(self, facts, row, seconds, ongoing));
            }
        }
    }
}

impl Rule for StuckServer {
    fn id(&self) -> &'static str {
        ID
    }

    fn severity(&self) -> Severity {
        Severity::Critical
    }

    fn thresholds(&self) -> &'static [Threshold] {
        &[SILENCE]
    }

    fn about(&self) -> About {
        About::Listener
    }

    fn reasons(&self) -> &'static [&'static str] {
        &[event_loop_blocked::ID, pool_exhausted::ID, missing_timeout::ID]
    }

    fn judge(&self, facts: &Facts<'_>, thresholds: &Thresholds, verdict: &mut Verdict) {
        let longest = |row: &ListenerRow| Some(row.silence.unwrap_or(0.0).max(row.longest_silence));
        self.judge_by(facts, thresholds, verdict, longest);
        // It has answered nothing at all: nobody knows how long it usually takes.
        let new = |row: &&ListenerRow| row.requests == 0 && row.in_flight > 1 && row.silence.is_none();
        for row in facts.listeners.iter().filter(new) {
            let least = thresholds.of(ID, &SILENCE);
            if let Some(oldest) = row.oldest_waiting.filter(|oldest| *oldest >= least)
                && !is_database(facts, &row.service)
            {
                let requests = units::things(row.in_flight, "request waits", "requests wait");
                let oldest = duration(oldest);
                let reason = format!(
                    "{requests} at {}, the oldest for {oldest}, and none was answered since the recording began: stuck, or \
                     slow by design (a long poll)",
                    row.address
                );
                verdict.not_enough(self, &row.service, reason);
            }
        }
    }

    fn judge_live(&self, facts: &Facts<'_>, thresholds: &Thresholds, verdict: &mut Verdict) {
        self.judge_by(facts, thresholds, verdict, |row| row.silence);
    }
}

fn said<'a>(
    rule: &'a dyn Rule,
    facts: &Facts<'a>,
    row: &'a ListenerRow,
    seconds: f64,
    ongoing: bool,
) -> Said<'a> {
    let (name, length) = (facts.name(&row.service), duration(seconds));
    let title = match ongoing {
        true => {
            let requests = units::things(row.in_flight, "request waits", "requests wait");
            format!("{name}: {requests} at {}, and it has answered nothing for {length}", row.address)
        }
        false => format!("{name}: requests waited at {}, and it answered nothing for {length}", row.address),
    };
    let mut sentences = Vec::new();
    if let Some(oldest) = row.oldest_waiting.filter(|_| ongoing) {
        let unread = match row.unread {
            0 => "all are read".to_owned(),
            unread => format!("{} not even read", units::things(unread, "is", "are")),
        };
        sentences.push(format!("The oldest is {} old; {unread}.", duration(oldest)));
    }
    sentences.push(format!(
        "{} answered before and since, by {}; up to {} in flight at a time.",
        units::things(row.requests, "request was", "requests were"),
        units::things(row.workers, "worker", "workers"),
        units::count(row.peak_in_flight)
    ));
    let mut evidence = numbers(row);
    evidence.insert("silent_seconds".into(), json!(seconds));
    evidence.insert("longest_silence_seconds".into(), json!(row.longest_silence));
    evidence.insert("unread".into(), json!(row.unread));
    evidence.extend(row.oldest_waiting.map(|oldest| ("oldest_waiting_seconds".to_owned(), json!(oldest))));
    evidence.extend(row.silent.map(|silent| ("last_activity_seconds_ago".to_owned(), json!(silent))));
    let whole = Said::of(rule, facts, &row.service, &row.address);
    let begin = if ongoing { before(&facts.window.end, seconds) } else { None };
    let pid = facts.service(&row.service).and_then(|service| service.pids.last().copied());
    Said {
        title,
        detail: sentences.join(" "),
        evidence,
        advice: advice(runtime(facts.service(&row.service)), pid),
        seen: (begin.unwrap_or_else(|| whole.seen.0.clone()), whole.seen.1.clone()),
        ongoing,
        weight: seconds,
        ..whole
    }
}

/// So many seconds earlier; None where it is no instant.
fn before(end: &str, seconds: f64) -> Option<String> {
    let end: jiff::Timestamp = end.parse().ok()?;
    let length = jiff::SignedDuration::try_from_secs_f64(seconds).ok()?;
    end.checked_sub(length).ok().map(|begin| format!("{begin:.9}"))
}

fn advice(runtime: &str, pid: Option<u32>) -> String {
    let pid = pid.map_or_else(|| "PID".to_owned(), |pid| pid.to_string());
    let stack = match runtime {
        "python" => format!("`py-spy dump --nonblocking --pid {pid}` shows where each thread is"),
        "java" => format!("`jstack {pid}` shows where each thread is"),
        _ => format!("`cat /proc/{pid}/task/*/stack`, as root, shows where the kernel holds each thread"),
    };
    format!(
        "While it lasts {stack}; `grep State /proc/{pid}/status` tells whether it was stopped (T). All workers may wait for \
         one lock, one pool or one service that does not answer: give such waits a timeout."
    )
}

#[cfg(test)]
mod tests {
    use super::super::sample::{findings, judged, listener, pool, sleep, with_listener, with_stalls};
    use super::super::{active::Active, judge_live};
    use super::*;
    use crate::report::{ConnectionRow, Finding, Report, Role};

    /// It has answered nothing for so long, and requests have waited for so long.
    fn stuck(silent: f64, oldest: Option<f64>) -> ListenerRow {
        let in_flight = if oldest.is_some() { 8 } else { 0 };
        let silence = oldest.map(|oldest| oldest.min(silent));
        ListenerRow {
            silent: Some(silent),
            oldest_waiting: oldest,
            silence,
            in_flight,
            unread: 4,
            ..listener()
        }
    }

    fn live(row: ListenerRow) -> Verdict {
        judge_live(&Facts::of(&with_listener(row)), &Thresholds::default())
    }

    #[test]
    fn it_is_told_of_while_it_lasts_and_is_over_when_it_answers() {
        let mut active = Active::default();
        assert_eq!(active.update(live(stuck(4.0, Some(4.0)))), []);
        let begun: Vec<Finding> = active.update(live(stuck(6.0, Some(6.0))));
        let title =
            "uvicorn shop:app: 8 requests wait at 0.0.0.0:8000, and it has answered nothing for 6.00 s";
        assert_eq!((begun.len(), begun[0].title.as_str(), begun[0].ongoing), (1, title, true));
        assert_eq!(begun[0].first_seen, "2026-09-01T12:00:24.250000000Z");
        assert_eq!(active.update(live(stuck(7.0, Some(7.0)))), []);
        let over = active.update(live(ListenerRow { longest_silence: 7.2, ..stuck(0.1, None) }));
        assert_eq!((over.len(), over[0].ongoing), (1, false));
    }

    #[test]
    fn a_whole_recording_tells_of_the_longest() {
        let row = ListenerRow { longest_silence: 7.2, ..stuck(0.1, None) };
        let found = findings(&with_listener(row), ID);
        let title = "uvicorn shop:app: requests waited at 0.0.0.0:8000, and it answered nothing for 7.20 s";
        assert_eq!((found[0].title.as_str(), found[0].ongoing), (title, false));
        assert!(found[0].advice.contains("py-spy dump --nonblocking --pid 4242"), "{}", found[0].advice);
    }

    #[test]
    fn a_blocked_loop_is_why() {
        let mut stall = sleep(6.0);
        stall.ongoing = true;
        let loops = with_stalls(vec![stall]);
        let report = Report { event_loops: loops.event_loops, ..with_listener(stuck(6.0, Some(6.0))) };
        assert_eq!(findings(&report, ID)[0].explained_by.as_deref(), Some(event_loop_blocked::ID));
    }

    #[test]
    fn what_never_answered_is_not_judged() {
        let row = ListenerRow { requests: 0, silence: None, unread: 0, ..stuck(30.0, Some(30.0)) };
        let verdict = judged(&with_listener(row));
        assert!(
            verdict.found.is_empty() && verdict.undecided.iter().any(|said| said.id == ID),
            "{verdict:?}"
        );
    }

    /// The nearest healthy ones: an idle server; a request that has just come to one; a slow request beside others; a
    /// long statement of a database.
    #[test]
    fn silence_that_nobody_waits_in() {
        for row in [stuck(90.0, None), stuck(90.0, Some(0.3)), stuck(0.2, Some(12.0))] {
            assert_eq!(judged(&with_listener(row.clone())), Verdict::default(), "{row:#?}");
            assert_eq!(live(row), Verdict::default());
        }
        let mut report = with_listener(ListenerRow { longest_silence: 9.0, ..stuck(9.0, Some(9.0)) });
        report.connections = vec![ConnectionRow { role: Role::Server, ..pool() }];
        assert_eq!(judged(&report), Verdict::default());
    }
}
