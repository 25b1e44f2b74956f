//! Signs of why a server hung up, the same for all protocols: how long connections had been idle, and whether the server
//! went down. Also how idle times are said.

use super::super::Facts;
use super::super::peer::Peer;
use crate::output::style::units::{self, duration};
use crate::report::{ConnectionRow, Counters, Distribution};

/// A server's timers are late by no more than this, seconds, and a hundredth of the time.
const LATE: f64 = 0.25;
/// A client reads its last reply so long after the server began to wait, seconds.
const EARLY: f64 = 0.1;
/// A server closes its socket so long before it ends connections, and it is found closed so much later, seconds.
const SOON: f64 = 2.0;
const LATER: f64 = 3.0;

/// Whether half of them or more ended so.
pub(super) fn mostly(by: &Counters, how: &str) -> bool {
    2 * by.get(how).copied().unwrap_or(0) >= by.values().sum()
}

/// Connects to the same address that nobody listened to, whatever is known of their protocol.
pub(super) fn refused_connects(facts: &Facts<'_>, peer: &Peer<'_>) -> u64 {
    let ended = peer.rows.iter().filter_map(|row| row.gone_at).map(|at| at.min).reduce(f64::min);
    // What was refused before is of a server that had not started yet.
    let since = |row: &ConnectionRow| match (row.last_failed, ended) {
        (Some(failed), Some(ended)) => failed >= ended - SOON,
        _ => true,
    };
    let all = Peer::all(facts, |row| row.service == peer.service && row.peer == peer.address && since(row));
    let failed = all.first().map(|peer| peer.counters(|row| &row.failed)).unwrap_or_default();
    ["ECONNREFUSED", "ENOENT"].iter().filter_map(|name| failed.get(*name)).sum()
}

/// Whether the server, if it is on this host, went down when it ended them.
pub(super) fn went_down(facts: &Facts<'_>, peer: &Peer<'_>) -> bool {
    let closed = facts.listeners.iter().filter(|row| peer.comes_to(row) == Some(true));
    let closed: Vec<f64> = closed.flat_map(|row| &row.closed_at).copied().collect();
    let ended = peer.rows.iter().filter_map(|row| row.gone_at);
    ended.into_iter().any(|at| closed.iter().any(|closed| (at.p50 - SOON..at.p50 + LATER).contains(closed)))
}

/// The whole seconds that all of these times agree on. A client that read its last reply late was idle for less than the
/// server's timer ran.
pub(super) fn whole_seconds(idle: Distribution) -> Option<f64> {
    let seconds = (idle.min + EARLY).floor();
    (seconds >= 1.0 && idle.max <= seconds + LATE + seconds / 100.0).then_some(seconds)
}

/// `1 s`, `28,800 s`.
pub(super) fn whole(seconds: f64) -> String {
    format!("{} s", units::count(seconds as u64))
}

/// `1.00 s`, `1.00 s to 3.00 s`.
pub(super) fn span(idle: Distribution) -> String {
    let (least, most) = (duration(idle.min), duration(idle.max));
    if least == most { least } else { format!("{least} to {most}") }
}
