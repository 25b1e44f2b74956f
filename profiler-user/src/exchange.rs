//! An exchange: one request and its response as the stages after parsing see it, with names instead of raw bytes.
//!
//! Comes from the parse stage, goes to attribution, aggregation and `trace`. Times are nanoseconds of the kernel's
//! monotonic clock; what was not seen is `None`.

use std::sync::Arc;

use crate::report::{Clock, Role, RouteSource};

/// One finished exchange.
#[derive(Debug, Clone, PartialEq)]
pub struct Exchange {
    pub pid: u32,
    pub tid: u32,
    /// The thread's name in the kernel, kept for processes that end before they can be looked up.
    pub comm: String,
    pub role: Role,
    /// Our end and the other: `ip:port`, `[ip6]:port` or `unix:PATH`. Empty for an unnamed Unix socket.
    pub local: String,
    pub peer: String,
    pub local_port: u16,
    pub peer_port: u16,
    pub times: Times,
    /// All bytes on the wire, heads and packet headers included.
    pub request_bytes: u64,
    pub response_bytes: u64,
    /// A connection's end in the middle of the exchange: OpenTelemetry's `error.type`, such as `ECONNRESET` or `closed`.
    pub transport_error: Option<String>,
    /// Counted apart from durations: WebSocket, server-sent events, NDJSON, binlog dump.
    pub stream: bool,
    /// The head was longer than what was kept of it.
    pub truncated: bool,
    pub call: Call,
}

/// What a server's client waits for, in its order. Of the first request of a connection: the handshake's end to accept();
/// then arrival (or accept(), if that was later) to first read, to last read, to first write, to last write.
pub const PHASES: [&str; 5] = ["accept", "queue", "receive", "serve", "send"];

/// The instants of an exchange, ns on the kernel's monotonic clock.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Times {
    /// The first request of a connection that a server accepted: the handshake's end, and accept()'s.
    pub opened: Option<u64>,
    pub accepted: Option<u64>,
    /// The request's first byte in the kernel (servers, where a hook tells).
    pub arrival: Option<u64>,
    /// First read (servers) or first write (clients) of the request. `None` where it was not seen.
    pub start: Option<u64>,
    /// Last read or write of the request.
    pub request_end: Option<u64>,
    /// First byte of the response.
    pub first: Option<u64>,
    /// Last byte of the response, or the instant of the error.
    pub last: u64,
}

/// What was asked and answered.
#[derive(Debug, Clone, PartialEq)]
pub enum Call {
    Http(HttpCall),
    Mysql(MysqlCall),
}

/// An HTTP request and its status.
#[derive(Debug, Clone, PartialEq)]
pub struct HttpCall {
    pub method: String,
    /// The path without its query string.
    pub path: String,
    pub route: Arc<str>,
    pub route_source: RouteSource,
    pub status: Option<u16>,
}

/// A MySQL command and its reply.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct MysqlCall {
    /// `query`, `prepare`, `execute`, `ping`, `handshake`, ...
    pub command: &'static str,
    /// Hash of the literal-free text; `None` for commands without a statement.
    pub digest: Option<u64>,
    pub digest_text: Option<Arc<str>>,
    pub schema: Option<Arc<str>>,
    pub error: Option<MysqlError>,
    pub rows_returned: Option<u64>,
    pub rows_affected: Option<u64>,
    pub no_index: bool,
    pub no_good_index: bool,
    pub server_slow: bool,
    /// Whether a transaction is open after it, where the reply says so.
    pub in_transaction: Option<bool>,
}

/// Whether a statement asks nothing but whether the server is there: `SELECT 1`, `SELECT 1 FROM DUAL`. In goes its text
/// without literals.
pub fn is_validation(digest_text: &str) -> bool {
    digest_text
        .strip_prefix("SELECT ?")
        .is_some_and(|rest| rest.is_empty() || rest.eq_ignore_ascii_case(" FROM DUAL"))
}

/// The server's error.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MysqlError {
    pub number: u16,
    /// Five characters, absent before the handshake is done.
    pub sqlstate: Option<String>,
}

impl Times {
    /// Seconds from the request's arrival (else its start) to the last byte of the response; `None` where the start
    /// was not seen.
    pub fn duration(&self) -> Option<f64> {
        Some(seconds(self.arrival.or(self.start)?, self.last))
    }

    /// Seconds to the response's first byte, from the same start as [`Times::duration`].
    pub fn first_byte(&self) -> Option<f64> {
        Some(seconds(self.arrival.or(self.start)?, self.first?))
    }

    /// From the request's first byte, or from accept() where that was later, to its first read: seconds.
    pub fn queue(&self) -> Option<f64> {
        Some(seconds(self.arrival?.max(self.accepted.unwrap_or(0)), self.start?))
    }

    /// What a server's client has waited for, as [`PHASES`] names it. No time is in two of them.
    pub fn phases(&self) -> [Option<f64>; PHASES.len()] {
        let between = |from: Option<u64>, to: Option<u64>| Some(seconds(from?, to?));
        [
            between(self.opened, self.accepted),
            self.queue(),
            between(self.start, self.request_end),
            between(self.request_end, self.first),
            between(self.first, Some(self.last)),
        ]
    }

    /// Which clock a server's duration runs on.
    pub fn clock(&self) -> Option<Clock> {
        match (self.arrival, self.start) {
            (Some(_), _) => Some(Clock::Arrival),
            (None, Some(_)) => Some(Clock::Read),
            (None, None) => None,
        }
    }
}

/// Seconds between two instants in ns. Negative when they are in reverse, which no exchange should be: said as it is,
/// so that it can be noticed.
pub fn seconds(from: u64, to: u64) -> f64 {
    to.wrapping_sub(from).cast_signed() as f64 / 1e9
}

impl Exchange {
    /// A transport error, an HTTP status of 400 or more, or a MySQL error: what `--errors` shows.
    pub fn is_error(&self) -> bool {
        self.transport_error.is_some()
            || match &self.call {
                Call::Http(call) => call.status.is_some_and(|s| s >= 400),
                Call::Mysql(call) => call.error.is_some(),
            }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    fn times(opened: Option<u64>, arrival: u64, accepted: Option<u64>) -> Times {
        let at = |seconds: u64| seconds * SECOND;
        Times {
            opened: opened.map(at),
            accepted: accepted.map(at),
            arrival: Some(at(arrival)),
            start: Some(at(10)),
            request_end: Some(at(11)),
            first: Some(at(14)),
            last: at(15),
        }
    }

    fn sum(times: &Times) -> f64 {
        times.phases().into_iter().flatten().sum()
    }

    #[test]
    fn the_phases_of_a_first_request_add_up_from_the_handshake() {
        let waited = times(Some(1), 2, Some(8));
        assert_eq!(waited.phases().map(Option::unwrap), [7.0, 2.0, 1.0, 3.0, 1.0]);
        assert_eq!(sum(&waited), 14.0, "handshake to last byte");
        assert_eq!(waited.duration(), Some(13.0), "from the first byte, as ever");
    }

    #[test]
    fn a_client_that_sends_late_waits_from_then_on() {
        let late = times(Some(1), 6, Some(2));
        assert_eq!(late.phases()[..2], [Some(1.0), Some(4.0)]);
        assert_eq!(sum(&late), 10.0, "without the client's own pause");
    }

    #[test]
    fn the_phases_of_a_later_request_are_its_duration() {
        let later = times(None, 7, None);
        assert_eq!(later.phases()[..2], [None, Some(3.0)]);
        assert_eq!(Some(sum(&later)), later.duration());
    }
}
