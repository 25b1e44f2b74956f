//! What MySQL's protocol can do besides one statement and one result: several of each, closes without replies, files on
//! the way to the server, statements from before our time, compression, packets read in parts.
//!
//! Truths: the client's own log, and tshark for bytes and times.

#![allow(clippy::unwrap_used, reason = "a test's helper fails as the test itself does")]

use hostprof_tests::{Capture, Database, Engine, MysqlLine, Recording, SqlCase, SqlRun, Trace};
use serde_json::Value;

/// A case on MariaDB over TCP, and what `trace` told of its client and of the server.
struct Told {
    run: SqlRun,
    notes: Value,
    client: Vec<MysqlLine>,
    server: Vec<MysqlLine>,
}

fn trace(case: &str) -> Told {
    let database = Database::start(Engine::MariaDb).unwrap();
    let trace = Trace::start(&["--protocol", "mysql"]).unwrap();
    let (run, notes) = SqlCase::run(case, database.tcp()).unwrap();
    trace.settle(|lines| MysqlLine::of_server(lines, database.pid()).len()).unwrap();
    let lines = trace.finish_whole().unwrap();
    let client = MysqlLine::of_client(&lines, run.pid);
    let server = MysqlLine::of_server(&lines, database.pid());
    database.stop().unwrap();
    Told { run, notes, client, server }
}

/// The commands and texts of the lines behind each handshake.
fn statements(lines: &[MysqlLine]) -> Vec<(&str, &str)> {
    let statements = lines.iter().filter(|line| line.command() != "handshake");
    statements.map(|line| (line.command(), line.text("digest_text").unwrap_or_default())).collect()
}

#[test]
fn several_statements_and_results_are_one_exchange() {
    let told = trace("multi");
    for lines in [&told.client, &told.server] {
        assert_eq!(
            statements(lines),
            [
                ("query", "SET NAMES utf8mb4"),
                ("query", "SELECT id FROM items; SELECT price FROM items"),
                ("query", "SELECT ?; SELECT * FROM nowhere"),
                (
                    "query",
                    "CREATE PROCEDURE twice() BEGIN SELECT id FROM items; SELECT price FROM items; END"
                ),
                ("query", "CALL twice()"),
                ("query", "DROP PROCEDURE twice"),
            ]
        );
        for (statement, line) in told.run.statements.iter().zip(&lines[1..]) {
            assert_eq!(line.error(), statement.error, "{line:?}");
            // Rows of several results are not known, and not guessed.
            assert_eq!(line.number("rows_returned"), None, "{line:?}");
        }
        assert_eq!(lines[3].error(), Some(1146), "the last of several statements failed");
    }
}

#[test]
fn a_close_before_a_command_hides_nothing() {
    let told = trace("close_before");
    for lines in [&told.client, &told.server] {
        let lines = &lines[1..];
        assert_eq!(lines.len(), told.run.statements.len());
        for (statement, line) in told.run.statements.iter().zip(lines) {
            assert_eq!(line.command(), statement.kind, "{statement:?}");
            let expected = statement.text.replace("1 + 1", "? + ?");
            assert_eq!(line.text("digest_text"), Some(expected.as_str()));
            if statement.kind != "prepare" && !statement.text.starts_with("SET") {
                assert_eq!(line.number("rows_returned"), Some(statement.rows), "{line:?}");
            }
        }
    }
}

#[test]
fn a_file_on_its_way_to_the_server_belongs_to_its_statement() {
    let told = trace("local_file");
    assert_eq!(told.notes["loaded"], 100_000);
    for lines in [&told.client, &told.server] {
        let names: Vec<_> =
            statements(lines).into_iter().map(|(command, text)| (command, &text[..9])).collect();
        assert_eq!(
            names,
            [("query", "SET NAMES"), ("query", "CREATE TA"), ("query", "LOAD DATA"), ("query", "DROP TABL")]
        );
        let load = &lines[3];
        assert_eq!((load.error(), load.number("rows_returned")), (None, None));
        let rows = load.number("rows_affected");
        assert!(rows.is_none_or(|rows| rows == 100_000), "{load:?}");
        let sent = load.number("request_bytes").unwrap();
        assert!(sent >= told.notes["file"].as_u64().unwrap(), "the file is part of the request: {load:?}");
    }
    // The load takes as long as the client waited for it, file included.
    let waited = told.run.statements[2].seconds;
    let duration = told.client[3].seconds("duration").unwrap();
    assert!((0.5 * waited..=waited + 0.000_1).contains(&duration), "{duration} of {waited} seconds");
}

#[test]
fn a_statement_prepared_before_we_came_is_timed_without_a_text() {
    let database = Database::start(Engine::MariaDb).unwrap();
    let mut case = SqlCase::start("prepared_before", database.tcp()).unwrap();
    case.stands().unwrap();
    let trace = Trace::start(&["--protocol", "mysql"]).unwrap();
    case.go_on().unwrap();
    let (run, _) = case.finish().unwrap();
    trace.settle(|lines| MysqlLine::of_server(lines, database.pid()).len()).unwrap();
    let lines = trace.finish_whole().unwrap();
    for side in [MysqlLine::of_client(&lines, run.pid), MysqlLine::of_server(&lines, database.pid())] {
        assert_eq!(statements(&side), [("execute", "<unknown statement>"); 3]);
        for (line, statement) in side.iter().zip(&run.statements) {
            assert_eq!(line.text("digest"), None);
            let duration = line.seconds("duration").unwrap();
            // The server's write may return when the client has the reply already; two of them would be 0.04.
            assert!((0.02..=statement.seconds + 0.01).contains(&duration), "{duration} {statement:?}");
        }
    }
    database.stop().unwrap();
}

#[test]
fn a_compressed_connection_is_counted_and_nothing_is_invented() {
    let database = Database::start(Engine::MariaDb).unwrap();
    let recording = Recording::start(&[]).unwrap();
    let (run, _) = SqlCase::run("compressed", database.tcp()).unwrap();
    let report = recording.finish().unwrap();
    // Both ends of the connection.
    assert_eq!(report.not_parsed().get("mysql_compressed"), Some(&2), "{:?}", report.not_parsed());
    for (role, pid) in [("client", run.pid), ("server", database.pid())] {
        let commands = report.rows("mysql").role(role).of(&[pid]).by("command");
        // The login is still in the clear.
        assert_eq!(commands, [("handshake".to_owned(), 1)].into(), "{role}");
    }
    assert_eq!(report.rows("http").of(&[run.pid, database.pid()]).count(), 0);
    database.stop().unwrap();
}

#[test]
fn headers_read_apart_from_their_payloads_change_nothing() {
    let database = Database::start(Engine::MariaDb).unwrap();
    let capture = Capture::start(database.tcp().port().unwrap()).unwrap();
    let trace = Trace::start(&["--protocol", "mysql"]).unwrap();
    let (run, _) = SqlCase::run("split_reads", database.tcp()).unwrap();
    trace.settle(|lines| MysqlLine::of_server(lines, database.pid()).len()).unwrap();
    let lines = trace.finish_whole().unwrap();
    let turns = capture.finish().unwrap();
    let wire: Vec<_> = turns.iter().filter_map(|turn| Some((turn.statement()?, turn))).collect();
    let wire: Vec<_> = wire.into_iter().filter(|((command, _), _)| *command != 1).collect();
    assert!(wire.len() > 40, "{wire:?}");
    for side in [MysqlLine::of_client(&lines, run.pid), MysqlLine::of_server(&lines, database.pid())] {
        let side = &side[1..];
        assert_eq!(side.len(), wire.len(), "{side:#?}\n{wire:#?}");
        for (line, ((command, _), turn)) in side.iter().zip(&wire) {
            let name = match command {
                3 => "query",
                0x16 => "prepare",
                0x17 => "execute",
                0x0e => "ping",
                0x1a => "reset",
                other => panic!("command {other}"),
            };
            assert_eq!(line.command(), name);
            let bytes = (line.number("request_bytes"), line.number("response_bytes"));
            assert_eq!(bytes, (Some(turn.request_bytes), Some(turn.response_bytes)), "{line:?}");
            let [first, all] = ["first_byte", "duration"].map(|field| line.seconds(field).unwrap());
            assert!(first <= all, "{line:?}");
        }
        let selects = |text| {
            side.iter().filter(|line| line.is("digest_text", text) && line.command() != "prepare").count()
        };
        assert_eq!(selects("SELECT name FROM items WHERE id = ?"), 20);
        assert!(selects("SELECT price FROM items WHERE id = ?") >= 20);
    }
    database.stop().unwrap();
}
