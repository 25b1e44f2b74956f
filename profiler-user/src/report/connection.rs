//! Rows of connections: lives of connections go in, the report's `connections` comes out: how many, how they began,
//! were used and ended, and by whom.

use serde::{Deserialize, Serialize};

use super::{Counters, Distribution, Role};

/// Connections of one service, role, peer and protocol in one network namespace.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct ConnectionRow {
    pub service: String,
    pub role: Role,
    /// The other end: of a client's rows `ip:port` or `[ip6]:port`, of a server's rows the address alone; `unix:PATH`.
    pub peer: String,
    /// What the service's processes had looked up when they were given that address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub peer_name: Option<String>,
    /// `http`, `mysql`, `tls`, `http2`, `other`, or `unknown` where no byte was seen.
    pub protocol: String,
    /// Inode number of the network namespace.
    pub netns: u32,
    /// Connections that were established within the window.
    pub established: u64,
    /// Connections that were tried: established, failed or still under way. Clients only.
    pub attempted: u64,
    pub closed: u64,
    /// Attempts that failed, by the error's name. `abandoned`: closed by the service before there was an answer.
    #[serde(default, skip_serializing_if = "Counters::is_empty")]
    pub failed: Counters,
    pub closed_by: ClosedBy,
    /// Connections that were open when the recording began.
    pub preexisting: u64,
    /// Open at the end of the window, and the most at one time.
    pub live: u64,
    pub peak: u64,
    /// Finished exchanges on them; a MySQL sign-in is none.
    pub exchanges: u64,
    /// Of connections that were seen from their begin to their end and that could be read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exchanges_per_connection: Option<Distribution>,
    /// From the first packet of connect() to the end of the handshake. TCP clients.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connect: Option<Distribution>,
    /// MySQL: from the server's greeting to its OK; under TLS up to what answered the client's password.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub handshake: Option<Distribution>,
    /// `connect` and `handshake` in sum over the time that the service's HTTP requests took in sum. Clients.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub handshake_share: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lifetime: Option<Distribution>,
    /// From the handshake's end to accept(). Servers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub accept_wait: Option<Distribution>,
    /// Sockets in TIME_WAIT at the end of the window; unknown for Unix sockets.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time_wait: Option<u64>,
    /// Time within exchanges, and without one, of connections that could be read; seconds within the window.
    pub busy_seconds: f64,
    pub idle_seconds: f64,
    /// MySQL clients, of exchanges that have ended or were under way when last looked at: time during which at least one
    /// was under way; the most that were so at one time but for moments; time during which so many were.
    #[serde(default)]
    pub used_seconds: f64,
    #[serde(default)]
    pub ceiling: u64,
    #[serde(default)]
    pub full_seconds: f64,
    /// The median of how many connections were open, over the time of exchanges. MySQL clients.
    #[serde(default)]
    pub usually_open: u64,
    /// Seconds of the window in which at least one was established.
    pub opening_seconds: u64,
    /// When the first was established within the window, and when the last attempt failed: seconds since the window's
    /// begin.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_established: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_failed: Option<f64>,
    /// Ended in the middle of an exchange, and by what.
    pub cut: u64,
    #[serde(default)]
    pub cut_by: ClosedBy,
    /// Servers: of those that the service itself cut, the ones whose process ended within 2 s: it crashed, was killed, or
    /// was stopped.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub cut_by_exit: u64,
    /// Clients: the server ended them, and the client then wrote to them.
    pub gone: u64,
    /// MySQL: of those, the ones to which nothing but `SELECT 1` was written, as pools do to find out.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub gone_validated: u64,
    /// How long those had been idle when the server ended them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gone_idle: Option<Distribution>,
    /// When it ended them, seconds since the window's begin.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gone_at: Option<Distribution>,
    /// How the server ended them: `fin`, `reset`, or the MySQL error that it said before.
    #[serde(default, skip_serializing_if = "Counters::is_empty")]
    pub gone_by: Counters,
    /// MySQL: errors that the server said unasked before it hung up, by number.
    #[serde(default, skip_serializing_if = "Counters::is_empty")]
    pub farewells: Counters,
    /// Clients: requests without an end when the window ended, but for those that wait by design, and the longest time
    /// since the last byte that was sent or that came, seconds.
    pub waiting: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub oldest_waiting: Option<f64>,
    /// MySQL clients: sessions with an open transaction and nothing under way at the end of the window, and how long the
    /// longest has been idle so, at any time, seconds.
    pub open_transactions: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub longest_open_transaction: Option<f64>,
    /// Method and route of the HTTP request that the longest one's last command was sent for, and how much of that time
    /// was after its response, seconds; where that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub open_transaction_route: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub open_transaction_after_response: Option<f64>,
}

/// What ended connections first.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClosedBy {
    /// The service's own FIN or reset.
    pub us: u64,
    /// The peer's FIN.
    pub peer: u64,
    /// The peer's reset.
    pub reset: u64,
    /// No answer any more: packets were repeated in vain.
    pub timeout: u64,
    /// Another error, as of a connection that the host's administrator has destroyed.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub error: u64,
    /// Unix sockets that were found closed. Not told apart.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub unknown: u64,
}

fn is_zero(n: &u64) -> bool {
    *n == 0
}
