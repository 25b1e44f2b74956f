//! Rows of HTTP exchanges: aggregated exchanges go in, the report's `http` comes out, one row for what an operator
//! would look at as one thing.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{Clock, Distribution, Role};

/// Where a route's name comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RouteSource {
    /// A pattern that the user gave.
    Pattern,
    /// Our own template of the path.
    Template,
    /// The series' ceiling was reached; what came later is summed here.
    Overflow,
}

/// HTTP exchanges of one service, role, peer, method, route and status.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct HttpRow {
    pub service: String,
    pub role: Role,
    /// Clients only: `ip:port`, `[ip6]:port` or `unix:PATH`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub peer: Option<String>,
    pub method: String,
    pub route: String,
    pub route_source: RouteSource,
    /// Absent when no response came.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// OpenTelemetry's `error.type`: the status code for 5xx (and 4xx on clients), or the transport's error.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error_type: Option<String>,
    pub count: u64,
    /// All bytes on the wire, heads included.
    pub request_bytes: Distribution,
    pub response_bytes: Distribution,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub clock: Option<Clock>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub duration: Option<Distribution>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub first_byte: Option<Distribution>,
    /// `accept` (first requests of connections), `queue`, `receive`, `serve`, `send` (servers).
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub phases: BTreeMap<String, Distribution>,
}
