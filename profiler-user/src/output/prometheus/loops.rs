//! Event loops and findings as metrics.

use std::collections::{BTreeMap, BTreeSet};

use super::page::Page;
use super::{Labels, name_of};
use crate::aggregate::buckets::{Buckets, LOOP_SECONDS};
use crate::report::{ConnectionRow, LoopRow, Report};
use crate::rules::{self, cause_id, is_told};
use crate::stall::cause::Cause;

/// The stalls of each loop that clients waited for, by cause and call: bounded by the number of system calls.
pub(super) fn stalls(report: &Report, mut add: impl FnMut(&LoopRow, &Labels, &Buckets)) {
    for row in &report.event_loops {
        let mut by_call: BTreeMap<Labels, Buckets> = BTreeMap::new();
        for stall in row.stalls.iter().map(|row| &row.stall).filter(|stall| is_told(stall)) {
            let blocked = stall.blocked_in.first().filter(|_| stall.cause == Cause::BlockingCall);
            let labels = vec![
                ("cause", cause_id(stall.cause).to_owned()),
                ("syscall", blocked.map(|blocked| blocked.syscall.clone()).unwrap_or_default()),
            ];
            by_call.entry(labels).or_insert_with(|| Buckets::new(LOOP_SECONDS)).record(stall.seconds);
        }
        for (labels, buckets) in &by_call {
            add(row, labels, buckets);
        }
    }
}

/// How busy each loop is that serves.
pub(super) fn utilization(report: &Report, page: &mut Page) {
    // By the conventions a gauge of a share is a ratio.
    let name = "hostprof_eventloop_utilization_ratio";
    page.family(name, "gauge", Some("ratio"), "Share of the time that an event loop is outside its wait.");
    let mut loops = BTreeMap::new();
    for row in report.event_loops.iter().filter(|row| row.turn.is_some()) {
        loops.insert((row.pid, row.tid), row);
    }
    for ((pid, tid), row) in loops {
        let labels = [
            ("service_name", name_of(report, &row.service)),
            ("process_pid", pid.to_string()),
            ("thread_id", tid.to_string()),
        ];
        page.gauge(name, &labels, row.utilization);
    }
}

/// 1 for each rule that has found something at a service, 0 for the others that could have: an alert has a series before
/// its first finding.
pub(super) fn findings(report: &Report, page: &mut Page) {
    let name = "hostprof_finding_active";
    page.family(name, "gauge", None, "Whether a rule has found something wrong with a service.");
    let serving = report.event_loops.iter().filter(|row| row.turn.is_some()).map(|row| &row.service);
    let answering = report.listeners.iter().filter(|row| row.requests > 0).map(|row| &row.service);
    let speaks = |row: &&ConnectionRow| ["http", "mysql"].contains(&row.protocol.as_str());
    let speaking = report.connections.iter().filter(speaks).map(|row| &row.service);
    let found = report.findings.iter().map(|f| &f.service);
    let services: BTreeSet<&String> = serving.chain(answering).chain(speaking).chain(found).collect();
    // Services of one name are one series.
    let mut active: BTreeMap<Labels, bool> = BTreeMap::new();
    for service in services {
        for rule in rules::ALL {
            let severity = serde_json::to_value(rule.severity()).unwrap_or_default();
            let labels = vec![
                ("service_name", name_of(report, service)),
                ("id", rule.id().to_owned()),
                ("severity", severity.as_str().unwrap_or_default().to_owned()),
            ];
            let found = report.findings.iter().any(|f| f.id == rule.id() && f.service == *service);
            *active.entry(labels).or_default() |= found;
        }
    }
    for (labels, found) in &active {
        page.gauge(name, labels, f64::from(u8::from(*found)));
    }
}

#[cfg(test)]
mod tests {
    use super::super::strict::parse;
    use super::super::{encode, samples};
    use crate::aggregate::Series;
    use crate::aggregate::buckets::{Buckets, LOOP_SECONDS};
    use crate::output::text::sample::{busy, connections, listener};
    use crate::rules;
    use crate::rules::sample::{event_loop, judged, sleep, stall, with_stalls};
    use crate::stall::Confidence;
    use crate::stall::cause::Cause;

    #[test]
    fn loops_and_findings_are_series() {
        let mut batch = sleep(9.0);
        batch.confidence = Confidence::Low;
        let cpu = stall(Cause::Cpu, 0.0, 0.2, 0.0);
        let mut report = with_stalls(vec![sleep(0.3), sleep(0.4), cpu, batch]);
        report.findings = judged(&report).findings();
        let mut second = event_loop(Vec::new());
        second.tid = 4243;
        report.event_loops.push(second);
        let mut turns = Buckets::new(LOOP_SECONDS);
        turns.record(0.003);
        let rows = [Series::Loop { service: "shop".into(), turns }];
        let page = encode(&samples(&rows, &report), &report);
        let parsed = parse(&page).unwrap_or_else(|error| panic!("{error}\n{page}"));
        let sum = |start: &str, label: &str| -> f64 {
            let has = |name: &String| name.starts_with(start) && name.contains(label);
            parsed.iter().filter(|(name, _)| has(name)).map(|(_, value)| *value).sum()
        };
        let stalls = "hostprof_eventloop_stall_duration_seconds_count[";
        assert_eq!(sum(stalls, ""), 3.0, "{page}");
        assert_eq!(sum(stalls, "clock_nanosleep"), 2.0);
        assert_eq!(sum(stalls, "(\"cause\", \"cpu\")"), 1.0);
        assert_eq!(sum("hostprof_eventloop_turn_duration_seconds_count[", "uvicorn shop:app"), 1.0);
        assert_eq!(sum("hostprof_eventloop_utilization_ratio[", ""), 1.0, "two loops, each half busy");
        assert_eq!(sum("hostprof_finding_active[", "event-loop-blocked"), 1.0);
        assert_eq!(sum("hostprof_finding_active[", "event-loop-lag"), 0.0);
        assert!(page.contains("id=\"event-loop-lag\",severity=\"warning\"} 0.0"), "{page}");
    }

    #[test]
    fn who_could_have_a_finding_has_a_series() {
        let active = |report: &crate::report::Report| {
            let page = encode(&[], report);
            page.lines().filter(|line| line.starts_with("hostprof_finding_active{")).count()
        };
        let mut report = busy();
        assert_eq!(active(&report), 0);
        report.connections = connections().into_iter().filter(|row| row.service == "cron-1").collect();
        assert_eq!(active(&report), 0, "neither HTTP nor MySQL");
        report.connections = connections();
        assert_eq!(active(&report), rules::ALL.len());
        report.connections.clear();
        report.listeners = vec![listener()];
        assert_eq!(active(&report), rules::ALL.len());
    }
}
