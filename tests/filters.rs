//! Each filter lets through what it says and counts the rest, on traffic that is known: HTTP of two servers and MySQL,
//! each seen on both sides. Truth: the clients' own logs.

use std::{fs, process};

use anyhow::Result;
use hostprof_tests::{
    Cgroup, Database, Engine, HttpClient, HttpServer, Listen, Nginx, Recording, Report, Runtime, SqlClient,
};
use serde_json::json;

/// Requests to the first server by status, to the second, and statements that failed.
const OK: u64 = 6;
const SLOW: u64 = 2;
const FAILED: u64 = 5;
const SECOND: u64 = 5;
const SQL_FAILED: u64 = 1;

struct Host {
    go: HttpServer,
    nginx: Nginx,
    database: Database,
}

/// What was recorded of the traffic, and how many statements there were by the client's log.
struct Seen {
    report: Report,
    statements: u64,
}

impl Host {
    fn start() -> Result<Self> {
        Ok(Self {
            go: HttpServer::start(Runtime::Go, Listen::Tcp)?,
            nginx: Nginx::start("server { listen 127.0.0.1:PORT; location / { return 200 'hello'; } }")?,
            database: Database::start(Engine::MariaDb)?,
        })
    }

    /// The three ports: the first server's, the second's, the database's.
    fn ports(&self) -> [String; 3] {
        [self.go.address(), self.nginx.address(), self.database.tcp()]
            .map(|address| address.port().unwrap().to_string())
    }

    fn record(&self, filters: &[&str]) -> Seen {
        let recording = Recording::start(filters).unwrap();
        let mut client = HttpClient::new(self.go.address());
        for target in [
            "/items/1",
            "/items/1",
            "/items/1",
            "/items/1",
            "/status/503",
            "/status/503",
            "/status/503",
            "/status/404",
            "/status/404",
            "/delay/500",
            "/delay/500",
        ] {
            client.get(target).unwrap();
        }
        let mut second = HttpClient::new(self.nginx.address());
        for _ in 0..SECOND {
            second.get("/").unwrap();
        }
        let workload =
            json!([{ "query": "SELECT name FROM items" }, { "query": "SELECT nothing FROM items" }]);
        let run = SqlClient::GoDriver.run(self.database.tcp(), &workload).unwrap();
        let errors = run.statements.iter().filter(|statement| statement.error.is_some()).count();
        assert_eq!(errors as u64, SQL_FAILED);
        Seen { report: recording.finish().unwrap(), statements: run.statements.len() as u64 }
    }
}

impl Seen {
    fn http(&self) -> u64 {
        self.report.rows("http").count()
    }

    /// Statements: the handshake and the client's ping are no statements.
    fn mysql(&self) -> u64 {
        let rows = self.report.rows("mysql");
        rows.filter(|row| ["query", "prepare", "execute"].iter().any(|name| row["command"] == *name)).count()
    }

    fn filtered(&self) -> u64 {
        self.report.capture("filtered")
    }
}

#[test]
fn each_filter_lets_through_what_it_says_and_counts_the_rest() {
    let host = Host::start().unwrap();
    let [first, second, database] = host.ports();
    let go = host.go.pids()[0].to_string();
    let [sql, both] = [database.as_str(), &format!("{first},{second}")];
    let of_first = OK + FAILED;
    // Both sides of every request.
    let all = 2 * (of_first + SECOND);
    let test = fs::read_to_string(format!("/proc/{}/comm", process::id())).unwrap();
    let (nginx, client) = (host.nginx.pids()[1].to_string(), test.trim());
    let by_file = tempfile();
    fs::write(&by_file, format!("port = [{first}]\nerrors = true\n")).unwrap();

    for (filters, http, has_sql) in [
        (vec!["--pid", &go], of_first, false),
        (vec!["--pid", &go, "--pid", &nginx], of_first + SECOND, false),
        (vec!["--pid", &format!("{go},{nginx}")], of_first + SECOND, false),
        (vec!["--comm", "nginx"], SECOND, false),
        (vec!["--comm", client], of_first + SECOND, false),
        (vec!["--port", &first], 2 * of_first, false),
        (vec!["--port", sql], 0, true),
        (vec!["--port", both, "--protocol", "http"], all, false),
        (vec!["--port", both, "--protocol", "mysql"], 0, false),
        (vec!["--port", both, "--port", sql, "--protocol", "mysql,http"], all, true),
        (vec!["--port", both, "--slower-than", "450ms"], 2 * SLOW, false),
        (vec!["--port", both, "--errors"], 2 * FAILED, false),
        (vec!["--config", by_file.to_str().unwrap()], 2 * FAILED, false),
        (vec!["--pid", &go, "--comm", "nginx"], 0, false),
    ] {
        let seen = host.record(&filters);
        let rows = &seen.report.json()["http"];
        assert_eq!(seen.http(), http, "{filters:?}: {rows:#}");
        assert_eq!(seen.mysql(), if has_sql { 2 * seen.statements } else { 0 }, "{filters:?}");
        // Others on the host may add to it.
        let left_out = all - http + if has_sql { 0 } else { 2 * seen.statements };
        assert!(seen.filtered() >= left_out, "{filters:?}: {} of {left_out}", seen.filtered());
        assert!(seen.report.lost().is_empty(), "{filters:?}: {:?}", seen.report.lost());
    }
    fs::remove_file(&by_file).unwrap();
}

#[test]
fn errors_of_statements_are_shown_alone() {
    let host = Host::start().unwrap();
    let [.., database] = host.ports();
    let seen = host.record(&["--port", &database, "--errors"]);
    let rows = seen.report.rows("mysql");
    assert_eq!(rows.count(), 2 * SQL_FAILED, "{:#}", seen.report.json()["mysql"]);
    assert!(rows.iter().all(|row| row["errors"] == json!({ "1054": SQL_FAILED })));
}

#[test]
fn control_groups_and_containers() {
    let host = Host::start().unwrap();
    let name = format!("hostprof-test-{}", process::id());
    let id = format!("{:064x}", u128::from(process::id()) << 64 | 0xc0ffee).replace("00", "a7");
    let group = Cgroup::make(&name).unwrap();
    group.take(&host.nginx.pids()).unwrap();
    let container = Cgroup::make(&format!("{name}-runtime/docker-{id}.scope")).unwrap();
    container.take(&host.go.pids()).unwrap();

    let seen = host.record(&["--cgroup", &format!("/{name}")]);
    // The container's group begins with the same name.
    assert_eq!(seen.http(), SECOND + OK + FAILED);
    let seen = host.record(&["--cgroup", &format!("{name}-runtime")]);
    assert_eq!(seen.http(), OK + FAILED);
    for prefix in [&id[..12], &id] {
        let seen = host.record(&["--container", prefix]);
        assert_eq!(seen.http(), OK + FAILED);
        let row = seen.report.rows("http").of(&host.go.pids()).count();
        assert_eq!(row, OK + FAILED, "another process's");
        let services = seen.report.json()["services"].as_array().unwrap();
        assert!(services.iter().any(|service| service["container"]["id"] == id.as_str()), "{services:#?}");
    }
    assert_eq!(host.record(&["--container", &format!("b{}", &id[1..])]).http(), 0);
}

fn tempfile() -> std::path::PathBuf {
    std::env::temp_dir().join(format!("hostprof-filters-{}.toml", process::id()))
}
