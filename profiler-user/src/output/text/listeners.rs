//! The table of one service's listening sockets: who serves them, and what waits there. A listener where nothing waits
//! is left out.

use std::collections::BTreeSet;

use super::{known_quantile, more};
use crate::output::style::table::{Cell, Column, Table};
use crate::output::style::{Style, Tone, clean, units, wrap};
use crate::report::{Distribution, ListenerRow};

/// Rows shown of one table.
const ROWS: usize = 10;
/// Waits from here on are worth a look, seconds; and silences of a server that is asked.
const NOTICEABLE: f64 = 0.001;
const LONG: f64 = 1.0;

/// The table, empty where nothing waits.
pub(super) fn section(rows: &[&ListenerRow], style: &Style) -> String {
    let mut rows: Vec<&ListenerRow> = rows.iter().copied().filter(|row| is_shown(row)).collect();
    if rows.is_empty() {
        return String::new();
    }
    rows.sort_by(|one, two| {
        let key = |row: &ListenerRow| (row.overflows, row.peak_in_flight, row.peak_backlog);
        key(two).cmp(&key(one)).then_with(|| one.address.cmp(&two.address)).then(one.netns.cmp(&two.netns))
    });
    let one_namespace = rows.iter().map(|row| row.netns).collect::<BTreeSet<_>>().len() < 2;
    let mut table = Table::new(columns());
    for row in rows.iter().take(ROWS) {
        table.row(cells(row, one_namespace));
    }
    let mut page = format!("\n  Listening sockets where something waits\n{}", table.render(style));
    page.push_str(&more(rows.len(), ROWS));
    for (row, note) in rows.iter().take(ROWS).flat_map(|row| notes(row).into_iter().map(move |n| (row, n))) {
        page.push_str(&wrap(&format!("{}: {note}", address(row)), style.width, "  - "));
    }
    page
}

/// Whether connections or requests wait there, or did.
pub(super) fn is_shown(row: &ListenerRow) -> bool {
    let waits =
        |wait: Option<Distribution>| wait.is_some_and(|wait| wait.count > 0 && wait.p99 >= NOTICEABLE);
    row.overflows > 0
        || row.peak_backlog > 1
        || waits(row.accept_wait)
        || waits(row.queue)
        || row.oldest_waiting.is_some_and(|age| age >= LONG)
        || row.longest_silence >= LONG
}

fn columns() -> Vec<Column> {
    vec![
        Column::name("ADDRESS"),
        Column::word("NETNS", 1),
        Column::number("WORKERS", 0),
        Column::number("PROCESSES", 7),
        Column::number("CPU", 6),
        Column::number("REQUESTS", 5),
        Column::number("IN FLIGHT", 4),
        Column::number("PEAK", 0),
        Column::word("BACKLOG", 1),
        Column::number("OVERFLOWS", 0),
        Column::number("ACCEPT p99", 0),
        Column::number("QUEUE p99", 0),
    ]
}

fn cells(row: &ListenerRow, one_namespace: bool) -> Vec<Cell> {
    // Who serves a listener is known once somebody has.
    let workers = if row.workers > 0 { units::count(row.workers) } else { units::UNKNOWN.into() };
    let full = row.backlog_max.is_some_and(|max| row.peak_backlog >= max.max(1));
    vec![
        address(row).into(),
        if one_namespace { String::new() } else { row.netns.to_string() }.into(),
        workers.into(),
        if row.processes > 1 { units::count(row.processes) } else { String::new() }.into(),
        row.cpu.map(|cpu| format!("{:.0} %", 100.0 * cpu)).unwrap_or_default().into(),
        units::count(row.requests).into(),
        units::count(row.in_flight).into(),
        units::count(row.peak_in_flight).into(),
        Cell::toned_if(backlog(row), Tone::Bad, full),
        Cell::toned(if row.overflows > 0 { units::count(row.overflows) } else { String::new() }, Tone::Bad),
        known_quantile(row.accept_wait, |d| d.p99).into(),
        known_quantile(row.queue, |d| d.p99).into(),
    ]
}

/// `12 of 128`: the most that waited to be accepted, and the room.
fn backlog(row: &ListenerRow) -> String {
    match row.backlog_max {
        Some(max) => format!("{} of {}", units::count(row.peak_backlog), units::count(max)),
        None => units::count(row.peak_backlog),
    }
}

/// What is going wrong at the end of the window, or did.
fn notes(row: &ListenerRow) -> Vec<String> {
    let mut parts = Vec::new();
    if row.overflows > 0 {
        let times = units::things(row.overflows, "time", "times");
        parts.push(format!("clients were turned away {times} for want of room in the backlog"));
    }
    if let Some(age) = row.oldest_waiting.filter(|age| *age >= LONG) {
        let mut waits = format!("a request has waited for {}", units::duration(age));
        if row.unread > 0 {
            waits.push_str(&format!(", {} not read yet", units::count(row.unread)));
        }
        if let Some(silent) = row.silent.filter(|silent| *silent >= LONG) {
            waits.push_str(&format!(", last sign of life {} ago", units::duration(silent)));
        }
        parts.push(waits);
    }
    if row.longest_silence >= LONG {
        parts.push(format!(
            "requests waited for {} without a byte being answered",
            units::duration(row.longest_silence)
        ));
    }
    parts
}

fn address(row: &ListenerRow) -> String {
    if row.address.is_empty() { "(unknown)".into() } else { clean(&row.address).into_owned() }
}

#[cfg(test)]
mod tests;
