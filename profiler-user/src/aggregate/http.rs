//! Rows of HTTP exchanges.

use std::sync::Arc;

use rustc_hash::FxHashMap;

use super::buckets::{Buckets, HTTP_SECONDS};
use super::distribution::Histogram;
use super::{MAX_ROWS, Measures, OVERFLOW, Series};
use crate::exchange::{Exchange, HttpCall, PHASES};
use crate::report::{HttpRow, Role, RouteSource};

/// What makes a row.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Key {
    service: Arc<str>,
    role: Role,
    peer: Option<String>,
    method: String,
    route: Arc<str>,
    route_source: RouteSource,
    status: Option<u16>,
    error_type: Option<String>,
}

#[derive(Debug)]
struct Row {
    measures: Measures,
    phases: [Histogram; PHASES.len()],
    durations: Buckets,
    queues: Buckets,
}

#[derive(Debug, Default)]
pub(super) struct Table {
    rows: FxHashMap<Key, Row>,
}

impl Table {
    /// Adds an exchange; true when it went into an overflow row.
    pub(super) fn add(&mut self, exchange: &Exchange, call: &HttpCall, service: &Arc<str>) -> bool {
        let mut key = Key {
            service: service.clone(),
            role: exchange.role,
            peer: (exchange.role == Role::Client).then(|| exchange.peer.clone()).filter(|p| !p.is_empty()),
            method: call.method.clone(),
            route: call.route.clone(),
            route_source: call.route_source,
            status: call.status,
            error_type: error_type(exchange, call),
        };
        let overflow = self.rows.len() >= MAX_ROWS && !self.rows.contains_key(&key);
        if overflow {
            key.peer = None;
            key.method = "_OTHER".into();
            key.route = OVERFLOW.into();
            key.route_source = RouteSource::Overflow;
            key.status = None;
            key.error_type = None;
        }
        let row = self.rows.entry(key).or_insert_with(|| Row {
            measures: Measures::default(),
            phases: Default::default(),
            durations: Buckets::new(HTTP_SECONDS),
            queues: Buckets::new(HTTP_SECONDS),
        });
        row.measures.add(exchange);
        if let Some(duration) = exchange.times.duration() {
            row.durations.record(duration);
        }
        if exchange.role == Role::Server {
            let phases = exchange.times.phases();
            for (histogram, phase) in row.phases.iter_mut().zip(phases) {
                histogram.record_opt(phase);
            }
            if let Some(queue) = exchange.times.queue() {
                row.queues.record(queue);
            }
        }
        overflow
    }

    pub(super) fn rows(&self) -> Vec<HttpRow> {
        self.rows.iter().map(|(key, row)| report(key, row)).collect()
    }

    pub(super) fn series(&self) -> impl Iterator<Item = Series> {
        self.rows.iter().map(|(key, row)| Series::Http {
            row: Box::new(report(key, row)),
            durations: row.durations.clone(),
            queues: row.queues.clone(),
        })
    }
}

fn report(key: &Key, row: &Row) -> HttpRow {
    let m = &row.measures;
    let phases =
        PHASES.iter().zip(&row.phases).filter_map(|(name, h)| Some(((*name).to_owned(), h.snapshot()?)));
    HttpRow {
        service: key.service.to_string(),
        role: key.role,
        peer: key.peer.clone(),
        method: key.method.clone(),
        route: key.route.to_string(),
        route_source: key.route_source,
        status: key.status,
        error_type: key.error_type.clone(),
        count: m.count,
        request_bytes: m.request_bytes.snapshot().unwrap_or_default(),
        response_bytes: m.response_bytes.snapshot().unwrap_or_default(),
        clock: m.clock().filter(|_| key.role == Role::Server),
        duration: m.duration.snapshot(),
        first_byte: m.first_byte.snapshot(),
        phases: phases.collect(),
    }
}

/// OpenTelemetry's `error.type`: the transport's error, or the status where the conventions call it an error (5xx;
/// on clients 4xx too).
fn error_type(exchange: &Exchange, call: &HttpCall) -> Option<String> {
    let first = if exchange.role == Role::Client { 400 } else { 500 };
    exchange.transport_error.clone().or_else(|| call.status.filter(|s| *s >= first).map(|s| s.to_string()))
}
