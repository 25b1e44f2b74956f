//! Stalls of event loops while they last: told of before they end and updated, with what they are blocked on and who
//! waits.

use std::{thread, time::Duration};

use anyhow::{Context as _, Result, ensure};
use hostprof_tests::{HttpClient, LoopRuntime, Stalling, Trace};
use serde_json::Value;

/// Longer than a stall is told of again.
const LONG_MS: u32 = 3_000;
/// It is told of while the handler still holds its loop.
const LONG: Duration = Duration::from_millis(LONG_MS as u64);
/// A stall is told of within 150 ms of the threshold, 100 ms, where the machine lets hostprof run: in one of some runs.
/// In each of them it is told of long before it ends.
const SOON: f64 = 0.250;
const RUNS: usize = 3;

fn seconds(stall: &Value) -> f64 {
    stall["seconds"].as_f64().unwrap_or(f64::NAN)
}

#[test]
fn a_stall_is_told_of_before_it_ends_and_updated() -> Result<()> {
    for runtime in LoopRuntime::ALL {
        let mut told_at = Vec::new();
        while told_at.len() < RUNS && told_at.iter().all(|seconds| *seconds >= SOON) {
            told_at.push(told_while_it_lasts(runtime)?);
        }
        ensure!(told_at.iter().any(|seconds| *seconds < SOON), "{runtime:?}: told of late: {told_at:?}");
    }
    Ok(())
}

/// Has the loop held once; returns how long it was when it was first told of.
fn told_while_it_lasts(runtime: LoopRuntime) -> Result<f64> {
    let server = Stalling::start(runtime)?;
    server.get("wait", 1)?;
    let trace = Trace::start(&[])?;
    let first = thread::scope(|scope| -> Result<Value> {
        let client = scope.spawn(|| server.get("sleep", LONG_MS));
        let first =
            trace.wait_for(LONG, |lines| server.announced(lines).first().map(|line| (*line).clone()))?;
        ensure!(server.held()?.is_empty(), "{runtime:?}: the handler was done before it was told of");
        ensure!(first["confidence"] == "high", "{runtime:?}: it has a connection: {first:#}");
        client.join().expect("the client panicked")?;
        Ok(first)
    })?;
    trace.settle(|lines| server.stalls(lines).len())?;
    let lines = trace.finish_whole()?;
    let (announced, ended) = (server.announced(&lines), server.stalls(&lines));
    ensure!(ended.len() == 1, "{runtime:?}: {ended:#?}");
    ensure!((2..=4).contains(&announced.len()), "{runtime:?}: not every second: {announced:#?}");
    ensure!(announced.iter().all(|line| line["start"] == ended[0]["start"]), "another stall: {announced:#?}");
    ensure!(announced.windows(2).all(|pair| seconds(pair[0]) < seconds(pair[1])), "{announced:#?}");
    ensure!(ended[0]["confidence"] == "high", "{runtime:?}: {:#}", ended[0]);
    server.stop()?;
    Ok(seconds(&first))
}

#[test]
fn a_blocking_read_names_the_peer_though_the_connection_is_gone_afterwards() -> Result<()> {
    for runtime in [LoopRuntime::Asyncio, LoopRuntime::Uvloop] {
        let server = Stalling::start(runtime)?;
        server.get("wait", 1)?;
        let trace = Trace::start(&[])?;
        server.get("receive", 400)?;
        trace.settle(|lines| server.stalls(lines).len())?;
        let lines = trace.finish_whole()?;
        let stall = server.stalls(&lines).first().copied().context("no stall")?.clone();
        let call = &stall["blocked_in"][0];
        let target = call["target"].as_str().unwrap_or_default();
        ensure!(call["syscall"] == "recvfrom", "{runtime:?}: {stall:#}");
        ensure!(target.starts_with("tcp 127.0.0.1:"), "{runtime:?}: no peer: {stall:#}");
        ensure!(!target.ends_with(&format!(":{}", server.address().port()?)), "its own clients: {stall:#}");
        server.stop()?;
    }
    Ok(())
}

/// Requests on connections that are open already, and new connections, while the loop stalls: each is counted.
#[test]
fn who_waits_is_counted() -> Result<()> {
    const OPEN: usize = 6;
    const NEW: usize = 4;
    let server = Stalling::start(LoopRuntime::Asyncio)?;
    let mut clients: Vec<_> = (0..OPEN).map(|_| HttpClient::new(server.address())).collect();
    for client in &mut clients {
        client.get("/wait/1")?;
    }
    let trace = Trace::start(&[])?;
    thread::scope(|scope| -> Result<()> {
        let holder = scope.spawn(|| server.get("sleep", LONG_MS));
        trace.wait_for(LONG, |lines| (!server.announced(lines).is_empty()).then_some(()))?;
        let mut waiting: Vec<_> =
            clients.iter_mut().map(|client| scope.spawn(|| client.get("/wait/1").map(drop))).collect();
        waiting.extend((0..NEW).map(|_| scope.spawn(|| server.get("wait", 1))));
        let counted = |lines: &[Value]| {
            let last = server.announced(lines).last().map(|line| (*line).clone());
            last.filter(|line| line["waiting_requests"] == OPEN && line["waiting_connections"] == NEW)
        };
        let found = trace.wait_for(LONG, counted);
        for client in waiting {
            client.join().expect("a client panicked")?;
        }
        holder.join().expect("the client panicked")?;
        found.with_context(|| format!("{:#?}", server.announced(&trace.lines().unwrap_or_default())))?;
        Ok(())
    })?;
    trace.finish_whole()?;
    server.stop()
}
