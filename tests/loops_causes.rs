//! Why event loops stall: each handler that holds its loop in another way is a stall with its cause, the call, what that
//! waited for, and, where it was a database, the query.

use anyhow::{Context as _, Result, ensure};
use hostprof_tests::{
    Cgroup, Database, Engine, LoopRuntime, Recording, Stalling, Trace, stall_match::stall_of,
};
use serde_json::Value;

const HOLD_MS: u32 = 300;
/// Shorter than what a handler holds the loop for, longer than anything else in a turn.
const LEAST: f64 = 0.25;

fn number(value: &Value) -> f64 {
    value.as_f64().unwrap_or(f64::NAN)
}

/// The stalls of handlers that hold the loop in these ways, one each, when they are over; and all that trace said.
fn stalls(server: &Stalling, ways: &[&str]) -> Result<(Vec<Value>, Vec<Value>)> {
    let trace = Trace::start(&[])?;
    // A wait that began before the attach is not known to be a loop's.
    server.get("wait", 1)?;
    for way in ways {
        server.get(way, HOLD_MS)?;
        server.get("wait", 1)?;
    }
    trace.settle(|lines| server.stalls(lines).len())?;
    let lines = trace.finish_whole()?;
    let of_ways: Vec<_> = ways.iter().map(|way| last(server, way, &lines)).collect::<Result<_>>()?;
    Ok((of_ways, lines))
}

/// The stall of the handler that held the loop last in this way. On a busy machine there may be others, for want of a
/// CPU or of what is loaded for the first time.
fn last(server: &Stalling, way: &str, lines: &[Value]) -> Result<Value> {
    let held = server.held()?.into_iter().rfind(|held| held.kind == way);
    let held = held.with_context(|| format!("no handler has held the loop by {way}"))?;
    let stalls = server.stalls(lines);
    let stall = stall_of(&held, &stalls).with_context(|| format!("no stall of {held:?}: {stalls:#?}"))?;
    ensure!(number(&stall["seconds"]) >= LEAST, "{way} took longer: {stall:#}");
    Ok(stall.clone())
}

fn stall(server: &Stalling, way: &str) -> Result<Value> {
    stalls(server, &[way])?.0.pop().context("no stall")
}

/// Whether the call in which it was blocked longest is one of these, of this kind, on something like this.
fn is_in(stall: &Value, calls: &[&str], kind: &str, target: impl Fn(&str) -> bool) -> bool {
    let call = &stall["blocked_in"][0];
    calls.iter().any(|name| call["syscall"] == *name)
        && call["kind"] == kind
        && target(call["target"].as_str().unwrap_or_default())
}

#[test]
fn what_a_handler_waits_for_is_named() -> Result<()> {
    type Target = fn(&str) -> bool;
    let none: Target = str::is_empty;
    let sleep: Target = |target| target.starts_with("subprocess sleep[");
    let ways: [(&str, &[&str], &str, Target); 11] = [
        ("sleep", &["clock_nanosleep"], "sleep", none),
        ("select", &["select", "pselect6"], "sleep", none),
        ("receive", &["recvfrom"], "socket", |target| target.starts_with("tcp 127.0.0.1:")),
        ("flock", &["flock"], "lock", |target| target.ends_with("/locked")),
        ("fsync", &["fsync"], "file", |target| target.ends_with("/synced")),
        ("subprocess", &["wait4"], "subprocess", sleep),
        ("output", &["poll"], "subprocess", sleep),
        ("lock", &["futex"], "lock", none),
        ("get", &["futex"], "lock", none),
        ("lookup", &["poll"], "dns", |target| target == "udp 127.0.0.53:53"),
        ("pipe", &["read"], "pipe", |target| target.starts_with("pipe:[")),
    ];
    let server = Stalling::start(LoopRuntime::Asyncio)?;
    let (stalls, _) = stalls(&server, &ways.map(|(way, ..)| way))?;
    for (stall, (way, calls, kind, target)) in stalls.iter().zip(ways) {
        // Hundreds of short waits: on a busy machine for a CPU after each, on a fast disk for hardly anything else.
        let other = way == "fsync" && (stall["cause"] == "cpu" || stall["cause"] == "cpu-starvation");
        ensure!(other || stall["cause"] == "blocking-call", "{way}: {stall:#}");
        ensure!(other || is_in(stall, calls, kind, target), "{way}: not in {calls:?}, {kind}: {stall:#}");
        ensure!(stall.get("queries").is_none() && stall.get("digest").is_none(), "{way}: {stall:#}");
        ensure!(stall["service"].as_str().is_some_and(|name| name.contains("stalls")), "{way}: {stall:#}");
    }
    server.stop()
}

#[test]
fn another_set_is_what_is_in_it() -> Result<()> {
    let waits = ["epoll_wait", "epoll_pwait"];
    let server = Stalling::start(LoopRuntime::Uvloop)?;
    let nested = stall(&server, "nested_socket")?;
    ensure!(is_in(&nested, &waits, "socket", |target| target == "unix"), "{nested:#}");
    server.stop()?;
    let server = Stalling::start(LoopRuntime::Node)?;
    let child = stall(&server, "exec")?;
    let is_child = |target: &str| target.starts_with("subprocess ");
    ensure!(child["cause"] == "blocking-call", "{child:#}");
    ensure!(is_in(&child, &waits, "subprocess", is_child), "{child:#}");
    server.stop()
}

/// However the driver waits, and over whichever socket.
#[test]
fn a_query_is_named_with_its_server() -> Result<()> {
    let database = Database::start(Engine::MariaDb)?;
    let server = Stalling::start_with(LoopRuntime::Asyncio, Some(database.tcp()))?;
    let ways = [
        ("query", database.tcp(), &["recvfrom", "read"][..]),
        ("query_timeout", database.tcp(), &["poll"]),
        ("query_unix", database.unix(), &["recvfrom", "read"]),
    ];
    for (way, ..) in ways {
        // Opens the connection.
        server.get(way, 1)?;
    }
    let (stalls, lines) = stalls(&server, &ways.map(|(way, ..)| way))?;
    for (stall, (way, peer, calls)) in stalls.iter().zip(ways) {
        let peer = peer.to_string();
        let target = if peer.starts_with("unix:") { peer.clone() } else { format!("tcp {peer}") };
        ensure!(stall["cause"] == "blocking-call", "{way}: {stall:#}");
        ensure!(is_in(stall, calls, "database", |named| named == target), "{way}: {stall:#}");
        let queries = &stall["queries"];
        ensure!(queries["peer"] == peer && queries["count"] == 1, "{way}: {stall:#}");
        ensure!(queries["digest_text"] == "SELECT SLEEP(?)", "{way}: {stall:#}");
        let seconds = number(&queries["seconds"]);
        ensure!(seconds >= LEAST && seconds <= number(&stall["seconds"]), "{way}: {stall:#}");
        let exchange = lines.iter().find(|line| {
            line["role"] == "client"
                && line["pid"] == server.pid()
                && line["digest_text"] == "SELECT SLEEP(?)"
        });
        let exchange = exchange.context("no exchange of the query")?;
        ensure!(stall["digest"] == exchange["digest"], "{way}: another digest: {stall:#} {exchange:#}");
        ensure!(queries["digest"] == exchange["digest"], "{way}: another digest: {stall:#} {exchange:#}");
    }
    server.stop()?;
    database.stop()
}

/// The statement is known when it was prepared before our eyes; otherwise it is said that it is not.
#[test]
fn a_prepared_statement_is_named_where_it_is_known() -> Result<()> {
    let database = Database::start(Engine::MariaDb)?;
    let server = Stalling::start_with(LoopRuntime::Asyncio, Some(database.tcp()))?;
    for (text, known) in [("SELECT SLEEP(?)", true), ("<unknown statement>", false)] {
        let trace = Trace::start(&[])?;
        server.get("wait", 1)?;
        // Prepares it, the first time.
        server.get("query_prepared", 1)?;
        server.get("query_prepared", HOLD_MS)?;
        server.get("wait", 1)?;
        trace.settle(|lines| server.stalls(lines).len())?;
        let lines = trace.finish_whole()?;
        let stall = last(&server, "query_prepared", &lines)?;
        let queries = &stall["queries"];
        ensure!(queries["digest_text"] == text && queries["peer"] == database.tcp().to_string(), "{stall:#}");
        ensure!(stall.get("digest").is_some() == known, "{stall:#}");
        ensure!(stall["blocked_in"][0]["kind"] == "database", "{stall:#}");
    }
    server.stop()?;
    database.stop()
}

/// It is told of while the query is still under way.
#[test]
fn a_query_under_way_is_named() -> Result<()> {
    let database = Database::start(Engine::MariaDb)?;
    let server = Stalling::start_with(LoopRuntime::Asyncio, Some(database.tcp()))?;
    server.get("query", 1)?;
    let trace = Trace::start(&[])?;
    server.get("wait", 1)?;
    server.get("query", 2_500)?;
    trace.settle(|lines| server.stalls(lines).len())?;
    let lines = trace.finish_whole()?;
    let announced = server.announced(&lines);
    let first = announced.first().context("not told of while it lasted")?;
    ensure!(first["queries"]["digest_text"] == "SELECT SLEEP(?)", "{first:#}");
    ensure!(first["queries"]["peer"] == database.tcp().to_string(), "{first:#}");
    ensure!(first["blocked_in"][0]["kind"] == "database", "{first:#}");
    server.stop()?;
    database.stop()
}

#[test]
fn three_hundred_small_queries_are_three_hundred() -> Result<()> {
    let database = Database::start(Engine::MariaDb)?;
    let server = Stalling::start_with(LoopRuntime::Uvloop, Some(database.tcp()))?;
    server.get("query", 1)?;
    let recording = Recording::start(&[])?;
    server.get("wait", 1)?;
    server.get("queries", HOLD_MS)?;
    server.get("wait", 1)?;
    let report = recording.finish()?;
    let rows = report.json()["event_loops"].as_array().context("no event loops")?;
    let row = rows.iter().find(|row| row["pid"] == server.pid()).context("no row of the server")?;
    let stalls = row["stalls"].as_array().context("no stalls")?;
    let held = server.held()?.into_iter().rfind(|held| held.kind == "queries").context("none was held")?;
    let stalls: Vec<_> = stalls.iter().collect();
    let stall = stall_of(&held, &stalls).with_context(|| format!("no stall of {held:?}: {stalls:#?}"))?;
    let queries = &stall["queries"];
    ensure!(queries["count"] == 300 && queries["peer"] == database.tcp().to_string(), "{stall:#}");
    ensure!(queries["digest_text"] == "SELECT name, SLEEP(?) FROM items WHERE id = ?", "{stall:#}");
    ensure!(stall["digest"] == queries["digest"] && stall["digest"].is_string(), "{stall:#}");
    ensure!(number(&queries["seconds"]) <= number(&stall["seconds"]), "{stall:#}");
    server.stop()?;
    database.stop()
}

/// Sent in the turn of a stall, read in a later one; and a short one before something else that takes long.
#[test]
fn queries_that_the_loop_was_not_blocked_on_are_not_blamed() -> Result<()> {
    let database = Database::start(Engine::MariaDb)?;
    let server = Stalling::start_with(LoopRuntime::Asyncio, Some(database.tcp()))?;
    server.get("query", 1)?;
    let unread = stall(&server, "query_unread")?;
    ensure!(unread.get("queries").is_none() && unread.get("digest").is_none(), "{unread:#}");
    ensure!(unread["blocked_in"][0]["kind"] == "socket", "{unread:#}");
    let asleep = stall(&server, "query_then_sleep")?;
    ensure!(is_in(&asleep, &["clock_nanosleep"], "sleep", str::is_empty), "{asleep:#}");
    ensure!(asleep.get("digest").is_none(), "blocked on a query of a millisecond: {asleep:#}");
    server.stop()?;
    database.stop()
}

#[test]
fn the_interpreters_lock_is_told_from_other_locks() -> Result<()> {
    for runtime in [LoopRuntime::Asyncio, LoopRuntime::Uvloop] {
        let server = Stalling::start(runtime)?;
        // Prepares what it does.
        server.get("interpreter", HOLD_MS)?;
        let contended = stall(&server, "interpreter")?;
        ensure!(contended["cause"] == "interpreter-lock", "{runtime:?}: {contended:#}");
        let locked = stall(&server, "lock")?;
        ensure!(locked["cause"] == "blocking-call", "{runtime:?}: {locked:#}");
        server.stop()?;
    }
    Ok(())
}

/// The CPU time that a handler needs while its group may use a twentieth of a CPU, ms: five periods' worth.
const LIMITED_MS: u32 = 25;

#[test]
fn a_throttled_group_is_told_from_a_busy_machine() -> Result<()> {
    let server = Stalling::start(LoopRuntime::Asyncio)?;
    let group = Cgroup::limited(&format!("hostprof-throttled-{}", server.pid()), 5)?;
    let trace = Trace::start(&[])?;
    group.take(&[server.pid()])?;
    server.get("wait", 1)?;
    // Its group is seen within seconds, and then sampled.
    server.get("wait", 6_000)?;
    server.get("compute", LIMITED_MS)?;
    server.get("wait", 1)?;
    trace.settle(|lines| server.stalls(lines).len())?;
    let lines = trace.finish_whole()?;
    let stalls = server.stalls(&lines);
    let longest = stalls.iter().max_by(|a, b| number(&a["seconds"]).total_cmp(&number(&b["seconds"])));
    let longest = longest.context("no stall")?;
    ensure!(longest["cause"] == "throttled", "{longest:#}");
    let (throttled, run_queue) = (number(&longest["throttled"]), number(&longest["run_queue"]));
    ensure!(throttled > run_queue / 2.0 && throttled <= run_queue + 1e-6, "{longest:#}");
    server.stop()?;
    drop(group);
    // One that is not in such a group.
    let server = Stalling::start(LoopRuntime::Asyncio)?;
    let computing = stall(&server, "compute")?;
    ensure!(computing["cause"] != "throttled", "{computing:#}");
    server.stop()
}
