//! Event loops in a report: how busy each is, how long its turns are, and its stalls, the last of which may go on when
//! the recording ends.

use std::{thread, time::Duration};

use anyhow::{Context as _, Result, ensure};
use hostprof_tests::{LoopRuntime, Recording, Report, Stalling, schema};
use serde_json::Value;

const HOLD_MS: u32 = 200;
const TIMES: usize = 4;

/// The row of the server's loop.
fn row<'a>(report: &'a Report, server: &Stalling) -> Result<&'a Value> {
    let rows = report.json()["event_loops"].as_array().context("no event loops")?;
    let mut ours = rows.iter().filter(|row| row["pid"] == server.pid());
    let row = ours.next().with_context(|| format!("no row of {}: {rows:#?}", server.pid()))?;
    ensure!(ours.next().is_none(), "one loop, several rows: {rows:#?}");
    Ok(row)
}

fn number(value: &Value) -> f64 {
    value.as_f64().unwrap_or(f64::NAN)
}

#[test]
fn a_loop_is_as_busy_as_its_handlers() -> Result<()> {
    for runtime in LoopRuntime::ALL {
        let server = Stalling::start(runtime)?;
        let recording = Recording::start(&[])?;
        server.get("wait", 1)?;
        for _ in 0..TIMES {
            server.get("sleep", HOLD_MS)?;
            server.get("wait", 2 * HOLD_MS)?;
        }
        thread::sleep(Duration::from_millis(300));
        let report = recording.finish()?;
        let breaches = schema::breaches(report.json(), schema::REPORT);
        ensure!(breaches.is_empty(), "{breaches:?}");
        let row = row(&report, &server)?;
        let held: f64 = server.held()?.iter().map(|held| held.seconds).sum();
        let busy = number(&row["busy_seconds"]);
        ensure!(busy >= held && busy < 1.5 * held, "{runtime:?}: busy {busy}, its handlers {held}: {row:#}");
        // Waiting takes twice as long as holding, and more.
        let utilization = number(&row["utilization"]);
        ensure!((0.1..0.5).contains(&utilization), "{runtime:?}: {row:#}");
        ensure!(row["stalls"].as_array().is_some_and(|stalls| stalls.len() == TIMES), "{runtime:?}: {row:#}");
        let turn = &row["turn"];
        ensure!(number(&turn["count"]) <= number(&row["turns"]), "{runtime:?}: {row:#}");
        ensure!(number(&turn["max"]) >= 0.2 && number(&turn["p50"]) < 0.1, "{runtime:?}: {row:#}");
        server.stop()?;
    }
    Ok(())
}

#[test]
fn a_stall_that_outlasts_the_recording_is_in_it() -> Result<()> {
    let server = Stalling::start(LoopRuntime::Asyncio)?;
    server.get("wait", 1)?;
    let recording = Recording::start(&[])?;
    thread::scope(|scope| -> Result<()> {
        let client = scope.spawn(|| server.get("sleep", 3_000));
        thread::sleep(Duration::from_millis(800));
        let report = recording.finish()?;
        ensure!(server.held()?.is_empty(), "the handler was done before the recording");
        let stalls = &row(&report, &server)?["stalls"];
        ensure!(stalls.as_array().is_some_and(|stalls| stalls.len() == 1), "{stalls:#}");
        ensure!(stalls[0]["ongoing"] == true && stalls[0]["confidence"] == "high", "{stalls:#}");
        ensure!(stalls[0]["blocked_in"][0]["syscall"] == "clock_nanosleep", "{stalls:#}");
        client.join().expect("the client panicked")
    })?;
    server.stop()
}
