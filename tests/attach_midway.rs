//! Attached five times in the middle of live HTTP traffic: what is seen has the right role, status, route and size, and
//! possible times. Each process is only ever the client or the server of a connection, and every request succeeds.

use std::{
    ops::Range,
    process,
    sync::atomic::{AtomicBool, Ordering},
    thread,
};

use anyhow::Result;
use hostprof_tests::{
    Address, HttpClient, HttpServer, Listen, Nginx, Runtime,
    midway::{BEST, EACH, Expected, assert_right, attach_to},
    wrk,
};
use serde_json::Value;

/// Each route has answers of its own size: a request that was given another's response does not go unnoticed.
fn answered(line: &Value, route: &str, sizes: Range<u64>) -> bool {
    line["protocol"] == "http"
        && line["method"] == "GET"
        && line["route"] == route
        && line["status"] == 200
        && line.get("error_type").is_none()
        && line["response_bytes"].as_u64().is_some_and(|bytes| sizes.contains(&bytes))
}

#[test]
fn fifty_kept_connections_of_wrk() {
    let nginx = Nginx::start("server { listen 127.0.0.1:PORT; location / { return 200 'hello'; } }").unwrap();
    let port = nginx.address().port().unwrap().to_string();
    let traffic = |going: &AtomicBool| {
        wrk::run_until(nginx.address(), "/hello/5", 50, || !going.load(Ordering::Relaxed))
    };
    // Each exchange becomes a line of text, on a machine that is busy already.
    let (looks, load) = attach_to(BEST, &["--port", &port, "--ring-size", "33554432"], 2, traffic).unwrap();
    assert_eq!((load.socket_errors, load.status_errors), (0, 0));
    let right = |line: &Value| answered(line, "/hello/{id}", 100..300);
    assert_right(&looks, &[(&nginx.pids(), "server", &right), (&[load.pid], "client", &right)]);
    nginx.stop().unwrap();
}

/// Asks over kept connections until told to stop; bodies up and down, so that most attachments meet one.
fn ask(address: &Address, going: &AtomicBool) -> Result<()> {
    let mut client = HttpClient::new(address);
    while going.load(Ordering::Relaxed) {
        client.get("/bytes/70000")?;
        client.get("/items/7")?;
    }
    Ok(())
}

#[test]
fn nginx_with_kept_connections_to_node_and_go() {
    let node = HttpServer::start(Runtime::Node, Listen::Tcp).unwrap();
    let go = HttpServer::start(Runtime::Go, Listen::Unix).unwrap();
    let fronts = [&node, &go].map(|app| Nginx::in_front_of(app.address()).unwrap());
    let nginx = [fronts[0].pids(), fronts[1].pids()].concat();
    let pids = [&[process::id()], nginx.as_slice(), &node.pids(), &go.pids()].concat();
    let pids: Vec<_> = pids.iter().flat_map(|pid| ["--pid".to_owned(), pid.to_string()]).collect();
    let pids: Vec<_> = pids.iter().map(String::as_str).collect();
    let traffic = |going: &AtomicBool| {
        thread::scope(|scope| {
            let clients = [0, 0, 1, 1].map(|front| {
                let front = fronts[front].address();
                scope.spawn(move || ask(front, going))
            });
            clients.into_iter().try_for_each(|client| client.join().unwrap())
        })
    };
    // Two fronts: each with the test as its client, each as a server, each as a client; two servers behind them.
    let (looks, ()) = attach_to(EACH, &pids, 8, traffic).unwrap();
    let right = |line: &Value| {
        answered(line, "/bytes/{id}", 70_000..71_000) || answered(line, "/items/{id}", 100..500)
    };
    let to_node = |line: &Value| right(line) && line["peer"] == node.address().to_string();
    let to_go = |line: &Value| right(line) && line["peer"] == go.address().to_string();
    let expected: [Expected<'_>; 6] = [
        (&[process::id()], "client", &right),
        (&nginx, "server", &right),
        (&nginx, "client", &to_node),
        (&nginx, "client", &to_go),
        (&node.pids(), "server", &right),
        (&go.pids(), "server", &right),
    ];
    assert_right(&looks, &expected);
    fronts.into_iter().try_for_each(Nginx::stop).unwrap();
    node.stop().unwrap();
    go.stop().unwrap();
}
