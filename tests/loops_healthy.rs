//! Servers that hold no event loop: handlers that wait as they should, loops that work at full rate, servers that have
//! no loop at all. None is said to stall, unless it got no CPU on a busy machine, which is said then.

use std::{process::Command, thread, time::Duration};

use anyhow::{Result, ensure};
use hostprof_tests::{
    Address, Database, Engine, HttpClient, HttpServer, Listen, LoopRuntime, Nginx, Process, Prometheus,
    Recording, Redis, Report, Runtime, Stalling,
    install::{app, program, service},
    process::{PATIENCE, temp_dir},
    stall_match::is_starved,
    wrk,
};
use serde_json::Value;

const SECOND: Duration = Duration::from_secs(1);
const CONNECTIONS: u32 = 16;

/// Requests that come one by one, with pauses that are longer than a stall.
fn now_and_then(address: &Address, target: &str) -> Result<()> {
    for _ in 0..4 {
        let response = HttpClient::new(address).get(target)?;
        ensure!(response.status == 200, "{target}: status {}", response.status);
        thread::sleep(Duration::from_millis(150));
    }
    Ok(())
}

fn at_full_rate(address: &Address, target: &str) -> Result<()> {
    let load = wrk::run(address, target, CONNECTIONS, SECOND)?;
    ensure!(load.requests > 4, "{target} was hardly served: {load:?}");
    Ok(())
}

/// The rows of the loops of these processes.
fn rows<'a>(report: &'a Report, pids: &[u32]) -> Vec<&'a Value> {
    let ours = |row: &&Value| pids.iter().any(|pid| row["pid"] == *pid);
    report.json()["event_loops"].as_array().into_iter().flatten().filter(ours).collect()
}

/// Fails where a loop of these processes is said to have stalled.
fn no_stall(report: &Report, name: &str, pids: &[u32]) -> Result<()> {
    let stalls = || {
        let rows = rows(report, pids).into_iter();
        rows.flat_map(|row| row["stalls"].as_array().into_iter().flatten())
    };
    let wrong: Vec<_> =
        stalls().filter(|stall| stall["confidence"] == "high" && !is_starved(stall)).collect();
    ensure!(wrong.is_empty(), "{name} has no loop that stalls: {wrong:#?}");
    let starved = stalls().filter(|stall| is_starved(stall)).count();
    println!("{name}: {} stalls, {starved} of them without a CPU", stalls().count());
    let findings = report.rows("findings").of(pids);
    let findings =
        findings.filter(|finding| finding["id"].as_str().is_some_and(|id| id.starts_with("event-loop-")));
    ensure!(starved > 0 || findings.iter().next().is_none(), "{name}: {findings:#?}");
    Ok(())
}

/// Fails where the loops of these processes were not seen at all.
fn seen(report: &Report, name: &str, pids: &[u32], least: u64) -> Result<()> {
    let turns: u64 = rows(report, pids).into_iter().filter_map(|row| row["turns"].as_u64()).sum();
    ensure!(turns >= least, "{name}: {turns} turns, of {least} at least");
    Ok(())
}

/// Sleeping, in a thread or not, and computing in a thread that needs no lock of the loop's.
#[test]
fn handlers_that_wait_as_they_should() -> Result<()> {
    let runtimes = [LoopRuntime::Asyncio, LoopRuntime::Uvloop, LoopRuntime::Node, LoopRuntime::Tokio];
    let servers: Vec<_> = runtimes.into_iter().map(Stalling::start).collect::<Result<_>>()?;
    let fastapi = HttpServer::start(Runtime::UvicornUvloop, Listen::Tcp)?;
    // Threads are started and code is imported for the first time.
    for target in ["/thread/1", "/delay/1"] {
        HttpClient::new(fastapi.address()).get(target)?;
    }
    for (server, runtime) in servers.iter().zip(runtimes) {
        match runtime {
            LoopRuntime::Asyncio | LoopRuntime::Uvloop => server.get("thread", 1)?,
            LoopRuntime::Node => server.get("worker", 1)?,
            _ => {}
        }
    }
    let recording = Recording::start(&[])?;
    for (server, runtime) in servers.iter().zip(runtimes) {
        at_full_rate(server.address(), "/wait/150")?;
        match runtime {
            LoopRuntime::Asyncio | LoopRuntime::Uvloop => at_full_rate(server.address(), "/thread/150")?,
            LoopRuntime::Node => now_and_then(server.address(), "/worker/200")?,
            _ => {}
        }
        now_and_then(server.address(), "/wait/150")?;
    }
    at_full_rate(fastapi.address(), "/thread/150")?;
    at_full_rate(fastapi.address(), "/delay/150")?;
    let report = recording.finish()?;
    for (server, runtime) in servers.into_iter().zip(runtimes) {
        let (name, pids) = (format!("{runtime:?}"), server.pids());
        no_stall(&report, &name, &pids)?;
        seen(&report, &name, &pids, 20)?;
        server.stop()?;
    }
    no_stall(&report, "FastAPI", &fastapi.pids())?;
    seen(&report, "FastAPI", &fastapi.pids(), 20)?;
    fastapi.stop()
}

#[test]
fn loops_at_full_rate() -> Result<()> {
    let runtimes = [Runtime::UvicornAsyncio, Runtime::UvicornUvloop, Runtime::Node];
    let servers: Vec<_> =
        runtimes.iter().map(|runtime| HttpServer::start(*runtime, Listen::Tcp)).collect::<Result<_>>()?;
    let nginx = Nginx::in_front_of(servers[2].address())?;
    let mut redis = Redis::start()?;
    let recording = Recording::start(&[])?;
    for address in servers.iter().map(HttpServer::address).chain([nginx.address()]) {
        at_full_rate(address, "/items/7")?;
        at_full_rate(address, "/bytes/200000")?;
    }
    for _ in 0..2_000 {
        redis.ping()?;
        thread::sleep(Duration::from_millis(1));
    }
    let report = recording.finish()?;
    for (server, runtime) in servers.into_iter().zip(runtimes) {
        let (name, pids) = (format!("{runtime:?}"), server.pids());
        no_stall(&report, &name, &pids)?;
        seen(&report, &name, &pids, 100)?;
        server.stop()?;
    }
    no_stall(&report, "nginx", &nginx.pids())?;
    seen(&report, "nginx", &nginx.pids(), 100)?;
    nginx.stop()?;
    no_stall(&report, "redis", &[redis.pid()])?;
    seen(&report, "redis", &[redis.pid()], 1_000)?;
    redis.stop()
}

/// Workers with one request each, threads that share a set, programs that wait with epoll and serve nobody.
#[test]
fn servers_without_a_loop() -> Result<()> {
    let runtimes = [Runtime::Go, Runtime::GunicornSync, Runtime::GunicornThreads, Runtime::Waitress];
    let servers: Vec<_> =
        runtimes.iter().map(|runtime| HttpServer::start(*runtime, Listen::Tcp)).collect::<Result<_>>()?;
    let go = servers[0].address();
    let tokio = Stalling::start(LoopRuntime::TokioThreads)?;
    let prometheus = Prometheus::start()?;
    let database = Database::start(Engine::MariaDb)?;
    let dir = temp_dir()?;
    let recording = Recording::start(&[])?;
    let mut batch = Command::new(service("venv/bin/python")?);
    batch.arg(app("batch.py")).args([go.port()?.to_string(), "10".to_owned()]);
    let mut batch = Process::start("batch", &mut batch, dir.path())?;
    let threads = || {
        now_and_then(tokio.address(), "/wait/150")?;
        at_full_rate(tokio.address(), "/wait/0")?;
        now_and_then(go, "/delay/150")?;
        at_full_rate(go, "/items/7")
    };
    threads()?;
    for server in &servers[1..] {
        now_and_then(server.address(), "/delay/150")?;
        at_full_rate(server.address(), "/items/7")?;
        at_full_rate(server.address(), "/delay/150")?;
    }
    for _ in 0..3 {
        query(&database, "SELECT SLEEP(0.2)")?;
    }
    at_full_rate(prometheus.address(), "/api/v1/query?query=up")?;
    // They have been quiet for longer than it counts that several threads wait on a set.
    threads()?;
    ensure!(batch.wait(PATIENCE)?.success(), "the batch failed: {}", batch.stderr());
    let report = recording.finish()?;
    for (server, runtime) in servers.into_iter().zip(runtimes) {
        no_stall(&report, &format!("{runtime:?}"), &server.pids())?;
        server.stop()?;
    }
    no_stall(&report, "tokio", &tokio.pids())?;
    no_stall(&report, "prometheus", &[prometheus.pid()])?;
    no_stall(&report, "mariadbd", &[database.pid()])?;
    no_stall(&report, "batch", &[batch.id()])?;
    tokio.stop()?;
    prometheus.stop()?;
    database.stop()
}

/// Threads of a pool that wait on a set of their own for each connection, close it, and idle until the next: no loops.
#[test]
fn a_pools_threads_with_a_set_for_a_moment() -> Result<()> {
    const CLIENTS: usize = 3;
    let server = HttpServer::start(Runtime::GunicornThreads, Listen::Tcp)?;
    let recording = Recording::start(&[])?;
    thread::scope(|scope| {
        let client = || -> Result<()> {
            for _ in 0..12 {
                HttpClient::new(server.address()).get("/delay/10")?;
                thread::sleep(Duration::from_millis(300));
            }
            Ok(())
        };
        let clients: Vec<_> = (0..CLIENTS).map(|_| scope.spawn(client)).collect();
        clients.into_iter().try_for_each(|client| client.join().expect("a client panicked"))
    })?;
    let report = recording.finish()?;
    no_stall(&report, "gthread", &server.pids())?;
    let busy: Vec<_> = rows(&report, &server.pids())
        .into_iter()
        .filter(|row| row["utilization"].as_f64().is_none_or(|share| share > 0.5))
        .collect();
    ensure!(busy.is_empty(), "an idle server has a loop that is busy: {busy:#?}");
    server.stop()
}

/// A Go server with idle clients: one thread waits on its set since before the recording, another is held in calls and
/// looks at the set in between. Neither is a loop.
#[test]
fn a_goroutine_that_holds_its_thread() -> Result<()> {
    const PAUSES: u32 = 24;
    let server = HttpServer::start(Runtime::Go, Listen::Tcp)?;
    HttpClient::new(server.address()).get(&format!("/pauses/{PAUSES}"))?;
    let idle: Vec<_> =
        (0..2).map(|_| server.address().connect().map_err(anyhow::Error::from)).collect::<Result<_>>()?;
    let recording = Recording::start(&[])?;
    thread::sleep(2 * SECOND);
    let report = recording.finish()?;
    drop(idle);
    let rows = rows(&report, &server.pids());
    ensure!(rows.is_empty(), "Go has no loops: {rows:#?}");
    server.stop()
}

/// Sends a query with the command-line client.
fn query(database: &Database, sql: &str) -> Result<()> {
    let mut command = Command::new(program("mariadb")?);
    command.args(["--no-defaults", "--host=127.0.0.1", "--user=app", "--password=app-pass"]);
    command.arg(format!("--port={}", database.tcp().port()?)).args(["--execute", sql]);
    Process::run("mariadb", &mut command, PATIENCE)?;
    Ok(())
}
