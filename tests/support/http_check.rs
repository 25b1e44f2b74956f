//! Whole runs of load against hostprof: the same for each kind of server and each way to see sockets.

use std::{process, time::Duration};

use anyhow::{Result, ensure};
use serde_json::Value;

use crate::{
    hostprof::Recording,
    http_mix::{self, STREAMS},
    http_server::{HttpServer, Listen, Runtime},
    http_truth::{logged, reported, sent, settled_log},
    nginx::Nginx,
    report::Report,
    wrk,
};

/// wrk asks nginx over some connections: records of the server are the lines of its access log, those of the client
/// what wrk counted. What was in flight at wrk's end, one on each connection at most, it never read an answer to.
pub fn counts(connections: u32, arguments: &[&str]) -> Result<Report> {
    let nginx = Nginx::start("server { listen 127.0.0.1:PORT; location / { return 200 'hello'; } }")?;
    let recording = Recording::start(arguments)?;
    let load = wrk::run(nginx.address(), "/hello", connections, Duration::from_secs(2))?;
    let log = settled_log(&nginx)?;
    let report = recording.finish()?;

    ensure!(load.requests > 1000 && load.socket_errors == 0 && load.status_errors == 0, "{load:?}");
    let of_nginx = || report.rows("http").of(&nginx.pids());
    let of_wrk = || report.rows("http").of(&[load.pid]);
    assert_eq!(of_nginx().role("server").with("status", 200).count(), log.len() as u64, "{load:?}");
    assert_eq!(of_nginx().count(), of_nginx().role("server").count(), "nginx is no client");
    let answered = of_wrk().role("client").with("status", 200).with("error_type", Value::Null).count();
    assert!(answered.abs_diff(load.requests) <= 1, "{answered} {load:?}");
    let cut = of_wrk().role("client").with("status", Value::Null);
    assert!(cut.count() <= u64::from(connections), "{} cut {load:?}", cut.count());
    assert!(cut.iter().all(|row| !row["error_type"].is_null()), "{cut:#?}");
    assert_eq!(of_wrk().count(), answered + cut.count(), "wrk is no server, and nothing else happens to it");
    println!(
        "{connections} connections: {} requests, {answered} answered, {} cut",
        load.requests,
        cut.count()
    );

    let server = of_nginx().only()?;
    assert_eq!((&server["method"], &server["route"]), (&"GET".into(), &"/hello".into()));
    let bytes: u64 = log.iter().map(|line| line.bytes_sent).sum();
    assert_eq!(server["response_bytes"]["sum"], bytes as f64);
    assert!(report.lost().is_empty(), "{:?}", report.lost());
    nginx.stop()?;
    Ok(report)
}

/// A thousand requests of all kinds: both ends' records are the client's own log, by method, route and status, to the byte.
pub fn mix(runtime: Runtime, arguments: &[&str]) -> Result<Report> {
    let server = HttpServer::start(runtime, Listen::Tcp)?;
    let port = server.address().port()?.to_string();
    let recording = Recording::start(&[&["--port", &port], arguments].concat())?;
    let log = http_mix::run(server.address())?;
    let report = recording.finish()?;

    let truth = sent(log.iter().filter(|exchange| exchange.target != "/sse"));
    let rows = |pids: &[u32], role: &str| reported(&report.rows("http").of(pids).role(role));
    assert_eq!(rows(&server.pids(), "server"), truth, "{runtime:?}, server");
    assert_eq!(rows(&[process::id()], "client"), truth, "{runtime:?}, client");
    assert_complete(&report, 2, log.len());
    server.stop()?;
    Ok(report)
}

/// The same through nginx to uvicorn on a Unix socket: four ends; nginx's log is the truth for the connection behind it.
pub fn mix_behind_nginx(arguments: &[&str]) -> Result<Report> {
    let uvicorn = HttpServer::start(Runtime::UvicornUvloop, Listen::Unix)?;
    let nginx = Nginx::in_front_of(uvicorn.address())?;
    let pids = [&[process::id()], nginx.pids().as_slice(), &uvicorn.pids()].concat();
    let pids: Vec<_> = pids.iter().flat_map(|pid| ["--pid".to_owned(), pid.to_string()]).collect();
    let pids: Vec<_> = pids.iter().map(String::as_str).collect();
    let recording = Recording::start(&[&pids, arguments].concat())?;
    let log = http_mix::run(nginx.address())?;
    let lines = settled_log(&nginx)?;
    let report = recording.finish()?;

    let rows = |pids: &[u32], role: &str| reported(&report.rows("http").of(pids).role(role));
    let front = sent(log.iter().filter(|exchange| exchange.target != "/sse"));
    assert_eq!(rows(&[process::id()], "client"), front, "the client");
    assert_eq!(rows(&nginx.pids(), "server"), front, "nginx, to the client");
    let lines = lines.iter().filter(|line| !line.request.contains(" /sse "));
    let behind = logged(lines, |line| line.upstream.map(|up| (up.bytes_sent, up.bytes_received)));
    assert_eq!(rows(&nginx.pids(), "client"), behind, "nginx, to uvicorn");
    assert_eq!(rows(&uvicorn.pids(), "server"), behind, "uvicorn");
    let peers = report.rows("http").of(&nginx.pids()).role("client").by("peer");
    assert_eq!(peers.into_keys().collect::<Vec<_>>(), [uvicorn.address().to_string()]);
    assert_complete(&report, 4, log.len());
    nginx.stop()?;
    uvicorn.stop()?;
    Ok(report)
}

/// Nothing but these exchanges, each at every end, and the streams apart.
fn assert_complete(report: &Report, ends: u64, exchanges: usize) {
    assert_eq!(report.rows("http").count(), ends * (exchanges as u64 - STREAMS), "other rows");
    assert_eq!(report.capture("streams"), ends * STREAMS);
    assert!(report.lost().is_empty(), "{:?}", report.lost());
}
