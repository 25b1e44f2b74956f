//! Findings: diagnoses that a person can act on. In comes what a recording has summed up ([`Facts`]), out go
//! [`Finding`]s, worst first, and what there was not enough data to judge. docs/FINDINGS.md is the catalogue.
//!
//! One rule is one file: when it fires, its evidence and advice, its thresholds, and two tests: a sick case, and the
//! nearest healthy one. Pure: a rule reads no clock, no file and no map. It guesses nothing: without enough data it
//! says so ([`Verdict::undecided`]) or is silent.

pub mod active;
mod advice;
mod blocking_query;
mod cpu_starvation;
mod culprit;
mod event_loop_blocked;
mod event_loop_lag;
mod interpreter_lock;
#[cfg(test)]
pub(crate) mod sample;
mod stalled;
#[cfg(test)]
mod tests;
pub mod thresholds;

use std::collections::BTreeMap;

use serde_json::Value;

pub use culprit::{cause_id, culprit};
pub use stalled::is_told;
use thresholds::{Threshold, Thresholds};

use crate::report::{
    ConnectionRow, Finding, HttpRow, ListenerRow, LoopRow, MysqlRow, Report, Service, Severity, Undecided,
    Window,
};

/// All rules.
pub static ALL: &[&dyn Rule] = &[
    &event_loop_blocked::EventLoopBlocked,
    &blocking_query::BlockingQuery,
    &interpreter_lock::InterpreterLock,
    &cpu_starvation::CpuStarvation,
    &event_loop_lag::EventLoopLag,
];

/// What rules judge: a part of a recording, or all of it.
#[derive(Debug, Clone, Copy)]
pub struct Facts<'a> {
    pub window: &'a Window,
    /// Of the host.
    pub cpus: u32,
    pub services: &'a [Service],
    pub http: &'a [HttpRow],
    pub mysql: &'a [MysqlRow],
    pub event_loops: &'a [LoopRow],
    pub connections: &'a [ConnectionRow],
    pub listeners: &'a [ListenerRow],
}

/// A diagnosis that can be made of the facts.
pub trait Rule: std::fmt::Debug + Sync {
    /// Its name in reports and in the settings file.
    fn id(&self) -> &'static str;

    fn severity(&self) -> Severity;

    fn thresholds(&self) -> &'static [Threshold];

    /// Rules whose findings may be the reason for this one's.
    fn reasons(&self) -> &'static [&'static str] {
        &[]
    }

    /// Whether it takes a whole recording to judge.
    fn takes_all(&self) -> bool {
        false
    }

    /// Adds what it finds.
    fn judge(&self, facts: &Facts<'_>, thresholds: &Thresholds, verdict: &mut Verdict);
}

/// A finding, and what it weighs against others of its severity.
#[derive(Debug, Clone, PartialEq)]
pub struct Found {
    pub finding: Finding,
    /// Seconds of stalls that it is about.
    pub stalled: f64,
}

/// What rules have to say of the facts.
#[derive(Debug, Default, PartialEq)]
pub struct Verdict {
    pub found: Vec<Found>,
    /// What looks like a finding, and there is not enough data to say so.
    pub undecided: Vec<Undecided>,
}

/// What a rule says of one subject; the rest of a [`Finding`] is the same for all.
#[derive(Debug)]
struct Said<'a> {
    rule: &'a dyn Rule,
    service: &'a str,
    subject: String,
    title: String,
    detail: String,
    evidence: BTreeMap<String, Value>,
    advice: String,
    /// First and last moment, RFC 3339.
    seen: (String, String),
    ongoing: bool,
    count: u64,
    stalled: f64,
}

/// Applies all rules that are on to a whole recording.
pub fn judge(facts: &Facts<'_>, thresholds: &Thresholds) -> Verdict {
    apply(ALL.iter(), facts, thresholds)
}

/// Applies those that are on to what is known of a recording that goes on: its loops with the stalls of the last while.
pub fn judge_live(facts: &Facts<'_>, thresholds: &Thresholds) -> Verdict {
    apply(ALL.iter().filter(|rule| !rule.takes_all()), facts, thresholds)
}

fn apply<'a>(
    rules: impl Iterator<Item = &'a &'static dyn Rule>,
    facts: &Facts<'_>,
    thresholds: &Thresholds,
) -> Verdict {
    let mut verdict = Verdict::default();
    for rule in rules.filter(|rule| thresholds.enabled(rule.id())) {
        rule.judge(facts, thresholds, &mut verdict);
    }
    verdict.explain();
    verdict.sort();
    verdict
}

impl<'a> Facts<'a> {
    pub fn of(report: &'a Report) -> Self {
        Self {
            window: &report.window,
            cpus: report.host.cpus,
            services: &report.services,
            http: &report.http,
            mysql: &report.mysql,
            event_loops: &report.event_loops,
            connections: &report.connections,
            listeners: &report.listeners,
        }
    }

    fn service(&self, id: &str) -> Option<&'a Service> {
        self.services.iter().find(|service| service.id == id)
    }

    /// What people call a service.
    fn name(&self, id: &'a str) -> &'a str {
        self.service(id).map(|service| service.name.as_str()).filter(|name| !name.is_empty()).unwrap_or(id)
    }

    /// The loops by service.
    fn loops(&self) -> BTreeMap<&'a str, Vec<&'a LoopRow>> {
        let mut by_service: BTreeMap<&str, Vec<&LoopRow>> = BTreeMap::new();
        for row in self.event_loops {
            by_service.entry(&row.service).or_default().push(row);
        }
        by_service
    }
}

impl Verdict {
    fn add(&mut self, said: Said<'_>) {
        let finding = Finding {
            id: said.rule.id().into(),
            severity: said.rule.severity(),
            service: said.service.into(),
            subject: said.subject,
            title: said.title,
            detail: said.detail,
            evidence: said.evidence,
            advice: said.advice,
            explained_by: None,
            first_seen: said.seen.0,
            last_seen: said.seen.1,
            ongoing: said.ongoing,
            count: said.count,
        };
        self.found.push(Found { finding, stalled: said.stalled });
    }

    fn not_enough(&mut self, rule: &dyn Rule, service: &str, reason: String) {
        self.undecided.push(Undecided { id: rule.id().into(), service: service.into(), reason });
    }

    /// The findings alone.
    pub fn findings(self) -> Vec<Finding> {
        self.found.into_iter().map(|found| found.finding).collect()
    }

    /// Names the reason of findings that have one: another finding of the service, which most of their stalled time is
    /// due to, if they are about stalls.
    fn explain(&mut self) {
        let mut stalled: BTreeMap<(&str, &str), f64> = BTreeMap::new();
        for Found { finding, stalled: seconds } in &self.found {
            *stalled.entry((&finding.service, &finding.id)).or_default() += seconds;
        }
        let reason = |found: &Found| {
            let finding = &found.finding;
            let rule = ALL.iter().find(|rule| rule.id() == finding.id)?;
            let reasons = rule.reasons().iter().filter_map(|id| {
                let seconds = *stalled.get(&(finding.service.as_str(), *id))?;
                (seconds >= found.stalled / 2.0).then_some((*id, seconds))
            });
            reasons.max_by(|one, two| one.1.total_cmp(&two.1)).map(|(id, _)| id.to_owned())
        };
        let reasons: Vec<_> = self.found.iter().map(reason).collect();
        for (found, reason) in self.found.iter_mut().zip(reasons) {
            found.finding.explained_by = reason;
        }
    }

    /// Worst first; what is explained by another stands behind it.
    fn sort(&mut self) {
        self.found.sort_by(|one, two| {
            let (a, b) = (&one.finding, &two.finding);
            b.severity
                .cmp(&a.severity)
                .then(a.explained_by.is_some().cmp(&b.explained_by.is_some()))
                .then(two.stalled.total_cmp(&one.stalled))
                .then_with(|| (&a.service, &a.id, &a.subject).cmp(&(&b.service, &b.id, &b.subject)))
        });
    }
}
