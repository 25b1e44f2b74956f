//! The report: what a window of recording found, as data. The aggregate stage fills it, every output renders it,
//! and serde writes it as the JSON schema `hostprof.report/1` that users and dashboards rely on.
//!
//! Durations are seconds, sizes bytes, times RFC 3339 with nanoseconds. Unknown values are `None` or absent, never
//! invented; an empty list means that nothing was seen.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::kernel::hooks::Wait;
use crate::stall::Stall;

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
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
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
