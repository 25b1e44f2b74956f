//! Findings: the judgement of a rule goes in, the report's `findings` and `undecided` come out, for a person to act on.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// How bad a finding is; the worst is the greatest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    Info,
    Warning,
    Critical,
}

/// A diagnosis made from what was seen, with what to do about it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Finding {
    /// The rule's name, such as `event-loop-blocked`.
    pub id: String,
    pub severity: Severity,
    pub service: String,
    /// What of the service: a route, a digest, a loop, a peer.
    pub subject: String,
    /// One line.
    pub title: String,
    /// What it means here, in a few sentences.
    pub detail: String,
    /// The numbers that it was made from, by name.
    pub evidence: BTreeMap<String, serde_json::Value>,
    pub advice: String,
    /// The id of a finding of which this one is a consequence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub explained_by: Option<String>,
    pub first_seen: String,
    pub last_seen: String,
    pub ongoing: bool,
    /// Times that it was seen.
    pub count: u64,
}

/// A judgement for which there was not enough data.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Undecided {
    /// The rule's name.
    pub id: String,
    pub service: String,
    /// What there is, and what is missing.
    pub reason: String,
}
