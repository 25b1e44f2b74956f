//! The HTTP tables of one service: what it served, what it called.

use std::collections::BTreeMap;

use super::{ROWS, known_quantile, more, quantile, total};
use crate::output::style::table::{Cell, Column, Table};
use crate::output::style::{Style, Tone, clean, units, wrap};
use crate::report::{Clock, HttpRow, Role};

/// What the statuses of one route share.
type Route<'a> = (Option<&'a str>, &'a str, &'a str);

/// The section of one role, empty without rows.
pub(super) fn section(rows: &[&HttpRow], role: Role, seconds: f64, style: &Style) -> String {
    let rows = sorted(rows.iter().copied().filter(|row| row.role == role).collect());
    if rows.is_empty() {
        return String::new();
    }
    let mut page = format!("\n{}", wrap(&heading(&rows, role, seconds), style.width, "  "));
    let mut table = Table::new(columns());
    for row in rows.iter().take(ROWS) {
        table.row(cells(row, seconds));
    }
    page.push_str(&table.render(style));
    page.push_str(&more(rows.len(), ROWS));
    if role == Role::Server && rows.iter().any(|row| row.clock == Some(Clock::Read)) {
        page.push_str(&wrap(
            "Some times start at the first read: what a request waited before it is not in them.",
            style.width,
            "  ",
        ));
    }
    page
}

fn columns() -> Vec<Column> {
    vec![
        Column::name("ROUTE"),
        Column::name("PEER"),
        Column::word("STATUS", 0),
        Column::number("COUNT", 0),
        Column::number("RATE", 6),
        Column::number("p50", 1),
        Column::number("p90", 7),
        Column::number("p99", 0),
        Column::number("MAX", 3),
        Column::number("QUEUE p99", 4),
        Column::number("1st BYTE", 5),
        Column::number("BYTES", 8),
        Column::number("TOTAL", 2),
    ]
}

fn cells(row: &HttpRow, seconds: f64) -> Vec<Cell> {
    let queue = row.phases.get("queue").copied();
    let bytes = row.response_bytes;
    vec![
        clean(&format!("{} {}", row.method, row.route)).into_owned().into(),
        row.peer.as_deref().map(clean).unwrap_or_default().into_owned().into(),
        status(row),
        units::count(row.count).into(),
        units::rate(row.count, seconds).into(),
        quantile(row.duration, |d| d.p50).into(),
        quantile(row.duration, |d| d.p90).into(),
        quantile(row.duration, |d| d.p99).into(),
        quantile(row.duration, |d| d.max).into(),
        known_quantile(queue, |d| d.p99).into(),
        known_quantile(row.first_byte, |d| d.p50).into(),
        if bytes.count > 0 { units::bytes(bytes.p50) } else { String::new() }.into(),
        quantile(row.duration, |d| d.sum).into(),
    ]
}

/// The status, and what went wrong on the connection.
fn status(row: &HttpRow) -> Cell {
    let error = row.error_type.as_deref().map(clean);
    match (row.status, error) {
        (Some(status), Some(error)) if *error != status.to_string() => {
            Cell::toned(format!("{status} {error}"), Tone::Bad)
        }
        (Some(status), _) => {
            let tone = if status >= 500 { Tone::Bad } else { Tone::Warning };
            Cell::toned_if(status.to_string(), tone, status >= 400)
        }
        (None, Some(error)) => Cell::toned(error.into_owned(), Tone::Bad),
        (None, None) => Cell::toned("no answer".into(), Tone::Bad),
    }
}

fn heading(rows: &[&HttpRow], role: Role, seconds: f64) -> String {
    let count: u64 = rows.iter().map(|row| row.count).sum();
    let errors: u64 = rows.iter().filter(|row| is_error(row)).map(|row| row.count).sum();
    let did = match role {
        Role::Server => "HTTP served",
        Role::Client => "HTTP called",
    };
    format!(
        "{did}: {}, {}, {} ({})",
        units::things(count, "request", "requests"),
        units::rate(count, seconds),
        units::things(errors, "error", "errors"),
        units::share(errors, count)
    )
}

/// The same sense of error as `--errors`.
fn is_error(row: &HttpRow) -> bool {
    row.error_type.is_some() || row.status.is_none_or(|status| status >= 400)
}

/// Routes by total time, the statuses of one route together.
fn sorted(mut rows: Vec<&HttpRow>) -> Vec<&HttpRow> {
    let mut by_route: BTreeMap<Route<'_>, f64> = BTreeMap::new();
    for row in &rows {
        *by_route.entry(route(row)).or_default() += total(row.duration);
    }
    let of_route = |row: &HttpRow| by_route.get(&route(row)).copied().unwrap_or(0.0);
    rows.sort_by(|one, two| {
        of_route(two)
            .total_cmp(&of_route(one))
            .then_with(|| route(one).cmp(&route(two)))
            .then_with(|| total(two.duration).total_cmp(&total(one.duration)))
            .then_with(|| two.count.cmp(&one.count))
    });
    rows
}

fn route(row: &HttpRow) -> Route<'_> {
    (row.peer.as_deref(), &row.method, &row.route)
}
