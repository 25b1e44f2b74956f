//! Connections and listening sockets: the rows of the report, and the lines of a trace.

use super::Field;
use super::Kind::{self, Counters, Flag, List, Name, Number, Object, OneOf, Quantiles, Time, Whole};
use super::exchanges::ROLE;

const PROTOCOL: Kind = OneOf(&["http", "mysql", "tls", "http2", "other", "unknown"]);

const CLOSED_BY: Kind = Object(&[
    ("us", true, Whole),
    ("peer", true, Whole),
    ("reset", true, Whole),
    ("timeout", true, Whole),
    // An addition: Unix sockets that were found closed.
    ("unknown", false, Whole),
]);

pub(super) const CONNECTION: &[Field] = &[
    ("service", true, Name),
    ROLE,
    ("peer", true, Name),
    // An addition, as all that the contract does not name.
    ("peer_name", false, Name),
    ("protocol", true, PROTOCOL),
    ("netns", true, Whole),
    ("established", true, Whole),
    ("attempted", true, Whole),
    ("closed", true, Whole),
    ("failed", false, Counters),
    ("closed_by", true, CLOSED_BY),
    ("preexisting", true, Whole),
    ("live", true, Whole),
    ("peak", true, Whole),
    ("exchanges", true, Whole),
    ("exchanges_per_connection", false, Quantiles),
    ("connect", false, Quantiles),
    ("handshake", false, Quantiles),
    ("handshake_share", false, Number),
    ("lifetime", false, Quantiles),
    ("accept_wait", false, Quantiles),
    ("time_wait", false, Whole),
    ("busy_seconds", true, Number),
    ("idle_seconds", true, Number),
    ("used_seconds", true, Number),
    ("ceiling", true, Whole),
    ("full_seconds", true, Number),
    ("usually_open", true, Whole),
    ("opening_seconds", true, Whole),
    ("first_established", false, Number),
    ("last_failed", false, Number),
    ("cut", true, Whole),
    ("cut_by", true, CLOSED_BY),
    ("gone", true, Whole),
    ("gone_idle", false, Quantiles),
    ("gone_at", false, Quantiles),
    ("gone_by", false, Counters),
    ("farewells", false, Counters),
    ("waiting", true, Whole),
    ("oldest_waiting", false, Number),
    ("open_transactions", true, Whole),
    ("longest_open_transaction", false, Number),
];

pub(super) const LISTENER: &[Field] = &[
    ("service", true, Name),
    ("address", true, Name),
    ("netns", true, Whole),
    ("workers", true, Whole),
    ("processes", true, Whole),
    ("in_flight", true, Whole),
    ("peak_in_flight", true, Whole),
    ("requests", true, Whole),
    ("backlog", true, Whole),
    ("peak_backlog", true, Whole),
    ("backlog_max", false, Whole),
    ("overflows", true, Whole),
    ("closed_at", false, List(&Number)),
    ("accept_wait", false, Quantiles),
    ("queue", false, Quantiles),
    ("concurrency", true, Number),
    ("cpu", false, Number),
    ("oldest_waiting", false, Number),
    ("unread", true, Whole),
    ("silent", false, Number),
    ("silence", false, Number),
    ("longest_silence", true, Number),
];

/// A line of `trace --format json` that tells of a connection.
pub const CONNECTION_LINE: Kind = Object(&[
    ("type", true, OneOf(&["connection"])),
    ("time", true, Time),
    ("service", true, Name),
    ("pid", true, Whole),
    ROLE,
    ("local", false, Name),
    ("peer", false, Name),
    ("protocol", true, PROTOCOL),
    ("netns", true, Whole),
    ("event", true, OneOf(&["opened", "closed", "failed", "gone"])),
    ("closed_by", false, OneOf(&["us", "peer", "reset", "timeout", "unknown"])),
    ("how", false, Name),
    ("error_type", false, Name),
    ("connect", false, Number),
    ("accept_wait", false, Number),
    ("handshake", false, Number),
    ("lifetime", false, Number),
    ("idle", false, Number),
    ("busy", false, Number),
    ("exchanges", false, Whole),
    ("farewell", false, Whole),
    ("cut", false, Flag),
    ("gone", false, Flag),
]);
