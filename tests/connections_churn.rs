//! A new database connection for each request against one that is kept, each by a synchronous service under gunicorn
//! with MariaDB. Truths: the server's own counters, and the service's own clock around what it does.

use std::{
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use hostprof_tests::{
    Admin, CONNECTION_RULES, ClientCase, Database, Engine, HttpClient, Recording, Report, Shop,
    process::wait_for,
    shop::Sessions,
    times::{in_time, undisturbed},
};
use mysql::{Opts, OptsBuilder, Pool, prelude::Queryable as _};
use serde_json::Value;

const REQUESTS: u32 = 240;
/// Requests are spread over this time: rates take some to be told.
const SPREAD: Duration = Duration::from_secs(6);
/// How far the share of signing in may be from that by the service's own clock, as a part of it: that one has the work of
/// the service's library in it.
const TOLERANCE: f64 = 0.5;

/// What the server has counted since the last time.
struct Counted {
    connections: u64,
    aborted: u64,
    most: u64,
    statements: u64,
}

/// What requests took by their client's clock, and how much of it signing in did by the service's, in seconds.
#[derive(Default)]
struct Spent {
    requests: f64,
    connecting: f64,
}

fn count(admin: &mut Admin) -> Result<Counted> {
    Ok(Counted {
        connections: admin.status("Connections")?,
        aborted: admin.status("Aborted_clients")? + admin.status("Aborted_connects")?,
        most: admin.status("Max_used_connections")?,
        // What PyMySQL sends; a goodbye is no statement.
        statements: admin.status("Com_select")? + admin.status("Com_set_option")?,
    })
}

/// Has `traffic` recorded between two counts; the first waits until what was before has ended.
fn recorded<T>(admin: &mut Admin, traffic: impl FnOnce() -> Result<T>) -> Result<(Report, Counted, T)> {
    let recording = Recording::start(&[])?;
    admin.flush()?;
    let before = count(admin)?;
    let result = traffic()?;
    let after = count(admin)?;
    let report = recording.finish()?;
    ensure!(report.lost().is_empty(), "lost: {:?}", report.lost());
    let counted = Counted {
        connections: after.connections - before.connections,
        aborted: after.aborted - before.aborted,
        most: after.most,
        statements: after.statements - before.statements,
    };
    Ok((report, counted, result))
}

fn ask(shop: &Shop) -> Result<Spent> {
    let mut spent = Spent::default();
    let mut client = HttpClient::new(shop.address());
    let begun = Instant::now();
    for number in 0..REQUESTS {
        thread::sleep((SPREAD * number / REQUESTS).saturating_sub(begun.elapsed()));
        let answer = client.get(&format!("/items/{}", number % 10))?;
        ensure!(answer.status == 200, "status {}", answer.status);
        let told: Value = serde_json::from_slice(&answer.body).context("no JSON")?;
        spent.connecting += told["sign_in"].as_f64().context("no time")?;
    }
    spent.requests = client.log().iter().map(|exchange| exchange.duration.as_secs_f64()).sum();
    Ok(spent)
}

/// The service's only row of connections to MySQL, and the server's row of TCP.
fn rows<'a>(report: &'a Report, service: &[u32], database: &Database) -> Result<(&'a Value, &'a Value)> {
    let connections = || report.rows("connections").with("protocol", "mysql");
    let client = connections().role("client").of(service).with("peer", database.tcp().to_string());
    let server = connections().role("server").of(&[database.pid()]).with("peer", "127.0.0.1");
    Ok((client.only().context("the service's")?, server.only().context("the server's")?))
}

fn number(row: &Value, pointer: &str) -> u64 {
    row.pointer(pointer).and_then(Value::as_u64).unwrap_or(u64::MAX)
}

#[test]
fn a_connection_for_each_request_is_told_to_the_last_one() -> Result<()> {
    let database = Database::start(Engine::MariaDb)?;
    let mut admin = Admin::of(&database)?;
    let shop = Shop::start(Sessions::Fresh, database.tcp())?;
    undisturbed(|| churn(&shop, &database, &mut admin))?;
    drop(admin);
    shop.stop()?;
    database.stop()
}

fn churn(shop: &Shop, database: &Database, admin: &mut Admin) -> Result<()> {
    let (report, counted, spent) = recorded(admin, || ask(shop))?;
    let (client, server) = rows(&report, &shop.pids(), database)?;
    ensure!(
        counted.connections == u64::from(REQUESTS) && counted.aborted == 0,
        "the service is not as it should be"
    );
    for row in [client, server] {
        for (field, expected) in [
            ("/established", counted.connections),
            ("/closed", counted.connections),
            ("/live", 0),
            ("/preexisting", 0),
            ("/exchanges", counted.statements),
            ("/exchanges_per_connection/count", counted.connections),
            ("/lifetime/count", counted.connections),
            ("/handshake/count", counted.connections),
            ("/closed_by/reset", counted.aborted),
            ("/closed_by/timeout", 0),
            ("/cut", 0),
            ("/gone", 0),
        ] {
            ensure!(number(row, field) == expected, "{field} is not {expected}: {row:#}");
        }
        ensure!(row["failed"].as_object().is_none_or(serde_json::Map::is_empty), "{row:#}");
        let ended = number(row, "/closed_by/us") + number(row, "/closed_by/peer");
        ensure!(ended == counted.connections, "{row:#}");
        // One of its sessions is the administrator's. A session may outlast its connection by a moment.
        ensure!((1..counted.most).contains(&number(row, "/peak")), "{} used: {row:#}", counted.most);
    }
    ensure!(number(client, "/attempted") == counted.connections, "{client:#}");
    ensure!(number(client, "/connect/count") == counted.connections, "{client:#}");
    ensure!(number(server, "/accept_wait/count") == counted.connections, "{server:#}");

    let found = report.found(&CONNECTION_RULES, &shop.pids());
    let [("connection-per-request", finding)] = found.as_slice() else {
        anyhow::bail!("not this one alone: {found:#?}")
    };
    ensure!(report.found(&CONNECTION_RULES, &[database.pid()]).is_empty(), "of the server");
    let evidence =
        |key: &str| finding["evidence"][key].as_f64().with_context(|| format!("{key}: {finding:#}"));
    ensure!(evidence("connections")? == counted.connections as f64, "{finding:#}");
    ensure!(evidence("requests")? == f64::from(REQUESTS), "{finding:#}");
    ensure!(evidence("uses_per_connection")? == 1.0, "{finding:#}");
    let statements = counted.statements as f64 / counted.connections as f64;
    let told = evidence("exchanges_per_connection_p50")?;
    ensure!((told / statements - 1.0).abs() < 0.01, "not {statements} statements each: {finding:#}");
    let (share, truth) = (evidence("handshake_share")?, spent.connecting / spent.requests);
    println!("signing in is {share:.3} of a request, by the service's own clock {truth:.3}");
    Ok(in_time((share / truth - 1.0).abs() < TOLERANCE, || {
        format!("{share}, by the service's own clock {truth}")
    })?)
}

#[test]
fn connections_that_are_kept_are_no_churn() -> Result<()> {
    let database = Database::start(Engine::MariaDb)?;
    let mut admin = Admin::of(&database)?;
    let shop = Shop::start(Sessions::Kept, database.tcp())?;
    let (report, counted, spent) = recorded(&mut admin, || ask(&shop))?;
    let (client, server) = rows(&report, &shop.pids(), &database)?;
    for row in [client, server] {
        ensure!(number(row, "/established") == counted.connections, "{row:#}");
        ensure!(number(row, "/closed") == 0, "{row:#}");
        ensure!(number(row, "/live") == number(row, "/preexisting") + counted.connections, "{row:#}");
        ensure!(number(row, "/peak") == counted.most - 1, "{} used: {row:#}", counted.most);
        ensure!(number(row, "/exchanges") == counted.statements, "{} asked: {row:#}", counted.statements);
    }
    ensure!(spent.connecting < spent.requests / 2.0, "the service is not as it should be");
    for pids in [shop.pids(), vec![database.pid()]] {
        let found = report.found(&CONNECTION_RULES, &pids);
        ensure!(found.is_empty(), "{found:#?}");
    }
    drop(admin);
    shop.stop()?;
    database.stop()
}

/// Rust's `mysql` opens all connections of a pool at once, and each over TCP first and then over the Unix socket.
#[test]
fn a_pool_that_opens_all_at_once_is_no_churn() -> Result<()> {
    const POOL: usize = 10;
    const SECONDS: u64 = 4;
    let database = Database::start(Engine::MariaDb)?;
    let mut admin = Admin::of(&database)?;
    let url = format!("mysql://app:app-pass@{}/shop", database.tcp());
    let (report, counted, ()) = recorded(&mut admin, || {
        let options = OptsBuilder::from_opts(Opts::from_url(&url)?);
        let pool = Pool::new(options).context("no pool")?;
        let mut held = (0..POOL).map(|_| pool.get_conn()).collect::<Result<Vec<_>, _>>()?;
        let begun = Instant::now();
        while begun.elapsed() < Duration::from_secs(SECONDS) {
            for connection in &mut held {
                let price: Option<u32> = connection.query_first("SELECT price FROM items WHERE id = 1")?;
                ensure!(price == Some(10), "{price:?}");
            }
            thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    })?;
    let own = [std::process::id()];
    let rows = || report.rows("connections").role("client").of(&own).with("protocol", "mysql");
    let tcp = rows().with("peer", database.tcp().to_string()).only()?;
    let unix = rows().with("peer", database.unix().to_string()).only()?;
    let established = number(tcp, "/established") + number(unix, "/established");
    ensure!(established == counted.connections, "{} connections: {tcp:#} {unix:#}", counted.connections);
    ensure!(established >= POOL as u64, "the pool is not as it should be");
    ensure!(number(unix, "/peak") <= counted.most, "{} used: {unix:#}", counted.most);
    for pids in [own.to_vec(), vec![database.pid()]] {
        let found = report.found(&CONNECTION_RULES, &pids);
        ensure!(found.is_empty(), "{found:#?}");
    }
    wait_for("the pool's end", || admin.status("Threads_connected").is_ok_and(|connected| connected == 1))?;
    drop(admin);
    database.stop()
}

/// What it takes from the greeting until the client may ask, in the clear and encrypted.
#[test]
fn sign_ins_are_timed_under_tls_too() -> Result<()> {
    let (plain, encrypted) = (Database::start(Engine::MySql)?, Database::start(Engine::MySqlWithTls)?);
    undisturbed(|| {
        let (plain, encrypted) = (sign_in(&plain, false)?, sign_in(&encrypted, true)?);
        println!("{plain:?} s in the clear, {encrypted:?} s encrypted");
        let holds = plain.0 < encrypted.0 && plain.1 < encrypted.1;
        Ok(in_time(holds, || format!("{plain:?} s in the clear, {encrypted:?} s encrypted"))?)
    })?;
    for database in [plain, encrypted] {
        database.stop()?;
    }
    let mariadb = Database::start(Engine::MariaDb)?;
    undisturbed(|| sign_in(&mariadb, false).map(drop))?;
    mariadb.stop()
}

/// What its client took for it, and its server, in sum.
fn sign_in(database: &Database, tls: bool) -> Result<(f64, f64)> {
    const SIGN_INS: usize = 12;
    let recording = Recording::start(&[])?;
    let case = ClientCase::of_mysql("sign_ins", "signs_in", database.tcp(), SIGN_INS)?;
    let pid = case.pid();
    let notes = case.finish()?;
    let report = recording.finish()?;
    ensure!(notes["encrypted"] == if tls { SIGN_INS } else { 0 }, "not as it should be: {notes}");
    let (client, server) = rows(&report, &[pid], database)?;
    // The client's clock has its own work in it, and the connect. One more was before it was set.
    let truth: f64 = notes["seconds"].as_array().into_iter().flatten().filter_map(Value::as_f64).sum();
    let mut sums = [client, server].into_iter().map(|row| {
        for field in ["/established", "/closed", "/handshake/count"] {
            ensure!(number(row, field) == SIGN_INS as u64 + 1, "{field}: {row:#}");
        }
        let handshake = &row["handshake"];
        let sum = handshake["sum"].as_f64().context("no sum")?;
        ensure!(handshake["min"].as_f64() > Some(0.0), "{row:#}");
        let later = sum - handshake["max"].as_f64().context("no maximum")?;
        in_time(later <= truth, || format!("{} s of {truth} s: {row:#}", sum))?;
        Ok(sum)
    });
    let mut next = || sums.next().context("no row")?;
    Ok((next()?, next()?))
}
