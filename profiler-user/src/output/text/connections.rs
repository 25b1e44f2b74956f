//! The tables of connections: who connects to whom, how often, what a connection is used for and who ends it. Only what
//! opened, failed or ended is a row; what stayed open is one line.

use std::collections::BTreeSet;

use super::{hangups, more};
use crate::output::style::table::{Cell, Column, Table};
use crate::output::style::{Style, Tone, clean, units, wrap};
use crate::report::{ClosedBy, ConnectionRow, Distribution, Role};
use crate::rules::connection_failures;

/// Rows shown of one table: a service may have many clients.
const ROWS: usize = 10;

/// The connections of one service, empty without any that changed.
pub(super) fn section(rows: &[&ConnectionRow], seconds: f64, style: &Style) -> String {
    if !rows.iter().any(|row| is_shown(row)) {
        return String::new();
    }
    let heading = wrap(&format!("Connections: {}", sums(rows, seconds)), style.width, "  ");
    format!("\n{heading}{}", body(rows, |_| String::new(), seconds, style))
}

/// The connections of services that have no other table, empty without any that changed; `name` names a service.
pub(super) fn of_others(
    rows: &[&ConnectionRow],
    name: impl Fn(&str) -> String,
    seconds: f64,
    style: &Style,
) -> String {
    if !rows.iter().any(|row| is_shown(row)) {
        return String::new();
    }
    let heading = wrap(&format!("Connections of other services: {}", sums(rows, seconds)), style.width, "");
    format!("\n{heading}{}", body(rows, name, seconds, style))
}

/// Whether something opened, failed, ended or hangs.
pub(super) fn is_shown(row: &ConnectionRow) -> bool {
    row.established > 0 || row.closed > 0 || has_failed(row) || hangups::is_stuck(row)
}

/// Whether it asks after a daemon that libraries look for, whether it runs or not: nobody's doing, and no row of a table.
pub(super) fn is_optional(row: &ConnectionRow) -> bool {
    row.role == Role::Client && connection_failures::is_optional(&row.peer)
}

/// What a person connects the row with: `-> db (10.0.0.9:3306)`, `<- 10.0.0.7`.
pub(super) fn peer(row: &ConnectionRow) -> String {
    let address = if row.peer.is_empty() { "(unknown)".into() } else { clean(&row.peer) };
    match row.peer_name.as_deref().filter(|name| !name.is_empty()) {
        Some(name) => format!("{} ({address})", clean(name)),
        None => address.into_owned(),
    }
}

fn body(rows: &[&ConnectionRow], name: impl Fn(&str) -> String, seconds: f64, style: &Style) -> String {
    let (shown, quiet): (Vec<&ConnectionRow>, Vec<&ConnectionRow>) =
        sorted(rows).into_iter().partition(|row| is_shown(row));
    let one_namespace = rows.iter().map(|row| row.netns).collect::<BTreeSet<_>>().len() < 2;
    let mut table = Table::new(columns());
    for row in shown.iter().take(ROWS) {
        table.row(cells(row, name(&row.service), one_namespace, seconds));
    }
    let mut page = table.render(style);
    page.push_str(&more(shown.len(), ROWS));
    page.push_str(&hangups::notes(shown.get(..ROWS).unwrap_or(&shown), style));
    page.push_str(&stayed(&quiet, style));
    page
}

fn columns() -> Vec<Column> {
    vec![
        Column::name("SERVICE"),
        Column::name("PEER"),
        Column::word("NETNS", 1),
        Column::word("PROTOCOL", 4),
        Column::number("OPENED", 4),
        Column::number("RATE", 0),
        Column::number("FAILED", 0),
        Column::number("USES", 0),
        Column::number("LIVE", 3),
        Column::number("PEAK", 1),
        Column::word("ENDED BY", 1),
        Column::number("LIFE", 5),
        Column::number("CONNECT", 6),
        Column::number("SIGN-IN", 2),
        Column::number("TIME_WAIT", 7),
    ]
}

fn cells(row: &ConnectionRow, service: String, one_namespace: bool, seconds: f64) -> Vec<Cell> {
    let arrow = match row.role {
        Role::Client => "->",
        Role::Server => "<-",
    };
    let failed: u64 = row.failed.values().sum();
    let opened = |text: String| if row.established > 0 { text } else { units::UNKNOWN.into() };
    let ever_open = |count: u64| if row.peak > 0 { units::count(count) } else { String::new() };
    let nonzero = |count: u64| if count > 0 { units::count(count) } else { String::new() };
    vec![
        service.into(),
        format!("{arrow} {}", peer(row)).into(),
        if one_namespace { String::new() } else { row.netns.to_string() }.into(),
        clean(&row.protocol).into_owned().into(),
        opened(units::count(row.established)).into(),
        opened(units::rate(row.established, seconds)).into(),
        Cell::toned(nonzero(failed), Tone::Bad),
        uses(row.exchanges_per_connection).into(),
        ever_open(row.live).into(),
        ever_open(row.peak).into(),
        Cell::toned_if(ended_by(&row.closed_by), Tone::Warning, has_failed(row)),
        median(row.lifetime).into(),
        median(row.connect).into(),
        median(row.handshake).into(),
        nonzero(row.time_wait.unwrap_or(0)).into(),
    ]
}

/// Exchanges of one connection. The median: beside a pool that lives on, the mean would hide connections that are used
/// once.
fn uses(exchanges: Option<Distribution>) -> String {
    match exchanges {
        Some(exchanges) if exchanges.count > 0 => units::amount(exchanges.p50.round()),
        _ => String::new(),
    }
}

fn median(distribution: Option<Distribution>) -> String {
    super::known_quantile(distribution, |d| d.p50)
}

/// `us 1,280, reset 3`, the most frequent first.
pub(super) fn ended_by(by: &ClosedBy) -> String {
    let mut ends = [
        ("us", by.us),
        ("peer", by.peer),
        ("reset", by.reset),
        ("timeout", by.timeout),
        ("error", by.error),
        ("unknown", by.unknown),
    ];
    ends.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    let ends = ends.iter().filter(|(_, count)| *count > 0);
    ends.map(|(who, count)| format!("{who} {}", units::count(*count))).collect::<Vec<_>>().join(", ")
}

/// Whether any of its connections failed, or ended as none should.
fn has_failed(row: &ConnectionRow) -> bool {
    !row.failed.is_empty()
        || row.cut > 0
        || row.gone > 0
        || !row.farewells.is_empty()
        || row.closed_by.reset > 0
        || row.closed_by.timeout > 0
        || row.closed_by.error > 0
}

/// Those with a fault first, then those that open the most.
fn sorted<'a>(rows: &[&'a ConnectionRow]) -> Vec<&'a ConnectionRow> {
    let mut rows = rows.to_vec();
    rows.sort_by(|one, two| {
        let key = |row: &ConnectionRow| (has_failed(row), row.established + row.closed, row.live);
        key(two).cmp(&key(one)).then_with(|| one.peer.cmp(&two.peer)).then(one.netns.cmp(&two.netns))
    });
    rows
}

fn sums(rows: &[&ConnectionRow], seconds: f64) -> String {
    let of =
        |role: Role| -> u64 { rows.iter().filter(|row| row.role == role).map(|row| row.established).sum() };
    let failed: u64 = rows.iter().flat_map(|row| row.failed.values()).sum();
    let live: u64 = rows.iter().map(|row| row.live).sum();
    let mut parts = Vec::new();
    for (did, count) in [("made", of(Role::Client)), ("accepted", of(Role::Server))] {
        if count > 0 {
            parts.push(format!("{} {did} ({})", units::count(count), units::rate(count, seconds)));
        }
    }
    if failed > 0 {
        parts.push(format!("{} failed", units::count(failed)));
    }
    parts.push(format!("{} open at the end", units::count(live)));
    parts.join(", ")
}

/// One line for all that neither opened nor ended.
fn stayed(rows: &[&ConnectionRow], style: &Style) -> String {
    let live: u64 = rows.iter().map(|row| row.live).sum();
    if live == 0 {
        return String::new();
    }
    let exchanges: u64 = rows.iter().map(|row| row.exchanges).sum();
    let line = format!(
        "Open all the time: {} ({}, {})",
        units::things(live, "other connection", "other connections"),
        units::things(rows.len() as u64, "peer", "peers"),
        units::things(exchanges, "exchange", "exchanges")
    );
    wrap(&line, style.width, "  ")
}

#[cfg(test)]
mod tests;
