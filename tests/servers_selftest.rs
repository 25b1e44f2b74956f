//! The servers of the test support: each starts, answers on every route, stops, and leaves no process behind.

use anyhow::{Context as _, Result};
use hostprof_tests::{
    Address, Database, Engine, HttpClient, HttpServer, Listen, Nginx, Process, Runtime, SqlClient,
    process::{temp_dir, wait_for},
};
use serde_json::json;

fn answers_on_every_route(address: &Address) -> Result<()> {
    let mut client = HttpClient::new(address);
    let item = client.get("/items/7")?;
    let item: serde_json::Value = serde_json::from_slice(&item.body)?;
    assert_eq!(item, json!({ "id": "7", "name": "item 7" }));
    for size in [0, 1, 100_000] {
        let body = vec![b'b'; size];
        assert_eq!(client.post("/echo", &body)?.body, body);
        assert_eq!(client.get(&format!("/bytes/{size}"))?.body, vec![b'x'; size]);
    }
    for status in [204, 404, 503] {
        assert_eq!(client.get(&format!("/status/{status}"))?.status, status);
    }
    assert_eq!(client.get("/delay/50")?.body, b"late");
    let stream = client.get("/stream")?.body;
    assert_eq!(stream, b"chunk 0\nchunk 1\nchunk 2\nchunk 3\nchunk 4\n");
    let events = client.get("/sse")?.body;
    assert_eq!(events, b"data: 0\n\ndata: 1\n\ndata: 2\n\ndata: 3\n\ndata: 4\n\n");

    let log = client.log();
    assert_eq!(log.len(), 13);
    let late = log.iter().find(|exchange| exchange.target == "/delay/50").context("no /delay")?;
    assert!(late.duration.as_millis() >= 50 && late.duration.as_secs() < 5, "{late:?}");
    assert!(late.first_byte <= late.duration, "{late:?}");
    let large = log.iter().find(|exchange| exchange.target == "/bytes/100000").context("no /bytes")?;
    assert!(large.response_bytes > 100_000 && large.response_bytes < 101_000, "{large:?}");
    Ok(())
}

fn assert_gone(pids: &[u32]) {
    for pid in pids {
        assert!(!std::path::Path::new(&format!("/proc/{pid}")).exists(), "process {pid} is left");
    }
}

#[test]
fn http_servers_over_tcp_and_unix_sockets() {
    for runtime in Runtime::ALL {
        for listen in [Listen::Tcp, Listen::Unix] {
            let server = HttpServer::start(runtime, listen).unwrap();
            answers_on_every_route(server.address()).unwrap();
            let pids = server.pids();
            assert!(!pids.is_empty());
            server.stop().unwrap();
            assert_gone(&pids);
        }
    }
}

#[test]
fn nginx_in_front_of_uvicorn_logs_what_the_client_saw() {
    let uvicorn = HttpServer::start(Runtime::UvicornUvloop, Listen::Unix).unwrap();
    let nginx = Nginx::in_front_of(uvicorn.address()).unwrap();
    answers_on_every_route(nginx.address()).unwrap();
    let mut client = HttpClient::new(nginx.address());
    for n in 0..20 {
        client.get(&format!("/items/{n}")).unwrap();
    }
    // The line is written after the response has gone out.
    wait_for("33 access-log lines", || nginx.served() == 33).unwrap();
    let log = nginx.access_log().unwrap();
    for (line, exchange) in log[13..].iter().zip(client.log()) {
        assert_eq!(line.request, format!("{} {} HTTP/1.1", exchange.method, exchange.target));
        assert_eq!(line.status, exchange.status);
        assert_eq!(line.request_length, exchange.request_bytes);
        assert_eq!(line.bytes_sent, exchange.response_bytes);
        assert!(line.body_bytes_sent < line.bytes_sent);
        assert!(line.request_time <= exchange.duration.as_secs_f64() + 0.001, "{line:?} {exchange:?}");
    }
    let pids = nginx.pids();
    assert_eq!(pids.len(), 2, "master and worker");
    nginx.stop().unwrap();
    uvicorn.stop().unwrap();
    assert_gone(&pids);
}

#[test]
fn databases_answer_over_tcp_and_unix_sockets() {
    let workload = json!([{ "query": "SELECT name FROM items" }]);
    for engine in [Engine::MariaDb, Engine::MySql, Engine::MySqlWithTls] {
        let database = Database::start(engine).unwrap();
        for address in [database.tcp(), database.unix()] {
            let run = SqlClient::PyMySql.run(address, &workload).unwrap();
            let statement = run.statements.last().unwrap();
            assert_eq!((statement.rows, statement.error), (10, None), "{engine:?} at {address}");
        }
        let pid = database.pid();
        database.stop().unwrap();
        assert_gone(&[pid]);
    }
}

#[test]
fn a_dropped_process_takes_its_children_along() {
    let dir = temp_dir().unwrap();
    let mut shell = std::process::Command::new("sh");
    shell.args(["-c", "trap '' TERM; sleep 600 & wait"]);
    let mut process = Process::start("shell", &mut shell, dir.path()).unwrap();
    process.wait_until("it had a child", |process| process.pids().len() == 2).unwrap();
    let pids = process.pids();
    drop(process);
    // The child's end is noticed by init, not by us.
    wait_for("the child's end", || {
        pids.iter().all(|pid| {
            let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
            stat.is_empty() || stat.contains(") Z ")
        })
    })
    .unwrap();
}
