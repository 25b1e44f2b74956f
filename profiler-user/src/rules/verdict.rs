//! What rules have to say of the facts: findings, and what there was not enough data to judge. What each rule says goes in;
//! out they come with their reasons, worst first.

use std::collections::BTreeMap;

use serde_json::Value;

use super::{ALL, About, Facts, Rule};
use crate::report::{Finding, Undecided};

/// A finding, and what it weighs against others of its severity.
#[derive(Debug, Clone, PartialEq)]
pub struct Found {
    pub finding: Finding,
    pub about: About,
    /// Seconds that it is about: of stalls, of waits, of work that need not be.
    pub weight: f64,
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
pub(super) struct Said<'a> {
    pub(super) rule: &'a dyn Rule,
    pub(super) service: &'a str,
    pub(super) subject: String,
    pub(super) title: String,
    pub(super) detail: String,
    pub(super) evidence: BTreeMap<String, Value>,
    pub(super) advice: String,
    /// First and last moment, RFC 3339.
    pub(super) seen: (String, String),
    pub(super) ongoing: bool,
    pub(super) count: u64,
    pub(super) weight: f64,
}

impl<'a> Said<'a> {
    /// What is true of the whole recording, and is to be filled in.
    pub(super) fn of(rule: &'a dyn Rule, facts: &Facts<'_>, service: &'a str, subject: &str) -> Self {
        Self {
            rule,
            service,
            subject: subject.into(),
            title: String::new(),
            detail: String::new(),
            evidence: BTreeMap::new(),
            advice: String::new(),
            seen: facts.whole(),
            ongoing: false,
            count: 1,
            weight: 0.0,
        }
    }
}

impl Verdict {
    pub(super) fn add(&mut self, said: Said<'_>) {
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
        self.found.push(Found { finding, about: said.rule.about(), weight: said.weight });
    }

    pub(super) fn not_enough(&mut self, rule: &dyn Rule, service: &str, reason: String) {
        self.undecided.push(Undecided { id: rule.id().into(), service: service.into(), reason });
    }

    /// The findings alone.
    pub fn findings(self) -> Vec<Finding> {
        self.found.into_iter().map(|found| found.finding).collect()
    }

    /// Names the reason of findings that have one.
    pub(super) fn explain(&mut self) {
        let reasons: Vec<_> = self.found.iter().map(|found| self.reason(found)).collect();
        for (found, reason) in self.found.iter_mut().zip(reasons) {
            found.finding.explained_by = reason.map(str::to_owned);
        }
    }

    /// Another finding of the service: about the same peer or listener, if both are about one; or that most of the
    /// stalled time is due to, if both are about stalls.
    fn reason(&self, found: &Found) -> Option<&'static str> {
        let finding = &found.finding;
        let rule = ALL.iter().find(|rule| rule.id() == finding.id)?;
        let weight = |id: &str| {
            let others = self.found.iter().filter(|other| {
                let same = other.finding.subject == finding.subject;
                other.finding.id == id
                    && ALL.iter().any(|rule| rule.id() == id && rule.explains(&other.finding))
                    && other.finding.service == finding.service
                    && (same || other.about != found.about || found.about == About::Loop)
            });
            others.map(|other| other.weight).reduce(|one, two| one + two)
        };
        let reasons = rule.reasons().iter().filter_map(|id| Some((*id, weight(id)?)));
        if found.about == About::Loop {
            let enough = reasons.filter(|(_, weight)| *weight >= found.weight / 2.0);
            return enough.max_by(|one, two| one.1.total_cmp(&two.1)).map(|(id, _)| id);
        }
        reasons.map(|(id, _)| id).next()
    }

    /// Worst first; what is explained by another stands behind it.
    pub(super) fn sort(&mut self) {
        self.found.sort_by(|one, two| {
            let (a, b) = (&one.finding, &two.finding);
            b.severity
                .cmp(&a.severity)
                .then(a.explained_by.is_some().cmp(&b.explained_by.is_some()))
                .then(two.weight.total_cmp(&one.weight))
                .then_with(|| (&a.service, &a.id, &a.subject).cmp(&(&b.service, &b.id, &b.subject)))
        });
    }
}
