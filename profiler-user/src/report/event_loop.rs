//! Rows of event loops: what loops have done and their stalls go in, the report's `event_loops` comes out.

use serde::{Deserialize, Serialize};

use super::Distribution;
use crate::kernel::hooks::Wait;
use crate::stall::Stall;

/// An event loop: a thread that serves from a set of connections, or that has stalled.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LoopRow {
    pub service: String,
    pub pid: u32,
    pub tid: u32,
    /// What it waits with.
    pub wait: Wait,
    /// Finished turns: from the end of a wait to the next wait.
    pub turns: u64,
    pub busy_seconds: f64,
    /// Its parts.
    #[serde(default)]
    pub on_cpu_seconds: f64,
    #[serde(default)]
    pub run_queue_seconds: f64,
    #[serde(default)]
    pub blocked_seconds: f64,
    /// Beside them: the wait was over, and the thread waited for a CPU to begin its turn.
    #[serde(default)]
    pub late_seconds: f64,
    /// Share of the time outside the wait, blocked time included, since the loop was first seen.
    pub utilization: f64,
    /// Lengths of the turns since the loop was first seen to serve.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub turn: Option<Distribution>,
    pub stalls: Vec<StallRow>,
}

/// A turn that took too long.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StallRow {
    pub start: String,
    #[serde(flatten)]
    pub stall: Stall,
}
