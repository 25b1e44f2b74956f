//! What went wrong with the connections of a service to one peer: its rows go in, sums out.

use super::super::peer::{Peer, listed};
use super::super::{Facts, server_gone_away};
use super::advice::HUNG_UP;
use super::waited::Waited;
use super::ways::Ways;
use crate::output::style::units;
use crate::report::Counters;

/// Unix sockets of daemons that libraries ask after, whether they run or not.
const OPTIONAL: &[&str] = &[
    "unix:/dev/log",
    "unix:/run/avahi-daemon/",
    "unix:/run/dbus/",
    "unix:/run/nscd/",
    "unix:/run/pcscd/",
    "unix:/run/systemd/",
    "unix:/run/user/",
    "unix:/run/uuidd/",
    "unix:/tmp/.X11-unix/",
    "unix:@/tmp/.X11-unix/",
    "unix:/var/lib/sss/",
    "unix:/var/run/avahi-daemon/",
    "unix:/var/run/dbus/",
    "unix:/var/run/nscd/",
    "unix:/var/run/uuidd/",
];

/// Errors of connects that nobody listens for.
const NOBODY: &[&str] = &["ECONNREFUSED", "ENOENT"];

/// An abstract Unix socket: a name of which programs find out by a connect whether another one has it.
const ABSTRACT: &str = "unix:@";

/// What went wrong with the connections to one peer.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Failures {
    /// Connects, by the error's name.
    pub(super) connects: Counters,
    pub(super) failed: u64,
    pub(super) attempted: u64,
    /// Ended within an exchange by a reset, or for want of an answer.
    pub(super) resets: u64,
    pub(super) timeouts: u64,
    /// HTTP: ended by the server's FIN before the response had its end.
    pub(super) hung_up: u64,
    /// Besides: long polls that were.
    pub(super) waited: Waited,
    /// Those that there were.
    pub(super) connections: u64,
}

impl Failures {
    pub(super) fn of(facts: &Facts<'_>, peer: &Peer<'_>, ways: &Ways<'_>) -> Self {
        let mut connects = peer.counters(|row| &row.failed);
        if peer.address.starts_with(ABSTRACT) {
            connects.retain(|error, _| !NOBODY.contains(&error.as_str()));
        }
        let failed = connects.values().sum();
        let mysql = peer.rows.iter().any(|row| row.protocol == "mysql");
        let errors = mysql.then(|| peer.mysql_errors(facts));
        let too_large = errors.and_then(|mut errors| errors.remove(server_gone_away::TOO_LARGE)).unwrap_or(0);
        let hung_up = peer.sum(|row| if row.protocol == "http" { row.cut_by.peer } else { 0 });
        let waited = if hung_up > 0 { Waited::of(facts, peer) } else { Waited::default() };
        let all = Self {
            connects,
            failed,
            attempted: peer.sum(|row| row.attempted),
            resets: peer.sum(|row| row.cut_by.reset).saturating_sub(too_large),
            timeouts: peer.sum(|row| row.cut_by.timeout),
            hung_up: hung_up.saturating_sub(waited.count),
            waited,
            connections: peer.sum(|row| row.established + row.preexisting),
        };
        if is_optional(peer.address) || has_got_in(peer) || ways.has_other(peer, failed) {
            return Self { connects: Counters::new(), failed: 0, ..all };
        }
        all
    }

    pub(super) fn cut(&self) -> u64 {
        self.resets + self.timeouts + self.hung_up
    }

    /// The error of most connects.
    pub(super) fn most(&self) -> &str {
        self.connects.iter().max_by_key(|(_, count)| **count).map_or("", |(name, _)| name)
    }

    /// What is behind most of it: the error of connects, [`HUNG_UP`], or nothing: resets.
    pub(super) fn worst(&self) -> &str {
        if self.failed >= self.cut() {
            self.most()
        } else if self.hung_up > self.resets + self.timeouts {
            HUNG_UP
        } else {
            ""
        }
    }

    /// Of several peers.
    pub(super) fn sum<T>(crowd: &[(T, Self)]) -> Self {
        crowd.iter().fold(Self::default(), |mut sum, (_, all)| {
            for (error, count) in &all.connects {
                *sum.connects.entry(error.clone()).or_default() += count;
            }
            sum.failed += all.failed;
            sum.attempted += all.attempted;
            sum.resets += all.resets;
            sum.timeouts += all.timeouts;
            sum.hung_up += all.hung_up;
            sum.connections += all.connections;
            sum
        })
    }

    /// What is too little to judge.
    pub(super) fn few(&self) -> String {
        if self.cut() > 0 {
            return units::things(self.cut(), "connection was cut", "connections were cut");
        }
        format!("{} of {} connects failed ({})", self.failed, self.attempted, listed(&self.connects))
    }

    /// Those that ended in the middle of an exchange: `9 connections were reset`.
    pub(super) fn cuts(&self) -> String {
        let ways = [
            (self.resets, "reset"),
            (self.timeouts, "without an answer any more"),
            (self.hung_up, "closed by the server"),
        ];
        let mut ways = ways.into_iter().filter(|(count, _)| *count > 0);
        let Some((count, how)) = ways.next() else { return String::new() };
        let first = format!("{} {how}", units::things(count, "connection was", "connections were"));
        ways.fold(first, |told, (count, how)| format!("{told}, {} {how}", units::count(count)))
    }
}

/// Whether an address is of a daemon that libraries ask after, whether it runs or not.
pub(crate) fn is_optional(address: &str) -> bool {
    OPTIONAL.iter().any(|path| address.starts_with(path))
}

/// Whether all attempts that failed came before the first that did not: a client that waited for its server.
fn has_got_in(peer: &Peer<'_>) -> bool {
    let mut failing = peer.rows.iter().filter(|row| !row.failed.is_empty());
    // One that had connections before did not wait for its server to start.
    let is_new = peer.rows.iter().all(|row| row.preexisting == 0);
    is_new
        && failing.all(|row| match (row.first_established, row.last_failed) {
            (Some(first), Some(last)) => first > last,
            _ => false,
        })
}
