//! Rows of MySQL commands.

use std::sync::Arc;

use rustc_hash::FxHashMap;

use super::buckets::{Buckets, DATABASE_SECONDS, ROWS};
use super::distribution::Histogram;
use super::{MAX_ROWS, Measures, OVERFLOW, Series};
use crate::exchange::{Exchange, MysqlCall};
use crate::report::{Counters, MysqlRow, Role};

/// What makes a row.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Key {
    service: Arc<str>,
    role: Role,
    peer: Option<String>,
    command: &'static str,
    digest: Option<u64>,
    /// Tells statements that are not known from commands that have none.
    unknown: bool,
    schema: Option<Arc<str>>,
}

#[derive(Debug)]
struct Row {
    text: Option<Arc<str>>,
    measures: Measures,
    errors: Counters,
    rows_returned: Histogram,
    rows_affected: Histogram,
    no_index: u64,
    no_good_index: u64,
    server_slow: u64,
    durations: Buckets,
    returned: Buckets,
}

#[derive(Debug, Default)]
pub(super) struct Table {
    rows: FxHashMap<Key, Row>,
}

impl Table {
    /// Adds a command; true when it went into an overflow row.
    pub(super) fn add(&mut self, exchange: &Exchange, call: &MysqlCall, service: &Arc<str>) -> bool {
        let mut key = Key {
            service: service.clone(),
            role: exchange.role,
            peer: (exchange.role == Role::Client).then(|| exchange.peer.clone()).filter(|p| !p.is_empty()),
            command: call.command,
            digest: call.digest,
            unknown: call.digest.is_none() && call.digest_text.is_some(),
            schema: call.schema.clone(),
        };
        let mut text = call.digest_text.clone();
        let overflow = self.rows.len() >= MAX_ROWS && !self.rows.contains_key(&key);
        if overflow {
            key = Key { peer: None, command: "other", digest: None, unknown: true, schema: None, ..key };
            text = Some(OVERFLOW.into());
        }
        let row = self.rows.entry(key).or_insert_with(|| Row {
            text,
            measures: Measures::default(),
            errors: Counters::new(),
            rows_returned: Histogram::default(),
            rows_affected: Histogram::default(),
            no_index: 0,
            no_good_index: 0,
            server_slow: 0,
            durations: Buckets::new(DATABASE_SECONDS),
            returned: Buckets::new(ROWS),
        });
        row.measures.add(exchange);
        if let Some(duration) = exchange.times.duration() {
            row.durations.record(duration);
        }
        let error =
            call.error.as_ref().map(|e| e.number.to_string()).or_else(|| exchange.transport_error.clone());
        if let Some(error) = error {
            *row.errors.entry(error).or_default() += 1;
        }
        if let Some(rows) = call.rows_returned {
            row.rows_returned.record(rows as f64);
            row.returned.record(rows as f64);
        }
        row.rows_affected.record_opt(call.rows_affected.map(|n| n as f64));
        row.no_index += u64::from(call.no_index);
        row.no_good_index += u64::from(call.no_good_index);
        row.server_slow += u64::from(call.server_slow);
        overflow
    }

    pub(super) fn rows(&self) -> Vec<MysqlRow> {
        self.rows.iter().map(|(key, row)| report(key, row)).collect()
    }

    pub(super) fn series(&self) -> impl Iterator<Item = Series> {
        self.rows.iter().map(|(key, row)| Series::Mysql {
            row: Box::new(report(key, row)),
            durations: row.durations.clone(),
            returned: row.returned.clone(),
        })
    }
}

fn report(key: &Key, row: &Row) -> MysqlRow {
    let m = &row.measures;
    MysqlRow {
        service: key.service.to_string(),
        role: key.role,
        peer: key.peer.clone(),
        command: key.command.to_owned(),
        digest: key.digest.map(|d| format!("{d:016x}")),
        digest_text: row.text.as_deref().map(str::to_owned),
        schema: key.schema.as_deref().map(str::to_owned),
        count: m.count,
        errors: row.errors.clone(),
        rows_returned: row.rows_returned.snapshot(),
        rows_affected: row.rows_affected.snapshot(),
        request_bytes: m.request_bytes.snapshot().unwrap_or_default(),
        response_bytes: m.response_bytes.snapshot().unwrap_or_default(),
        clock: m.clock().filter(|_| key.role == Role::Server),
        duration: m.duration.snapshot(),
        first_byte: m.first_byte.snapshot(),
        no_index: row.no_index,
        no_good_index: row.no_good_index,
        server_slow: row.server_slow,
    }
}
