//! Rows of MySQL commands: aggregated commands go in, the report's `mysql` comes out, statements without their
//! literals.

use serde::{Deserialize, Serialize};

use super::{Clock, Counters, Distribution, Role};

/// MySQL commands of one service, role, peer, command, digest and schema.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MysqlRow {
    pub service: String,
    pub role: Role,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub peer: Option<String>,
    /// The protocol's command: `query`, `prepare`, `execute`, `ping`, `handshake`, ...
    pub command: String,
    /// Hash of the literal-free text, hex.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub digest: Option<String>,
    /// The statement without its literals; `<overflow>` past the series' ceiling.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub digest_text: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub schema: Option<String>,
    pub count: u64,
    /// By the server's error number, or by the transport's error name.
    #[serde(default, skip_serializing_if = "Counters::is_empty")]
    pub errors: Counters,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rows_returned: Option<Distribution>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rows_affected: Option<Distribution>,
    pub request_bytes: Distribution,
    pub response_bytes: Distribution,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub clock: Option<Clock>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub duration: Option<Distribution>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub first_byte: Option<Distribution>,
    /// Times the server said that it used no index, no good index, or found the statement slow.
    #[serde(default)]
    pub no_index: u64,
    #[serde(default)]
    pub no_good_index: u64,
    #[serde(default)]
    pub server_slow: u64,
}
