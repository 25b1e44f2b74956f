//! The MySQL tables of one service: statements by the time they took, and the errors by name.

use std::collections::{BTreeMap, BTreeSet};

use super::{ROWS, known_quantile, more, quantile, some_of, total};
use crate::output::style::table::{Cell, Column, Table};
use crate::output::style::{Style, Tone, clean, shorten, units, wrap};
use crate::report::{Distribution, MysqlRow, Role};

/// The longest name of a schema, columns.
const SCHEMA: usize = 16;

/// The section of one role, empty without rows.
pub(super) fn section(rows: &[&MysqlRow], role: Role, seconds: f64, style: &Style) -> String {
    let mut rows: Vec<&MysqlRow> = rows.iter().copied().filter(|row| row.role == role).collect();
    if rows.is_empty() {
        return String::new();
    }
    rows.sort_by(|one, two| {
        total(two.duration)
            .total_cmp(&total(one.duration))
            .then_with(|| two.count.cmp(&one.count))
            .then_with(|| one.digest_text.cmp(&two.digest_text))
    });
    let one_peer = rows.iter().all(|row| row.peer == rows[0].peer);
    // Of connections from before the recording it is not known: the same statement may have two rows.
    let one_schema =
        rows.iter().filter(|row| row.digest.is_some()).map(|row| &row.schema).collect::<BTreeSet<_>>().len()
            < 2;
    let mut page = format!("\n{}", wrap(&heading(&rows, role, seconds, one_peer), style.width, "  "));
    let mut table = Table::new(columns());
    for row in rows.iter().take(ROWS) {
        table.row(cells(row, one_peer, one_schema));
    }
    page.push_str(&table.render(style));
    page.push_str(&more(rows.len(), ROWS));
    page.push_str(&errors(&rows, style));
    page
}

fn columns() -> Vec<Column> {
    vec![
        Column::name("STATEMENT"),
        Column::name("PEER"),
        Column::word("SCHEMA", 4),
        Column::number("COUNT", 0),
        Column::number("ERRORS", 0),
        Column::number("p50", 3),
        Column::number("p99", 1),
        Column::number("MAX", 5),
        Column::number("1st BYTE", 7),
        Column::number("ROWS", 4),
        Column::number("BYTES", 6),
        Column::number("TOTAL", 2),
        Column::word("FLAGS", 0),
    ]
}

fn cells(row: &MysqlRow, one_peer: bool, one_schema: bool) -> Vec<Cell> {
    let errors: u64 = row.errors.values().sum();
    let bytes = row.response_bytes;
    let peer = if one_peer { None } else { row.peer.as_deref() };
    let schema = if one_schema { None } else { Some(row.schema.as_deref().unwrap_or(units::UNKNOWN)) };
    vec![
        statement(row).into(),
        peer.map(clean).unwrap_or_default().into_owned().into(),
        shorten(&schema.map(clean).unwrap_or_default(), SCHEMA).into_owned().into(),
        units::count(row.count).into(),
        Cell::toned(if errors > 0 { units::count(errors) } else { String::new() }, Tone::Bad),
        quantile(row.duration, |d| d.p50).into(),
        quantile(row.duration, |d| d.p99).into(),
        quantile(row.duration, |d| d.max).into(),
        known_quantile(row.first_byte, |d| d.p50).into(),
        mean_rows(row.rows_returned.or(row.rows_affected)).into(),
        if bytes.count > 0 { units::bytes(bytes.p50) } else { String::new() }.into(),
        quantile(row.duration, |d| d.sum).into(),
        Cell::toned(flags(row), Tone::Warning),
    ]
}

/// The statement's text; commands other than a plain query are named in front of it.
fn statement(row: &MysqlRow) -> String {
    let blanks_joined =
        |text: &str| clean(&text.split_whitespace().collect::<Vec<_>>().join(" ")).into_owned();
    match (row.command.as_str(), &row.digest_text) {
        ("query", Some(text)) => blanks_joined(text),
        (command, Some(text)) => format!("({}) {}", clean(command), blanks_joined(text)),
        (command, None) => format!("({})", clean(command)),
    }
}

/// Rows of one execution on average.
fn mean_rows(rows: Option<Distribution>) -> String {
    match rows {
        Some(rows) if rows.count > 0 => units::amount(rows.sum / rows.count as f64),
        _ => String::new(),
    }
}

/// What the server itself complained of.
fn flags(row: &MysqlRow) -> String {
    let said = [(row.no_index, "no index"), (row.no_good_index, "bad index"), (row.server_slow, "slow")];
    said.iter().filter(|(times, _)| *times > 0).map(|(_, flag)| *flag).collect::<Vec<_>>().join(", ")
}

fn heading(rows: &[&MysqlRow], role: Role, seconds: f64, one_peer: bool) -> String {
    let count: u64 = rows.iter().map(|row| row.count).sum();
    let errors: u64 = rows.iter().flat_map(|row| row.errors.values()).sum();
    let did = match (role, rows.first().and_then(|row| row.peer.as_deref())) {
        (Role::Server, _) => "MySQL served".to_owned(),
        (Role::Client, Some(peer)) if one_peer => format!("MySQL called at {}", clean(peer)),
        (Role::Client, _) => "MySQL called".to_owned(),
    };
    format!(
        "{did}: {}, {}, {} ({})",
        units::things(count, "command", "commands"),
        units::rate(count, seconds),
        units::things(errors, "error", "errors"),
        units::share(errors, count)
    )
}

/// The errors of all rows by name, the most frequent first.
fn errors(rows: &[&MysqlRow], style: &Style) -> String {
    let mut by_name: BTreeMap<&str, u64> = BTreeMap::new();
    for (name, count) in rows.iter().flat_map(|row| &row.errors) {
        *by_name.entry(name).or_default() += count;
    }
    if by_name.is_empty() {
        return String::new();
    }
    let mut by_count: Vec<(&str, u64)> = by_name.into_iter().collect();
    by_count.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    let list: Vec<String> = by_count
        .iter()
        .map(|(name, count)| match meaning(name) {
            Some(meaning) => format!("{} x {name} ({meaning})", units::count(*count)),
            None => format!("{} x {}", units::count(*count), clean(name)),
        })
        .collect();
    wrap(&format!("Errors: {}", some_of(&list, 8)), style.width, "  ")
}

/// What the server's most frequent error numbers say.
pub(super) fn meaning(number: &str) -> Option<&'static str> {
    Some(match number {
        "1040" => "too many connections",
        "1043" => "bad handshake",
        "1044" | "1045" => "access denied",
        "1049" => "unknown database",
        "1053" => "server shutdown",
        "1054" => "unknown column",
        "1062" => "duplicate key",
        "1064" => "syntax error",
        "1129" => "host blocked",
        "1130" => "host not allowed",
        "1142" => "command denied",
        "1146" => "no such table",
        "1153" => "packet over max_allowed_packet",
        "1203" => "too many connections of this user",
        "1205" => "lock wait timeout",
        "1213" => "deadlock",
        "1317" => "query interrupted",
        "1226" => "limit of the user",
        "1451" | "1452" => "foreign key constraint",
        "1927" => "connection killed",
        "3024" => "execution time limit",
        "3169" => "connection killed",
        "4031" => "closed after idling",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::text::sample::mysql_row;

    #[test]
    fn statements_are_one_line_with_their_command() {
        let row = mysql_row("execute", Some("SELECT *\n\tFROM t\x1b"));
        assert_eq!(statement(&row), "(execute) SELECT * FROM t\\x1b");
        assert_eq!(statement(&mysql_row("ping", None)), "(ping)");
        assert_eq!(statement(&mysql_row("query", Some("SELECT ?"))), "SELECT ?");
    }

    #[test]
    fn errors_have_names() {
        let mut row = mysql_row("query", Some("SELECT ?"));
        row.errors = [("1146".to_owned(), 2), ("ECONNRESET".to_owned(), 7)].into();
        assert_eq!(
            errors(&[&row], &Style::plain(80)),
            "  Errors: 7 x ECONNRESET, 2 x 1146 (no such table)\n"
        );
    }
}
