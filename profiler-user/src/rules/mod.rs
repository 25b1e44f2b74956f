//! Findings: diagnoses that a person can act on. In comes what a recording has summed up ([`Facts`]), out go
//! [`Finding`]s, worst first, and what there was not enough data to judge. docs/FINDINGS.md is the catalogue.
//!
//! One rule is one file, with a folder where it takes more: when it fires, its evidence and advice, its thresholds, and two
//! tests: a sick case, and the nearest healthy one. Pure: a rule reads no clock, no file and no map. It guesses nothing:
//! without enough data it says so ([`Verdict::undecided`]) or is silent.

pub mod active;
mod advice;
mod blocking_query;
mod connection_churn;
pub(crate) mod connection_failures;
mod connection_held;
mod connection_per_request;
mod cpu_starvation;
mod culprit;
mod event_loop_blocked;
mod event_loop_lag;
mod interpreter_lock;
mod listening;
mod missing_timeout;
mod peer;
mod pool_exhausted;
mod queue_buildup;
#[cfg(test)]
pub(crate) mod sample;
mod server_gone_away;
mod single_worker;
mod stalled;
mod stuck_server;
#[cfg(test)]
mod tests;
pub mod thresholds;
mod verdict;

use std::collections::BTreeMap;

use serde_json::Value;

pub use culprit::{cause_id, culprit};
pub use stalled::is_told;
use thresholds::{Threshold, Thresholds};
use verdict::Said;
pub use verdict::{Found, Verdict};

use crate::report::{
    ConnectionRow, Finding, HttpRow, ListenerRow, LoopRow, MysqlRow, Report, Role, Service, Severity, Window,
};

/// All rules.
pub static ALL: &[&dyn Rule] = &[
    &event_loop_blocked::EventLoopBlocked,
    &blocking_query::BlockingQuery,
    &interpreter_lock::InterpreterLock,
    &cpu_starvation::CpuStarvation,
    &event_loop_lag::EventLoopLag,
    &connection_per_request::ConnectionPerRequest,
    &connection_churn::ConnectionChurn,
    &connection_failures::ConnectionFailures,
    &server_gone_away::ServerGoneAway,
    &pool_exhausted::PoolExhausted,
    &connection_held::ConnectionHeld,
    &missing_timeout::MissingTimeout,
    &single_worker::SingleWorker,
    &queue_buildup::QueueBuildup,
    &stuck_server::StuckServer,
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

    /// What its findings are about.
    fn about(&self) -> About {
        About::Loop
    }

    /// Rules whose findings may be the reason for this one's, the likeliest first.
    fn reasons(&self) -> &'static [&'static str] {
        &[]
    }

    /// Whether a finding of this rule may be the reason for others'.
    fn explains(&self, _finding: &Finding) -> bool {
        true
    }

    /// Whether it takes a whole recording to judge.
    fn takes_all(&self) -> bool {
        false
    }

    /// Adds what it finds.
    fn judge(&self, facts: &Facts<'_>, thresholds: &Thresholds, verdict: &mut Verdict);

    /// Adds what is so now, while a recording goes on.
    fn judge_live(&self, facts: &Facts<'_>, thresholds: &Thresholds, verdict: &mut Verdict) {
        if !self.takes_all() {
            self.judge(facts, thresholds, verdict);
        }
    }
}

/// What a finding is about: its subject.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum About {
    /// The stalls of a service's event loops; it weighs their seconds.
    Loop,
    /// The connections to a peer.
    Peer,
    /// A listening socket.
    Listener,
}

/// Applies all rules that are on to a whole recording.
pub fn judge(facts: &Facts<'_>, thresholds: &Thresholds) -> Verdict {
    apply(thresholds, |rule, verdict| rule.judge(facts, thresholds, verdict))
}

/// Applies those that are on to what is known of a recording that goes on: its loops with the stalls of the last while,
/// its connections (their counts alone) and listeners as they are.
pub fn judge_live(facts: &Facts<'_>, thresholds: &Thresholds) -> Verdict {
    apply(thresholds, |rule, verdict| rule.judge_live(facts, thresholds, verdict))
}

fn apply(thresholds: &Thresholds, judge: impl Fn(&dyn Rule, &mut Verdict)) -> Verdict {
    let mut verdict = Verdict::default();
    for rule in ALL.iter().filter(|rule| thresholds.enabled(rule.id())) {
        judge(*rule, &mut verdict);
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

    /// Its begin and its end.
    fn whole(&self) -> (String, String) {
        (self.window.start.clone(), self.window.end.clone())
    }

    /// The HTTP requests that a service has answered, and the seconds that they took in sum.
    fn served(&self, service: &str) -> (u64, f64) {
        let rows = self.http.iter().filter(|row| row.role == Role::Server && row.service == service);
        rows.fold((0, 0.0), |(count, seconds), row| {
            (count + row.count, seconds + row.duration.map_or(0.0, |d| d.sum))
        })
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

/// Numbers by name.
fn evidence<const N: usize>(pairs: [(&str, Value); N]) -> BTreeMap<String, Value> {
    pairs.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}
