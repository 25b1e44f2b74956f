//! Ways in which connections end and fail: each is told by the rule that it belongs to, with its cause, on the service
//! that suffers it, and by no other rule about connections. What happened is by the count of those who suffered it.
//!
//! One recording for all: each case is a service of its own.

use std::thread;

use anyhow::{Context as _, Result, ensure};
use hostprof_tests::{
    Address, Admin, CONNECTION_RULES, ClientCase, Database, Engine, HttpClient, HttpServer, Listen, Netns,
    Recording, Report, Runtime, Shop, process::wait_for, shop::Sessions,
};
use serde_json::{Value, json};

/// MySQL's numbers of errors.
const TOO_MANY: u64 = 1040;
const GONE_AWAY: u64 = 2006;
const LOST: u64 = 2013;
const TIMED_OUT: u64 = 4031;
const TOO_LARGE: u64 = 1153;

const SESSIONS: usize = 4;
const ATTEMPTS: usize = 20;
/// Of a server with a ceiling, the lowest that MariaDB has, and what is tried; an administrator's account may have one
/// more.
const ALLOWED: usize = 10;
const TRIED: usize = 16;
/// A pool, who shares it, and what each asks.
const POOL: usize = 5;
const THREADS: usize = 20;
const EACH: usize = 20;
const QUERY_MS: usize = 50;
/// Ports of a namespace that has few.
const PORTS: usize = 8;

/// A case with the process that suffered it, when it has ended.
struct Done {
    case: &'static str,
    pids: Vec<u32>,
    notes: Value,
}

fn done(case: &'static str, running: ClientCase) -> Result<Done> {
    let pids = vec![running.pid()];
    let notes = running.finish().context(case)?;
    Ok(Done { case, pids, notes })
}

/// Sessions that an administrator kills while the case stands still.
fn killed(case: &'static str, database: &Database, admin: &mut Admin) -> Result<Done> {
    let mut running = ClientCase::of_mysql(case, case, database.tcp(), SESSIONS)?;
    let standing = running.at("kill")?;
    if case == "killed_running" {
        wait_for("its queries", || {
            admin.busy_with("SELECT SLEEP").is_ok_and(|busy| busy == SESSIONS as u64)
        })?;
    }
    for id in standing["ids"].as_array().context("no sessions")? {
        admin.kill(id.as_u64().context("no number")?)?;
    }
    running.go_on("kill")?;
    done(case, running)
}

fn restarted(case: &'static str, database: &mut Database) -> Result<Done> {
    let mut running = ClientCase::of_mysql(case, case, database.tcp(), SESSIONS)?;
    running.at("restart")?;
    database.restart()?;
    running.go_on("restart")?;
    done(case, running)
}

/// More requests than connections, all the time. Returns how long they waited for one, in seconds.
fn exhausted(shop: &Shop) -> Result<Value> {
    let ask = || -> Result<f64> {
        let mut client = HttpClient::new(shop.address());
        let mut waited = 0.0;
        for _ in 0..EACH {
            let answer = client.get(&format!("/slow/{QUERY_MS}"))?;
            ensure!(answer.status == 200, "status {}", answer.status);
            let told: Value = serde_json::from_slice(&answer.body).context("no JSON")?;
            waited += told["wait"].as_f64().context("no time")?;
        }
        Ok(waited)
    };
    let waited = thread::scope(|scope| {
        let clients: Vec<_> = (0..THREADS).map(|_| scope.spawn(ask)).collect();
        let panicked = |_| Err(anyhow::anyhow!("a client panicked"));
        clients.into_iter().map(|client| client.join().unwrap_or_else(panicked)).sum::<Result<f64>>()
    })?;
    Ok(json!({ "mean_wait": waited / (THREADS * EACH) as f64 }))
}

/// What a case did, by its own word: it is the one that it should be.
fn ensure_as_planned(done: &Done) -> Result<()> {
    let Done { case, notes, .. } = done;
    let all = |key: &str, expected: &[u64]| {
        notes[key].as_array().is_some_and(|numbers| {
            !numbers.is_empty() && numbers.iter().all(|n| n.as_u64().is_some_and(|n| expected.contains(&n)))
        })
    };
    let gone = [GONE_AWAY, LOST, TIMED_OUT];
    let failed = |name: &str, count: usize| notes["failed"] == json!({ name: count });
    let holds = match *case {
        "idle_mariadb" | "idle_mysql" | "validated_mariadb" | "validated_mysql" | "killed_idle"
        | "restart" | "restart_idle" => all("before", &[0]) && all("errors", &gone),
        // MariaDB says why (1317, 1927) or just hangs up.
        "killed_running" => all("errors", &[LOST, GONE_AWAY, 1317, 1927]),
        "refused" => failed("ECONNREFUSED", ATTEMPTS),
        "no_route" => failed("ENETUNREACH", ATTEMPTS),
        "no_socket" => failed("ENOENT", ATTEMPTS),
        "no_answer" => failed("ETIMEDOUT", ATTEMPTS),
        "no_ports" => failed("EADDRNOTAVAIL", ATTEMPTS - PORTS),
        // The answer to it may be lost with the connection.
        "large_mariadb" | "large_mysql" => all("errors", &[TOO_LARGE, LOST, GONE_AWAY]),
        "reset_midway" => failed("ECONNRESET", ATTEMPTS),
        "too_many" => notes["signed_in"] == ALLOWED + 1 && all("errors", &[TOO_MANY]),
        "pool" => notes["mean_wait"].as_f64() > Some(QUERY_MS as f64 / 1e3),
        "steady" => notes["queries"].as_u64() > Some(20),
        "keep_alive_gunicorn" | "keep_alive_uvicorn" => *notes == json!({ "before": SESSIONS, "after": 0 }),
        "noticed" => *notes == json!({ "before": SESSIONS, "after": SESSIONS }),
        "cut" => *notes == json!({ "whole": 0, "half": ATTEMPTS }),
        "until_closed" => *notes == json!({ "whole": ATTEMPTS, "half": 0 }),
        "dropped" => *notes == json!({ "begun": ATTEMPTS }),
        _ => false,
    };
    ensure!(holds, "{case} did not go as planned: {notes}");
    Ok(())
}

/// What has to be found of a case: the rule, and of its evidence what is known.
type Expected = (Option<&'static str>, Vec<(&'static str, Value)>);

fn expected(done: &Done) -> Expected {
    let gone =
        |cause: &str| (Some("server-gone-away"), vec![("/cause", json!(cause)), ("/gone", json!(SESSIONS))]);
    let failed = |at: &'static str, count: usize| (Some("connection-failures"), vec![(at, json!(count))]);
    match done.case {
        "idle_mariadb" | "idle_mysql" => gone("wait_timeout"),
        "killed_idle" => gone("killed"),
        "restart" | "restart_idle" => gone("restart"),
        "killed_running" => {
            (Some("server-gone-away"), vec![("/cause", json!("killed")), ("/ended_in_use", json!(SESSIONS))])
        }
        "refused" => failed("/failed/ECONNREFUSED", ATTEMPTS),
        "no_route" => failed("/failed/ENETUNREACH", ATTEMPTS),
        "no_socket" => failed("/failed/ENOENT", ATTEMPTS),
        "no_answer" => failed("/failed/ETIMEDOUT", ATTEMPTS),
        "no_ports" => failed("/failed/EADDRNOTAVAIL", ATTEMPTS - PORTS),
        // The error may be lost with the connection, which ends while the client still writes: it is not gone by then.
        "large_mariadb" | "large_mysql" => {
            (Some("server-gone-away"), vec![("/cause", json!("max_allowed_packet")), ("/gone", json!(0))])
        }
        "reset_midway" => failed("/resets", ATTEMPTS),
        "cut" => failed("/hung_up", ATTEMPTS),
        "keep_alive_gunicorn" | "keep_alive_uvicorn" => gone("keep_alive"),
        "too_many" => (Some("pool-exhausted"), vec![("/errors/1040", json!(TRIED - ALLOWED - 1))]),
        "pool" => (Some("pool-exhausted"), vec![("/ceiling", json!(POOL))]),
        _ => (None, vec![]),
    }
}

/// What was found of a case is what had to be, and nothing else.
fn judge(report: &Report, done: &Done) -> Result<()> {
    let (rule, evidence) = expected(done);
    let mut found = report.found(&CONNECTION_RULES, &done.pids);
    // What a restart refuses is its consequence.
    found.retain(|(_, finding)| rule.is_none() || finding["explained_by"].as_str() != rule);
    let ids: Vec<_> = found.iter().map(|(id, _)| *id).collect();
    let rows = ["connections", "listeners", "mysql"].map(|table| report.rows(table).of(&done.pids));
    let what = || format!("{found:#?}\n{rows:#?}");
    ensure!(ids == Vec::from_iter(rule), "{}: {ids:?} in place of {rule:?}: {}", done.case, what());
    for (at, value) in evidence {
        let told = found[0].1["evidence"].pointer(at);
        ensure!(told == Some(&value), "{}: {at} is not {value}: {}", done.case, what());
    }
    Ok(())
}

fn judge_all(report: &Report, all: &[Done]) -> Result<()> {
    let wrong =
        all.iter().filter_map(|done| ensure_as_planned(done).and_then(|()| judge(report, done)).err());
    let wrong: Vec<_> = wrong.map(|error| format!("{error:#}")).collect();
    ensure!(wrong.is_empty(), "{}", wrong.join("\n\n"));
    Ok(())
}

/// In a recording of its own: it is full all the time.
#[test]
fn a_pool_that_is_too_small_is_told() -> Result<()> {
    let database = Database::start(Engine::MariaDb)?;
    let shop = Shop::start(Sessions::Pool { sessions: POOL, threads: THREADS }, database.tcp())?;
    let recording = Recording::start(&[])?;
    let notes = exhausted(&shop)?;
    let report = recording.finish()?;
    ensure!(report.lost().is_empty(), "lost: {:?}", report.lost());
    judge_all(&report, &[Done { case: "pool", pids: shop.pids(), notes }])?;
    servers_are_blamed_for_nothing(&report, &[&database])?;
    shop.stop()?;
    database.stop()
}

#[test]
fn each_end_is_told_by_its_own_rule() -> Result<()> {
    let mariadb = Database::start_with(Engine::MariaDb, &["--max-allowed-packet=1M"])?;
    let mysql = Database::start_with(Engine::MySql, &["--max-allowed-packet=1M"])?;
    let patient = Database::start(Engine::MariaDb)?;
    let mut strict = Database::start_with(Engine::MariaDb, &[&format!("--max-connections={ALLOWED}")])?;
    let mut admin = Admin::of(&patient)?;
    let no_route = Netns::make(&[])?;
    let few_ports = Netns::make(&[])?;
    few_ports.set("ipv4/ip_local_port_range", &format!("40000 {}", 40_000 + PORTS - 1))?;
    let resetting = Address::free_port()?.port()?;
    let mut resets = ClientCase::start("serve_resets", "resetting_server", &json!({ "port": resetting }))?;
    resets.at("listening")?;
    let ending = Address::free_port()?.port()?;
    let mut ends = ClientCase::start("serve_ends", "ending_server", &json!({ "port": ending }))?;
    ends.at("listening")?;
    let servers = [Runtime::GunicornThreads, Runtime::UvicornAsyncio]
        .map(|runtime| HttpServer::start(runtime, Listen::Tcp));
    let [gunicorn, uvicorn] = servers;
    let (gunicorn, uvicorn) = (gunicorn?, uvicorn?);
    let closed = Address::free_port()?.port()?;

    let silent = Netns::make(&[])?;
    silent.set("ipv4/tcp_syn_retries", "1")?;
    silent.set("ipv4/tcp_syn_linear_timeouts", "0")?;
    let mut full =
        ClientCase::start_in(Some(&silent), "serve_nobody", "full_server", &json!({ "port": 8080 }))?;
    full.at("listening")?;

    let recording = Recording::start(&[])?;
    let steady = ClientCase::of_mysql("steady", "steady", patient.tcp(), SESSIONS)?;
    // These take a second of waiting each.
    let idle = [
        ("idle_hang_up", "idle_mariadb", &mariadb),
        ("idle_hang_up", "idle_mysql", &mysql),
        ("validated", "validated_mariadb", &mariadb),
        ("validated", "validated_mysql", &mysql),
    ]
    .map(|(case, called, database)| {
        ClientCase::of_mysql(case, called, database.tcp(), SESSIONS).map(|running| (called, running))
    });
    // These some seconds: 2 and 5 by default.
    let idle_http = [
        ("keep_alive_gunicorn", "keep_alive", &gunicorn),
        ("keep_alive_uvicorn", "keep_alive", &uvicorn),
        ("noticed", "noticed", &gunicorn),
    ]
    .map(|(called, case, server)| {
        let port = server.address().port()?;
        let settings = json!({ "port": port, "path": "/items/1", "count": SESSIONS });
        ClientCase::start(case, called, &settings).map(|running| (called, running))
    });
    let to_ends = |case: &'static str, called: &'static str, path: &str| {
        let settings = json!({ "port": ending, "path": path, "count": ATTEMPTS });
        done(called, ClientCase::start(case, called, &settings)?)
    };
    let start = |netns: Option<&Netns>, case: &'static str, host: &str, port: u16| {
        let settings = json!({ "host": host, "port": port, "count": ATTEMPTS });
        ClientCase::start_in(netns, case, case, &settings)
    };
    let no_answer = start(Some(&silent), "no_answer", "127.0.0.1", 8080)?;
    let no_socket = json!({ "path": "/run/hostprof-tests/none.sock", "count": ATTEMPTS });
    let mut all = vec![
        done("no_socket", ClientCase::start("no_socket", "no_socket", &no_socket)?)?,
        done("large_mariadb", ClientCase::of_mysql("too_large", "large_mariadb", mariadb.tcp(), SESSIONS)?)?,
        done("large_mysql", ClientCase::of_mysql("too_large", "large_mysql", mysql.tcp(), SESSIONS)?)?,
        done("refused", start(None, "refused", "127.0.0.1", closed)?)?,
        done("no_route", start(Some(&no_route), "no_route", "192.0.2.1", 80)?)?,
        done("reset_midway", start(None, "reset_midway", "127.0.0.1", resetting)?)?,
        to_ends("cut", "cut", "/half")?,
        to_ends("cut", "until_closed", "/until_closed")?,
        to_ends("dropped", "dropped", "/whole")?,
        done("too_many", ClientCase::of_mysql("too_many", "too_many", strict.tcp(), TRIED)?)?,
        killed("killed_idle", &patient, &mut admin)?,
        killed("killed_running", &patient, &mut admin)?,
    ];
    let mut ports = start(Some(&few_ports), "no_ports", "127.0.0.1", 8080)?;
    ports.pass("held")?;
    all.push(done("no_ports", ports)?);
    for started in idle.into_iter().chain(idle_http) {
        let (case, running) = started?;
        all.push(done(case, running)?);
    }
    all.push(done("no_answer", no_answer)?);
    steady.go_on("stop")?;
    all.push(done("steady", steady)?);
    drop(admin);
    all.push(restarted("restart", &mut strict)?);
    all.push(restarted("restart_idle", &mut strict)?);
    let report = recording.finish()?;
    ensure!(report.lost().is_empty(), "lost: {:?}", report.lost());

    judge_all(&report, &all)?;
    servers_are_blamed_for_nothing(&report, &[&mariadb, &mysql])?;
    for pids in [gunicorn.pids(), uvicorn.pids(), vec![ends.pid()]] {
        let found = report.found(&CONNECTION_RULES, &pids);
        ensure!(found.is_empty(), "{found:#?}");
    }
    gunicorn.stop()?;
    uvicorn.stop()?;
    ends.stop()?;
    resets.stop()?;
    full.stop()?;
    for database in [mariadb, mysql, patient, strict] {
        database.stop()?;
    }
    Ok(())
}

/// A server that closes what is idle does what it was told to.
fn servers_are_blamed_for_nothing(report: &Report, servers: &[&Database]) -> Result<()> {
    for server in servers {
        let found = report.found(&CONNECTION_RULES, &[server.pid()]);
        ensure!(found.is_empty(), "{found:#?}");
    }
    Ok(())
}
