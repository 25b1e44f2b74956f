//! Findings while a recording goes on: what rules say every now and then comes in, what has begun and what is over goes
//! out. Pure.

use std::collections::{BTreeMap, BTreeSet};

use super::Verdict;
use crate::report::Finding;

/// Id, service, subject.
type Key = (String, String, String);

/// Findings that are over are remembered up to so many.
const MOST: usize = 4_096;

/// The findings that were true when last judged, and those that were before.
#[derive(Debug, Default)]
pub struct Active {
    findings: BTreeMap<Key, Finding>,
    over: BTreeSet<Key>,
}

impl Active {
    /// Takes the latest verdict; returns the findings that begin with it (ongoing), then those that are over.
    pub fn update(&mut self, verdict: Verdict) -> Vec<Finding> {
        let mut now = BTreeMap::new();
        let mut told = Vec::new();
        for mut finding in verdict.findings() {
            let key = key(&finding);
            finding.ongoing = true;
            match self.findings.remove(&key) {
                Some(before) => finding.first_seen = before.first_seen,
                None => told.push(finding.clone()),
            }
            now.insert(key, finding);
        }
        let over = std::mem::replace(&mut self.findings, now);
        let room = MOST.saturating_sub(self.over.len());
        self.over.extend(over.keys().take(room).cloned());
        told.extend(over.into_values().map(|finding| Finding { ongoing: false, ..finding }));
        told
    }

    /// Those of a recording's verdict that never began while it went on.
    pub fn untold(&self, findings: &[Finding]) -> Vec<Finding> {
        let new = |finding: &&Finding| {
            let key = key(finding);
            !self.findings.contains_key(&key) && !self.over.contains(&key)
        };
        findings.iter().filter(new).cloned().collect()
    }

    pub fn is_empty(&self) -> bool {
        self.findings.is_empty()
    }
}

fn key(finding: &Finding) -> Key {
    (finding.id.clone(), finding.service.clone(), finding.subject.clone())
}

#[cfg(test)]
mod tests {
    use super::super::sample::{judged, sleep, with_stalls};
    use super::*;

    fn verdict(seconds: &[f64]) -> Verdict {
        judged(&with_stalls(seconds.iter().map(|seconds| sleep(*seconds)).collect()))
    }

    #[test]
    fn a_finding_is_told_of_when_it_begins_and_when_it_is_over() {
        let mut active = Active::default();
        assert_eq!(active.update(verdict(&[])), []);
        let begun = active.update(verdict(&[0.3]));
        assert_eq!((begun.len(), begun[0].ongoing), (1, true));
        assert_eq!(active.update(verdict(&[0.3, 0.4])), [], "it goes on");
        assert_eq!(active.untold(&verdict(&[0.3]).findings()), []);
        assert_eq!(Active::default().untold(&verdict(&[0.3]).findings()).len(), 1);
        let over = active.update(verdict(&[]));
        assert_eq!((over.len(), over[0].ongoing, over[0].count), (1, false, 2));
        assert_eq!(over[0].first_seen, begun[0].first_seen);
        assert_eq!(active.update(verdict(&[])), [], "told once");
        assert_eq!(active.untold(&verdict(&[0.3]).findings()), [], "at the end too");
        assert_eq!(active.update(verdict(&[0.3])).len(), 1, "it begins anew");
    }
}
