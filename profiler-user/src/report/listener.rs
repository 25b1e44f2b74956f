//! Rows of listening sockets: queues and requests under way go in, the report's `listeners` comes out: whether a server
//! keeps up.

use serde::{Deserialize, Serialize};

use super::Distribution;

/// A listening socket that connections came to.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct ListenerRow {
    pub service: String,
    /// `ip:port`, `[ip6]:port` or `unix:PATH`.
    pub address: String,
    pub netns: u32,
    /// Threads that accepted its connections or answered their requests.
    pub workers: u64,
    /// Processes among them.
    pub processes: u64,
    /// Requests under way, those that wait unread and connections that wait with a request included: at the end of the
    /// window, and the most at one time.
    pub in_flight: u64,
    pub peak_in_flight: u64,
    /// Requests answered.
    pub requests: u64,
    /// Connections that wait to be accepted: at the end of the window, the most, and how many there is room for.
    pub backlog: u64,
    pub peak_backlog: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backlog_max: Option<u64>,
    /// How many times clients were turned away for want of room: packets of handshakes, repeated ones too. Clients try
    /// again, and most get in.
    pub overflows: u64,
    /// When it was found to be closed, seconds since the window's begin: its server had ended. The last few.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub closed_at: Vec<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub accept_wait: Option<Distribution>,
    /// From accept() or the request's first byte, whichever is later, to its first read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub queue: Option<Distribution>,
    /// Mean number of requests between first read and last write.
    pub concurrency: f64,
    /// CPU time of its workers' processes over the window's length: 1 is one CPU.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu: Option<f64>,
    /// Requests that wait for an answer now: the age of the oldest, seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub oldest_waiting: Option<f64>,
    /// Of those, how many no process has read yet.
    pub unread: u64,
    /// Seconds since it last answered a request or sent a byte of an answer; since the window's begin if it never did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub silent: Option<f64>,
    /// Requests wait now, and not a byte has been answered for so long, seconds: one that nobody has read, or several at a
    /// server that answers fast.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub silence: Option<f64>,
    /// The longest such time, seconds.
    pub longest_silence: f64,
}
