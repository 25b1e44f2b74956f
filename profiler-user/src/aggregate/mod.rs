//! From exchanges to rows of a report: [`Aggregator`].
//!
//! Exchanges come in with the service they belong to; out come rows sorted by total time, and histograms for metrics.
//! Rows are bounded: past [`MAX_ROWS`] of a protocol, what has no row yet is summed up in one row for each service and
//! role, and counted.

pub mod buckets;
pub mod distribution;
mod http;
pub mod levels;
pub mod loops;
mod mysql;

use std::sync::Arc;

use crate::exchange::{Call, Exchange};
use crate::report::{Clock, ConnectionRow, HttpRow, ListenerRow, MysqlRow, RouteSource};
use buckets::{Buckets, CONNECTION_SECONDS, EXCHANGES, LOOP_SECONDS};
use distribution::Histogram;

/// Rows of one protocol at most; the overflow rows come on top.
pub const MAX_ROWS: usize = 2_000;
/// The name of what has no row of its own.
pub const OVERFLOW: &str = "<overflow>";

/// A row and its histograms with fixed bounds.
#[derive(Debug, Clone, PartialEq)]
pub enum Series {
    Http {
        row: Box<HttpRow>,
        durations: Buckets,
        /// Waits before the first read; empty for clients.
        queues: Buckets,
    },
    Mysql {
        row: Box<MysqlRow>,
        durations: Buckets,
        /// Rows returned.
        returned: Buckets,
    },
    /// The turns of an event loop of a service.
    Loop {
        service: String,
        turns: Buckets,
    },
    Connection {
        row: Box<ConnectionRow>,
        buckets: Box<ConnectionBuckets>,
    },
    Listener {
        row: Box<ListenerRow>,
        /// From the handshake's end to accept().
        accepts: Buckets,
    },
}

/// What a row of connections has measured of each of them; a histogram stays empty where nothing was.
#[derive(Debug, Clone, PartialEq)]
pub struct ConnectionBuckets {
    /// TCP's handshakes; clients.
    pub connects: Buckets,
    /// MySQL's.
    pub handshakes: Buckets,
    pub lifetimes: Buckets,
    /// Exchanges of connections that were seen whole.
    pub exchanges: Buckets,
}

impl Default for ConnectionBuckets {
    fn default() -> Self {
        Self {
            connects: Buckets::new(LOOP_SECONDS),
            handshakes: Buckets::new(LOOP_SECONDS),
            lifetimes: Buckets::new(CONNECTION_SECONDS),
            exchanges: Buckets::new(EXCHANGES),
        }
    }
}

impl ConnectionBuckets {
    /// For [`Series::Listener`].
    pub fn accepts() -> Buckets {
        Buckets::new(LOOP_SECONDS)
    }
}

/// All rows so far.
#[derive(Debug, Default)]
pub struct Aggregator {
    http: http::Table,
    mysql: mysql::Table,
    /// Exchanges that are summed up with others for want of room.
    pub overflowed: u64,
    /// Long-lived exchanges, in no row.
    pub streams: u64,
    /// Exchanges whose head was cut.
    pub truncated: u64,
}

impl Aggregator {
    /// Adds an exchange of a service.
    pub fn add(&mut self, exchange: &Exchange, service: &Arc<str>) {
        self.truncated += u64::from(exchange.truncated);
        if exchange.stream {
            self.streams += 1;
            return;
        }
        let overflow = match &exchange.call {
            // A route that was made for want of room sums up others, too.
            Call::Http(call) => {
                self.http.add(exchange, call, service) || call.route_source == RouteSource::Overflow
            }
            Call::Mysql(call) => self.mysql.add(exchange, call, service),
        };
        self.overflowed += u64::from(overflow);
    }

    /// The HTTP rows, most total time first.
    pub fn http_rows(&self) -> Vec<HttpRow> {
        by_total(self.http.rows(), |row| row.duration.map_or(0.0, |d| d.sum))
    }

    /// The MySQL rows, most total time first.
    pub fn mysql_rows(&self) -> Vec<MysqlRow> {
        by_total(self.mysql.rows(), |row| row.duration.map_or(0.0, |d| d.sum))
    }

    /// The rows with their histograms, for metrics.
    pub fn series(&self) -> Vec<Series> {
        self.http.series().chain(self.mysql.series()).collect()
    }
}

fn by_total<R>(mut rows: Vec<R>, total: impl Fn(&R) -> f64) -> Vec<R> {
    rows.sort_by(|a, b| total(b).total_cmp(&total(a)));
    rows
}

/// What every row has: sizes and times.
#[derive(Debug, Default)]
struct Measures {
    count: u64,
    request_bytes: Histogram,
    response_bytes: Histogram,
    duration: Histogram,
    first_byte: Histogram,
    arrivals: u64,
    reads: u64,
}

impl Measures {
    fn add(&mut self, exchange: &Exchange) {
        self.count += 1;
        self.request_bytes.record(exchange.request_bytes as f64);
        self.response_bytes.record(exchange.response_bytes as f64);
        self.duration.record_opt(exchange.times.duration());
        self.first_byte.record_opt(exchange.times.first_byte());
        match exchange.times.clock() {
            Some(Clock::Arrival) => self.arrivals += 1,
            Some(Clock::Read) => self.reads += 1,
            None => {}
        }
    }

    /// A row's clock is the arrival only if each of its durations begins there.
    fn clock(&self) -> Option<Clock> {
        match (self.arrivals, self.reads) {
            (0, 0) => None,
            (_, 0) => Some(Clock::Arrival),
            _ => Some(Clock::Read),
        }
    }
}
