//! Commands that take long or carry much, by MariaDB's own client (Connector/C): ALTER TABLE with the server's reports of
//! its progress, LOAD DATA LOCAL of more packets than have numbers. Each is one exchange, as long as the client waited.
//!
//! Truth: the client's own word on each statement (`-vvv`), whose seconds are rounded to milliseconds.

#![allow(clippy::unwrap_used, reason = "a test's helper fails as the test itself does")]

use std::{fs, path::Path, process::Command};

use hostprof_tests::{
    Address, Database, Engine, MysqlLine, Recording, Trace,
    database::{PASSWORD, SCHEMA, USER},
    install::program,
    process::temp_dir,
};

/// The client rounds, and starts its clock before it writes.
const ROUNDED: f64 = 0.005;

/// Runs `statements` by one client in one session. Returns the seconds that it says each took.
fn run(address: &Address, dir: &Path, statements: &str) -> Vec<f64> {
    let mut client = Command::new(program("mariadb").unwrap());
    client.args(["--no-defaults", "-vvv", "--local-infile=1", "-u", USER]);
    client.arg(format!("--password={PASSWORD}"));
    match address {
        Address::Tcp(port) => client.args(["-h", "127.0.0.1", "-P", &port.to_string()]),
        Address::Unix(path) => client.arg("-S").arg(path),
    };
    client.args([SCHEMA, "-e", statements]).current_dir(dir);
    let output = client.output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{text}\n{}", String::from_utf8_lossy(&output.stderr));
    // "Query OK, 300000 rows affected (0.512 sec)"
    let seconds = |line: &str| line.rsplit_once('(')?.1.strip_suffix(" sec)")?.parse().ok();
    text.lines().filter_map(seconds).collect()
}

/// The statement's exchanges, which must be one of the client and one of the server.
#[track_caller]
fn both(lines: &[MysqlLine], begins: &str) -> [MysqlLine; 2] {
    let of = |role| {
        let found: Vec<_> = lines
            .iter()
            .filter(|l| l.is("role", role) && l.text("digest_text").is_some_and(|t| t.starts_with(begins)))
            .collect();
        assert_eq!(found.len(), 1, "{begins} {role}: {found:#?}");
        found[0].clone()
    };
    [of("client"), of("server")]
}

#[test]
fn a_long_alter_table_is_as_long_as_it_was() {
    let database =
        Database::start_with(Engine::MariaDb, &["--progress-report-time=1", "--local-infile=1"]).unwrap();
    let dir = temp_dir().unwrap();
    for address in [database.tcp(), database.unix()] {
        run(
            address,
            dir.path(),
            "CREATE TABLE long_one AS SELECT seq AS a, REPEAT('x', 200) AS b FROM seq_1_to_400000",
        );
        let trace = Trace::start(&["--protocol", "mysql"]).unwrap();
        let alter = "ALTER TABLE long_one ADD COLUMN c INT, ALGORITHM=COPY";
        let took = run(address, dir.path(), &format!("{alter}; SELECT 1"))[0];
        let lines = MysqlLine::all(&trace.finish().unwrap());
        assert!(took > 0.6, "over before a report could look like its end: {took} s");
        for line in both(&lines, "ALTER TABLE") {
            assert_eq!(line.text("error_type"), None, "{line:#?}");
            let seconds = line.seconds("duration").unwrap();
            assert!((seconds - took).abs() < ROUNDED, "{took} s by the client: {line:#?}");
            assert_eq!(line.number("rows_affected"), Some(400_000), "{line:#?}");
        }
        both(&lines, "SELECT ?");
        run(address, dir.path(), "DROP TABLE long_one");
    }
    database.stop().unwrap();
}

#[test]
fn a_file_of_more_packets_than_have_numbers_belongs_to_its_command() {
    let database = Database::start_with(Engine::MariaDb, &["--local-infile=1"]).unwrap();
    let dir = temp_dir().unwrap();
    // 0x03 at the beginning of each line: taken for a command, it would be a statement of the file's text.
    let file: String = (0..60_000).map(|n| format!("\u{3}{n:08}{}\n", "secret".repeat(15))).collect();
    fs::write(dir.path().join("lines.txt"), &file).unwrap();
    for address in [database.tcp(), database.unix()] {
        run(address, dir.path(), "CREATE TABLE loaded (line TEXT)");
        let trace = Trace::start(&["--protocol", "mysql"]).unwrap();
        let recording = Recording::start(&["--protocol", "mysql"]).unwrap();
        let load = "BEGIN; LOAD DATA LOCAL INFILE 'lines.txt' INTO TABLE loaded; COMMIT";
        let took = run(address, dir.path(), load)[1];
        let report = recording.finish().unwrap();
        let lines = MysqlLine::all(&trace.finish().unwrap());
        for line in both(&lines, "LOAD DATA") {
            assert_eq!(line.text("error_type"), None, "{line:#?}");
            let seconds = line.seconds("duration").unwrap();
            assert!((seconds - took).abs() < ROUNDED, "{took} s by the client: {line:#?}");
            assert!(line.number("request_bytes").unwrap() > file.len() as u64, "{line:#?}");
            assert_eq!(line.number("rows_affected"), Some(60_000), "{line:#?}");
        }
        for line in both(&lines, "COMMIT") {
            assert_eq!(line.text("error_type"), None, "{line:#?}");
        }
        let commands: Vec<_> = lines.iter().map(MysqlLine::command).collect();
        assert!(
            commands.iter().all(|c| ["query", "handshake", "init_db", "quit"].contains(c)),
            "invented: {commands:?}"
        );
        assert!(report.lost().is_empty(), "{:?}", report.lost());
        run(address, dir.path(), "DROP TABLE loaded");
    }
    database.stop().unwrap();
}
