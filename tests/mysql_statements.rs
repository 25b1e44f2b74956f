//! Every statement that PyMySQL, mysql2, the Go driver and sysbench send to MariaDB, over TCP and over a Unix socket, is
//! seen once on both sides, with its digest, its error and no number of rows but the right one.
//!
//! Truths: the client's own log, tshark for bytes, the server's counters for sysbench.

#![allow(clippy::unwrap_used, reason = "a test's helper fails as the test itself does")]

use std::collections::BTreeMap;

use hostprof_tests::{Database, Engine, Recording, SqlCase, SqlClient, sql_seen, sysbench};

fn assert_client(client: SqlClient) {
    let database = Database::start(Engine::MariaDb).unwrap();
    for address in [database.tcp(), database.unix()] {
        sql_seen::once(client, &database, address, &[]).unwrap();
    }
    database.stop().unwrap();
}

#[test]
fn pymysql_is_seen_once_on_both_sides() {
    assert_client(SqlClient::PyMySql);
}

#[test]
fn mysql2_is_seen_once_on_both_sides() {
    assert_client(SqlClient::Mysql2);
}

#[test]
fn the_go_driver_is_seen_once_on_both_sides() {
    assert_client(SqlClient::GoDriver);
}

#[test]
fn raw_exit_hooks_see_the_same() {
    let database = Database::start(Engine::MariaDb).unwrap();
    for address in [database.tcp(), database.unix()] {
        sql_seen::once(SqlClient::Mysql2, &database, address, &["--socket-hooks", "raw-exit"]).unwrap();
    }
    database.stop().unwrap();
}

/// How often the server has prepared and executed a statement since its start.
fn prepared_and_executed(database: &Database) -> [u64; 2] {
    let (_, status) = SqlCase::run("status", database.unix()).unwrap();
    ["Com_stmt_prepare", "Com_stmt_execute"].map(|name| status[name].as_str().unwrap().parse().unwrap())
}

#[test]
fn sysbench_is_seen_once_on_both_sides() {
    const QUERIES: u64 = 2000;
    let database = Database::start(Engine::MariaDb).unwrap();
    sysbench::prepare(database.tcp()).unwrap();
    for address in [database.tcp(), database.unix()] {
        let before = prepared_and_executed(&database);
        let recording = Recording::start(&[]).unwrap();
        let load = sysbench::point_selects(address, QUERIES, 4).unwrap();
        let report = recording.finish().unwrap();
        let after = prepared_and_executed(&database);
        let [prepared, executed] = [after[0] - before[0], after[1] - before[1]];
        assert_eq!((load.queries, load.errors, executed), (QUERIES, 0, QUERIES));
        for (role, pid) in [("client", load.pid), ("server", database.pid())] {
            let rows = || report.rows("mysql").role(role).of(&[pid]);
            let mut commands = rows().by("command");
            // How many connections it needs is sysbench's business.
            commands.retain(|command, _| command == "prepare" || command == "execute");
            let expected = [("execute".to_owned(), executed), ("prepare".to_owned(), prepared)];
            assert_eq!(commands, BTreeMap::from(expected), "{role} {address}");
            let row = rows().with("command", "execute").only().unwrap();
            assert_eq!(row["digest_text"], "SELECT c FROM sbtest1 WHERE id = ?");
            // Every select finds its row.
            let returned = &row["rows_returned"];
            assert_eq!(
                [&returned["count"], &returned["sum"]].map(serde_json::Value::as_f64),
                [Some(QUERIES as f64); 2]
            );
        }
        assert_eq!(report.lost(), BTreeMap::new());
    }
    database.stop().unwrap();
}
