//! The sentences below a table of connections: how connections failed, who hung up, and what hangs.

use std::cmp::Reverse;

use super::connections::{ended_by, peer};
use super::mysql::meaning as mysql_meaning;
use super::some_of;
use crate::output::style::{Style, clean, units, wrap};
use crate::report::{ConnectionRow, Counters, Role};

/// Errors named of one row, and sentences of one table.
const ERRORS: usize = 4;
const NOTES: usize = 10;
/// Requests that wait for less, and transactions that idle for less, are everyday, seconds.
const LONG: f64 = 1.0;

/// Whether a request has waited for long, or a transaction idled.
pub(super) fn is_stuck(row: &ConnectionRow) -> bool {
    is_long(row.oldest_waiting) || is_long(row.longest_open_transaction)
}

/// What there is to say of rows, the first ones first.
pub(super) fn notes(rows: &[&ConnectionRow], style: &Style) -> String {
    let told = rows.iter().flat_map(|row| of(row).into_iter().map(move |note| (row, note)));
    told.take(NOTES).map(|(row, note)| wrap(&format!("{}: {note}", peer(row)), style.width, "  - ")).collect()
}

fn of(row: &ConnectionRow) -> Vec<String> {
    let failed: u64 = row.failed.values().sum();
    let mut notes = Vec::new();
    if failed > 0 {
        let attempts = units::things(failed, "attempt", "attempts");
        notes.push(format!("{attempts} to connect failed, {}", named(&row.failed, errno_meaning)));
    }
    if row.gone > 0 {
        let idle = match row.gone_idle.filter(|idle| idle.count > 0) {
            Some(idle) => format!(" after {} without use", units::duration(idle.p50)),
            None => String::new(),
        };
        let how = if row.gone_by.is_empty() {
            String::new()
        } else {
            format!(", {}", named(&row.gone_by, end_meaning))
        };
        notes.push(format!(
            "{} ended by the server{idle}{how}; then the client wrote to {}",
            units::things(row.gone, "connection", "connections"),
            if row.gone == 1 { "it" } else { "them" }
        ));
    }
    // What was said of those is said above.
    let others: Counters = (row.farewells.iter())
        .map(|(number, count)| {
            (number.clone(), count.saturating_sub(row.gone_by.get(number).copied().unwrap_or(0)))
        })
        .filter(|(_, count)| *count > 0)
        .collect();
    if !others.is_empty() {
        let who = if row.role == Role::Client { "the server" } else { "it" };
        notes.push(format!("{who} hung up with an error, {}", named(&others, end_meaning)));
    }
    if row.cut > 0 {
        let connections = units::things(row.cut, "connection", "connections");
        let by = ended_by(&row.cut_by);
        let by = if by.is_empty() { by } else { format!(" ({by})") };
        notes.push(format!("{connections} ended in the middle of an exchange{by}"));
    }
    if let Some(oldest) = row.oldest_waiting.filter(|_| is_long(row.oldest_waiting)) {
        let requests = units::things(row.waiting, "request waits", "requests wait");
        notes.push(format!("{requests} for an answer, the oldest for {}", units::duration(oldest)));
    }
    if let Some(longest) = row.longest_open_transaction.filter(|_| is_long(row.longest_open_transaction)) {
        let now = match row.open_transactions {
            0 => String::new(),
            count => format!(", {} at the end", units::count(count)),
        };
        let by = row.open_transaction_route.as_deref().map(|route| format!(", by {}", clean(route)));
        notes.push(format!(
            "sessions idled with an open transaction{now}, the longest for {}{}",
            units::duration(longest),
            by.unwrap_or_default()
        ));
    }
    notes
}

fn is_long(seconds: Option<f64>) -> bool {
    seconds.is_some_and(|seconds| seconds >= LONG)
}

/// `3 x ECONNREFUSED (nobody listens there)`, the most frequent first.
fn named(counters: &Counters, meaning: fn(&str) -> Option<&'static str>) -> String {
    let mut by_count: Vec<(&String, &u64)> = counters.iter().collect();
    by_count.sort_by_key(|(_, count)| Reverse(**count));
    let list: Vec<String> = by_count
        .iter()
        .map(|(name, count)| match meaning(name) {
            Some(meaning) => format!("{} x {name} ({meaning})", units::count(**count)),
            None => format!("{} x {}", units::count(**count), clean(name)),
        })
        .collect();
    some_of(&list, ERRORS)
}

/// What an error of connect() says.
fn errno_meaning(name: &str) -> Option<&'static str> {
    Some(match name {
        "ECONNREFUSED" => "nobody listens there",
        "ETIMEDOUT" => "no answer",
        "EHOSTUNREACH" | "ENETUNREACH" => "no way there",
        "EADDRNOTAVAIL" => "no local port left",
        "EAGAIN" => "its backlog is full",
        "ECONNRESET" => "reset while connecting",
        "ENOENT" => "no such socket",
        "EACCES" | "EPERM" => "not allowed",
        "abandoned" => "given up before there was an answer",
        _ => return None,
    })
}

/// How a server ended a connection.
fn end_meaning(how: &str) -> Option<&'static str> {
    match how {
        "fin" => Some("closed in order"),
        "reset" => Some("connection reset"),
        number => mysql_meaning(number),
    }
}
