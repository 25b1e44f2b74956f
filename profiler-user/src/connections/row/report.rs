//! A row as reports have it: what it has come to goes out, whole, as counts alone, or with the histograms of metrics.

use super::Row;
use crate::aggregate::ConnectionBuckets;
use crate::aggregate::buckets::Buckets;
use crate::aggregate::distribution::Histogram;
use crate::connections::errno;
use crate::exchange::seconds;
use crate::report::{ConnectionRow, Counters};

impl Row {
    /// Its histograms, for metrics.
    pub(in crate::connections) fn buckets(&self) -> ConnectionBuckets {
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
    pub(in crate::connections) fn report(&self, is_client: bool) -> ConnectionRow {
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
    pub(in crate::connections) fn counts(&self, is_client: bool) -> ConnectionRow {
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
