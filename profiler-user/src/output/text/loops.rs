//! The table of one service's event loops.

use super::{ROWS, known_quantile, more};
use crate::output::style::table::{Cell, Column, Table};
use crate::output::style::{Style, Tone, clean, units};
use crate::report::LoopRow;
use crate::rules::{culprit, is_told};
use crate::stall::Stall;

/// The table, empty without rows.
pub(super) fn section(rows: &[&LoopRow], style: &Style) -> String {
    if rows.is_empty() {
        return String::new();
    }
    let mut page = "\n  Event loops\n".to_owned();
    let mut table = Table::new(columns());
    for row in rows.iter().take(ROWS) {
        table.row(cells(row));
    }
    page.push_str(&table.render(style));
    page.push_str(&more(rows.len(), ROWS));
    page
}

/// Whether clients waited for it: a thread's loop without any is in JSON alone.
pub(super) fn is_shown(row: &LoopRow) -> bool {
    row.turn.is_some() || row.stalls.iter().any(|row| is_told(&row.stall))
}

fn columns() -> Vec<Column> {
    vec![
        Column::number("PID", 0),
        Column::number("THREAD", 5),
        Column::number("BUSY", 0),
        Column::number("TURNS", 4),
        Column::number("p50", 3),
        Column::number("p99", 2),
        Column::number("MAX", 0),
        Column::number("STALLS", 0),
        Column::number("STALLED", 0),
        Column::name("WORST"),
    ]
}

fn cells(row: &LoopRow) -> Vec<Cell> {
    let stalls = || row.stalls.iter().map(|row| &row.stall).filter(|stall| is_told(stall));
    let worst = stalls().max_by(|a, b| a.seconds.total_cmp(&b.seconds));
    let stalled: f64 = stalls().map(|stall| stall.seconds).sum();
    let count = stalls().count() as u64;
    let longest = match (worst, row.turn) {
        (Some(stall), turn) => units::duration(turn.map_or(0.0, |turn| turn.max).max(stall.seconds)),
        (None, turn) => known_quantile(turn, |d| d.max),
    };
    vec![
        row.pid.to_string().into(),
        if row.tid == row.pid { String::new() } else { row.tid.to_string() }.into(),
        format!("{:.0} %", 100.0 * row.utilization).into(),
        units::count(row.turns).into(),
        known_quantile(row.turn, |d| d.p50).into(),
        known_quantile(row.turn, |d| d.p99).into(),
        longest.into(),
        Cell::toned_if(if count > 0 { units::count(count) } else { String::new() }, Tone::Bad, count > 0),
        if count > 0 { units::duration(stalled) } else { String::new() }.into(),
        worst.map(|stall: &Stall| clean(&culprit(stall)).into_owned()).unwrap_or_default().into(),
    ]
}
