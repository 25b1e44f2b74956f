//! What connections of one service with one peer have come to: what happens to them goes in, a row of the report out.

mod report;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use profiler_ebpf::life::{Life, end, mark};

use super::ended::{self, Ended};
use super::held::Transaction;
use super::protocol::{Protocol, Spoken};
use super::seconds::Seconds;
use super::table::Id;
use crate::aggregate::distribution::Histogram;
use crate::aggregate::levels::Levels;
use crate::exchange::seconds;
use crate::report::{ClosedBy, Counters};

/// Connections of a row that is to be.
#[derive(Debug, Clone, Default)]
pub(super) struct Row {
    pub(super) spoken: Spoken,
    pub(super) live: u64,
    /// What the last survey saw.
    pub(super) now: Now,
    /// When something happened to one of them, ns.
    pub(super) touched: u64,
    /// Sockets of theirs in TIME_WAIT, where that was looked up.
    pub(super) time_wait: Option<u64>,
    pub(super) exchanges: u64,
    /// How many their own FIN or reset has ended.
    pub(super) closed_by: ClosedBy,
    pub(super) handshake: Histogram,
    /// MySQL clients: of those that were gone, the ones that were found so by a validation query.
    pub(super) gone_validated: u64,
    /// Servers: of those that were cut, whose process ended with them.
    pub(super) cut_by_exit: u64,
    /// The longest time that a session has been idle in an open transaction.
    transaction: Option<Transaction>,
    established: u64,
    preexisting: u64,
    peak: u64,
    closed: u64,
    failed: BTreeMap<u8, u64>,
    per_connection: Histogram,
    connect: Histogram,
    lifetime: Histogram,
    accept_wait: Histogram,
    /// ns.
    busy: u64,
    idle: u64,
    opening: Seconds,
    cut: u64,
    cut_by: ClosedBy,
    gone: u64,
    gone_idle: Histogram,
    gone_at: Histogram,
    /// MySQL clients: time by how many were busy, and by how many were open while one was.
    levels: Levels,
    open: Levels,
    gone_by: Counters,
    farewells: BTreeMap<u16, u64>,
    /// When the window began, once a connection was tried within it, and when the first one was established; ns.
    begun: Option<u64>,
    first_established: Option<u64>,
    /// When the last attempt failed, ns.
    last_failed: Option<u64>,
}

/// What a survey sees of a row's live connections.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Now {
    pub(super) connecting: u64,
    pub(super) waiting: u64,
    /// ns.
    pub(super) oldest_waiting: u64,
    pub(super) open_transactions: u64,
    pub(super) busy: u64,
    pub(super) idle: u64,
}

impl Row {
    /// A connection that was there before us.
    pub(super) fn stood(&mut self) {
        self.preexisting += 1;
        self.begin();
    }

    /// It turned out to be another row's, or none any more.
    pub(super) fn stood_not(&mut self) {
        self.preexisting = self.preexisting.saturating_sub(1);
        self.live = self.live.saturating_sub(1);
    }

    /// One of them is not there any more, and nothing has told how it ended.
    pub(super) fn vanished(&mut self) {
        self.closed += 1;
        self.closed_by.unknown += 1;
        self.live = self.live.saturating_sub(1);
    }

    /// A connection that was established since `begun`.
    pub(super) fn opened(&mut self, life: &Life, begun: u64, is_client: bool) {
        self.established += 1;
        self.begin();
        self.opening.add(life.t_open.saturating_sub(begun) / 1_000_000_000);
        self.begun = Some(begun);
        self.first_established = first(self.first_established, Some(life.t_open));
        if is_client && life.t_connect != 0 {
            self.connect.record(seconds(life.t_connect, life.t_open));
        }
        if !is_client && life.t_accept != 0 {
            self.accept_wait.record(seconds(life.t_open, life.t_accept));
        }
    }

    /// It turned out to be another row's.
    pub(super) fn opened_not(&mut self) {
        self.established = self.established.saturating_sub(1);
        self.live = self.live.saturating_sub(1);
    }

    fn begin(&mut self) {
        self.live += 1;
        self.peak = self.peak.max(self.live);
    }

    /// A connection has ended, which spoke `protocol`. The window has begun at `begun`.
    pub(super) fn closed(&mut self, life: &Life, protocol: Protocol, begun: u64) {
        self.closed += 1;
        self.live = self.live.saturating_sub(1);
        Ended::of(life).count(&mut self.closed_by);
        let readable = life.marks & mark::TLS == 0 && matches!(protocol, Protocol::Http | Protocol::Mysql);
        let over = if life.t_end != 0 { life.t_end } else { life.t_closed };
        if life.t_open != 0 {
            self.lifetime.record(seconds(life.t_open, over.max(life.t_open)));
            if readable {
                self.per_connection.record(f64::from(life.exchanges));
            }
        }
        if readable {
            let (busy, idle) = share(life.busy, life.t_open.max(begun), over);
            self.busy += busy;
            self.idle += idle;
        }
        // What was asked too late was not under way when it ended.
        if life.marks & (mark::CUT | mark::GONE) == mark::CUT {
            self.cut += 1;
            Ended::of(life).count(&mut self.cut_by);
        }
        if life.farewell != 0 {
            *self.farewells.entry(life.farewell).or_default() += 1;
        }
        if life.marks & mark::GONE != 0 {
            self.gone(life, begun);
        }
    }

    /// Its client wrote to a connection that its server had ended.
    pub(super) fn gone(&mut self, life: &Life, begun: u64) {
        self.gone += 1;
        self.gone_at.record(seconds(begun, life.t_end));
        self.gone_idle.record(life.idle as f64 / 1e9);
        let by = match life.end {
            _ if life.farewell != 0 => life.farewell.to_string(),
            end::RESET => "reset".to_owned(),
            _ => "fin".to_owned(),
        };
        *self.gone_by.entry(by).or_default() += 1;
    }

    /// An attempt has failed, at `time`. The window has begun at `begun`.
    pub(super) fn failed(&mut self, error: u8, time: u64, begun: u64) {
        *self.failed.entry(error).or_default() += 1;
        self.begun = Some(begun);
        self.last_failed = self.last_failed.max(Some(time));
    }

    /// Something is known of it, or of a connection that goes on.
    pub(super) fn is_empty(&self) -> bool {
        let counts =
            [self.established, self.preexisting, self.closed, self.gone, self.live, self.now.connecting];
        counts.iter().sum::<u64>() == 0 && self.failed.is_empty() && self.exchanges == 0
    }

    /// A survey begins.
    pub(super) fn survey(&mut self) {
        self.now = Now::default();
        self.levels.look();
    }

    /// An exchange of one of them is under way, which began at `start`.
    pub(super) fn exchanging(&mut self, id: Id, start: u64, now: u64) {
        self.levels.see(id, start, now);
    }

    /// An exchange of one of them was under way for so long.
    pub(super) fn exchanged(&mut self, id: Id, start: u64, end: u64) {
        self.levels.add(id, start, end);
        self.open.spend(self.live, end.saturating_sub(start));
    }

    /// A session of theirs has been idle in an open transaction.
    pub(super) fn idled(&mut self, transaction: Transaction) {
        if self.transaction.as_ref().is_none_or(|longest| longest.idle <= transaction.idle) {
            self.transaction = Some(transaction);
        }
    }

    /// Adds another row that is shown as one with this.
    pub(super) fn merge(&mut self, other: &Self) {
        self.spoken.merge(&other.spoken);
        self.touched = self.touched.max(other.touched);
        self.live += other.live;
        self.established += other.established;
        self.preexisting += other.preexisting;
        self.peak += other.peak;
        self.closed += other.closed;
        self.exchanges += other.exchanges;
        self.busy += other.busy;
        self.idle += other.idle;
        self.cut += other.cut;
        self.cut_by_exit += other.cut_by_exit;
        self.gone += other.gone;
        self.gone_validated += other.gone_validated;
        self.opening.merge(&other.opening);
        self.begun = self.begun.or(other.begun);
        self.first_established = first(self.first_established, other.first_established);
        self.last_failed = self.last_failed.max(other.last_failed);
        add(&mut self.failed, &other.failed);
        add(&mut self.farewells, &other.farewells);
        add(&mut self.gone_by, &other.gone_by);
        for (ours, theirs) in [
            (&mut self.per_connection, &other.per_connection),
            (&mut self.connect, &other.connect),
            (&mut self.handshake, &other.handshake),
            (&mut self.lifetime, &other.lifetime),
            (&mut self.accept_wait, &other.accept_wait),
            (&mut self.gone_idle, &other.gone_idle),
            (&mut self.gone_at, &other.gone_at),
        ] {
            ours.merge(theirs);
        }
        for (ours, theirs) in [(&mut self.closed_by, &other.closed_by), (&mut self.cut_by, &other.cut_by)] {
            ended::add(ours, theirs);
        }
        self.levels.merge(&other.levels);
        self.open.merge(&other.open);
        self.time_wait = sum(self.time_wait, other.time_wait);
        if let Some(transaction) = &other.transaction {
            self.idled(transaction.clone());
        }
        self.now.add(&other.now);
    }
}

impl Now {
    fn add(&mut self, other: &Self) {
        self.connecting += other.connecting;
        self.waiting += other.waiting;
        self.oldest_waiting = self.oldest_waiting.max(other.oldest_waiting);
        self.open_transactions += other.open_transactions;
        self.busy += other.busy;
        self.idle += other.idle;
    }
}

/// Time within exchanges and without, of a connection that was seen from `from` to `to`, ns.
pub(super) fn share(busy: u64, from: u64, to: u64) -> (u64, u64) {
    let whole = to.saturating_sub(from);
    let busy = busy.min(whole);
    (busy, whole - busy)
}

/// The earlier of two times, of those that there are.
fn first(a: Option<u64>, b: Option<u64>) -> Option<u64> {
    a.into_iter().chain(b).min()
}

fn sum(a: Option<u64>, b: Option<u64>) -> Option<u64> {
    if a.is_none() && b.is_none() { None } else { Some(a.unwrap_or(0) + b.unwrap_or(0)) }
}

fn add<K: Ord + Clone>(to: &mut BTreeMap<K, u64>, from: &BTreeMap<K, u64>) {
    for (key, n) in from {
        *to.entry(key.clone()).or_default() += n;
    }
}
