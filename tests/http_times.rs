//! Durations are right: nginx's own `$request_time` and `$upstream_response_time` (in steps of a millisecond) are the
//! truth for servers and nginx as a client, the client's stopwatch for the client. The waiting time of a request that
//! nobody reads is in `queue`.

use std::{collections::BTreeMap, process, thread};

use anyhow::{Context as _, Result, anyhow};
use hostprof_tests::{
    Address, Exchange, HttpClient, HttpServer, Listen, Nginx, Runtime, Trace,
    http_truth::settled_log,
    times::{Disturbed, impossible, in_time, median, overlapping, undisturbed},
};
use serde_json::Value;

const MILLISECOND: f64 = 0.001;

/// Requests by several clients at once, each on a connection of its own; what they saw, in the order of their end.
fn ask(address: &Address, clients: usize, requests: usize, target: &str) -> Result<Vec<Exchange>> {
    let logs: Vec<_> = thread::scope(|scope| {
        let ask_some = || {
            let mut client = HttpClient::new(address);
            (0..requests).try_for_each(|_| client.get(target).map(drop))?;
            anyhow::Ok(client.log().to_vec())
        };
        let threads: Vec<_> = (0..clients).map(|_| scope.spawn(ask_some)).collect();
        let panicked = |_| Err(anyhow!("a client panicked"));
        threads.into_iter().map(|thread| thread.join().unwrap_or_else(panicked)).collect::<Result<_>>()
    })?;
    let mut log = logs.concat();
    log.sort_by_key(|exchange| exchange.begun + exchange.duration);
    Ok(log)
}

/// The exchanges of these processes in one role.
fn of<'a>(lines: &'a [Value], pids: &[u32], role: &str) -> Vec<&'a Value> {
    let ours = |line: &&Value| pids.iter().any(|pid| line["pid"] == *pid) && line["role"] == role;
    lines.iter().filter(ours).collect()
}

fn seconds(line: &Value, field: &str) -> f64 {
    line[field].as_f64().unwrap_or(f64::NAN)
}

/// What the server took for it, by its own clock, which starts at its first read.
fn served(line: &&Value) -> f64 {
    seconds(line, "duration") - seconds(line, "queue")
}

fn duration(line: &&Value) -> f64 {
    seconds(line, "duration")
}

fn ensure_close(what: &str, ours: f64, truth: f64) -> Result<(), Disturbed> {
    println!("{what}: hostprof {ours:.6} s, truth {truth:.6} s");
    in_time((ours - truth).abs() < MILLISECOND, || format!("{what}: hostprof {ours} s, truth {truth} s"))
}

/// The client's exchanges, connection by connection in their order, beside those that it logged itself.
fn ensure_stopwatch_agrees(lines: &[Value], log: &[Exchange]) -> Result<(), Disturbed> {
    let client = of(lines, &[process::id()], "client");
    assert_eq!(client.len(), log.len());
    let stopwatch = median(log.iter().map(|exchange| exchange.duration.as_secs_f64()));
    ensure_close("client", median(client.iter().map(duration)), stopwatch)?;
    // By the order of their ends: neighbours may have changed places, which changes no more than their difference.
    let mut by_end: Vec<_> = client.iter().map(|line| (line["time"].as_str(), duration(line))).collect();
    by_end.sort_by_key(|(end, _)| *end);
    let pairs = log.iter().zip(&by_end);
    let close = pairs.filter(|(ours, (_, d))| (ours.duration.as_secs_f64() - d).abs() < MILLISECOND).count();
    println!("client: {close} of {} within a millisecond of the stopwatch", log.len());
    in_time(close * 100 >= log.len() * 90, || format!("only {close} of {} within a millisecond", log.len()))
}

fn assert_possible(lines: &[Value]) {
    let bad: Vec<_> = lines.iter().filter_map(impossible).collect();
    assert!(bad.is_empty(), "{} of {}: {}", bad.len(), lines.len(), bad[0]);
    assert_eq!(overlapping(lines), None);
}

#[test]
fn delayed_responses_take_as_long_as_nginx_and_the_client_say() {
    let app = HttpServer::start(Runtime::UvicornUvloop, Listen::Tcp).unwrap();
    let nginx = Nginx::in_front_of(app.address()).unwrap();
    ask(nginx.address(), 1, 1, "/delay/1").unwrap();
    undisturbed(|| delayed_responses(&nginx, &app)).unwrap();
    nginx.stop().unwrap();
    app.stop().unwrap();
}

fn delayed_responses(nginx: &Nginx, app: &HttpServer) -> Result<()> {
    let before = settled_log(nginx)?.len();
    let trace = Trace::start(&[])?;
    let log = ask(nginx.address(), 4, 25, "/delay/50")?;
    let lines_of_nginx = settled_log(nginx)?.split_off(before);
    let lines = trace.finish()?;

    assert_eq!(lines_of_nginx.len(), 100);
    let front = of(&lines, &nginx.pids(), "server");
    let back = of(&lines, &nginx.pids(), "client");
    let behind = of(&lines, &app.pids(), "server");
    assert_eq!([front.len(), back.len(), behind.len()], [100; 3]);
    assert_possible(&lines);
    let request_time = median(lines_of_nginx.iter().map(|line| line.request_time));
    let upstream = median(lines_of_nginx.iter().filter_map(|line| Some(line.upstream?.response_time)));
    ensure_close("nginx as a server", median(front.iter().map(served)), request_time)?;
    ensure_close("nginx as a client", median(back.iter().map(duration)), upstream)?;
    ensure_close("uvicorn", median(behind.iter().map(served)), upstream)?;
    Ok(ensure_stopwatch_agrees(&lines, &log)?)
}

#[test]
fn every_runtime_behind_its_own_clock() {
    for runtime in Runtime::ALL {
        let server = HttpServer::start(runtime, Listen::Tcp).unwrap();
        ask(server.address(), 1, 1, "/delay/1").unwrap();
        println!("{runtime:?}");
        undisturbed(|| by_its_own_clock(&server)).unwrap_or_else(|error| panic!("{runtime:?}: {error:#}"));
        server.stop().unwrap();
    }
}

fn by_its_own_clock(server: &HttpServer) -> Result<()> {
    let trace = Trace::start(&["--port", &server.address().port()?.to_string()])?;
    let log = ask(server.address(), 1, 20, "/delay/50")?;
    let lines = trace.finish()?;
    let served_by = of(&lines, &server.pids(), "server");
    assert_eq!(served_by.len(), 20);
    // No server answers before its delay is over (timers may be a millisecond early).
    assert!(served_by.iter().all(|line| served(line) >= 0.049), "{served_by:#?}");
    assert_possible(&lines);
    ensure_stopwatch_agrees(&lines, &log)?;
    // None takes longer than its client.
    let stopwatch = median(log.iter().map(|exchange| exchange.duration.as_secs_f64()));
    let longest = median(served_by.iter().map(duration));
    Ok(in_time(longest <= stopwatch, || format!("the server took {longest} s, the client {stopwatch} s"))?)
}

#[test]
fn a_saturated_worker_leaves_requests_in_the_queue() {
    let server = HttpServer::start(Runtime::UvicornAsyncio, Listen::Tcp).unwrap();
    undisturbed(|| saturated_worker(&server)).unwrap();
    server.stop().unwrap();
}

fn saturated_worker(server: &HttpServer) -> Result<()> {
    let trace = Trace::start(&["--port", &server.address().port()?.to_string()])?;
    let log = ask(server.address(), 10, 20, "/block/5")?;
    let lines = trace.finish()?;

    let at_server = of(&lines, &server.pids(), "server");
    let at_client = of(&lines, &[process::id()], "client");
    assert_eq!([at_server.len(), at_client.len()], [log.len(); 2]);
    assert!(at_server.iter().all(|line| seconds(line, "queue") >= 0.0));
    assert_possible(&lines);
    // The same exchange from both ends: by connection, in order.
    let by_connection = |lines: &[&Value], port: &str| {
        let mut connections: BTreeMap<String, Vec<f64>> = BTreeMap::new();
        for line in lines {
            let port = line[port].as_str().unwrap_or_default().to_owned();
            connections.entry(port).or_default().push(duration(line));
        }
        connections
    };
    let (server_side, client_side) = (by_connection(&at_server, "peer"), by_connection(&at_client, "local"));
    assert_eq!(server_side.len(), 10);
    for (connection, durations) in &server_side {
        let seen = client_side.get(connection).context("no such client")?;
        let apart = durations.iter().zip(seen).map(|(server, client)| (server - client).abs());
        let apart = median(apart);
        // From its arrival on, the server's duration is the client's but for the way.
        in_time(apart < MILLISECOND, || format!("{connection}: {apart} s apart"))?;
    }
    let queue = median(at_server.iter().map(|line| seconds(line, "queue")));
    let read_on = median(at_server.iter().map(served));
    let latency = median(log.iter().map(|exchange| exchange.duration.as_secs_f64()));
    println!("queue {queue:.4} s, from the first read on {read_on:.4} s, latency {latency:.4} s");
    // Five milliseconds of work; the latency is some ten times that, and without the queue it would be unexplained.
    let most_waits = queue > 0.25 * latency && read_on < 0.8 * latency;
    Ok(in_time(most_waits, || format!("{queue} of {latency}"))?)
}
