//! What the demo's database knows: for each statement how long it takes and what it answers.

use std::time::Duration;

/// Status flags of a reply.
pub(super) const AUTOCOMMIT: u16 = 0x0002;
const NO_INDEX_USED: u16 = 0x0020;
const QUERY_WAS_SLOW: u16 = 0x0800;

/// The statements of the shop, each up to its literal.
pub(super) const ORDER: &str = "SELECT id, customer_id, status, total FROM orders WHERE id = ";
pub(super) const ITEMS: &str = "SELECT sku, quantity, price FROM order_items WHERE order_id = ";
pub(super) const RECENT: &str = "SELECT id, customer_id FROM orders ORDER BY id DESC LIMIT ";
pub(super) const CUSTOMER: &str = "SELECT name, city FROM customers WHERE id = ";
pub(super) const EVENTS: &str = "SELECT id, payload FROM events WHERE note LIKE ";
pub(super) const USER: &str = "SELECT id, password_hash FROM users WHERE name = ";
pub(super) const INVOICES: &str = "SELECT id, total FROM invoices_2019 WHERE order_id = ";

/// How the database treats one statement.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Answer {
    pub(super) delay: Duration,
    pub(super) reply: Reply,
}

/// A reply, before it is put into packets.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Reply {
    Ok,
    Rows { columns: Vec<String>, rows: Vec<Vec<String>>, status: u16 },
    Error { number: u16, sqlstate: &'static str, message: String },
}

/// A statement that reads: its beginning, columns, rows, microseconds and flags.
type Select = (&'static str, &'static [&'static str], usize, u64, u16);

const SELECTS: [Select; 6] = [
    (ORDER, &["id", "customer_id", "status", "total"], 1, 400, 0),
    (ITEMS, &["sku", "quantity", "price"], 3, 300, 0),
    (RECENT, &["id", "customer_id"], 39, 900, 0),
    (CUSTOMER, &["name", "city"], 1, 250, 0),
    (EVENTS, &["id", "payload"], 200, 250_000, NO_INDEX_USED | QUERY_WAS_SLOW),
    (USER, &["id", "password_hash"], 1, 500, 0),
];

/// The answer to a statement. What the shop does not know gets the reply that keeps an ordinary client content.
pub(super) fn answer(sql: &str) -> Answer {
    let sql = sql.trim();
    if let Some((_, columns, count, micros, flags)) =
        SELECTS.iter().find(|(start, ..)| sql.starts_with(start))
    {
        let cell = |row: usize, column: &&str| match *column {
            "payload" => format!("event {row} {}", "x".repeat(180)),
            column if column.ends_with("id") => (1000 + row).to_string(),
            column => format!("{column} {row}"),
        };
        let rows = (0..*count).map(|row| columns.iter().map(|column| cell(row, column)).collect()).collect();
        let columns = columns.iter().map(|column| (*column).to_owned()).collect();
        // A few per cent more or less, by the literal: no database takes the same time twice.
        let jitter = 90 + sql.bytes().map(u64::from).sum::<u64>() % 21;
        return Answer {
            delay: Duration::from_micros(micros * jitter / 100),
            reply: Reply::Rows { columns, rows, status: AUTOCOMMIT | flags },
        };
    }
    let reply = if sql.starts_with(INVOICES) {
        Reply::Error {
            number: 1146,
            sqlstate: "42S02",
            message: "Table 'shop.invoices_2019' doesn't exist".into(),
        }
    } else {
        courtesy(sql)
    };
    Answer { delay: Duration::from_micros(100), reply }
}

/// Replies for what drivers and shells ask on their own.
fn courtesy(sql: &str) -> Reply {
    let verb = sql.split(|c: char| !c.is_ascii_alphabetic()).next().unwrap_or_default().to_ascii_uppercase();
    if !matches!(verb.as_str(), "SELECT" | "SHOW") {
        return Reply::Ok;
    }
    let mut columns: Vec<String> = sql.split("@@").skip(1).map(variable).collect();
    if columns.is_empty() {
        columns.push(sql.chars().skip(verb.len()).collect::<String>().trim().chars().take(60).collect());
    }
    let values = columns.iter().map(|column| value(column).to_owned()).collect();
    Reply::Rows { columns, rows: vec![values], status: AUTOCOMMIT }
}

/// The name behind `@@`.
fn variable(text: &str) -> String {
    let name: String =
        text.chars().take_while(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '.')).collect();
    format!("@@{name}")
}

fn value(column: &str) -> &'static str {
    match column.trim_start_matches("@@").trim_start_matches("session.").trim_start_matches("global.") {
        "max_allowed_packet" => "67108864",
        "wait_timeout" | "interactive_timeout" => "28800",
        "version_comment" => "hostprof demo",
        "version" | "VERSION()" => "8.0.36-hostprof-demo",
        "DATABASE()" | "database()" => "shop",
        "transaction_isolation" | "tx_isolation" => "REPEATABLE-READ",
        "time_zone" => "SYSTEM",
        "sql_mode" => "STRICT_TRANS_TABLES",
        _ => "1",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shop_is_sick_where_it_should_be() {
        let Reply::Rows { rows, status, .. } = answer(&format!("{EVENTS}'%refund%'")).reply else { panic!() };
        assert_eq!((rows.len(), status & NO_INDEX_USED), (200, NO_INDEX_USED));
        assert!(answer(&format!("{EVENTS}'%refund%'")).delay > Duration::from_millis(200));
        assert!(matches!(answer(&format!("{INVOICES}7")).reply, Reply::Error { number: 1146, .. }));
        assert!(answer(&format!("{ORDER}7")).delay < Duration::from_millis(1));
    }

    #[test]
    fn ordinary_clients_are_content() {
        assert_eq!(answer("SET NAMES utf8mb4").reply, Reply::Ok);
        assert_eq!(answer("BEGIN").reply, Reply::Ok);
        let Reply::Rows { columns, rows, .. } = answer("SELECT @@max_allowed_packet,@@wait_timeout").reply
        else {
            panic!()
        };
        assert_eq!(columns, ["@@max_allowed_packet", "@@wait_timeout"]);
        assert_eq!(rows, [["67108864", "28800"]]);
        let Reply::Rows { rows, .. } = answer("select DATABASE()").reply else { panic!() };
        assert_eq!(rows, [["shop"]]);
    }
}
