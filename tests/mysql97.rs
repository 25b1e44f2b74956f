//! MySQL 9.7: in the clear every statement is seen as on MariaDB; encrypted, the connection is counted as such and nothing
//! is made up for it.
//!
//! No handshake is reported for an encrypted connection either: what follows the wish for TLS, user and result, cannot be
//! read, so neither can the time to ready.

use hostprof_tests::{Database, Engine, Recording, SqlClient, Trace, sql_client, sql_seen};

#[test]
fn pymysql_in_the_clear_is_seen_once_on_both_sides() {
    let database = Database::start(Engine::MySql).unwrap();
    for address in [database.tcp(), database.unix()] {
        sql_seen::once(SqlClient::PyMySql, &database, address, &[]).unwrap();
    }
    database.stop().unwrap();
}

/// On MySQL mysql2 puts query attributes before each statement.
#[test]
fn query_attributes_do_not_hide_the_statement() {
    let database = Database::start(Engine::MySql).unwrap();
    for address in [database.tcp(), database.unix()] {
        sql_seen::once(SqlClient::Mysql2, &database, address, &[]).unwrap();
    }
    database.stop().unwrap();
}

#[test]
fn an_encrypted_connection_is_counted_and_nothing_is_invented() {
    let database = Database::start(Engine::MySqlWithTls).unwrap();
    for address in [database.tcp(), database.unix()] {
        let recording = Recording::start(&[]).unwrap();
        let trace = Trace::start(&[]).unwrap();
        let run = SqlClient::PyMySql.run(address, &sql_client::workload().unwrap()).unwrap();
        // The client's own truth: it did work, and all of it was encrypted (clients_selftest shows that on the wire).
        assert!(run.statements.len() > 20, "{run:?}");
        let report = recording.finish().unwrap();
        let lines = trace.finish().unwrap();
        // Both ends of the connection.
        assert!(report.not_parsed()["tls"] >= 2, "{:?}", report.not_parsed());
        for table in ["mysql", "http"] {
            let rows = report.rows(table).of(&[run.pid, database.pid()]);
            assert_eq!(rows.count(), 0, "{table} {address}: {rows:?}");
        }
        let ours = |pid: &serde_json::Value| *pid == run.pid || *pid == database.pid();
        let exchanges = lines.iter().filter(|line| line["type"] == "exchange");
        let told: Vec<_> = exchanges.filter(|line| ours(&line["pid"])).collect();
        assert!(told.is_empty(), "{address}: {told:?}");
    }
    database.stop().unwrap();
}
