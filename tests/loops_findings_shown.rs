//! Where findings about event loops stand: in text before all else, in a trace while they last, in metrics.

use std::{thread, time::Duration};

use anyhow::{Context as _, Result, ensure};
use hostprof_tests::{
    CONNECTION_RULES, LoopRuntime, Report, Stalling, Trace, cli,
    process::{PATIENCE, temp_dir},
    schema,
};

#[path = "../profiler-user/src/output/prometheus/strict.rs"]
mod openmetrics;

const HOLD_MS: u32 = 300;
const TIMES: usize = 3;

#[test]
fn text_begins_with_what_is_wrong() -> Result<()> {
    let server = Stalling::start(LoopRuntime::Asyncio)?;
    let pid = server.pid().to_string();
    for (kind, sick) in [("sleep", true), ("wait", false)] {
        let mut command = cli::command(["record", "-d", "600s", "--pid", &pid])?;
        let running = cli::Running::attached(&mut command)?;
        server.get("wait", 1)?;
        server.get(kind, HOLD_MS)?;
        let ended = running.end(libc::SIGINT)?;
        let text = ended.stdout.as_str();
        let at = |what: &str| text.find(what).with_context(|| format!("no {what:?}: {ended}"));
        let service = at(&format!("(python, pid {pid}"))?;
        if sick {
            ensure!(at("\nCRITICAL ")? < service, "{ended}");
            ensure!(at("its event loop was blocked")? < service, "{ended}");
            ensure!(at("clock_nanosleep")? < service && at("  Try: ")? < service, "{ended}");
        } else {
            ensure!(at("\nNo findings")? < service && !text.contains("CRITICAL"), "{ended}");
        }
        ensure!(service < at("\n  Event loops\n")?, "{ended}");
        ensure!(text.lines().all(|line| line.chars().count() <= 140), "{ended}");
    }
    server.stop()
}

/// Told of while the loop is blocked, and that it is over when nothing has blocked it for some seconds.
#[test]
fn a_trace_tells_when_a_finding_begins_and_when_it_is_over() -> Result<()> {
    const LONG_MS: u32 = 4_000;
    let server = Stalling::start(LoopRuntime::Asyncio)?;
    server.get("wait", 1)?;
    let pid = server.pid().to_string();
    let trace = Trace::start(&["--pid", &pid])?;
    let told = |count, patience| trace.wait_for_findings("event-loop-blocked", "", count, patience);
    thread::scope(|scope| -> Result<()> {
        let client = scope.spawn(|| server.get("sleep", LONG_MS));
        let begun = told(1, Duration::from_millis(LONG_MS.into()))?;
        ensure!(server.held()?.is_empty(), "the handler was done before the finding");
        ensure!(begun[0]["ongoing"] == true && begun[0]["severity"] == "critical", "{begun:#?}");
        client.join().expect("the client panicked")
    })?;
    let told = told(2, PATIENCE)?;
    ensure!(told[1]["ongoing"] == false, "not over: {told:#?}");
    ensure!(told[1]["first_seen"] == told[0]["first_seen"], "another one: {told:#?}");
    let lines = trace.finish_whole()?;
    for line in lines.iter().filter(|line| line["type"] == "finding") {
        let breaches = schema::breaches(line, schema::FINDING_LINE);
        ensure!(breaches.is_empty(), "{breaches:?}: {line:#}");
    }
    server.stop()
}

#[test]
fn metrics_count_what_the_report_counts() -> Result<()> {
    let dir = temp_dir()?;
    let paths = ["report.prom", "report.json"].map(|name| dir.path().join(name));
    let server = Stalling::start(LoopRuntime::Asyncio)?;
    server.get("wait", 1)?;
    let mut command = cli::command(["record", "-d", "600s", "--pid", &server.pid().to_string(), "-o"])?;
    let running = cli::Running::attached(command.arg(&paths[0]).arg("-o").arg(&paths[1]))?;
    for _ in 0..TIMES {
        server.get("wait", 1)?;
        server.get("sleep", HOLD_MS)?;
    }
    let ended = running.end(libc::SIGINT)?;
    ensure!(ended.code() == Some(0), "{ended}");
    let page = cli::read(&paths[0])?;
    let samples = openmetrics::parse(&page).map_err(|error| anyhow::anyhow!("{error}\n{page}"))?;
    let report = Report::parse(&cli::read(&paths[1])?)?;
    let rows = report.rows("event_loops");
    let sum = |start: &str, labels: &[&str]| -> f64 {
        let has = |name: &str| name.starts_with(start) && labels.iter().all(|label| name.contains(label));
        samples.iter().filter(|(name, _)| has(name)).map(|(_, value)| *value).sum()
    };
    let stalls = "hostprof_eventloop_stall_duration_seconds_count[";
    ensure!(sum(stalls, &["blocking-call", "clock_nanosleep"]) == TIMES as f64, "{page}");
    let turns = rows.total(|row| row["turn"]["count"].as_u64().unwrap_or(0));
    ensure!(turns > 0, "{page}");
    ensure!(sum("hostprof_eventloop_turn_duration_seconds_count[", &[]) == turns as f64, "{page}");
    let seconds: f64 = rows.iter().filter_map(|row| row["turn"]["sum"].as_f64()).sum();
    let difference = sum("hostprof_eventloop_turn_duration_seconds_sum[", &[]) - seconds;
    ensure!(difference.abs() <= 1e-6 * seconds, "{page}");
    let serving = rows.iter().filter(|row| row["turn"].is_object());
    let utilization: f64 = serving.filter_map(|row| row["utilization"].as_f64()).sum();
    let difference = sum("hostprof_eventloop_utilization_ratio[", &[]) - utilization;
    ensure!(difference.abs() <= 1e-9, "{page}");
    let active = "hostprof_finding_active[";
    ensure!(sum(active, &["event-loop-blocked", "critical"]) == 1.0, "{page}");
    ensure!(sum(active, &["blocking-query-in-event-loop"]) == 0.0, "{page}");
    let of_rules = samples.keys().filter(|name| name.starts_with(active)).count();
    ensure!(of_rules == 5 + CONNECTION_RULES.len(), "one for each rule: {page}");
    server.stop()
}
