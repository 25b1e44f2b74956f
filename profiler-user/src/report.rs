//! The report: what a window of recording found, as data. The aggregate stage fills it, every output renders it,
//! and serde writes it as the JSON schema `hostprof.report/1` that users and dashboards rely on.
//!
//! Durations are seconds, sizes bytes, times RFC 3339 with nanoseconds. Unknown values are `None` or absent, never
//! invented; an empty list means that nothing was seen.

mod capture;
mod connection;
mod event_loop;
mod finding;
mod http;
mod listener;
mod mysql;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

pub use self::capture::{Capture, Hooks};
pub use self::connection::{ClosedBy, ConnectionRow};
pub use self::event_loop::{LoopRow, StallRow};
pub use self::finding::{Finding, Severity, Undecided};
pub use self::http::{HttpRow, RouteSource};
pub use self::listener::ListenerRow;
pub use self::mysql::MysqlRow;

/// The schema's name and version; only ever extended within the same number.
pub const SCHEMA: &str = "hostprof.report/1";

/// Counters by name, in a stable order.
pub type Counters = BTreeMap<String, u64>;

/// A recording's result.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// [`SCHEMA`].
    pub schema: String,
    /// hostprof's own version.
    pub version: String,
    pub host: Host,
    pub window: Window,
    pub capture: Capture,
    pub services: Vec<Service>,
    pub http: Vec<HttpRow>,
    pub mysql: Vec<MysqlRow>,
    #[serde(default)]
    pub event_loops: Vec<LoopRow>,
    #[serde(default)]
    pub connections: Vec<ConnectionRow>,
    #[serde(default)]
    pub listeners: Vec<ListenerRow>,
    /// What a person can act on, worst first.
    #[serde(default)]
    pub findings: Vec<Finding>,
    /// What looks like a finding, without enough data to say so.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub undecided: Vec<Undecided>,
}

/// The machine.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Host {
    pub name: String,
    pub kernel: String,
    pub cpus: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub boot_id: Option<String>,
}

/// The time that the report covers: from the moment all probes were attached to the moment the last was drained.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Window {
    pub start: String,
    pub end: String,
    pub seconds: f64,
}

/// A program that serves or calls: one or more processes of the same executable, command line and ports.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Service {
    /// Stable within the report; rows refer to it.
    pub id: String,
    pub name: String,
    pub pids: Vec<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exe: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cmdline: Option<String>,
    /// `python`, `node`, `go`, `java`, ... where the executable tells.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub runtime: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub started: Option<String>,
    /// Addresses that exchanges arrived on: `ip:port`, `[ip6]:port` or `unix:PATH`.
    pub listens: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub container: Option<Container>,
}

/// The container that a service runs in, as its cgroup path tells.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Container {
    pub id: String,
}

/// A distribution. Quantiles have a relative error of at most 1 %.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Distribution {
    pub count: u64,
    pub sum: f64,
    pub min: f64,
    pub p50: f64,
    pub p90: f64,
    pub p95: f64,
    pub p99: f64,
    pub p999: f64,
    pub max: f64,
}

/// Which side of an exchange the service was.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    #[default]
    Server,
    Client,
}

/// Where a server's duration starts: at the request's arrival in the kernel, or at the first read where only that is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Clock {
    Arrival,
    Read,
}
