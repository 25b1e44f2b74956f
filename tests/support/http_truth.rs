//! What an HTTP client or nginx has logged, in the form in which a report tells it: sums of rows.

use std::{collections::BTreeMap, fs};

use anyhow::{Context as _, Result};
use serde_json::Value;

use crate::{
    http_client::Exchange,
    nginx::{AccessLine, Nginx},
    process::wait_for,
    report::Rows,
};

/// What makes a row: method, route, status.
pub type Key = (String, String, u64);

/// A number of exchanges and the bytes that they took: sum, least and most, of requests and of responses.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Sums {
    pub count: u64,
    pub request: Bytes,
    pub response: Bytes,
}

/// Sum, least and most.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Bytes {
    pub sum: u64,
    pub min: u64,
    pub max: u64,
}

impl Sums {
    /// Adds one exchange.
    pub fn add(&mut self, request: u64, response: u64) {
        let first = self.count == 0;
        for (bytes, size) in [(&mut self.request, request), (&mut self.response, response)] {
            let min = if first { size } else { bytes.min.min(size) };
            *bytes = Bytes { sum: bytes.sum + size, min, max: bytes.max.max(size) };
        }
        self.count += 1;
    }

    /// Adds a row of a report.
    fn merge(&mut self, row: &Value) {
        let first = self.count == 0;
        for (bytes, field) in [(&mut self.request, "request_bytes"), (&mut self.response, "response_bytes")] {
            let read = |name: &str| row[field][name].as_f64().map_or(u64::MAX, |value| value as u64);
            let min = if first { read("min") } else { bytes.min.min(read("min")) };
            *bytes = Bytes { sum: bytes.sum + read("sum"), min, max: bytes.max.max(read("max")) };
        }
        self.count += row["count"].as_u64().unwrap_or(0);
    }
}

/// The rows of a report by method, route and status. No status is 0.
pub fn reported(rows: &Rows<'_>) -> BTreeMap<Key, Sums> {
    let mut sums: BTreeMap<Key, Sums> = BTreeMap::new();
    for row in rows.iter() {
        let word = |field: &str| row[field].as_str().unwrap_or_default().to_owned();
        let key = (word("method"), word("route"), row["status"].as_u64().unwrap_or(0));
        sums.entry(key).or_default().merge(row);
    }
    sums
}

/// A client's log by the same.
pub fn sent<'a>(log: impl IntoIterator<Item = &'a Exchange>) -> BTreeMap<Key, Sums> {
    let mut sums: BTreeMap<Key, Sums> = BTreeMap::new();
    for exchange in log {
        let key = (exchange.method.clone(), route(&exchange.target), u64::from(exchange.status));
        sums.entry(key).or_default().add(exchange.request_bytes, exchange.response_bytes);
    }
    sums
}

/// The lines of an access log by the same, with the bytes that `read` takes from them: a line of none is left out.
pub fn logged<'a>(
    log: impl IntoIterator<Item = &'a AccessLine>,
    read: impl Fn(&AccessLine) -> Option<(u64, u64)>,
) -> BTreeMap<Key, Sums> {
    let mut sums: BTreeMap<Key, Sums> = BTreeMap::new();
    for line in log {
        let mut words = line.request.split(' ').map(str::to_owned);
        let mut word = || words.next().unwrap_or_default();
        let key = (word(), route(&word()), u64::from(line.status));
        if let Some((request, response)) = read(line) {
            sums.entry(key).or_default().add(request, response);
        }
    }
    sums
}

/// The test service's routes: a number at the end is an argument, and what follows a `?` is no path.
pub fn route(target: &str) -> String {
    let path = target.split('?').next().unwrap_or_default();
    match path.rsplit_once('/') {
        Some((name, id)) if id.parse::<u64>().is_ok() => format!("{name}/{{id}}"),
        _ => path.to_owned(),
    }
}

/// nginx's access log once no more can come: a line is written after its response has gone out and before nginx closes
/// the connection. For clients that have closed theirs.
pub fn settled_log(nginx: &Nginx) -> Result<Vec<AccessLine>> {
    let port = nginx.address().port()?;
    wait_for("the end of nginx's connections", || open_connections(port).is_ok_and(|open| open == 0))?;
    let mut last = (usize::MAX, 0);
    wait_for("the access log's end", || {
        let served = nginx.served();
        last = (served, if served == last.0 { last.1 + 1 } else { 0 });
        last.1 >= 10
    })?;
    nginx.access_log()
}

/// The connections of a server's port that the server may still have something to do with.
fn open_connections(port: u16) -> Result<usize> {
    /// `ss` calls them TIME-WAIT and LISTEN (include/net/tcp_states.h).
    const NONE: [&str; 2] = ["06", "0A"];
    let table = fs::read_to_string("/proc/net/tcp").context("failed to read /proc/net/tcp")?;
    // Number, local address, remote address, state; in hexadecimal.
    let rows = table.lines().skip(1).map(|line| line.split_whitespace().collect::<Vec<_>>());
    let local = format!(":{port:04X}");
    Ok(rows.filter(|row| row.len() > 3 && row[1].ends_with(&local) && !NONE.contains(&row[3])).count())
}
