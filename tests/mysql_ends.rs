//! How MySQL exchanges and connections end: interrupted, killed, refused, hung up on, left idle, or after a great many rows;
//! and what the server says of a statement in its status flags.
//!
//! Truths: what the client got, tshark, performance_schema and the slow log.

#![allow(clippy::unwrap_used, reason = "a test's helper fails as the test itself does")]

use std::time::{Duration, Instant};

use anyhow::Result;
use hostprof_tests::{
    Address, Capture, Database, Engine, MysqlLine, Recording, SqlCase, SqlRun, Trace, Turn,
    process::wait_for,
    times::{in_time, undisturbed},
};
use serde_json::Value;

/// A case under `trace`: what the client said, and the lines of both sides.
fn trace(case: &str, database: &Database, address: &Address) -> (SqlRun, Value, [Vec<MysqlLine>; 2]) {
    let trace = Trace::start(&["--protocol", "mysql"]).unwrap();
    let (run, notes) = SqlCase::run(case, address).unwrap();
    trace.settle(|lines| MysqlLine::of_server(lines, database.pid()).len()).unwrap();
    let lines = trace.finish_whole().unwrap();
    let sides = [MysqlLine::of_client(&lines, run.pid), MysqlLine::of_server(&lines, database.pid())];
    (run, notes, sides)
}

/// The lines with this digest text.
fn with_text<'a>(lines: &'a [MysqlLine], text: &str) -> Vec<&'a MysqlLine> {
    lines.iter().filter(|line| line.is("digest_text", text)).collect()
}

/// MySQL says goodbye with error 4031, MariaDB with a reset: neither answers anything. The client's next query is
/// answered by the connection's end alone.
fn assert_hang_up(engine: Engine) {
    let database = Database::start(engine).unwrap();
    let (_, notes, [client, server]) = trace("hang_up", &database, database.tcp());
    assert!(!notes["error"].is_null(), "the client noticed: {notes}");
    for side in [&client, &server] {
        let told: Vec<_> =
            side[1..].iter().map(|line| (line.text("digest_text"), line.text("error_type"))).collect();
        let asked = [(Some("SET NAMES utf8mb4"), None), (Some("SET SESSION wait_timeout = ?"), None)];
        assert_eq!(told[..2], asked, "{engine:?}");
        assert_eq!(told[2], (Some("SELECT ?"), None), "{engine:?}: answered long before the farewell");
        assert!(side[3].seconds("duration").unwrap() < 0.5, "{:?}", side[3]);
        assert_eq!(side[3].number("rows_returned"), Some(1));
        // The query into the void: the server never read it; the client may not even have got it out.
        for (text, error) in &told[3..] {
            assert_eq!(*text, Some("SELECT ?"));
            assert!(error.is_some_and(|error| error.parse::<u16>().is_err()), "{engine:?} {error:?}");
        }
    }
    assert_eq!(server.len(), 4, "{server:#?}");
    assert!(client.len() <= 5, "{client:#?}");
    database.stop().unwrap();
}

#[test]
fn a_farewell_of_mariadb_answers_nothing() {
    assert_hang_up(Engine::MariaDb);
}

#[test]
fn a_farewell_of_mysql_answers_nothing() {
    assert_hang_up(Engine::MySql);
}

#[test]
fn an_interrupted_query_ends_with_its_error() {
    let database = Database::start(Engine::MariaDb).unwrap();
    let (_, notes, sides) = trace("killed_query", &database, database.tcp());
    assert_eq!(notes["error"], 1317);
    let interrupted = |side: &[MysqlLine]| {
        let ours =
            |line: &&MysqlLine| line.text("digest_text").is_some_and(|text| text.starts_with("SELECT SUM"));
        side.iter().filter(ours).cloned().collect::<Vec<_>>()
    };
    for side in &sides {
        let [line] = &interrupted(side)[..] else { panic!("{side:#?}") };
        assert_eq!((line.error(), line.text("sqlstate")), (Some(1317), Some("70100")));
        let [waited, duration] = [notes["seconds"].as_f64().unwrap(), line.seconds("duration").unwrap()];
        assert!((0.29..=waited + 0.000_1).contains(&duration), "{duration} of {waited}");
        // The connection lives on.
        assert_eq!(with_text(side, "SELECT ?")[0].number("rows_returned"), Some(1));
    }
    database.stop().unwrap();
}

#[test]
fn a_killed_connection_ends_its_query_without_an_invented_number() {
    let database = Database::start(Engine::MariaDb).unwrap();
    for address in [database.tcp(), database.unix()] {
        let (_, notes, sides) = trace("killed_connection", &database, address);
        // "Lost connection to server during query": the client got no packet.
        assert_eq!(notes["error"], 2013);
        for side in &sides {
            let [line] = with_text(side, "SELECT SLEEP(?)")[..] else { panic!("{address}: {side:#?}") };
            assert_eq!((line.error(), line.number("rows_returned")), (None, None));
            assert!(line.text("error_type").is_some(), "{address}: {line:?}");
            assert_eq!(line.number("response_bytes"), Some(0));
        }
    }
    database.stop().unwrap();
}

#[test]
fn a_query_that_is_too_big_ends_with_its_error() {
    let database = Database::start(Engine::MariaDb).unwrap();
    let (_, notes, [client, server]) = trace("too_big", &database, database.tcp());
    // The server reads no more than the header of a packet that is too big: not even the command is known to it.
    let refused: Vec<_> = server.iter().filter(|line| line.error().is_some()).collect();
    let [line] = refused[..] else { panic!("{server:#?}") };
    assert_eq!((line.error(), line.text("sqlstate")), (Some(1153), Some("08S01")), "{line:?}");
    assert_eq!((line.command(), line.text("digest_text")), ("other", None), "{line:?}");
    // The query before has nothing to do with it.
    assert_eq!(with_text(&server, "SELECT ?")[0].number("rows_returned"), Some(1));
    // Whether the client still gets to read the error depends on how much it had got out.
    let [line] = with_text(&client, "SELECT ? …")[..] else { panic!("{client:#?}") };
    if notes["error"] == 1153 {
        assert_eq!(line.error(), Some(1153), "{line:?}");
    } else {
        assert!(line.text("error_type").is_some(), "{notes} {line:?}");
    }
    database.stop().unwrap();
}

#[test]
fn the_last_query_of_an_idle_connection_is_shown_within_a_second() {
    let database = Database::start(Engine::MariaDb).unwrap();
    for address in [database.tcp(), database.unix()] {
        undisturbed(|| shown_within_a_second(&database, address)).unwrap();
    }
    database.stop().unwrap();
}

fn shown_within_a_second(database: &Database, address: &Address) -> Result<()> {
    let trace = Trace::start(&["--protocol", "mysql"])?;
    let mut case = SqlCase::start("idle", address)?;
    case.stands()?;
    let begun = Instant::now();
    let told = |trace: &Trace| {
        let lines = trace.lines().unwrap();
        [MysqlLine::of_client(&lines, case.pid()), MysqlLine::of_server(&lines, database.pid())]
            .iter()
            .map(|side| with_text(side, "SELECT id FROM items").len())
            .collect::<Vec<_>>()
    };
    if wait_for("the query in trace", || told(&trace) == [1, 1]).is_err() {
        let lines = trace.finish_whole().map(|lines| MysqlLine::all(&lines));
        panic!("{address}: {lines:#?}");
    }
    let took = begun.elapsed();
    case.go_on()?;
    case.finish()?;
    Ok(in_time(took < Duration::from_secs(1), || format!("{address}: {took:?}"))?)
}

#[test]
fn a_great_many_rows_are_timed_to_the_last_byte() {
    let database = Database::start(Engine::MariaDb).unwrap();
    undisturbed(|| a_great_many_rows(&database)).unwrap();
    database.stop().unwrap();
}

fn a_great_many_rows(database: &Database) -> Result<()> {
    let capture = Capture::start(database.tcp().port()?)?;
    let (run, _, sides) = trace("rows", database, database.tcp());
    let turns = capture.finish()?;
    let statement = run.statements.last().unwrap();
    assert_eq!(statement.rows, 100_000);
    let ours = |turn: &&Turn| turn.statement().is_some_and(|(_, text)| text.starts_with("WITH"));
    let turn = turns.iter().find(ours).unwrap();
    for side in &sides {
        let line = side.last().unwrap();
        assert_eq!(line.number("response_bytes"), Some(turn.response_bytes), "{line:?} {turn:?}");
        assert_eq!(line.number("rows_returned"), None, "packet numbers came round");
    }
    // The client has read the last byte after it came and before it knew all rows.
    let [client, server] = sides.map(|side| side.last().unwrap().seconds("duration").unwrap());
    assert!(client <= statement.seconds + 0.000_1, "{client} {statement:?}");
    in_time(client >= turn.duration - 0.000_3, || format!("{client} {turn:?}"))?;
    // The server hands the last byte to its kernel before it is on the wire: the sockets hold megabytes.
    let within = turn.first_byte - 0.000_3..=turn.duration + 0.000_3;
    Ok(in_time(within.contains(&server), || format!("{server} {turn:?}"))?)
}

#[test]
fn flags_are_those_that_the_server_notes() {
    let options = ["--performance-schema=ON"];
    let database = Database::start_with(Engine::MariaDb, &options).unwrap();
    let recording = Recording::start(&[]).unwrap();
    let (run, notes, sides) = trace("flags", &database, database.tcp());
    let report = recording.finish().unwrap();
    let slow: Vec<_> = notes["slow"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
    let mut told = [0; 3];
    for side in sides {
        let port = notes["port"].as_u64().unwrap();
        let side: Vec<_> =
            side.into_iter().filter(|line| line.client_port().map(u64::from) == Some(port)).collect();
        let side = &side[side.len() - run.statements.len()..];
        for (statement, line) in run.statements.iter().zip(side) {
            let noted = &notes["noted"][&statement.text];
            let flags = ["no_index", "no_good_index", "server_slow"].map(|flag| line.flag(flag));
            let truth = [noted[0] == 1, noted[1] == 1, slow.contains(&statement.text.as_str())];
            assert_eq!(flags, truth, "{statement:?} {noted} {}", line.json());
            told = [0, 1, 2].map(|n| told[n] + u64::from(flags[n]));
        }
    }
    assert!(told.iter().all(|told| *told > 0), "each flag was there once: {told:?}");
    // And the report counts what trace tells; the server's rows and the client's alike.
    for (n, flag) in ["no_index", "no_good_index", "server_slow"].into_iter().enumerate() {
        let rows = report.rows("mysql").filter(|row| row["digest_text"] != "SET SESSION long_query_time = ?");
        let ours = rows.filter(|row| {
            run.statements.iter().any(|statement| {
                let begin = statement.text.split(['=', '>', '(']).next().unwrap();
                row["digest_text"].as_str().is_some_and(|text| text.starts_with(begin))
            })
        });
        assert_eq!(ours.total(|row| row[flag].as_u64().unwrap_or(0)), told[n], "{flag}");
    }
    database.stop().unwrap();
}
