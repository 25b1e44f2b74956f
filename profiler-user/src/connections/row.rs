//! What connections of one service with one peer have come to: what happens to them goes in, a row of the report out.

use std::collections::BTreeMap;

use profiler_ebpf::life::{Life, end, mark};

use super::ended::{self, Ended};
use super::errno;
use super::held::Transaction;
use super::protocol::{Protocol, Spoken};
use super::table::Id;
use crate::aggregate::ConnectionBuckets;
use crate::aggregate::buckets::Buckets;
use crate::aggregate::distribution::Histogram;
use crate::aggregate::levels::Levels;
use crate::exchange::seconds;
use crate::report::{ClosedBy, ConnectionRow, Counters};

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

/// Distinct seconds, told of in about their order.
#[derive(Debug, Clone, Copy, Default)]
struct Seconds {
    count: u64,
    last: u64,
    /// Bit n: the nth second before the last.
    seen: u64,
}

impl Seconds {
    fn add(&mut self, second: u64) {
        if self.seen == 0 || second > self.last {
            let by = u32::try_from(second - self.last).unwrap_or(u32::MAX);
            self.seen = self.seen.checked_shl(by).unwrap_or(0) | 1;
            (self.last, self.count) = (second, self.count + 1);
            return;
        }
        let bit = u32::try_from(self.last - second).ok().and_then(|by| 1u64.checked_shl(by));
        if let Some(bit) = bit.filter(|bit| self.seen & bit == 0) {
            self.seen |= bit;
            self.count += 1;
        }
    }

    /// Of rows that are shown as one.
    fn merge(&mut self, other: &Self) {
        self.count = self.count.max(other.count);
    }
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

    /// Its histograms, for metrics.
    pub(super) fn buckets(&self) -> ConnectionBuckets {
        let of = |histogram: &Histogram, empty: &Buckets| histogram.buckets(empty.bounds);
        let empty = ConnectionBuckets::default();
        ConnectionBuckets {
            connects: of(&self.connect, &empty.connects),
            handshakes: of(&self.handshake, &empty.handshakes),
            lifetimes: of(&self.lifetime, &empty.lifetimes),
            exchanges: of(&self.per_connection, &empty.exchanges),
        }
    }

    /// As the report has it; who and whom is the caller's.
    pub(super) fn report(&self, is_client: bool) -> ConnectionRow {
        let ns = |ns: u64| ns as f64 / 1e9;
        let plateau = self.levels.plateau();
        ConnectionRow {
            exchanges_per_connection: self.per_connection.snapshot(),
            connect: self.connect.snapshot(),
            handshake: self.handshake.snapshot(),
            lifetime: self.lifetime.snapshot(),
            accept_wait: self.accept_wait.snapshot(),
            used_seconds: ns(plateau.used),
            ceiling: plateau.level,
            full_seconds: ns(plateau.full),
            usually_open: self.open.median(),
            gone_idle: self.gone_idle.snapshot(),
            gone_at: self.gone_at.snapshot(),
            ..self.counts(is_client)
        }
    }

    /// The same without what takes long to work out: distributions, and times at each level.
    pub(super) fn counts(&self, is_client: bool) -> ConnectionRow {
        let failed = |(error, n): (&u8, &u64)| {
            (if *error == 0 { "abandoned".to_owned() } else { errno::of(*error) }, *n)
        };
        let failed: Counters = self.failed.iter().map(failed).collect();
        let tried = self.established + failed.values().sum::<u64>() + self.now.connecting;
        let ns = |ns: u64| ns as f64 / 1e9;
        let longest = self.transaction.as_ref();
        let since_begin = |time: Option<u64>| Some(seconds(self.begun?, time?));
        ConnectionRow {
            protocol: self.spoken.name().to_owned(),
            established: self.established,
            attempted: if is_client { tried } else { 0 },
            closed: self.closed,
            failed,
            closed_by: self.closed_by,
            preexisting: self.preexisting,
            live: self.live,
            peak: self.peak,
            exchanges: self.exchanges,
            time_wait: self.time_wait,
            busy_seconds: ns(self.busy + self.now.busy),
            idle_seconds: ns(self.idle + self.now.idle),
            opening_seconds: self.opening.count,
            first_established: since_begin(self.first_established),
            last_failed: since_begin(self.last_failed),
            cut: self.cut,
            cut_by: self.cut_by,
            cut_by_exit: self.cut_by_exit,
            gone: self.gone,
            gone_validated: self.gone_validated,
            gone_by: self.gone_by.clone(),
            farewells: self.farewells.iter().map(|(number, n)| (number.to_string(), *n)).collect(),
            waiting: self.now.waiting,
            oldest_waiting: (self.now.waiting > 0).then(|| ns(self.now.oldest_waiting)),
            open_transactions: self.now.open_transactions,
            longest_open_transaction: longest.map(|longest| ns(longest.idle)),
            open_transaction_route: longest.and_then(|longest| Some(longest.route.as_ref()?.to_string())),
            open_transaction_after_response: longest.and_then(|longest| longest.after_response.map(ns)),
            ..ConnectionRow::default()
        }
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

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;
    const ID: Id = (1, 1);

    fn life() -> Life {
        Life { t_connect: 9 * SECOND, t_open: 10 * SECOND, ..Life::default() }
    }

    #[test]
    fn from_open_to_close() {
        let mut row = Row::default();
        row.opened(&life(), 5 * SECOND, true);
        let open = row.report(true);
        assert_eq!((open.established, open.live, open.peak, open.attempted), (1, 1, 1, 1));
        assert_eq!(open.connect.unwrap().sum, 1.0);
        let over = Life {
            t_end: 14 * SECOND,
            t_closed: 20 * SECOND,
            busy: SECOND,
            exchanges: 3,
            end: end::OURS,
            ..life()
        };
        row.closed(&over, Protocol::Http, 5 * SECOND);
        let closed = row.report(true);
        assert_eq!((closed.closed, closed.live, closed.closed_by.us), (1, 0, 1));
        assert_eq!((closed.busy_seconds, closed.idle_seconds), (1.0, 3.0));
        assert_eq!(closed.lifetime.unwrap().sum, 4.0);
        assert_eq!(closed.exchanges_per_connection.unwrap().sum, 3.0);
    }

    #[test]
    fn what_stood_before_us_has_no_lifetime_and_counts_within_the_window() {
        let mut row = Row::default();
        row.stood();
        let over = Life { t_end: 12 * SECOND, busy: 60 * SECOND, end: end::PEERS, ..Life::default() };
        row.closed(&over, Protocol::Mysql, 10 * SECOND);
        let row = row.report(true);
        assert_eq!((row.established, row.preexisting, row.live, row.closed_by.peer), (0, 1, 0, 1));
        assert_eq!((row.lifetime, row.exchanges_per_connection), (None, None));
        assert_eq!((row.busy_seconds, row.idle_seconds), (2.0, 0.0));
    }

    #[test]
    fn what_was_encrypted_says_nothing_of_use() {
        let mut row = Row::default();
        row.opened(&life(), 0, true);
        let over = Life { t_end: 14 * SECOND, marks: mark::TLS | mark::MYSQL, end: end::ABORTED, ..life() };
        row.closed(&over, Protocol::Mysql, 0);
        let row = row.report(true);
        assert_eq!((row.exchanges_per_connection, row.busy_seconds, row.idle_seconds), (None, 0.0, 0.0));
        assert_eq!(row.closed_by.us, 1);
    }

    #[test]
    fn gone_by_what_the_server_did() {
        let mut row = Row::default();
        for (end, farewell, by) in
            [(end::PEERS, 4031, "4031"), (end::RESET, 0, "reset"), (end::PEERS, 0, "fin")]
        {
            row.opened(&life(), 0, true);
            let over = Life { end, farewell, marks: mark::GONE, idle: SECOND, t_end: 11 * SECOND, ..life() };
            row.closed(&over, Protocol::Mysql, 0);
            assert_eq!(row.report(true).gone_by[by], 1);
        }
        let row = row.report(true);
        assert_eq!((row.gone, row.gone_idle.unwrap().p50, row.gone_at.unwrap().p50), (3, 1.0, 11.0));
        assert_eq!(row.farewells, Counters::from([("4031".to_owned(), 1)]));
    }

    /// A command that came too late was not under way when the server ended it.
    #[test]
    fn cut_by_what_ended_it() {
        let mut row = Row::default();
        for (end, marks) in [
            (end::PEERS, mark::CUT),
            (end::RESET, mark::CUT),
            (end::OURS, mark::CUT),
            (end::PEERS, mark::CUT | mark::GONE),
            (end::PEERS, 0),
        ] {
            row.opened(&life(), 0, true);
            row.closed(&Life { end, marks, ..life() }, Protocol::Mysql, 0);
        }
        let row = row.report(true);
        let cut_by = ClosedBy { us: 1, peer: 1, reset: 1, ..ClosedBy::default() };
        assert_eq!((row.cut, row.cut_by, row.closed_by.peer, row.gone), (3, cut_by, 3, 1));
    }

    /// `count` connections that are asked again as soon as they have answered, `times` times.
    fn keep_busy(row: &mut Row, count: u64, times: u64) {
        for n in 0..times {
            (0..count).for_each(|_| row.exchanged(ID, (20 + n) * SECOND, (21 + n) * SECOND));
        }
    }

    #[test]
    fn time_with_all_of_them_busy() {
        let mut row = Row::default();
        (0..2).for_each(|_| row.opened(&life(), 0, true));
        for (start, end) in [(10, 14), (12, 15), (20, 21)] {
            row.exchanged(ID, start * SECOND, end * SECOND);
        }
        let row = row.report(true);
        assert_eq!((row.ceiling, row.used_seconds, row.full_seconds), (2, 6.0, 2.0));
    }

    /// A migration at the start, and a check of its health that is under way for a moment.
    #[test]
    fn one_more_for_a_moment_does_not_raise_the_ceiling() {
        let mut row = Row::default();
        (0..6).for_each(|_| row.opened(&life(), 0, true));
        row.exchanged(ID, 10 * SECOND, 11 * SECOND);
        row.exchanged(ID, 22 * SECOND, 22 * SECOND + SECOND / 10);
        row.closed(&life(), Protocol::Mysql, 0);
        keep_busy(&mut row, 5, 20);
        let row = row.report(true);
        assert_eq!((row.peak, row.ceiling, row.usually_open), (6, 5, 5));
        assert_eq!((row.used_seconds, row.full_seconds), (21.0, 20.0));
    }

    /// Each new one is opened before the old one is closed.
    #[test]
    fn a_pool_that_has_replaced_its_connections() {
        let mut row = Row::default();
        (0..5).for_each(|_| row.opened(&life(), 0, true));
        for n in 0..5 {
            row.opened(&life(), 0, true);
            row.closed(&life(), Protocol::Mysql, 0);
            (0..5).for_each(|_| row.exchanged(ID, (20 + n) * SECOND, (21 + n) * SECOND));
        }
        let row = row.report(true);
        assert_eq!((row.peak, row.established, row.ceiling, row.usually_open), (6, 10, 5, 5));
        assert_eq!(row.full_seconds, row.used_seconds);
    }

    /// Two processes with a pool each are one row: both are full, or one is.
    #[test]
    fn pools_of_several_processes_are_one() {
        for (busy, ceiling) in [(10, 10), (5, 5)] {
            let mut row = Row::default();
            (0..10).for_each(|_| row.opened(&life(), 0, true));
            keep_busy(&mut row, busy, 20);
            let row = row.report(true);
            assert_eq!((row.ceiling, row.usually_open), (ceiling, 10));
        }
    }

    #[test]
    fn failures_by_name() {
        let mut row = Row::default();
        [111, 111, 99, 0].into_iter().for_each(|error| row.failed(error, SECOND, 0));
        let row = row.report(true);
        let want =
            [("ECONNREFUSED", 2), ("EADDRNOTAVAIL", 1), ("abandoned", 1)].map(|(e, n)| (e.to_owned(), n));
        assert_eq!(row.failed, Counters::from(want));
        assert_eq!((row.attempted, row.established), (4, 0));
    }

    #[test]
    fn a_wait_loop_and_what_came_of_it() {
        let at = |row: &mut Row, second: u64| row.failed(111, second * SECOND, 5 * SECOND);
        let times = |row: &Row| (row.report(true).first_established, row.report(true).last_failed);
        let mut row = Row::default();
        assert_eq!(times(&row), (None, None));
        at(&mut row, 8);
        at(&mut row, 7);
        // What the row was touched by since is no failure.
        row.touched = 20 * SECOND;
        assert_eq!(times(&row), (None, Some(3.0)), "nothing was established");
        row.opened(&life(), 5 * SECOND, true);
        row.opened(&Life { t_open: 12 * SECOND, ..life() }, 5 * SECOND, true);
        assert_eq!(times(&row), (Some(5.0), Some(3.0)));
        let mut other = Row::default();
        at(&mut other, 20);
        other.merge(&row);
        assert_eq!(times(&other), (Some(5.0), Some(15.0)));
        row.merge(&other);
        assert_eq!(times(&row), (Some(5.0), Some(15.0)));
    }

    #[test]
    fn seconds_are_counted_once_in_any_order() {
        let mut seconds = Seconds::default();
        [3, 3, 5, 4, 3, 5, 200, 199, 3].into_iter().for_each(|s| seconds.add(s));
        // The last comes too late to be told from the first.
        assert_eq!(seconds.count, 5);
        let mut first = Seconds::default();
        first.add(0);
        first.add(0);
        assert_eq!(first.count, 1);
    }

    #[test]
    fn merged_rows_sum_up() {
        let (mut one, mut other) = (Row::default(), Row::default());
        one.opened(&life(), 0, false);
        other.stood();
        other.failed(111, SECOND, 0);
        other.time_wait = Some(2);
        one.merge(&other);
        let row = one.report(false);
        assert_eq!((row.established, row.preexisting, row.live, row.time_wait), (1, 1, 2, Some(2)));
        assert_eq!(row.attempted, 0, "clients only");
    }
}
