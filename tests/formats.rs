//! What programs read: the JSON report, the lines of a trace, doctor's checks and the OpenMetrics page, each against
//! the contract key by key. Traffic: the demo, whose load counts for itself, and one request that gets no answer.

use std::{collections::BTreeSet, net::Shutdown};

use hostprof_tests::{
    HttpClient, HttpServer, Listen, Recording, Report, Runtime, Trace, cli,
    cli::{Running, command, read},
    peer::{between, read_until, write},
    process::temp_dir,
    schema::{CONNECTION_LINE, DOCTOR, EXCHANGE, FINDING_LINE, LOST, REPORT, STALL, breaches},
};
use openmetrics::parse;
use serde_json::Value;

#[path = "../profiler-user/src/output/prometheus/strict.rs"]
mod openmetrics;

#[test]
fn the_json_report_is_the_contracts() {
    let ended = cli::run(&["demo", "-d", "2s", "--format", "json"]).unwrap();
    let report = ended.report().unwrap();
    assert_eq!(breaches(report.json(), REPORT), Vec::<String>::new());
    // Everything that the schema has was there to be checked.
    let keys = |table: &str| -> BTreeSet<String> {
        let rows = report.rows(table);
        rows.iter().flat_map(|row| row.as_object().unwrap().keys().cloned()).collect()
    };
    for key in ["peer", "status", "error_type", "clock", "duration", "first_byte", "phases"] {
        assert!(keys("http").contains(key), "no {key} in any row");
    }
    for key in ["peer", "digest", "digest_text", "schema", "errors", "rows_returned", "clock", "duration"] {
        assert!(keys("mysql").contains(key), "no {key} in any row");
    }
    for key in ["exchanges_per_connection", "connect", "handshake", "lifetime", "accept_wait"] {
        assert!(keys("connections").contains(key), "no {key} in any row");
    }
    for key in ["backlog_max", "accept_wait", "queue"] {
        assert!(keys("listeners").contains(key), "no {key} in any row");
    }
    rows_are_about_services_and_hold_together(&report);
    connections_hold_together(&report);
}

fn rows_are_about_services_and_hold_together(report: &Report) {
    let json = report.json();
    let ids: BTreeSet<&str> =
        json["services"].as_array().unwrap().iter().map(|service| service["id"].as_str().unwrap()).collect();
    assert_eq!(ids.len(), json["services"].as_array().unwrap().len(), "identifiers are used twice");
    for row in report.rows("http").iter().chain(report.rows("mysql").iter()) {
        assert!(ids.contains(row["service"].as_str().unwrap()), "{row}");
        let count = row["count"].as_u64().unwrap();
        let parts = row
            .as_object()
            .unwrap()
            .values()
            .chain(row["phases"].as_object().into_iter().flat_map(|p| p.values()));
        for part in parts.filter_map(|part| part["count"].as_u64()) {
            assert!(part <= count, "{row}");
        }
        let server = row["role"] == "server";
        assert_eq!(row["peer"].is_string(), !server, "a peer is the client's to name: {row}");
        assert!(server || row["phases"].is_null(), "phases are the server's: {row}");
    }
    let window = &json["window"];
    let seconds = window["seconds"].as_f64().unwrap();
    assert!(seconds >= 2.0 && window["start"].as_str() < window["end"].as_str(), "{window}");
}

fn connections_hold_together(report: &Report) {
    let ids: Vec<Value> =
        report.json()["services"].as_array().unwrap().iter().map(|service| service["id"].clone()).collect();
    for row in report.rows("connections").iter() {
        let number = |key: &str| row[key].as_u64().unwrap_or(0);
        let sum = |key: &str| -> u64 {
            row[key].as_object().into_iter().flatten().filter_map(|(_, count)| count.as_u64()).sum()
        };
        assert!(ids.contains(&row["service"]), "{row}");
        let begun = number("established") + number("preexisting");
        assert_eq!(begun, number("closed") + number("live"), "{row}");
        assert_eq!(number("closed"), sum("closed_by"), "{row}");
        assert_eq!(number("cut"), sum("cut_by"), "{row}");
        assert_eq!(number("gone"), sum("gone_by"), "{row}");
        assert!(number("live") <= number("peak"), "{row}");
        let client = row["role"] == "client";
        let tried = number("established") + sum("failed");
        assert!(if client { number("attempted") >= tried } else { number("attempted") == 0 }, "{row}");
        assert!(client || row["connect"].is_null(), "a server does not connect: {row}");
        assert!(!client || row["accept_wait"].is_null(), "a client does not accept: {row}");
    }
    for row in report.rows("listeners").iter() {
        let number = |key: &str| row[key].as_u64().unwrap_or(0);
        assert!(ids.contains(&row["service"]), "{row}");
        assert!(number("in_flight") <= number("peak_in_flight"), "{row}");
        assert!(number("backlog") <= number("peak_backlog"), "{row}");
        assert!(number("processes") <= number("workers"), "{row}");
    }
}

#[test]
fn what_is_not_known_is_left_out() {
    let recording = Recording::start(&["--pid", &std::process::id().to_string()]).unwrap();
    between(
        |stream| {
            write(&stream, b"GET /unanswered HTTP/1.1\r\nHost: test\r\n\r\n")?;
            hostprof_tests::peer::read_to_end(&stream);
            Ok(())
        },
        |stream| {
            read_until(&stream, b"\r\n\r\n")?;
            Ok(stream.shutdown(Shutdown::Both)?)
        },
    )
    .unwrap();
    let report = recording.finish().unwrap();
    assert_eq!(breaches(report.json(), REPORT), Vec::<String>::new());
    let row = report.rows("http").role("client").only().unwrap();
    assert!(row["status"].is_null() && row["first_byte"].is_null(), "{row}");
    assert!(row["error_type"].is_string(), "{row}");
}

#[test]
fn every_line_of_a_trace_is_an_object_of_the_contract() {
    let trace = Trace::start(&[]).unwrap();
    let demo = cli::run(&["demo", "-d", "1s", "--format", "json"]).unwrap().report().unwrap();
    let services: BTreeSet<String> = ["http", "mysql", "load"].map(|part| format!("demo: {part}")).into();
    let lines: Vec<Value> = trace.finish_all().unwrap();
    for line in &lines {
        let kind = match line["type"].as_str() {
            Some("lost") => LOST,
            Some("stall") => STALL,
            Some("finding") => FINDING_LINE,
            Some("connection") => CONNECTION_LINE,
            _ => EXCHANGE,
        };
        assert_eq!(breaches(line, kind), Vec::<String>::new(), "{line}");
        if line["type"] == "connection" {
            a_line_of_a_connection_says_what_it_knows(line);
        }
        if ["stall", "finding", "connection"].map(Value::from).contains(&line["type"]) {
            continue;
        }
        assert!(!line.to_string().contains("user=ann"), "a query string: {line}");
        let http = line["protocol"] == "http";
        for key in ["method", "path", "route", "route_source"] {
            assert_eq!(line[key].is_string(), http, "{key}: {line}");
        }
        assert_eq!(line["command"].is_string(), !http, "{line}");
    }
    // The trace ran longer than the demo's own recording, on the same exchanges.
    for (table, protocol) in [("http", "http"), ("mysql", "mysql")] {
        let of_demo = |line: &&Value| {
            line["type"] == "exchange"
                && line["protocol"] == protocol
                && services.contains(line["service"].as_str().unwrap())
        };
        let traced = lines.iter().filter(of_demo).count() as u64;
        assert_eq!(traced, demo.rows(table).count(), "{protocol}");
    }
    // The demo signs in to its database again and again.
    for role in ["client", "server"] {
        for event in ["opened", "closed"] {
            let shown = lines.iter().any(|line| {
                (&line["event"], &line["role"]) == (&event.into(), &role.into())
                    && services.contains(line["service"].as_str().unwrap())
            });
            assert!(shown, "nothing {event} by a {role}");
        }
    }
}

fn a_line_of_a_connection_says_what_it_knows(line: &Value) {
    let (event, over) = (line["event"].as_str().unwrap(), ["closed", "gone"]);
    assert_eq!(line["closed_by"].is_string(), over.contains(&event), "{line}");
    assert!(over.contains(&event) || line["lifetime"].is_null() && line["exchanges"].is_null(), "{line}");
    assert_eq!(event == "failed", line["error_type"].is_string() && line["closed_by"].is_null(), "{line}");
    assert!(line["connect"].is_null() || line["role"] == "client", "{line}");
    assert!(line["accept_wait"].is_null() || line["role"] == "server", "{line}");
}

#[test]
fn doctor_is_the_contracts_and_says_what_record_can() {
    let ended = cli::run(&["doctor", "--format", "json"]).unwrap();
    assert_eq!(ended.code(), Some(0), "{ended}");
    let found: Value = serde_json::from_str(&ended.stdout).unwrap();
    assert_eq!(breaches(&found, DOCTOR), Vec::<String>::new());
    assert_eq!(found["can_record"], true);
    let checks = found["checks"].as_array().unwrap();
    let ids: BTreeSet<&str> = checks.iter().map(|check| check["id"].as_str().unwrap()).collect();
    assert_eq!(ids.len(), checks.len(), "identifiers are used twice");
    for id in [
        "CAP_BPF",
        "CAP_PERFMON",
        "CAP_SYS_PTRACE",
        "CAP_DAC_READ_SEARCH",
        "CAP_SYS_ADMIN",
        "CAP_SYS_RESOURCE",
        "lockdown",
        "btf",
        "tracefs",
        "hook-sock-tracepoints",
        "hook-syscall-exit",
        "hook-raw-exit",
        "hook-data_ready",
        "hook-set_state",
    ] {
        assert!(ids.contains(id), "no {id} in {ids:?}");
    }
    for check in checks {
        let explained = check["reason"].is_string() && check["advice"].is_string();
        assert_eq!(
            explained,
            check["ok"] == false,
            "each no, and only that, has a reason and advice: {check}"
        );
    }
    let text = cli::run(&["doctor"]).unwrap();
    assert_eq!(text.code(), Some(0));
    for check in checks {
        let (id, mark) = (check["id"].as_str().unwrap(), if check["ok"] == true { "yes" } else { "no " });
        let line = format!("{mark}  {id} ");
        assert!(text.stdout.lines().any(|shown| shown.starts_with(&line)), "no {line:?} in {text}");
    }
    assert!(text.stdout.contains("can run here"), "{text}");
}

#[test]
fn the_prom_file_is_openmetrics_and_counts_what_the_report_counts() {
    let dir = temp_dir().unwrap();
    let paths = ["report.prom", "report.json"].map(|name| dir.path().join(name));
    let server = HttpServer::start(Runtime::Go, Listen::Tcp).unwrap();
    let port = server.address().port().unwrap().to_string();
    let mut record = command(["record", "--port", &port, "-o"]).unwrap();
    let running = Running::attached(record.arg(&paths[0]).arg("-o").arg(&paths[1])).unwrap();
    let mut client = HttpClient::new(server.address());
    for n in 0..40 {
        client.get(&format!("/items/{n}")).unwrap();
    }
    client.get("/status/503").unwrap();
    client.get("/quote\"back\\slash\tend?secret=1").unwrap();
    assert_eq!(running.end(libc::SIGTERM).unwrap().code(), Some(0));

    let page = read(&paths[0]).unwrap();
    let samples = parse(&page).unwrap_or_else(|error| panic!("{error}\n{page}"));
    let report = Report::parse(&read(&paths[1]).unwrap()).unwrap();
    for (role, metric) in [
        ("server", "http_server_request_duration_seconds"),
        ("client", "http_client_request_duration_seconds"),
    ] {
        let sum = |ending: &str, label: &str| -> f64 {
            let name = format!("{metric}_{ending}[");
            samples
                .iter()
                .filter(|(key, _)| key.starts_with(&name) && key.contains(label))
                .map(|(_, v)| *v)
                .sum()
        };
        let rows = report.rows("http").role(role);
        assert_eq!(rows.count(), 42);
        assert_eq!(sum("count", ""), 42.0, "{role}: {page}");
        // A histogram's last bucket is its count.
        assert_eq!(sum("bucket", "(\"le\", \"+Inf\")"), 42.0, "{role}: {page}");
        assert_eq!(sum("count", "(\"http_response_status_code\", \"503\")"), 1.0, "{role}: {page}");
        let seconds: f64 = rows.iter().map(|row| row["duration"]["sum"].as_f64().unwrap()).sum();
        assert!((sum("sum", "") - seconds).abs() <= 1e-6 * seconds, "{role}: {page}");
        let of_role = format!("(\"role\", \"{role}\")");
        for (family, key) in [("established_total", "established"), ("live", "live")] {
            let name = format!("hostprof_connections_{family}[");
            let of_family = |key: &str| key.starts_with(&name) && key.contains(&of_role);
            let shown: f64 = samples.iter().filter(|(key, _)| of_family(key)).map(|(_, value)| *value).sum();
            let rows = report.rows("connections").role(role);
            let counted: u64 = rows.iter().map(|row| row[key].as_u64().unwrap()).sum();
            assert_eq!(shown, counted as f64, "{role} {key}: {page}");
            assert!(key == "live" || counted > 0, "{role}: {page}");
        }
    }
    buckets_never_fall(&samples);
    assert!(!page.contains("secret"), "{page}");
    server.stop().unwrap();
}

/// Buckets of one series hold all that the lower ones do.
fn buckets_never_fall(samples: &std::collections::BTreeMap<String, f64>) {
    let mut series: std::collections::BTreeMap<String, Vec<(f64, f64)>> = Default::default();
    for (key, count) in samples {
        let Some((start, rest)) = key.split_once("(\"le\", \"") else { continue };
        let (bound, _) = rest.split_once('"').unwrap();
        let bound = bound.replace("+Inf", "inf").parse().unwrap();
        series.entry(start.to_owned()).or_default().push((bound, *count));
    }
    assert!(series.len() >= 4, "{series:?}");
    for (name, mut buckets) in series {
        buckets.sort_by(|one, two| one.0.total_cmp(&two.0));
        assert!(buckets.is_sorted_by_key(|(_, count)| *count), "{name}: {buckets:?}");
        assert!(buckets.last().unwrap().0.is_infinite(), "{name}: {buckets:?}");
    }
}
