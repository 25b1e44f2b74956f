//! What is open: connections that were there before, a server that has stopped answering, a call without an end, a
//! session that keeps its transaction open. Told of while it lasts.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use hostprof_tests::{
    Address, CONNECTION_RULES, ClientCase, Database, Engine, HttpClient, HttpServer, Listen, Recording,
    Report, Runtime, Trace, cli,
    process::{PATIENCE, temp_dir, wait_for},
};
use serde_json::{Value, json};

const OPEN: u64 = 6;
const CLOSED: u64 = 2;
const EACH: u64 = 3;

fn rows<'a>(report: &'a Report, role: &str, peer: &str, pid: u32) -> Result<&'a Value> {
    report.rows("connections").of(&[pid]).role(role).with("peer", peer).only().context(role.to_owned())
}

fn ensure_fields(row: &Value, fields: &[(&str, u64)]) -> Result<()> {
    for (field, expected) in fields {
        ensure!(row[*field] == *expected, "{field} is not {expected}: {row:#}");
    }
    Ok(())
}

/// Some are idle all the time, some are used, some are closed: the clients tell which.
#[test]
fn connections_that_were_open_before_are_counted() -> Result<()> {
    let port = Address::free_port()?.port()?;
    let mut server = ClientCase::start("serve", "open_server", &json!({ "port": port }))?;
    server.at("listening")?;
    let settings = |each: u64| json!({ "port": port, "count": OPEN, "each": each, "close": CLOSED });
    let mut used = ClientCase::start("conversations", "used_before", &settings(EACH))?;
    let mut idle = ClientCase::start("conversations", "idle_before", &settings(0))?;
    used.at("opened")?;
    idle.at("opened")?;
    let recording = Recording::start(&[])?;
    for case in [&mut used, &mut idle] {
        case.pass("opened")?;
        case.pass("used")?;
        case.at("closed")?;
    }
    let report = recording.finish()?;
    ensure!(report.lost().is_empty(), "lost: {:?}", report.lost());
    let peer = format!("127.0.0.1:{port}");
    let both = [
        ("preexisting", OPEN),
        ("established", 0),
        ("closed", CLOSED),
        ("live", OPEN - CLOSED),
        ("peak", OPEN),
    ];
    for (case, exchanges) in [(&used, OPEN * EACH), (&idle, 0)] {
        let row = rows(&report, "client", &peer, case.pid())?;
        ensure_fields(row, &both)?;
        ensure_fields(row, &[("exchanges", exchanges), ("attempted", 0)])?;
        ensure!(row["closed_by"]["us"] == CLOSED, "{row:#}");
    }
    // The server cannot tell what nobody has spoken on.
    let server_rows = report.rows("connections").of(&[server.pid()]).role("server").with("peer", "127.0.0.1");
    for (field, expected) in [
        ("preexisting", 2 * OPEN),
        ("established", 0),
        ("closed", 2 * CLOSED),
        ("live", 2 * (OPEN - CLOSED)),
        ("exchanges", OPEN * EACH),
    ] {
        let sum = server_rows.total(|row| row[field].as_u64().unwrap_or(0));
        ensure!(sum == expected, "{field} is {sum}, not {expected}: {server_rows:#?}");
    }
    for case in [used, idle, server] {
        case.stop()?;
    }
    Ok(())
}

#[test]
fn unix_connections_that_were_open_before_are_counted() -> Result<()> {
    let dir = temp_dir()?;
    let path = dir.path().join("http.sock");
    let settings = json!({ "path": path, "count": OPEN, "close": CLOSED, "each": EACH });
    let mut server = ClientCase::start("serve", "unix_server", &settings)?;
    server.at("listening")?;
    let mut clients = ClientCase::start("idle_unix", "unix_clients", &settings)?;
    clients.at("opened")?;
    let recording = Recording::start(&[])?;
    clients.pass("opened")?;
    clients.pass("used")?;
    clients.at("closed")?;
    // Nothing in the kernel tells of a Unix socket's end: they are looked for.
    thread::sleep(Duration::from_secs(3));
    let report = recording.finish()?;
    let peer = format!("unix:{}", path.display());
    // No list of the kernel's says what a client's own end is connected to: the server's end has the name.
    let rows = report.rows("connections").of(&[server.pid()]).role("server").with("peer", peer);
    for (field, expected) in
        [("preexisting", OPEN), ("established", 0), ("live", OPEN - CLOSED), ("closed", CLOSED)]
    {
        let sum = rows.total(|row| row[field].as_u64().unwrap_or(0));
        ensure!(sum == expected, "{field} is {sum}, not {expected}: {rows:#?}");
    }
    clients.stop()?;
    server.stop()
}

#[test]
fn a_stuck_server_is_told_of_while_it_is_stuck() -> Result<()> {
    let server = HttpServer::start(Runtime::UvicornAsyncio, Listen::Tcp)?;
    let pid = *server.pids().first().context("no process")?;
    let signal = |signal: i32| {
        // SAFETY: kill reads two numbers; the process is our child's, which lives until the end of this test.
        unsafe { libc::kill(pid.cast_signed(), signal) };
    };
    let mut clients: Vec<_> = (0..OPEN).map(|_| HttpClient::new(server.address())).collect();
    let trace = Trace::start(&[])?;
    for client in &mut clients {
        client.get("/items/1")?;
    }
    signal(libc::SIGSTOP);
    let begun = thread::scope(|scope| -> Result<Value> {
        let waiting: Vec<_> =
            clients.iter_mut().map(|client| scope.spawn(|| client.get("/items/3").map(drop))).collect();
        let found = trace.wait_for_findings("stuck-server", "uvicorn", 1, PATIENCE);
        let answered = waiting.iter().filter(|client| client.is_finished()).count();
        signal(libc::SIGCONT);
        for client in waiting {
            // uvicorn may find first that the connection was idle for too long, and close it.
            let _ = client.join().expect("a client panicked");
        }
        ensure!(answered == 0, "it was told of when it answered again");
        found?.pop().context("nothing was told")
    })?;
    ensure!(begun["ongoing"] == true && begun["severity"] == "critical", "{begun:#}");
    ensure!(begun["evidence"]["in_flight"] == OPEN, "{begun:#}");
    HttpClient::new(server.address()).get("/items/4")?;
    let over = trace.wait_for_findings("stuck-server", "uvicorn", 2, PATIENCE)?;
    ensure!(over[1]["ongoing"] == false, "not over: {over:#?}");
    trace.finish_whole()?;
    server.stop()
}

#[test]
fn a_call_that_nobody_answers_is_told_of_while_it_waits() -> Result<()> {
    let dir = temp_dir()?;
    let config = cli::settings(&dir, "[rules.missing-timeout]\nage = \"2s\"\n")?;
    let port = Address::free_port()?.port()?;
    let mut server = ClientCase::start("serve", "silent_server", &json!({ "port": port }))?;
    server.at("listening")?;
    let recording = Recording::start(&["--config", &config])?;
    let trace = Trace::start(&["--config", &config])?;
    let calls = |target: &str| json!({ "port": port, "target": target });
    // Older than the other: by the time that that one is told of, this one would be.
    let mut watcher = ClientCase::start("unanswered", "watcher", &calls("/slow?watch=true"))?;
    watcher.at("waiting")?;
    let mut caller = ClientCase::start("unanswered", "patient_caller", &calls("/slow"))?;
    caller.at("waiting")?;
    let found = trace.wait_for_findings("missing-timeout", "patient_caller", 1, PATIENCE)?;
    let peer = format!("127.0.0.1:{port}");
    ensure!(found[0]["ongoing"] == true && found[0]["subject"] == peer, "{found:#?}");
    trace.finish_whole()?;
    let report = recording.finish()?;
    let found = report.found(&CONNECTION_RULES, &[caller.pid()]);
    let [("missing-timeout", finding)] = found.as_slice() else {
        anyhow::bail!("not this one alone: {found:#?}")
    };
    ensure!(finding["evidence"]["waiting"] == 1 && finding["ongoing"] == true, "{finding:#}");
    let row = rows(&report, "client", &peer, caller.pid())?;
    ensure!(row["waiting"] == 1 && row["oldest_waiting"].as_f64() > Some(2.0), "{row:#}");
    let found = report.found(&CONNECTION_RULES, &[watcher.pid()]);
    ensure!(found.is_empty(), "it says that it waits: {found:#?}");
    let row = rows(&report, "client", &peer, watcher.pid())?;
    ensure!(row["waiting"] == 0 && row["live"] == 1, "{row:#}");
    caller.stop()?;
    watcher.stop()?;
    server.stop()
}

#[test]
fn a_transaction_that_stays_open_is_found() -> Result<()> {
    let dir = temp_dir()?;
    let config = cli::settings(&dir, "[rules.connection-held]\nidle = \"1s\"\n")?;
    for engine in [Engine::MariaDb, Engine::MySql] {
        let database = Database::start(engine)?;
        let recording = Recording::start(&["--config", &config])?;
        let mut held = ClientCase::of_mysql("open_transaction", "holder", database.tcp(), 1)?;
        let steady = ClientCase::of_mysql("steady", "steady", database.tcp(), 2)?;
        held.at("idle")?;
        let since = Instant::now();
        wait_for("a while", || since.elapsed() > Duration::from_secs(3))?;
        let report = recording.finish()?;
        let row = rows(&report, "client", &database.tcp().to_string(), held.pid())?;
        ensure!(row["open_transactions"] == 1, "{engine:?}: {row:#}");
        // It has waited for longer by the time that the report is made.
        ensure!(row["longest_open_transaction"].as_f64() >= Some(3.0), "{engine:?}: {row:#}");
        let found = report.found(&CONNECTION_RULES, &[held.pid()]);
        let [("connection-held", finding)] = found.as_slice() else {
            anyhow::bail!("{engine:?}: not this one alone: {found:#?}")
        };
        ensure!(finding["severity"] == "info", "{finding:#}");
        let found = report.found(&CONNECTION_RULES, &[steady.pid()]);
        ensure!(found.is_empty(), "{engine:?}: {found:#?}");
        held.go_on("idle")?;
        held.finish()?;
        steady.go_on("stop")?;
        steady.finish()?;
        database.stop()?;
    }
    Ok(())
}

/// What a server with a thread for each connection was found to do with a transaction, while it serves others too.
fn held_by(post: &str, is_answered: bool) -> Result<Value> {
    let dir = temp_dir()?;
    let config = cli::settings(&dir, "[rules.connection-held]\nidle = \"1s\"\n")?;
    let database = Database::start(Engine::MariaDb)?;
    let mut shop = ClientCase::of_mysql("serve_orders", "held_shop", database.tcp(), 1)?;
    let said = shop.at("listening")?;
    let address = Address::Tcp(u16::try_from(said["port"].as_u64().context("no port")?)?);
    let recording = Recording::start(&["--config", &config])?;
    let done = AtomicBool::new(false);
    let report = thread::scope(|scope| -> Result<Report> {
        let visitors: Vec<_> = (0..3)
            .map(|_| {
                scope.spawn(|| -> Result<()> {
                    let mut client = HttpClient::new(&address);
                    while !done.load(Ordering::Relaxed) {
                        ensure!(client.get("/items/1")?.status == 200, "no item");
                        thread::sleep(Duration::from_millis(5));
                    }
                    Ok(())
                })
            })
            .collect();
        let seen = || -> Result<Report> {
            let mut buyer = HttpClient::new(&address);
            let (report, answered) = thread::scope(|scope| -> Result<_> {
                let order = scope.spawn(|| buyer.post(post, b""));
                if !is_answered {
                    shop.at("booking")?;
                }
                thread::sleep(Duration::from_secs(3));
                let answered = order.is_finished();
                let report = recording.finish();
                shop.go_on("booking")?;
                let status = order.join().map_err(|_| anyhow::anyhow!("the buyer panicked"))??.status;
                ensure!(status == 200, "status {status}");
                Ok((report?, answered))
            })?;
            ensure!(answered == is_answered, "not the case that it should be");
            Ok(report)
        }();
        done.store(true, Ordering::Relaxed);
        for visitor in visitors {
            visitor.join().map_err(|_| anyhow::anyhow!("a visitor panicked"))??;
        }
        seen
    })?;
    let found = report.found(&CONNECTION_RULES, &[shop.pid()]);
    let [("connection-held", finding)] = found.as_slice() else {
        anyhow::bail!("not this one alone: {found:#?}")
    };
    let finding = (*finding).clone();
    shop.stop()?;
    database.stop()?;
    Ok(finding)
}

#[test]
fn the_route_that_leaves_a_transaction_open_is_named() -> Result<()> {
    let finding = held_by("/orders/2", true)?;
    let evidence = &finding["evidence"];
    ensure!(evidence["route"] == "POST /orders/{id}", "{finding:#}");
    let seconds = |name: &str| evidence[name].as_f64().context(name.to_owned());
    let (idle, after) = (seconds("longest_idle_seconds")?, seconds("after_response_seconds")?);
    ensure!(after > idle / 2.0 && after <= idle, "{finding:#}");
    Ok(())
}

#[test]
fn a_transaction_is_open_while_its_route_does_something_else() -> Result<()> {
    let finding = held_by("/bookings/3", false)?;
    let evidence = &finding["evidence"];
    ensure!(evidence["route"] == "POST /bookings/{id}", "{finding:#}");
    ensure!(evidence["after_response_seconds"] == 0.0, "{finding:#}");
    Ok(())
}
