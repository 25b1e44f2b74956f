//! How a recording was made: counts and the hooks in use go in, the report's `capture` comes out, so that nobody takes
//! what was not seen for what was not there.

use serde::{Deserialize, Serialize};

use super::Counters;

/// How it was captured, and everything that was not.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Capture {
    pub hooks: Hooks,
    /// Records that arrived from the kernel.
    pub records: u64,
    /// Faults: each of these is something that hostprof should have shown and could not.
    pub lost: Counters,
    /// Connections recognised but not read, by reason.
    pub not_parsed: Counters,
    /// What is known of how well event loops were seen: turns of threads that share their set, which are no loop's;
    /// switches that were not seen, which make a turn's parts uncertain; waits that were not, which cost a turn.
    #[serde(default, skip_serializing_if = "Counters::is_empty")]
    pub loop_events: Counters,
    /// Exchanges begun before we came or cut by our end.
    pub half_seen: u64,
    /// What servers said unasked: MySQL's farewell errors.
    #[serde(default)]
    pub unsolicited: u64,
    /// Exchanges whose head was longer than what was kept of it.
    pub head_truncated: u64,
    /// Long-lived exchanges (WebSocket, server-sent events, NDJSON, binlog dump), counted apart from durations.
    pub streams: u64,
    /// Exchanges that the filters left out.
    pub filtered: u64,
    /// The options that did; none where only a command's own were wanted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub filters: Vec<String>,
    /// Exchanges still running when the recording ended.
    pub in_flight: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub probe_seconds: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub agent_cpu_seconds: Option<f64>,
    /// Bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub agent_peak_rss: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kernel_map_bytes: Option<u64>,
    /// What missing rights or hooks left out, one sentence each.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub limits: Vec<String>,
}

/// The hooks in use, by what they give. A missing one is `None`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Hooks {
    /// `sock-tracepoints`, `syscall-exit`, `raw-exit` or `fentry`.
    pub socket: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub arrival: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub loops: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub connections: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls: Option<String>,
}
