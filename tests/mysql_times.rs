//! How long each statement took, as hostprof says it, against what tshark saw go over the wire: from the query's first
//! segment to the last one of the reply.

#![allow(clippy::unwrap_used, reason = "a test's helper fails as the test itself does")]

use std::collections::HashMap;

use anyhow::Result;
use hostprof_tests::{
    Capture, Database, Engine, MysqlLine, SqlClient, Trace, Turn,
    process::wait_for,
    times::{Disturbed, in_time, undisturbed},
};
use serde_json::{Value, json};

/// Seconds by which hostprof and the wire may differ, and on which share of the statements they must not differ more.
const CLOSE: f64 = 0.000_3;
const SHARE: f64 = 0.95;

/// Selects, updates, prepared ones, and some that take their time.
fn workload() -> Value {
    let mut steps = Vec::new();
    for n in 0..50 {
        let id = n % 10 + 1;
        steps.push(json!({ "query": format!("SELECT name FROM items WHERE id = {id}") }));
        steps.push(json!({ "query": format!("SELECT SLEEP({})", f64::from(n % 6) * 0.001) }));
        steps.push(json!({ "query": format!("UPDATE items SET price = {n} WHERE id = {id}") }));
    }
    steps.push(json!({ "prepare": "SELECT name FROM items WHERE id = ?", "execute": vec![[1]; 50] }));
    json!(steps)
}

/// The statements of each connection by the client's port, without login and good-bye.
fn by_connection(turns: &[Turn]) -> HashMap<u16, Vec<&Turn>> {
    let mut connections: HashMap<u16, Vec<&Turn>> = HashMap::new();
    for turn in turns.iter().filter(|turn| turn.statement().is_some_and(|(command, _)| command != 1)) {
        connections.entry(turn.client).or_default().push(turn);
    }
    connections
}

/// How far the durations of these lines are from those on the wire, connection by connection, in order.
fn gaps(lines: &[MysqlLine], turns: &[Turn]) -> Vec<f64> {
    let mut gaps = Vec::new();
    for (port, turns) in by_connection(turns) {
        let ours = |line: &&MysqlLine| line.client_port() == Some(port) && line.command() != "handshake";
        let lines: Vec<_> = lines.iter().filter(ours).collect();
        assert_eq!(lines.len(), turns.len(), "statements on the connection from port {port}");
        for (line, turn) in lines.iter().zip(turns) {
            // The same statement, or the pairing would mean nothing.
            assert_eq!(line.number("request_bytes"), Some(turn.request_bytes), "{line:?} {turn:?}");
            gaps.push(line.seconds("duration").unwrap() - turn.duration);
        }
    }
    gaps
}

/// Fails unless as many statements as must be are close to the wire.
fn ensure_close(who: &str, mut gaps: Vec<f64>) -> Result<(), Disturbed> {
    let close = gaps.iter().filter(|gap| gap.abs() <= CLOSE).count();
    gaps.sort_by(f64::total_cmp);
    let at = |share: f64| gaps[((gaps.len() - 1) as f64 * share) as usize] * 1e6;
    let spread =
        format!("median {:.0} us, p5 {:.0}, p95 {:.0}, worst {:.0}", at(0.5), at(0.05), at(0.95), at(1.0));
    println!("{who}: {close} of {} within 0.3 ms of the wire: {spread}", gaps.len());
    in_time(close as f64 >= SHARE * gaps.len() as f64, || format!("{who}: {close} of {}", gaps.len()))
}

/// Runs the client once and compares both sides with the wire.
fn run(database: &Database, client: SqlClient) -> Result<()> {
    let capture = Capture::start(database.tcp().port().unwrap()).unwrap();
    let trace = Trace::start(&["--protocol", "mysql"]).unwrap();
    let run = client.run(database.tcp(), &workload()).unwrap();
    wait_for("every statement in trace", || {
        MysqlLine::of_server(&trace.lines().unwrap(), database.pid()).len() > run.statements.len()
    })
    .unwrap();
    let lines = trace.finish_whole().unwrap();
    let turns = capture.finish().unwrap();
    let client_lines = MysqlLine::of_client(&lines, run.pid);
    let server_lines = MysqlLine::of_server(&lines, database.pid());
    for line in client_lines.iter().chain(&server_lines) {
        let [first, all] = ["first_byte", "duration"].map(|field| line.seconds(field).unwrap());
        assert!(0.0 <= first && first <= all, "{line:?}");
    }
    // A client that has to wait for a processor reads later than the reply came, and its own stopwatch shows it.
    for (line, statement) in client_lines[1..].iter().zip(&run.statements) {
        assert!(line.seconds("duration").unwrap() <= statement.seconds + 0.000_1, "{line:?} {statement:?}");
    }
    let [client_gaps, server_gaps] = [gaps(&client_lines, &turns), gaps(&server_lines, &turns)];
    // Nothing is read before it came; but a client that has to wait for a processor within its write starts late.
    let early = client_gaps.iter().filter(|gap| **gap < -CLOSE).count();
    in_time(early == 0, || format!("{early} read before they came: {client_gaps:?}"))?;
    ensure_close(&format!("{client:?}, client"), client_gaps)?;
    Ok(ensure_close(&format!("{client:?}, server"), server_gaps)?)
}

fn assert_times(engine: Engine, client: SqlClient) {
    let database = Database::start(engine).unwrap();
    // Caches and compilers are warm after this.
    client.run(database.tcp(), &workload()).unwrap();
    undisturbed(|| run(&database, client)).unwrap();
    database.stop().unwrap();
}

#[test]
fn pymysql_on_mariadb_agrees_with_the_wire() {
    assert_times(Engine::MariaDb, SqlClient::PyMySql);
}

#[test]
fn mysql2_on_mariadb_agrees_with_the_wire() {
    assert_times(Engine::MariaDb, SqlClient::Mysql2);
}

#[test]
fn the_go_driver_on_mariadb_agrees_with_the_wire() {
    assert_times(Engine::MariaDb, SqlClient::GoDriver);
}

#[test]
fn pymysql_on_mysql_agrees_with_the_wire() {
    assert_times(Engine::MySql, SqlClient::PyMySql);
}
