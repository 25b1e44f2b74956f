//! Whether hostprof sees every statement of a client once, on both sides, in `record` and in `trace`.
//!
//! Truths: the client's own log, and tshark for bytes.

use anyhow::{Context as _, Result, ensure};

use crate::{
    address::Address,
    capture::Capture,
    database::Database,
    hostprof::{Recording, Trace},
    mysql_line::MysqlLine,
    process::wait_for,
    sql_check::SqlCheck,
    sql_client::{SqlClient, workload},
    turn::Turn,
};

/// Statements of the workload whose rows hostprof cannot know: 1000 rows, where packet numbers have come round; three
/// statements in one; the two of which only a beginning is kept.
const UNKNOWN: usize = 4;

/// Runs the workload under `record` and `trace` at once, each with these arguments, and checks both.
pub fn once(client: SqlClient, database: &Database, address: &Address, arguments: &[&str]) -> Result<()> {
    check(client, database, address, arguments).with_context(|| format!("{client:?} on {address}"))
}

fn check(client: SqlClient, database: &Database, address: &Address, arguments: &[&str]) -> Result<()> {
    let capture = Capture::start(database.tcp().port()?)?;
    let recording = Recording::start(arguments)?;
    let trace = Trace::start(&[arguments, &["--protocol", "mysql"]].concat())?;
    let run = client.run(address, &workload()?)?;
    // The handshake, then one line for each statement, on each side.
    wait_for("every statement in trace", || {
        let lines = trace.lines().unwrap_or_default();
        let client = MysqlLine::of_client(&lines, run.pid).len();
        client.min(MysqlLine::of_server(&lines, database.pid()).len()) > run.statements.len()
    })?;
    let lines = trace.finish_whole()?;
    let report = recording.finish()?;
    let turns = capture.finish()?;

    let sides = [MysqlLine::of_client(&lines, run.pid), MysqlLine::of_server(&lines, database.pid())];
    for side in &sides {
        let check = SqlCheck::lines(&run, side)?;
        let (returned, affected) =
            (check.returned - check.returned_known, check.affected - check.affected_known);
        ensure!((returned, affected) == (UNKNOWN, 0), "rows are not known where they can be: {check:?}");
        if address == database.tcp() {
            check_bytes(side, &turns)?;
        }
    }
    SqlCheck::report(&run, &report, "client", run.pid)?;
    SqlCheck::report(&run, &report, "server", database.pid())?;
    ensure!(report.lost().is_empty(), "lost: {:?}", report.lost());
    Ok(())
}

/// The bytes of each statement and its reply are those on the wire.
fn check_bytes(side: &[MysqlLine], turns: &[Turn]) -> Result<()> {
    let wire: Vec<_> = turns
        .iter()
        // Neither the login nor the good-bye.
        .filter(|turn| turn.statement().is_some_and(|(command, _)| command != 1))
        .map(|turn| (Some(turn.request_bytes), Some(turn.response_bytes)))
        .collect();
    let bytes = |line: &MysqlLine| (line.number("request_bytes"), line.number("response_bytes"));
    let told: Vec<_> = side[1..].iter().map(bytes).collect();
    ensure!(told == wire, "bytes: {told:?}, not {wire:?}");
    Ok(())
}
