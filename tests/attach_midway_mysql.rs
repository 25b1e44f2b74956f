//! Attached five times in the middle of live MySQL traffic: what is seen has the right role, a command and statement that
//! the clients send, no error, and possible times.

use std::{sync::atomic::AtomicBool, thread};

use anyhow::Result;
use hostprof_tests::{
    Database, Engine, SqlClient,
    midway::{BEST, EACH, assert_right, attach_to, repeated, with},
    sysbench,
};
use serde_json::{Value, json};

#[test]
fn sysbench_on_mariadb_over_tcp_and_a_unix_socket() {
    let database = Database::start(Engine::MariaDb).unwrap();
    sysbench::prepare(database.tcp()).unwrap();
    let addresses = [database.tcp(), database.unix()];
    let traffic = |going: &AtomicBool| {
        thread::scope(|scope| {
            let load = |address| {
                let load = sysbench::point_selects(address, 10_000, 2)?;
                assert_eq!(load.errors, 0);
                Ok(load.pid)
            };
            let loads = addresses.map(|address| scope.spawn(move || repeated(going, || load(address))));
            loads.into_iter().map(|load| load.join().unwrap()).collect::<Result<Vec<_>>>()
        })
    };
    // Both ends, over TCP and over the socket.
    let (looks, clients) = attach_to(BEST, &["--protocol", "mysql"], 4, traffic).unwrap();
    let commands = ["execute", "handshake", "prepare", "query"];
    let right = |line: &Value| {
        commands.iter().any(|command| line["command"] == *command) && line.get("error_type").is_none()
    };
    for (address, clients) in addresses.iter().zip(&clients) {
        let looks = with(&looks, address);
        assert_right(&looks, &[(&[database.pid()], "server", &right), (clients, "client", &right)]);
    }
    database.stop().unwrap();
}

#[test]
fn drivers_of_three_languages_on_mariadb() {
    let database = Database::start(Engine::MariaDb).unwrap();
    let query = json!({ "query": "SELECT name FROM items WHERE id = 3" });
    let prepared =
        json!({ "prepare": "SELECT name FROM items WHERE id = ?", "execute": vec![json!([3]); 800] });
    let workload = Value::Array([vec![query; 800], vec![prepared]].concat());
    let traffic = |going: &AtomicBool| {
        thread::scope(|scope| {
            let run = |client: SqlClient| Ok(client.run(database.tcp(), &workload)?.pid);
            let drivers: Vec<_> = SqlClient::ALL
                .into_iter()
                .map(|client| scope.spawn(move || repeated(going, || run(client))))
                .collect();
            drivers.into_iter().map(|driver| driver.join().unwrap()).collect::<Result<Vec<_>>>()
        })
    };
    // Three clients and the server.
    let (looks, clients) = attach_to(EACH, &["--protocol", "mysql"], 4, traffic).unwrap();
    let right = |line: &Value| {
        let text = line["digest_text"].as_str().unwrap_or_default();
        // The drivers' own are settings.
        let known = ["SELECT name FROM items WHERE id = ?", "<unknown statement>"].contains(&text)
            || text.starts_with("SET ");
        let statement = ["query", "prepare", "execute"].iter().any(|command| line["command"] == *command);
        (known || !statement) && line.get("error_type").is_none()
    };
    let [py, node, go] = [0, 1, 2].map(|which| clients[which].as_slice());
    assert_right(
        &with(&looks, database.tcp()),
        &[
            (&[database.pid()], "server", &right),
            (py, "client", &right),
            (node, "client", &right),
            (go, "client", &right),
        ],
    );
    database.stop().unwrap();
}
