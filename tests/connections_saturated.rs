//! One worker with more clients than it can serve: what each request waited for in the server is what its client waited
//! for, request by request, on kept connections and on new ones. The truth is the client's own clock.

use std::{collections::BTreeMap, thread, time::Instant};

use anyhow::{Context as _, Result, anyhow, ensure};
use hostprof_tests::{
    Address, CONNECTION_RULES, HttpClient, HttpServer, Listen, Recording, Runtime, Trace,
    times::{Disturbed, in_time, undisturbed},
};
use serde_json::Value;

const CLIENTS: usize = 50;
const EACH: usize = 8;
const BLOCK_MS: usize = 5;
/// Of a hundred requests, how many have to be explained, and to how many hundredths of their time.
const EXPLAINED: usize = 90;
const WITHIN: f64 = 0.1;

/// Whether clients keep their connections.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Connections {
    Kept,
    Closed,
}

/// What each request took its client, in seconds, by its path: connecting included.
fn ask(address: &Address, clients: usize, connections: Connections) -> Result<BTreeMap<String, f64>> {
    let one = |client: usize| -> Result<Vec<(String, f64)>> {
        let mut stream = HttpClient::new(address);
        let mut times = Vec::new();
        for number in 0..EACH {
            let path = format!("/block/{BLOCK_MS}/{client}-{number}");
            let end = if connections == Connections::Kept { "keep-alive" } else { "close" };
            let request = format!("GET {path} HTTP/1.1\r\nHost: test\r\nConnection: {end}\r\n\r\n");
            let begun = Instant::now();
            let answer = stream.exchange(request.as_bytes())?;
            times.push((path, begun.elapsed().as_secs_f64()));
            ensure!(answer.status == 200, "status {}", answer.status);
        }
        Ok(times)
    };
    thread::scope(|scope| {
        let one = &one;
        let threads: Vec<_> = (0..clients).map(|client| scope.spawn(move || one(client))).collect();
        let panicked = |_| Err(anyhow!("a client panicked"));
        let times = threads.into_iter().map(|thread| thread.join().unwrap_or_else(panicked));
        Ok(times.collect::<Result<Vec<_>>>()?.into_iter().flatten().collect())
    })
}

#[test]
fn waits_explain_what_clients_wait_for_on_kept_connections() -> Result<()> {
    explain(Connections::Kept)
}

#[test]
fn waits_explain_what_clients_wait_for_on_new_connections() -> Result<()> {
    explain(Connections::Closed)
}

fn explain(connections: Connections) -> Result<()> {
    let server = HttpServer::start(Runtime::UvicornAsyncio, Listen::Tcp)?;
    undisturbed(|| explain_once(&server, connections))?;
    server.stop()
}

fn explain_once(server: &HttpServer, connections: Connections) -> Result<()> {
    let trace = Trace::start(&["--port", &server.address().port()?.to_string()])?;
    let times = ask(server.address(), CLIENTS, connections)?;
    let lines = trace.finish()?;
    let lost: Vec<_> = lines.iter().filter(|line| line["type"] == "lost").collect();
    in_time(lost.is_empty(), || format!("not every request was seen: {lost:?}"))?;
    let pids = server.pids();
    let served: BTreeMap<_, _> = lines
        .iter()
        .filter(|line| line["role"] == "server" && pids.iter().any(|pid| line["pid"] == *pid))
        .filter_map(|line| Some((line["path"].as_str()?, line)))
        .collect();
    ensure!(served.len() == times.len(), "{} requests of {}", served.len(), times.len());
    let mut explained = 0;
    let mut waits = BTreeMap::<&str, f64>::new();
    for (path, time) in &times {
        let line = served.get(path.as_str()).with_context(|| format!("{path} was not seen"))?;
        let first = connections == Connections::Closed || path.ends_with("-0");
        ensure!(line["phases"]["accept"].is_number() == first, "{connections:?}: {line:#}");
        let mut sum = 0.0;
        for phase in ["accept", "queue", "receive", "serve", "send"] {
            let seconds = line["phases"][phase].as_f64().unwrap_or(0.0);
            ensure!(seconds >= 0.0, "{line:#}");
            *waits.entry(phase).or_default() += seconds;
            sum += seconds;
        }
        explained += usize::from((sum - time).abs() <= WITHIN * time);
    }
    println!("{connections:?}: {explained} of {} requests explained by {waits:?}", times.len());
    Ok(enough(explained, times.len(), &waits)?)
}

fn enough(explained: usize, all: usize, waits: &BTreeMap<&str, f64>) -> Result<(), Disturbed> {
    in_time(explained * 100 >= EXPLAINED * all, || format!("{explained} of {all} requests: {waits:?}"))?;
    // Not without the waits: the server reads some requests before it begins with the first of them.
    let (waited, served) = (waits["accept"] + waits["queue"], waits["serve"]);
    in_time(waited > served / 4.0, || format!("waited {waited} s, served in {served} s"))
}

#[test]
fn a_single_worker_is_found_where_many_wait_for_it() -> Result<()> {
    let server = HttpServer::start(Runtime::UvicornAsyncio, Listen::Tcp)?;
    for (clients, expected) in [(CLIENTS, &["single-worker"][..]), (1, &[])] {
        let recording = Recording::start(&[])?;
        let asked = ask(server.address(), clients, Connections::Kept)?.len() as u64;
        let report = recording.finish()?;
        let row = report.rows("listeners").of(&server.pids()).only()?;
        ensure!(row["workers"] == 1 && row["processes"] == 1 && row["requests"] == asked, "{row:#}");
        let most = row["peak_in_flight"].as_u64().context("no peak")?;
        // A client may have its answer, and ask again, before the write that has sent it returns.
        ensure!((clients.div_ceil(2)..=clients + 1).contains(&(most as usize)), "{clients} clients: {row:#}");
        let found = report.found(&CONNECTION_RULES, &server.pids());
        let ids: Vec<_> = found.iter().map(|(id, _)| *id).collect();
        ensure!(ids == expected, "{clients} clients: {ids:?}: {found:#?}");
        if let Some((_, finding)) = found.first() {
            evidence(finding, asked)?;
        }
    }
    server.stop()
}

fn evidence(finding: &Value, asked: u64) -> Result<()> {
    ensure!(finding["severity"] == "critical", "{finding:#}");
    ensure!(finding["evidence"]["workers"] == 1, "{finding:#}");
    ensure!(finding["evidence"]["requests"] == asked, "{finding:#}");
    Ok(())
}
