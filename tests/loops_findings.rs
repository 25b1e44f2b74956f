//! Findings about event loops, made from real servers: what a sick one gives, and that its healthy neighbour gives
//! none; thresholds of the settings file.

use std::{thread, time::Duration};

use anyhow::{Context as _, Result, ensure};
use hostprof_tests::{
    Cgroup, Database, Engine, LoopRuntime, Recording, Report, Stalling, cli, process::temp_dir, schema,
};
use serde_json::Value;

const HOLD_MS: u32 = 300;
const TIMES: usize = 3;

/// The findings about a server's service.
fn findings<'a>(report: &'a Report, server: &Stalling) -> Vec<&'a Value> {
    report.rows("findings").of(&[server.pid()]).iter().collect()
}

fn ids<'a>(findings: &[&'a Value]) -> Vec<&'a str> {
    findings.iter().filter_map(|finding| finding["id"].as_str()).collect()
}

/// Has the loop held some times, in a recording with these arguments.
fn record(server: &Stalling, kind: &str, milliseconds: u32, arguments: &[&str]) -> Result<Report> {
    server.get("wait", 1)?;
    let recording = Recording::start(arguments)?;
    for _ in 0..TIMES {
        server.get("wait", 1)?;
        server.get(kind, milliseconds)?;
    }
    let report = recording.finish()?;
    let breaches = schema::breaches(report.json(), schema::REPORT);
    ensure!(breaches.is_empty(), "{breaches:?}");
    Ok(report)
}

#[test]
fn a_handler_that_holds_its_loop_is_a_finding() -> Result<()> {
    for (runtime, kind, cause, advice) in [
        (LoopRuntime::Asyncio, "sleep", "blocking-call", "asyncio.sleep"),
        (LoopRuntime::Uvloop, "spin", "cpu", "ProcessPoolExecutor"),
        (LoopRuntime::Node, "sleep", "blocking-call", "Atomics.waitAsync"),
    ] {
        let server = Stalling::start(runtime)?;
        let report = record(&server, kind, HOLD_MS, &[])?;
        let found = findings(&report, &server);
        let context = || format!("{runtime:?} {kind}: {found:#?}");
        let blocked: Vec<_> = found.iter().filter(|finding| finding["id"] == "event-loop-blocked").collect();
        let [finding] = blocked.as_slice() else { anyhow::bail!("not one: {}", context()) };
        ensure!(finding["severity"] == "critical" && finding["ongoing"] == false, "{}", context());
        // Without a CPU a machine's loops stall at other times, too.
        let starving = found.iter().any(|finding| finding["id"] == "cpu-starvation");
        let count = finding["count"].as_u64().unwrap_or(0);
        ensure!(count == TIMES as u64 || starving && count > TIMES as u64, "{}", context());
        let critical = found.iter().filter(|finding| finding["severity"] == "critical").count();
        ensure!(critical == 1, "another critical one: {}", context());
        let evidence = &finding["evidence"];
        let least = TIMES as f64 * f64::from(HOLD_MS) / 1e3;
        ensure!(evidence["stalled_seconds"].as_f64().is_some_and(|s| s >= least), "{}", context());
        // A busy machine gives it too little CPU on top.
        let causes = if cause == "cpu" { vec![cause, "cpu-starvation"] } else { vec![cause] };
        ensure!(causes.iter().any(|cause| evidence["held_by"][0]["cause"] == *cause), "{}", context());
        if runtime == LoopRuntime::Asyncio {
            ensure!(evidence["held_by"][0]["syscall"] == "clock_nanosleep", "{}", context());
        }
        ensure!(evidence["loops"][0]["pid"] == server.pid(), "{}", context());
        let advised = finding["advice"].as_str().is_some_and(|text| text.contains(advice));
        ensure!(advised || finding["explained_by"] == "cpu-starvation", "{}", context());
        ensure!(finding["first_seen"].as_str() < finding["last_seen"].as_str(), "{}", context());
        server.stop()?;
    }
    Ok(())
}

/// Real starvation is none of the server's doing, and other work may cause it on the machine of the tests.
fn own(findings: &[&Value]) -> Vec<Value> {
    let own = findings
        .iter()
        .filter(|finding| finding["id"] != "cpu-starvation" && finding["explained_by"] != "cpu-starvation");
    own.map(|finding| (*finding).clone()).collect()
}

#[test]
fn handlers_that_wait_are_none() -> Result<()> {
    for runtime in LoopRuntime::ALL {
        let server = Stalling::start(runtime)?;
        let report = record(&server, "wait", HOLD_MS, &[])?;
        let loops = report.rows("event_loops").of(&[server.pid()]);
        ensure!(loops.iter().any(|row| row["turn"]["count"].as_u64() > Some(0)), "its loop was not seen");
        let found = own(&findings(&report, &server));
        ensure!(found.is_empty(), "{runtime:?}: {found:#?}");
        server.stop()?;
    }
    Ok(())
}

/// The one finding of this rule, and that of the blocked loop which it explains. None but these two: the machine of the
/// tests may starve the server besides.
fn explained<'a>(found: &[&'a Value], id: &str) -> Result<(&'a Value, &'a Value)> {
    let of = |id: &str| -> Result<&'a Value> {
        let of_it: Vec<_> = found.iter().copied().filter(|finding| finding["id"] == id).collect();
        let [finding] = of_it.as_slice() else { anyhow::bail!("{} of {id}: {found:#?}", of_it.len()) };
        Ok(finding)
    };
    let (reason, blocked) = (of(id)?, of("event-loop-blocked")?);
    ensure!(blocked["explained_by"] == id, "{found:#?}");
    let others = ids(found).into_iter().filter(|other| *other != "event-loop-blocked" && *other != id);
    let others: Vec<_> = others.filter(|id| *id != "cpu-starvation").collect();
    ensure!(others.is_empty(), "{others:?} beside {id}: {found:#?}");
    Ok((reason, blocked))
}

fn number(evidence: &Value, key: &str) -> f64 {
    evidence[key].as_f64().unwrap_or(f64::NAN)
}

#[test]
fn a_query_that_blocks_the_loop_is_named() -> Result<()> {
    let database = Database::start(Engine::MariaDb)?;
    let server = Stalling::start_with(LoopRuntime::Asyncio, Some(database.tcp()))?;
    // Opens the connection.
    server.get("query", 1)?;
    let report = record(&server, "query", HOLD_MS, &[])?;
    let found = findings(&report, &server);
    let (finding, blocked) = explained(&found, "blocking-query-in-event-loop")?;
    let (evidence, peer) = (&finding["evidence"], database.tcp().to_string());
    ensure!(finding["severity"] == "critical" && finding["count"] == TIMES, "{finding:#}");
    ensure!(evidence["peer"] == peer && evidence["digest_text"] == "SELECT SLEEP(?)", "{finding:#}");
    ensure!(evidence["queries"] == TIMES && evidence["queries_a_turn_max"] == 1, "{finding:#}");
    let rows = report.rows("mysql").role("client").of(&[server.pid()]).with("digest_text", "SELECT SLEEP(?)");
    let digest = &rows.only()?["digest"];
    ensure!(
        digest.is_string() && finding["subject"] == *digest && evidence["digest"] == *digest,
        "{finding:#}"
    );
    let least = TIMES as f64 * f64::from(HOLD_MS) / 1e3;
    let seconds = number(evidence, "query_seconds");
    ensure!(seconds >= least && seconds <= number(evidence, "stalled_seconds"), "{finding:#}");
    ensure!(finding["advice"].as_str().is_some_and(|text| text.contains("asyncmy")), "{finding:#}");
    let held_by = &blocked["evidence"]["held_by"][0];
    ensure!(held_by["what"].as_str().is_some_and(|what| what.contains(&peer)), "{blocked:#}");
    // One of a millisecond, and then a sleep: that is what held it.
    let report = record(&server, "query_then_sleep", HOLD_MS, &[])?;
    let found = findings(&report, &server);
    ensure!(!ids(&found).contains(&"blocking-query-in-event-loop"), "{found:#?}");
    let blocked =
        found.iter().find(|finding| finding["id"] == "event-loop-blocked").context("not blocked")?;
    let detail = blocked["detail"].as_str().unwrap_or_default();
    ensure!(detail.contains("clock_nanosleep") && !detail.contains("MySQL"), "{blocked:#}");
    server.stop()?;
    database.stop()
}

#[test]
fn a_thread_that_has_the_interpreters_lock_is_found() -> Result<()> {
    let server = Stalling::start(LoopRuntime::Asyncio)?;
    // Prepares what it does.
    server.get("interpreter", HOLD_MS)?;
    let report = record(&server, "interpreter", HOLD_MS, &[])?;
    let found = findings(&report, &server);
    let (finding, _) = explained(&found, "interpreter-lock-contention")?;
    let evidence = &finding["evidence"];
    ensure!(finding["severity"] == "warning" && finding["subject"] == "event loop", "{finding:#}");
    ensure!(number(evidence, "lock_waits") > number(evidence, "stalls"), "one wait each: {finding:#}");
    let seconds = number(evidence, "lock_wait_seconds");
    ensure!(seconds > 0.0 && seconds <= number(evidence, "stalled_seconds"), "{finding:#}");
    let mean = seconds / number(evidence, "lock_waits");
    ensure!((number(evidence, "lock_wait_mean_seconds") - mean).abs() < 1e-9, "{finding:#}");
    ensure!(evidence["loops"][0]["pid"] == server.pid(), "{finding:#}");
    // A lock of the application's own is none of the interpreter's.
    let report = record(&server, "lock", HOLD_MS, &[])?;
    let found = findings(&report, &server);
    ensure!(!ids(&found).contains(&"interpreter-lock-contention"), "{found:#?}");
    ensure!(ids(&found).contains(&"event-loop-blocked"), "{found:#?}");
    server.stop()
}

/// The CPU time that a handler needs while its group may use a twentieth of a CPU, ms: five periods' worth.
const LIMITED_MS: u32 = 25;

#[test]
fn a_quota_that_is_used_up_is_found() -> Result<()> {
    let server = Stalling::start(LoopRuntime::Asyncio)?;
    let group = Cgroup::limited(&format!("hostprof-starved-{}", server.pid()), 5)?;
    let recording = Recording::start(&[])?;
    group.take(&[server.pid()])?;
    server.get("wait", 1)?;
    // Its group is seen within seconds, and then sampled.
    server.get("wait", 6_000)?;
    for _ in 0..TIMES {
        server.get("compute", LIMITED_MS)?;
        server.get("wait", 1)?;
    }
    let report = recording.finish()?;
    let found = findings(&report, &server);
    let (finding, _) = explained(&found, "cpu-starvation")?;
    let evidence = &finding["evidence"];
    ensure!(finding["severity"] == "warning", "{finding:#}");
    ensure!(finding["count"].as_u64() >= Some(TIMES as u64), "{finding:#}");
    ensure!(finding["title"].as_str().is_some_and(|title| title.contains("quota")), "{finding:#}");
    ensure!(finding["advice"].as_str().is_some_and(|text| text.contains("cpu.max")), "{finding:#}");
    let throttled = number(evidence, "throttled_seconds");
    ensure!(throttled > number(evidence, "stalled_seconds") / 2.0, "{finding:#}");
    ensure!(number(evidence, "cpu_wait_seconds") >= throttled, "{finding:#}");
    server.stop()
}

#[test]
fn a_stopped_process_is_not_blocked() -> Result<()> {
    let server = Stalling::start(LoopRuntime::Asyncio)?;
    let recording = Recording::start(&[])?;
    server.get("wait", 1)?;
    server.signal(libc::SIGSTOP);
    thread::sleep(Duration::from_millis(HOLD_MS.into()));
    server.signal(libc::SIGCONT);
    server.get("wait", 1)?;
    let report = recording.finish()?;
    let stalls = report.rows("event_loops").of(&[server.pid()]);
    let mut causes = stalls.iter().flat_map(|row| row["stalls"].as_array().into_iter().flatten());
    ensure!(causes.any(|stall| stall["cause"] == "stopped"), "its stop was not seen");
    let found = own(&findings(&report, &server));
    ensure!(found.is_empty(), "{found:#?}");
    server.stop()
}

#[test]
fn thresholds_are_the_operators() -> Result<()> {
    let dir = temp_dir()?;
    let server = Stalling::start(LoopRuntime::Asyncio)?;
    for (text, expected) in [
        ("", &["event-loop-blocked"][..]),
        ("[rules.event-loop-blocked]\nstall = \"250ms\"\n", &["event-loop-blocked"]),
        ("[rules.event-loop-blocked]\nstall = \"30s\"\n", &[]),
        ("[rules.event-loop-blocked]\nenabled = false\n", &[]),
    ] {
        let path = cli::settings(&dir, text)?;
        let report = record(&server, "sleep", HOLD_MS, &["--config", &path])?;
        let found = findings(&report, &server);
        let critical: Vec<_> =
            found.iter().copied().filter(|finding| finding["severity"] == "critical").collect();
        ensure!(ids(&critical) == expected, "{text:?}: {found:#?}");
        let stalls = report.rows("event_loops").of(&[server.pid()]);
        let count = stalls.iter().filter_map(|row| row["stalls"].as_array()).map(Vec::len).sum::<usize>();
        ensure!(count >= TIMES, "{text:?}: the stalls themselves are there all the same");
    }
    server.stop()
}

#[test]
fn a_rule_or_key_that_is_none_is_named() -> Result<()> {
    let dir = temp_dir()?;
    for (text, line, named) in [
        ("[rules.event-loop-blokked]\nstall = \"1s\"\n", "line 1", "event-loop-blokked"),
        ("\n[rules.event-loop-blocked]\nstal = \"1s\"\n", "line 3", "`stal`"),
        ("[rules.event-loop-blocked]\nstall = 5\n", "line 2", "`stall`"),
    ] {
        let path = cli::settings(&dir, text)?;
        for verb in ["record", "trace"] {
            let ended = cli::run(&[verb, "--config", &path])?;
            let complaint = ended.complaint()?;
            ensure!(ended.code() == Some(1), "{text:?}: {ended}");
            ensure!(complaint.contains(line) && complaint.contains(named), "{text:?}: {complaint}");
        }
    }
    Ok(())
}
