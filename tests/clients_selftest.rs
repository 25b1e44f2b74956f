//! The clients, load tools and ground truths of the test support agree with each other, without hostprof.

use std::time::Duration;

use anyhow::Result;
use hostprof_tests::{
    Capture, Database, Engine, HttpClient, HttpServer, Listen, Nginx, Runtime, SqlClient, SqlRun, Turn,
    http_truth::settled_log, require_root, sql_client, sysbench, wrk,
};

const QUERY: u8 = 3;
const PREPARE: u8 = 0x16;
const EXECUTE: u8 = 0x17;

/// Every statement of the client, in order, is one turn on the wire, and took about as long.
fn assert_same(client: SqlClient, run: &SqlRun, wire: &[Turn]) {
    let wire: Vec<_> = wire.iter().filter_map(|turn| Some((turn.statement()?, turn))).collect();
    // The client's good-bye has no reply.
    let wire: Vec<_> = wire.into_iter().filter(|((command, _), _)| *command != 1).collect();
    let names: Vec<_> = wire.iter().map(|((command, text), _)| (command, text.get(..40))).collect();
    assert_eq!(run.statements.len(), wire.len(), "{client:?}\n{:#?}\n{names:#?}", run.statements);
    for (statement, ((command, text), turn)) in run.statements.iter().zip(&wire) {
        match *command {
            QUERY => assert_eq!(statement.kind, "query"),
            PREPARE => assert_eq!(statement.kind, "prepare"),
            EXECUTE => assert_eq!(statement.kind, "execute"),
            other => panic!("{client:?} sent command {other}: {statement:?}"),
        }
        if *command != EXECUTE {
            assert!(text.starts_with(statement.text.as_str()), "{client:?}: {statement:?} {text}");
            // Five bytes of header and command, and more where attributes or a second packet are sent.
            assert!((5..40).contains(&(turn.request_bytes - statement.length)), "{statement:?} {turn:?}");
        }
        assert!(turn.duration <= statement.seconds + 0.000_1, "{client:?}: {statement:?} {turn:?}");
    }
}

fn assert_complete(client: SqlClient, run: &SqlRun) {
    let errors: Vec<_> = run.statements.iter().filter_map(|statement| statement.error).collect();
    assert_eq!(errors, [1064, 1146], "{client:?}");
    let rows: u64 = run.statements.iter().map(|statement| statement.rows).sum();
    // Three and five selects of one row, 1000 rows, two results, SLEEP, two lengths and the last select.
    assert_eq!(rows, 3 + 5 + 1000 + 2 + 1 + 2 + 1, "{client:?}: {:#?}", run.statements);
    let insert = run.statements.iter().find(|statement| statement.text.starts_with("INSERT"));
    assert_eq!(insert.map(|insert| insert.affected), Some(2), "{client:?}");
    let longest = run.statements.iter().map(|statement| statement.length).max();
    assert!(longest > Some(17 << 20), "{client:?}");
    let prepared = run.statements.iter().filter(|statement| statement.kind == "execute").count();
    assert_eq!(prepared, if client == SqlClient::PyMySql { 0 } else { 7 }, "{client:?}");
}

fn workload_on(engine: Engine, clients: &[SqlClient]) -> Result<()> {
    require_root()?;
    let workload = sql_client::workload()?;
    let database = Database::start(engine)?;
    for &client in clients {
        let capture = Capture::start(database.tcp().port()?)?;
        let run = client.run(database.tcp(), &workload)?;
        assert_complete(client, &run);
        assert_same(client, &run, &capture.finish()?);
        assert_complete(client, &client.run(database.unix(), &workload)?);
    }
    database.stop()
}

#[test]
fn mariadb_clients_send_what_the_wire_shows() {
    workload_on(Engine::MariaDb, &SqlClient::ALL).unwrap();
}

#[test]
fn mysql_clients_send_what_the_wire_shows() {
    workload_on(Engine::MySql, &SqlClient::ALL).unwrap();
}

#[test]
fn pymysql_encrypts_where_the_server_can() {
    require_root().unwrap();
    let workload = sql_client::workload().unwrap();
    let database = Database::start(Engine::MySqlWithTls).unwrap();
    let capture = Capture::start(database.tcp().port().unwrap()).unwrap();
    assert_complete(SqlClient::PyMySql, &SqlClient::PyMySql.run(database.tcp(), &workload).unwrap());
    let turns = capture.finish().unwrap();
    assert!(turns.iter().all(|turn| !turn.head.windows(6).any(|text| text == b"SELECT")), "in the clear");
    database.stop().unwrap();
}

#[test]
fn sysbench_executes_prepared_statements() {
    require_root().unwrap();
    let database = Database::start(Engine::MariaDb).unwrap();
    for address in [database.tcp(), database.unix()] {
        if address == database.tcp() {
            sysbench::prepare(address).unwrap();
        }
        let capture = Capture::start(database.tcp().port().unwrap()).unwrap();
        let load = sysbench::point_selects(address, 500, 4).unwrap();
        assert_eq!((load.queries, load.errors), (500, 0));
        let turns = capture.finish().unwrap();
        let statements = turns.iter().filter_map(Turn::statement);
        let executed = statements.filter(|(command, _)| *command == EXECUTE).count();
        assert_eq!(executed, if address == database.tcp() { 500 } else { 0 });
    }
    database.stop().unwrap();
}

#[test]
fn wrk_counts_what_nginx_logs() {
    let nginx = Nginx::start("server { listen 127.0.0.1:PORT; location / { return 200 'hello'; } }").unwrap();
    for connections in [1, 50] {
        let before = nginx.served() as u64;
        let load = wrk::run(nginx.address(), "/", connections, Duration::from_secs(1)).unwrap();
        assert!(load.requests > 100 && load.socket_errors == 0 && load.status_errors == 0, "{load:?}");
        // Each connection may have had one request cut at the end.
        let cut = u64::from(connections);
        let logged = settled_log(&nginx).unwrap().len() as u64 - before;
        assert!((load.requests..=load.requests + cut).contains(&logged), "{logged} lines, {load:?}");
    }
    nginx.stop().unwrap();
}

#[test]
fn http_stopwatch_agrees_with_the_wire() {
    require_root().unwrap();
    let server = HttpServer::start(Runtime::Go, Listen::Tcp).unwrap();
    let capture = Capture::start(server.address().port().unwrap()).unwrap();
    let mut client = HttpClient::new(server.address());
    for n in 0..20 {
        assert_eq!(client.get(&format!("/delay/{n}")).unwrap().status, 200);
        assert_eq!(client.post("/echo", &vec![b'b'; 10_000 * n]).unwrap().status, 200);
    }
    let turns = capture.finish().unwrap();
    assert_eq!(turns.len(), client.log().len());
    let mut gaps = Vec::new();
    for (turn, exchange) in turns.iter().zip(client.log()) {
        assert_eq!(turn.request_line(), format!("{} {} HTTP/1.1", exchange.method, exchange.target));
        assert_eq!(turn.request_bytes, exchange.request_bytes);
        assert_eq!(turn.response_bytes, exchange.response_bytes);
        gaps.push(exchange.duration.as_secs_f64() - turn.duration);
    }
    // A client that waits for a processor sees more than the wire, never less.
    gaps.sort_by(f64::total_cmp);
    assert!(gaps[0] > -0.000_1 && gaps[gaps.len() / 2] < 0.001, "{gaps:?}");
    server.stop().unwrap();
}
