//! What hostprof told of a client's statements, held against the client's own log.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use crate::{
    mysql_line::MysqlLine,
    report::Report,
    sql_client::{SqlRun, Statement},
};

/// How the digest of each statement must read, by how the statement begins; written by hand.
const DIGESTS: [(&str, &str); 15] = [
    ("SELECT name FROM items WHERE id =", "SELECT name FROM items WHERE id = ?"),
    ("SELECT name FROM items WHERE name", "SELECT name FROM items WHERE name = ? AND price > ?"),
    ("INSERT INTO items VALUES", "INSERT INTO items VALUES (?, ?, ?)"),
    ("UPDATE items SET price = price", "UPDATE items SET price = price + ? WHERE id < ?"),
    ("UPDATE items SET price = ", "UPDATE items SET price = ? WHERE id = ?"),
    ("DELETE FROM items", "DELETE FROM items WHERE id >= ?"),
    ("SELEC 1", "SELEC ?"),
    ("SELECT * FROM nowhere", "SELECT * FROM nowhere"),
    ("SELECT a.id", "SELECT a.id, b.id, c.id, REPEAT(?, ?) FROM items a, items b, items c"),
    ("SELECT 1; UPDATE", "SELECT ?; UPDATE items SET price = ? WHERE id = ?; SELECT ?"),
    ("SELECT SLEEP", "SELECT SLEEP(?)"),
    // Its beginning is all that is kept.
    ("SELECT LENGTH('xxx", "SELECT LENGTH(? …"),
    ("SET NAMES utf8mb4", "SET NAMES utf8mb4"),
    ("SET AUTOCOMMIT = ", "SET AUTOCOMMIT = ?"),
    ("SET @@session.autocommit = ", "SET @@session.autocommit = ?"),
];

/// SQLSTATEs of the errors that the workload provokes.
const STATES: [(u64, &str); 2] = [(1064, "42000"), (1146, "42S02")];

/// Of how many statements hostprof knew the rows, of all that had any or could have.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct SqlCheck {
    pub statements: usize,
    pub returned: usize,
    pub returned_known: usize,
    pub affected: usize,
    pub affected_known: usize,
}

/// The digest text that a statement must have.
fn digest_of(statement: &Statement) -> Result<&'static str> {
    let known = DIGESTS.iter().find(|(begin, _)| statement.text.starts_with(begin));
    known.map(|(_, digest)| *digest).with_context(|| format!("no digest for {statement:?}"))
}

/// The numbers of statements by command and digest that a log amounts to.
fn counts(run: &SqlRun) -> Result<BTreeMap<(String, String), u64>> {
    let mut counts = BTreeMap::new();
    for statement in &run.statements {
        *counts.entry((statement.kind.clone(), digest_of(statement)?.to_owned())).or_default() += 1;
    }
    Ok(counts)
}

impl SqlCheck {
    /// Checks the lines of one connection, handshake first, against the log: each statement once, in order, with its
    /// digest and its error, and with no number of rows but the client's.
    pub fn lines(run: &SqlRun, lines: &[MysqlLine]) -> Result<Self> {
        let commands: Vec<_> = lines.iter().map(MysqlLine::command).collect();
        ensure!(commands.first() == Some(&"handshake"), "no handshake first: {commands:?}");
        ensure!(lines[0].number("rows_affected").is_none(), "a handshake affects no rows: {:?}", lines[0]);
        let lines = &lines[1..];
        ensure!(
            lines.len() == run.statements.len(),
            "{} statements, {} lines: {commands:?}",
            run.statements.len(),
            lines.len()
        );
        let mut check = Self::default();
        for (statement, line) in run.statements.iter().zip(lines) {
            check.line(statement, line).with_context(|| format!("{statement:?}\n{}", line.json()))?;
        }
        Ok(check)
    }

    fn line(&mut self, statement: &Statement, line: &MysqlLine) -> Result<()> {
        self.statements += 1;
        ensure!(line.command() == statement.kind, "another command");
        ensure!(line.text("digest_text") == Some(digest_of(statement)?), "another digest");
        ensure!(line.error() == statement.error, "another error");
        let state = STATES.iter().find(|(error, _)| Some(*error) == statement.error).map(|(_, state)| *state);
        ensure!(line.text("sqlstate") == state, "another state");
        if statement.kind != "execute" {
            let more = line.number("request_bytes").unwrap_or(0).checked_sub(statement.length);
            // Header and command, query attributes, the header of a second packet.
            ensure!(more.is_some_and(|more| (5..12).contains(&more)), "another length");
        }
        let (returned, affected) = (line.number("rows_returned"), line.number("rows_affected"));
        ensure!(returned.is_none_or(|rows| rows == statement.rows), "wrong rows returned");
        ensure!(affected.is_none_or(|rows| rows == statement.affected), "wrong rows affected");
        ensure!(returned.is_none() || affected.is_none(), "both kinds of rows");
        if statement.kind == "prepare" || statement.error.is_some() {
            ensure!(returned.is_none() && affected.is_none(), "rows of nothing");
        } else if statement.text.starts_with("SELECT") {
            self.returned += 1;
            self.returned_known += usize::from(returned.is_some());
        } else {
            self.affected += 1;
            self.affected_known += usize::from(affected.is_some());
        }
        Ok(())
    }

    /// Checks the rows of a report, for one role of one process, against the log: counts by command and digest,
    /// errors by number, one digest for each text.
    pub fn report(run: &SqlRun, report: &Report, role: &str, pid: u32) -> Result<()> {
        let rows = || report.rows("mysql").role(role).of(&[pid]);
        let mut told: BTreeMap<(String, String), u64> = BTreeMap::new();
        let mut errors: BTreeMap<u64, u64> = BTreeMap::new();
        let mut digests: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
        for row in rows().filter(|row| row["command"] != "handshake").iter() {
            let (command, text) = (row["command"].as_str(), row["digest_text"].as_str());
            let (command, text) = command.zip(text).with_context(|| format!("no name: {row}"))?;
            *told.entry((command.to_owned(), text.to_owned())).or_default() += count(&row["count"]);
            digests.entry(text).or_default().insert(row["digest"].as_str().context("no digest")?);
            for (number, times) in row["errors"].as_object().into_iter().flatten() {
                *errors.entry(number.parse().context("an error without number")?).or_default() +=
                    count(times);
            }
        }
        ensure!(told == counts(run)?, "{role}: {told:#?}, not {:#?}", counts(run)?);
        let several: Vec<_> = digests.iter().filter(|(_, digests)| digests.len() != 1).collect();
        ensure!(several.is_empty(), "{role}: texts with more than one digest: {several:?}");
        let mut logged: BTreeMap<u64, u64> = BTreeMap::new();
        for error in run.statements.iter().filter_map(|statement| statement.error) {
            *logged.entry(error).or_default() += 1;
        }
        ensure!(errors == logged, "{role}: errors {errors:?}, not {logged:?}");
        let handshakes = rows().with("command", "handshake");
        ensure!(handshakes.count() == 1, "{role}: {} handshakes", handshakes.count());
        ensure!(handshakes.iter().all(|row| row["rows_affected"].is_null()), "a handshake affects no rows");
        Ok(())
    }
}

fn count(value: &Value) -> u64 {
    value.as_u64().unwrap_or(0)
}
