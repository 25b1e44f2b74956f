//! What hostprof and its reader say to each other: one JSON object a line.

use serde::{Deserialize, Serialize};

use crate::stall::{Frame, Holder};

/// A thread to look at. Goes back with the answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ask {
    pub pid: u32,
    pub tid: u32,
    /// When its turn began, ns.
    pub start: u64,
}

/// Why there is no stack.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Problem {
    /// This time: what was read did not fit together, or the thread was just not to be found.
    Torn,
    /// The process is gone, may not be read, or is nothing that this version can read.
    Unreadable,
    /// The reader ended over it, or took too long.
    Fatal,
    /// The reader did not come to it: nothing is known of the process.
    Dropped,
}

/// What was seen of a thread.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer {
    pub ask: Ask,
    /// Between these two, on the monotonic clock, ns.
    pub begun: u64,
    pub ended: u64,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub stack: Vec<Frame>,
    /// The thread that had the interpreter's lock, if it was another one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub holder: Option<Holder>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<Problem>,
}

impl Answer {
    /// No stack.
    pub fn none(ask: Ask, begun: u64, ended: u64, problem: Problem) -> Self {
        Self { ask, begun, ended, stack: Vec::new(), holder: None, problem: Some(problem) }
    }
}
