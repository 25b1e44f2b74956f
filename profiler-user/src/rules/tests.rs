//! What holds for all rules together.

use super::sample::{judged, queried, sleep, stall, with_stalls};
use super::*;
use crate::stall::cause::Cause;

#[test]
fn ids_are_names_and_each_its_own() {
    let ids: Vec<_> = ALL.iter().map(|rule| rule.id()).collect();
    for (at, id) in ids.iter().enumerate() {
        assert!(id.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-'), "{id}");
        assert!(!ids[..at].contains(id), "{id} twice");
    }
    for rule in ALL {
        assert!(rule.reasons().iter().all(|reason| ids.contains(reason)), "{}", rule.id());
    }
}

#[test]
fn nothing_comes_of_nothing() {
    assert_eq!(judged(&crate::output::text::sample::empty()), Verdict::default());
    assert_eq!(judged(&crate::output::text::sample::busy()), Verdict::default());
}

#[test]
fn worst_first_and_reasons_before_what_they_explain() {
    let mut lock = stall(Cause::InterpreterLock, 0.2, 0.0, 0.0);
    lock.blocked_in = vec![super::sample::blocked("futex", crate::stall::Kind::Lock, None, 40, 0.2)];
    let report = with_stalls(vec![lock, queried(1, 2.0, 0.0)]);
    let findings = judged(&report).findings();
    let ids: Vec<_> = findings.iter().map(|finding| finding.id.as_str()).collect();
    assert_eq!(ids, ["blocking-query-in-event-loop", "event-loop-blocked", "interpreter-lock-contention"]);
    assert_eq!(findings[1].explained_by.as_deref(), Some("blocking-query-in-event-loop"));
}

#[test]
fn loops_of_one_service_are_one_finding_and_services_are_apart() {
    let mut report = with_stalls(vec![sleep(0.3)]);
    let mut second = report.event_loops[0].clone();
    second.tid = 4243;
    let other = LoopRow { service: "nobody-knows".into(), ..second.clone() };
    report.event_loops.extend([second, other]);
    let findings = judged(&report).findings();
    let services: Vec<_> = findings.iter().map(|finding| (finding.service.as_str(), finding.count)).collect();
    assert_eq!(services, [("shop", 2), ("nobody-knows", 1)]);
    assert!(findings[1].title.starts_with("nobody-knows: "), "{}", findings[1].title);
}

#[test]
fn a_rule_that_is_off_says_nothing() {
    let file = "[event-loop-blocked]\nenabled = false";
    let thresholds: Thresholds = toml::from_str(file).unwrap();
    let report = with_stalls(vec![sleep(0.3)]);
    assert_eq!(judge(&Facts::of(&report), &thresholds).found, []);
}

/// What a person reads at night: one line, and no word that is not there.
#[test]
fn every_finding_is_complete() {
    let mut lock = stall(Cause::InterpreterLock, 0.2, 0.0, 0.0);
    lock.blocked_in = vec![super::sample::blocked("futex", crate::stall::Kind::Lock, None, 40, 0.2)];
    let starved = stall(Cause::CpuStarvation, 0.0, 0.02, 0.2);
    let mut stalls = vec![lock, queried(9, 0.5, 0.0), sleep(0.2)];
    stalls.extend(vec![starved; 3]);
    let findings = judged(&with_stalls(stalls)).findings();
    assert_eq!(findings.len(), 4);
    for finding in findings {
        for text in [&finding.title, &finding.detail, &finding.advice, &finding.subject] {
            assert!(!text.is_empty() && !text.contains('\n') && !text.contains("  "), "{finding:#?}");
        }
        assert!(finding.evidence.contains_key("stalled_seconds"), "{finding:#?}");
        assert!(finding.first_seen < finding.last_seen, "{finding:#?}");
    }
}
