//! Listening sockets: what the rules about them share. Pure.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::stalled::runtime;
use super::{Facts, evidence};
use crate::report::{Distribution, ListenerRow, Role};

/// A share of the CPU that its workers can use at the most, and more: it is saturated.
const SATURATED: f64 = 0.8;

/// Runtimes of which each process runs one thread of its program at a time.
const ONE_THREAD: &[&str] = &["python", "ruby", "node", "bun", "deno", "php"];

/// For each address of a service the row with the greatest score, of those that have one.
pub(super) fn worst<'a>(
    facts: &Facts<'a>,
    score: impl Fn(&ListenerRow) -> Option<f64>,
) -> Vec<(&'a ListenerRow, f64)> {
    let mut worst: BTreeMap<(&str, &str), (&ListenerRow, f64)> = BTreeMap::new();
    for (row, score) in facts.listeners.iter().filter_map(|row| Some((row, score(row)?))) {
        let entry = worst.entry((&row.service, &row.address)).or_insert((row, score));
        if score > entry.1 {
            *entry = (row, score);
        }
    }
    worst.into_values().collect()
}

/// Whether a service answers statements, which take as long as they take.
pub(super) fn is_database(facts: &Facts<'_>, service: &str) -> bool {
    let mut commands = facts.mysql.iter().filter(|row| row.role == Role::Server);
    let mut connections = facts.connections.iter().filter(|row| row.role == Role::Server);
    commands.any(|row| row.service == service)
        || connections.any(|row| row.service == service && row.protocol == "mysql")
}

/// The share of the CPUs that its workers can use that they do use: each process one, where an interpreter runs one
/// thread at a time, else each thread one. None where nobody knows.
pub(super) fn cpu_share(facts: &Facts<'_>, row: &ListenerRow) -> Option<f64> {
    let one_thread = ONE_THREAD.contains(&runtime(facts.service(&row.service)));
    let able = if one_thread { row.processes } else { row.workers }.max(1);
    let cpus = u64::from(facts.cpus).max(1);
    row.cpu.map(|cpu| cpu / able.min(cpus) as f64)
}

pub(super) fn is_saturated(share: f64) -> bool {
    share >= SATURATED
}

/// A p95, of so many values at least.
pub(super) fn p95(waits: Option<Distribution>, least: f64) -> Option<f64> {
    waits.filter(|waits| waits.count > 0 && waits.count as f64 >= least).map(|waits| waits.p95)
}

/// Seconds that requests waited in sum, to be accepted and to be read.
pub(super) fn waited(row: &ListenerRow) -> f64 {
    [row.accept_wait, row.queue].into_iter().flatten().map(|waits| waits.sum).sum()
}

/// The numbers of a listening socket.
pub(super) fn numbers(row: &ListenerRow) -> BTreeMap<String, Value> {
    let mut numbers = evidence([
        ("address", json!(row.address)),
        ("workers", json!(row.workers)),
        ("processes", json!(row.processes)),
        ("requests", json!(row.requests)),
        ("in_flight", json!(row.in_flight)),
        ("peak_in_flight", json!(row.peak_in_flight)),
        ("concurrency", json!(row.concurrency)),
        ("backlog", json!(row.backlog)),
        ("peak_backlog", json!(row.peak_backlog)),
        ("overflows", json!(row.overflows)),
    ]);
    for (name, waits) in [("accept_wait", row.accept_wait), ("queue", row.queue)] {
        if let Some(waits) = waits {
            for (percentile, value) in [("p50", waits.p50), ("p95", waits.p95), ("p99", waits.p99)] {
                numbers.insert(format!("{name}_{percentile}_seconds"), json!(value));
            }
        }
    }
    numbers.extend(row.backlog_max.map(|most| ("backlog_max".to_owned(), json!(most))));
    numbers.extend(row.cpu.map(|cpu| ("cpu".to_owned(), json!(cpu))));
    numbers
}
