//! No literal of a statement, no query string, no header and no password of the traffic is in anything that hostprof writes:
//! the report as JSON, text and OpenMetrics, the trace as JSON and text.
//!
//! Truth: a plain search for the secrets that were planted; and the digests, to show that the traffic was seen at all.

#![allow(clippy::unwrap_used, reason = "a test's helper fails as the test itself does")]

use std::{fs, path::Path, process::Command, time::Duration};

use hostprof_tests::{
    Database, Engine, HttpClient, HttpServer, Listen, MysqlLine, Process, Recording, Runtime, SqlClient,
    Trace,
    database::PASSWORD,
    hostprof::{ATTACHED, binary},
    process::temp_dir,
};
use serde_json::{Value, json};

/// What every planted text contains, and every planted number.
const TEXT: &str = "hushhush";
const NUMBER: &str = "7755331";
const HEX: &str = "6875736868757368";

/// Secrets in each kind of literal, in comments, in what follows a mistake, in what is cut off.
fn workload() -> Value {
    let begin = "SELECT LENGTH('PAD hushhush";
    let mut steps = vec![
        json!({ "query": "SELECT name FROM items WHERE name = 'hushhush'" }),
        json!({ "query": "SELECT name FROM items WHERE name = \"hush'hushhush\"" }),
        json!({ "query": "SELECT name FROM items WHERE name = 'it''s hushhush' OR name = 'it\\'s hushhush'" }),
        json!({ "query": "SELECT 7755331, -7755331, 7755331.5, 0.7755331, 7755331e2, x'6875736868757368', 0x6875736868757368" }),
        json!({ "query": "SELECT _utf8mb4'hushhush', N'hushhush', DATE '2001-01-01', 'hush' 'hushhush'" }),
        json!({ "query": "SELECT name /* hushhush */ FROM items WHERE id = 7755331 -- hushhush" }),
        json!({ "query": "SELECT name FROM items # hushhush\nWHERE id IN (7755331, 7755332, 7755331)" }),
        json!({ "query": "INSERT INTO items VALUES (7755331, 'hushhush', 1)" }),
        // The server's own message repeats the literal: 1062.
        json!({ "query": "INSERT INTO items VALUES (7755331, 'hushhush', 1)" }),
        json!({ "query": "DELETE FROM items WHERE id = 7755331" }),
        json!({ "query": "SELEC 'hushhush'" }),
        json!({ "query": "SELECT 'hushhush" }),
        json!({ "query": "SET @secret = 'hushhush'" }),
        json!({ "query": "CREATE USER hush@localhost IDENTIFIED BY 'hushhush'" }),
        json!({ "query": "SET PASSWORD FOR hush@localhost = PASSWORD('hushhush')" }),
        json!({ "query": "DROP USER hush@localhost" }),
        json!({ "query": "SELECT 1; SELECT 'hushhush'; SELECT 7755331", "multi": true }),
        json!({ "prepare": "SELECT name FROM items WHERE name = ? AND price <> 7755331", "execute": [["hushhush"], ["hushhush"]] }),
        json!({ "prepare": "SELECT name FROM items WHERE id = ?", "execute": [[7_755_331]] }),
    ];
    // Cut by the end of what is kept, at every place within the literal.
    steps.extend((20..60).map(|pad| json!({ "query": format!("{begin}{TEXT}')"), "pad": pad })));
    steps.extend((470..520).map(|pad| json!({ "query": format!("{begin}{TEXT}')"), "pad": pad })));
    steps.extend((0..40).map(
        |pad| json!({ "query": format!("SELECT {NUMBER}{NUMBER} + LENGTH('PAD'), 7755331"), "pad": pad }),
    ));
    json!(steps)
}

fn send_http(client: &mut HttpClient) {
    client.get("/items/1?token=hushhush&n=7755331#hushhush").unwrap();
    client.post("/echo?password=hushhush", b"{\"secret\": \"hushhush 7755331\"}").unwrap();
    let head = "GET /items/2?hushhush HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer hushhush\r\nCookie: session=hushhush\r\nX-Number: 7755331\r\n\r\n";
    client.exchange(head.as_bytes()).unwrap();
}

/// Fails if one of the secrets is in this output.
fn assert_silent(what: &str, text: &str) {
    let lower = text.to_lowercase();
    for secret in [TEXT, NUMBER, HEX, PASSWORD] {
        let at = lower.find(secret);
        let around = at.map(|at| {
            String::from_utf8_lossy(&text.as_bytes()[at.saturating_sub(200)..(at + 60).min(text.len())])
        });
        assert!(at.is_none(), "{secret} is in the {what}: {around:?}");
    }
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap()
}

fn assert_secrets_stay_home(head_bytes: &str) {
    let database = Database::start(Engine::MariaDb).unwrap();
    let server = HttpServer::start(Runtime::Node, Listen::Tcp).unwrap();
    let dir = temp_dir().unwrap();
    let [text, prom] = ["report.txt", "report.prom"].map(|name| dir.path().join(name));
    let heads = ["--head-bytes", head_bytes];
    let files = ["-o", text.to_str().unwrap(), "-o", prom.to_str().unwrap()];
    let recording = Recording::start(&[&heads[..], &files[..]].concat()).unwrap();
    let trace = Trace::start(&heads).unwrap();
    let mut lines =
        Process::start("lines", Command::new(binary().unwrap()).arg("trace").args(heads), dir.path())
            .unwrap();
    lines.wait_until("it was attached", |lines| lines.stderr().contains(ATTACHED)).unwrap();

    let mut http = HttpClient::new(server.address());
    send_http(&mut http);
    let mut statements = 0;
    for client in SqlClient::ALL {
        statements += client.run(database.tcp(), &workload()).unwrap().statements.len();
    }

    trace.settle(|lines| MysqlLine::of_server(lines, database.pid()).len()).unwrap();
    lines.signal(libc::SIGINT);
    lines.wait(Duration::from_secs(20)).unwrap();
    let json_lines = trace.finish_whole().unwrap();
    let report = recording.finish().unwrap();
    // It was all seen: on the server, each statement and three handshakes, and the requests.
    assert_eq!(MysqlLine::of_server(&json_lines, database.pid()).len(), statements + 3);
    assert_eq!(report.rows("http").role("server").of(&server.pids()).count(), 3);
    let seen = |text: &str| text.contains("SELECT name FROM items WHERE name = ?");
    assert!(seen(&read(&text)) && seen(&lines.stdout()));

    assert_silent("report as JSON", &report.json().to_string());
    assert_silent("report as text", &read(&text));
    assert_silent("report as OpenMetrics", &read(&prom));
    assert_silent("trace as JSON", &json!(json_lines).to_string());
    assert_silent("trace as text", &lines.stdout());
    assert_silent("standard error", &lines.stderr());
    database.stop().unwrap();
    server.stop().unwrap();
}

#[test]
fn secrets_stay_home() {
    assert_secrets_stay_home("512");
}

#[test]
fn secrets_stay_home_when_little_is_kept() {
    assert_secrets_stay_home("64");
}
