//! Stalls of event loops: each handler that holds its loop is one stall, as long as the handler says, split into what
//! it did; handlers that wait without holding the loop, and servers that have no loop, give none.

use std::{thread, time::Duration};

use anyhow::{Result, ensure};
use hostprof_tests::{HttpServer, Listen, LoopRuntime, Runtime, Stalling, Trace, wrk};
use serde_json::Value;

/// How long handlers hold their loop, and how often.
const HOLD_MS: u32 = 300;
const TIMES: usize = 5;

/// A stall is longer than the handler by the rest of its turn: the framework's work before and after, and whatever the
/// machine does meanwhile. The median tells whether the clock is right, of the best of some runs: other work on the
/// machine makes turns longer now and then, a wrong clock does in each run.
const MEDIAN_REST: f64 = 0.005;
const RUNS: usize = 3;

fn number(stall: &Value, field: &str) -> f64 {
    stall[field].as_f64().unwrap_or(f64::NAN)
}

/// The call in which a stall was blocked longest.
fn call(stall: &Value) -> &str {
    stall["blocked_in"][0]["syscall"].as_str().unwrap_or("none")
}

fn holds(runtime: LoopRuntime, kind: &str, expected: &str) -> Result<()> {
    let mut medians = Vec::new();
    while medians.len() < RUNS && medians.iter().all(|median| *median >= MEDIAN_REST) {
        medians.push(median_rest(runtime, kind, expected)?);
    }
    let right = medians.iter().any(|median| *median < MEDIAN_REST);
    ensure!(right, "{runtime:?} {kind}: stalls are longer than their handlers by {medians:?}");
    Ok(())
}

/// Has the loop held some times; returns by how much the stalls are longer than the handlers, the median.
fn median_rest(runtime: LoopRuntime, kind: &str, expected: &str) -> Result<f64> {
    let server = Stalling::start(runtime)?;
    // Code is compiled and connections are opened for the first time.
    server.get("wait", 1)?;
    let trace = Trace::start(&[])?;
    for _ in 0..TIMES {
        server.get(kind, HOLD_MS)?;
        server.get("wait", 150)?;
    }
    trace.settle(|lines| server.stalls(lines).len())?;
    let lines = trace.finish_whole()?;
    let (stalls, held) = (server.stalls(&lines), server.held()?);
    ensure!(held.len() == TIMES, "the handlers said {held:?}");
    ensure!(stalls.len() == TIMES, "{runtime:?} {kind}: {} stalls of {TIMES}: {stalls:#?}", stalls.len());
    let mut rests = Vec::new();
    for (stall, held) in stalls.iter().zip(&held) {
        let seconds = number(stall, "seconds");
        let [on_cpu, run_queue, blocked] = ["on_cpu", "run_queue", "blocked"].map(|part| number(stall, part));
        rests.push(seconds - held.seconds);
        ensure!(seconds >= held.seconds, "shorter than the handler, {}: {stall:#}", held.seconds);
        ensure!((on_cpu + run_queue + blocked - seconds).abs() < 1e-6, "the parts do not add up: {stall:#}");
        if kind == "sleep" {
            ensure!(call(stall) == expected, "not in {expected}: {stall:#}");
            // Not the whole handler: after its sleep it may wait for a CPU.
            ensure!(blocked > 0.9 * f64::from(HOLD_MS) / 1e3, "a sleep is blocked: {stall:#}");
        } else {
            ensure!(on_cpu + run_queue > 0.9 * held.seconds, "a busy handler is not blocked: {stall:#}");
            ensure!(on_cpu > 0.1 * held.seconds, "it had the CPU: {stall:#}");
        }
    }
    rests.sort_by(f64::total_cmp);
    server.stop()?;
    Ok(rests[TIMES / 2])
}

#[test]
fn a_sleeping_handler_is_one_stall_in_its_call() -> Result<()> {
    holds(LoopRuntime::Asyncio, "sleep", "clock_nanosleep")?;
    holds(LoopRuntime::Uvloop, "sleep", "clock_nanosleep")?;
    holds(LoopRuntime::Node, "sleep", "futex")
}

#[test]
fn a_busy_handler_is_one_stall_on_the_cpu() -> Result<()> {
    for runtime in LoopRuntime::ALL {
        holds(runtime, "spin", "")?;
    }
    Ok(())
}

/// Stopped by a signal, not stalled: the stall says so, for clients wait all the same.
#[test]
fn a_stopped_process_is_told_apart() -> Result<()> {
    for runtime in LoopRuntime::ALL {
        let server = Stalling::start(runtime)?;
        let trace = Trace::start(&[])?;
        // A wait that began before the attach is not known to be a loop's.
        server.get("wait", 1)?;
        server.signal(libc::SIGSTOP);
        thread::sleep(Duration::from_millis(HOLD_MS.into()));
        server.signal(libc::SIGCONT);
        server.get("wait", 1)?;
        trace.settle(|lines| server.stalls(lines).len())?;
        let lines = trace.finish_whole()?;
        let stalls = server.stalls(&lines);
        ensure!(stalls.len() == 1, "{runtime:?}: {stalls:#?}");
        ensure!(call(stalls[0]) == "stopped", "{runtime:?}: {:#}", stalls[0]);
        server.stop()?;
    }
    Ok(())
}

#[test]
fn the_threshold_is_the_operators() -> Result<()> {
    let server = Stalling::start(LoopRuntime::Asyncio)?;
    server.get("wait", 1)?;
    let trace = Trace::start(&["--stall-threshold", "200ms"])?;
    for milliseconds in [150, 250, 150] {
        server.get("sleep", milliseconds)?;
    }
    trace.settle(|lines| server.stalls(lines).len())?;
    let lines = trace.finish_whole()?;
    let stalls = server.stalls(&lines);
    ensure!(stalls.len() == 1 && number(stalls[0], "seconds") >= 0.25, "not the one of 250 ms: {stalls:#?}");
    server.stop()
}

/// Stalls pass the filters that say whose they are, and none of those that only an exchange can pass.
#[test]
fn filters_hold_for_stalls() -> Result<()> {
    let [ours, other] = [Stalling::start(LoopRuntime::Asyncio)?, Stalling::start(LoopRuntime::Asyncio)?];
    let (pid, port) = (ours.pid().to_string(), ours.address().port()?.to_string());
    for (filters, expected) in [
        (&["--pid", &pid][..], [2, 0]),
        (&["--pid", &pid, "--slower-than", "300ms"], [1, 0]),
        (&["--protocol", "http"], [0, 0]),
        (&["--protocol", "mysql"], [0, 0]),
        (&["--port", &port], [0, 0]),
        (&["--errors"], [0, 0]),
        (&["--loops", "off"], [0, 0]),
        (&[], [2, 2]),
    ] {
        let trace = Trace::start(filters)?;
        for server in [&ours, &other] {
            // A wait that began before the attach is not known to be a loop's.
            server.get("wait", 1)?;
            server.get("sleep", 150)?;
            server.get("sleep", 450)?;
        }
        let count = |lines: &[Value]| [&ours, &other].map(|server| server.stalls(lines).len());
        trace.settle(|lines| count(lines).iter().sum())?;
        let lines = trace.finish_whole()?;
        ensure!(count(&lines) == expected, "{filters:?}: {:?} of {expected:?}", count(&lines));
        if expected == [0, 0] {
            let stalls: Vec<_> = lines.iter().filter(|line| line["type"] == "stall").collect();
            ensure!(stalls.is_empty(), "{filters:?}: anybody's: {stalls:#?}");
        }
    }
    ours.stop()?;
    other.stop()
}

/// Go's threads share one set: the time between two waits of one of them means nothing. They are seen to park for
/// longer than the threshold all the time.
#[test]
fn threads_that_share_a_set_are_no_loops() -> Result<()> {
    let server = HttpServer::start(Runtime::Go, Listen::Tcp)?;
    let trace = Trace::start(&[])?;
    for _ in 0..3 {
        wrk::run(server.address(), "/items/7", 8, Duration::from_millis(300))?;
        wrk::run(server.address(), "/delay/150", 8, Duration::from_millis(400))?;
        thread::sleep(Duration::from_millis(300));
    }
    let lines = trace.finish_whole()?;
    let pids = server.pids();
    let of_it = |line: &&Value| line["pid"].as_u64().is_some_and(|pid| pids.contains(&(pid as u32)));
    let served = lines.iter().filter(of_it).filter(|line| line["type"] == "exchange").count();
    ensure!(served > 100, "the server was hardly seen: {served} exchanges");
    let stalls: Vec<_> = lines.iter().filter(of_it).filter(|line| line["type"] == "stall").collect();
    ensure!(stalls.is_empty(), "{} stalls of a server without a loop: {stalls:#?}", stalls.len());
    server.stop()
}
