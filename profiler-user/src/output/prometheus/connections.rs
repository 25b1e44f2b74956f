//! Connections and listening sockets as metrics. Rows with the same labels (two services of one name, the same address
//! in two network namespaces) are one series: numbers of things are summed, the most at one time is the greatest.

use std::collections::BTreeMap;

use super::labels::server;
use super::page::Page;
use super::{Labels, Metric, name_of};
use crate::aggregate::buckets::Buckets;
use crate::aggregate::{ConnectionBuckets, OVERFLOW};
use crate::report::{ConnectionRow, ListenerRow, Report, Role};

/// The labels of a row. The clients of a server are not told apart: there may be any number of them.
pub(super) fn labels(row: &ConnectionRow) -> Labels {
    let role = match row.role {
        Role::Client => "client",
        Role::Server => "server",
    };
    let overflow = row.peer == OVERFLOW;
    let protocol = if row.protocol == "unknown" { "" } else { row.protocol.as_str() };
    let mut labels = vec![
        ("role", role.to_owned()),
        ("network_protocol_name", protocol.to_owned()),
        ("network_transport", if overflow { String::new() } else { transport(&row.peer) }),
        ("otel_metric_overflow", if overflow { "true".to_owned() } else { String::new() }),
    ];
    if row.role == Role::Client && !overflow {
        labels.extend(server(Some(&row.peer)));
    }
    labels
}

pub(super) fn listener_labels(row: &ListenerRow) -> Labels {
    let mut labels = vec![("network_transport", transport(&row.address))];
    labels.extend(server(Some(&row.address)));
    labels
}

fn transport(address: &str) -> String {
    if address.starts_with("unix:") { "unix" } else { "tcp" }.to_owned()
}

/// The histograms of a row that have a value.
pub(super) fn histograms<'a>(
    row: &ConnectionRow,
    buckets: &'a ConnectionBuckets,
) -> impl Iterator<Item = (Metric, &'a Buckets)> {
    let all = [
        (Metric::of_connections(row.role, &row.protocol), &buckets.lifetimes),
        (Metric::ConnectionExchanges, &buckets.exchanges),
        (Metric::Connect, &buckets.connects),
        (Metric::Handshake, &buckets.handshakes),
    ];
    all.into_iter().filter(|(_, buckets)| buckets.count > 0)
}

/// Counters and gauges of all rows.
pub(super) fn families(report: &Report, page: &mut Page) {
    connections(report, page);
    open_http(report, page);
    listeners(report, page);
}

fn connections(report: &Report, page: &mut Page) {
    type Values = fn(&ConnectionRow) -> Vec<(Option<(&'static str, String)>, u64)>;
    let counters: [(&str, &str, Values); 5] = [
        ("hostprof_connections_established", "Connections that were established.", |row| {
            vec![(None, row.established)]
        }),
        (
            "hostprof_connections_closed",
            "Connections that ended, by who ended them first: us, peer, reset (the peer's), timeout, error.",
            ended,
        ),
        ("hostprof_connections_failed", "Attempts to connect that failed, by the error's name.", |row| {
            let named = |(error, count): (&String, &u64)| (Some(("error_type", error.clone())), *count);
            row.failed.iter().map(named).collect()
        }),
        ("hostprof_connections_reset", "Connections that the peer reset.", |row| {
            vec![(None, row.closed_by.reset)]
        }),
        (
            "hostprof_connections_gone",
            "Connections that the server had ended when the client wrote to them.",
            |row| if row.role == Role::Client { vec![(None, row.gone)] } else { Vec::new() },
        ),
    ];
    for (name, help, values) in counters {
        let mut sums: BTreeMap<Labels, u64> = BTreeMap::new();
        for row in &report.connections {
            for (label, count) in values(row) {
                let mut labels = named(report, &row.service, labels(row));
                labels.extend(label);
                *sums.entry(labels).or_default() += count;
            }
        }
        page.family(name, "counter", None, help);
        for (labels, sum) in &sums {
            page.counter(name, labels, *sum);
        }
    }
    let gauges: [Gauge<ConnectionRow>; 3] = [
        Gauge("hostprof_connections_live", "Connections that are open.", |row| Some(row.live), add),
        Gauge(
            "hostprof_connections_peak",
            "The most connections that were open at one time.",
            |row| Some(row.peak),
            u64::max,
        ),
        Gauge("hostprof_connections_time_wait", "Sockets in TIME_WAIT.", |row| row.time_wait, add),
    ];
    let rows = || report.connections.iter().map(|row| (named(report, &row.service, labels(row)), row));
    gauges.iter().for_each(|gauge| gauge.write(rows(), page));
}

/// The closed connections by who ended them; those of which that is not known without a label.
fn ended(row: &ConnectionRow) -> Vec<(Option<(&'static str, String)>, u64)> {
    let by = &row.closed_by;
    let known =
        [("us", by.us), ("peer", by.peer), ("reset", by.reset), ("timeout", by.timeout), ("error", by.error)];
    let rest = row.closed.saturating_sub(known.iter().map(|(_, count)| count).sum());
    let known = known.iter().filter(|(_, count)| *count > 0);
    let mut ended: Vec<_> =
        known.map(|(who, count)| (Some(("closed_by", (*who).to_owned())), *count)).collect();
    if rest > 0 || ended.is_empty() {
        ended.push((None, rest));
    }
    ended
}

/// The conventions' gauge of HTTP clients' connections by what they do.
fn open_http(report: &Report, page: &mut Page) {
    let name = "http_client_open_connections";
    page.family(name, "gauge", None, "Connections of HTTP clients that are open.");
    let mut states: BTreeMap<Labels, u64> = BTreeMap::new();
    let of_clients = |row: &&ConnectionRow| row.role == Role::Client && row.protocol == "http";
    for row in report.connections.iter().filter(of_clients) {
        let active = row.waiting.min(row.live);
        for (state, count) in [("active", active), ("idle", row.live - active)] {
            let mut labels = named(report, &row.service, labels(row));
            labels.retain(|(label, _)| *label != "role");
            labels.push(("http_connection_state", state.to_owned()));
            *states.entry(labels).or_default() += count;
        }
    }
    for (labels, count) in &states {
        page.gauge(name, labels, *count as f64);
    }
}

fn listeners(report: &Report, page: &mut Page) {
    type Value = fn(&ListenerRow) -> u64;
    let rows = || report.listeners.iter().map(|row| (named(report, &row.service, listener_labels(row)), row));
    let counters: [(&str, &str, Value); 2] = [
        (
            "hostprof_listener_overflows",
            "Times that clients were turned away for want of room in the backlog; they try again.",
            |row| row.overflows,
        ),
        ("hostprof_listener_requests", "Requests that were answered.", |row| row.requests),
    ];
    for (name, help, value) in counters {
        let mut sums: BTreeMap<Labels, u64> = BTreeMap::new();
        rows().for_each(|(labels, row)| *sums.entry(labels).or_default() += value(row));
        page.family(name, "counter", None, help);
        sums.iter().for_each(|(labels, sum)| page.counter(name, labels, *sum));
    }
    let gauges: [Gauge<ListenerRow>; 6] = [
        Gauge(
            "hostprof_listener_workers",
            "Threads that accepted connections or answered requests.",
            |row| Some(row.workers),
            add,
        ),
        Gauge("hostprof_listener_in_flight", "Requests under way.", |row| Some(row.in_flight), add),
        Gauge(
            "hostprof_listener_in_flight_peak",
            "The most requests that were under way at one time.",
            |row| Some(row.peak_in_flight),
            u64::max,
        ),
        Gauge(
            "hostprof_listener_backlog",
            "Connections that wait to be accepted.",
            |row| Some(row.backlog),
            add,
        ),
        Gauge(
            "hostprof_listener_backlog_peak",
            "The most connections that waited to be accepted at one time.",
            |row| Some(row.peak_backlog),
            u64::max,
        ),
        Gauge(
            "hostprof_listener_backlog_max",
            "Connections that there is room for in the backlog.",
            |row| row.backlog_max,
            add,
        ),
    ];
    gauges.iter().for_each(|gauge| gauge.write(rows(), page));
}

/// A gauge of rows: name, help, its value where it is known, and how two of the same labels become one.
struct Gauge<R>(&'static str, &'static str, fn(&R) -> Option<u64>, fn(u64, u64) -> u64);

impl<R> Gauge<R> {
    fn write<'a>(&self, rows: impl Iterator<Item = (Labels, &'a R)>, page: &mut Page)
    where
        R: 'a,
    {
        let Self(name, help, value, join) = self;
        let mut joined: BTreeMap<Labels, u64> = BTreeMap::new();
        for (labels, row) in rows {
            let Some(value) = value(row) else { continue };
            joined.entry(labels).and_modify(|all| *all = join(*all, value)).or_insert(value);
        }
        page.family(name, "gauge", None, help);
        joined.iter().for_each(|(labels, value)| page.gauge(name, labels, *value as f64));
    }
}

fn add(one: u64, two: u64) -> u64 {
    one.saturating_add(two)
}

fn named(report: &Report, service: &str, labels: Labels) -> Labels {
    let mut named = vec![("service_name", name_of(report, service))];
    named.extend(labels);
    named
}

#[cfg(test)]
mod tests;
