//! `hostprof demo` as a newcomer runs it: no arguments, nothing installed, one command. Truth: the load's own count,
//! which it prints, and the mix of requests that it is built to send.

use std::{collections::BTreeMap, process::Command};

use hostprof_tests::{
    Report,
    cli::{self, Ended, Running},
    hostprof::binary,
};

/// Requests that were answered, and of these the failed ones, by the load's own count.
fn tally(ended: &Ended) -> (u64, u64) {
    let line = ended.complaints().into_iter().find(|line| line.contains("by its own count")).unwrap();
    let numbers: Vec<u64> =
        line.split(|c: char| !c.is_ascii_digit()).filter_map(|word| word.parse().ok()).collect();
    let [requests, failed, unanswered] = numbers[..] else { panic!("{line}") };
    assert_eq!(unanswered, 0, "{line}");
    (requests, failed)
}

#[test]
fn a_newcomer_sees_three_services_and_what_is_sick_about_them() {
    // As on a fresh machine: an empty environment, and the root folder to be in.
    let mut command = Command::new(binary().unwrap());
    command.arg("demo").env_clear().current_dir("/");
    let ended = Running::start(&mut command).unwrap().wait().unwrap();
    assert!(ended.code() == Some(0) && ended.is_clean(), "{ended}");
    let (requests, _) = tally(&ended);
    let text = ended.stdout.as_str();
    for part in ["demo: http (pid ", "demo: mysql (pid ", "demo: load (pid "] {
        assert!(text.lines().any(|line| line.starts_with(part)), "no {part}: {text}");
    }
    let digits = |number: u64| {
        let text = number.to_string();
        if text.len() > 3 { format!("{},{}", &text[..text.len() - 3], &text[text.len() - 3..]) } else { text }
    };
    for role in ["served", "called"] {
        assert!(text.contains(&format!("HTTP {role}: {} requests", digits(requests))), "{requests}: {text}");
    }
    for sign in ["GET /orders/{id}", "GET /export", "no index", "1146 (no such table)", "(handshake)"] {
        assert!(text.contains(sign), "no {sign}: {text}");
    }
    // What is worst comes first: the loop that /export blocks.
    let finding =
        text.find("CRITICAL demo: http: its event loop was blocked").unwrap_or_else(|| panic!("{text}"));
    assert!(finding < text.find("demo: http (pid ").unwrap() && text.contains("  Event loops\n"), "{text}");
    assert!(text.contains("Nothing was lost.") && !text.contains("<unknown statement>"), "{text}");
}

#[test]
fn its_numbers_are_the_loads_own() {
    let ended = cli::run(&["demo", "-d", "4s", "--format", "json"]).unwrap();
    let report = ended.report().unwrap();
    let (requests, failed) = tally(&ended);
    assert!(requests > 100 && failed > 0, "{requests} {failed}");
    for role in ["server", "client"] {
        let rows = || report.rows("http").role(role);
        assert_eq!(rows().count(), requests, "{role}");
        assert_eq!(rows().with("status", 500).count(), failed, "{role}");
        assert_eq!(rows().with("status", 200).count(), requests - failed, "{role}");
    }
    assert!(report.lost().is_empty(), "{:?}", report.lost());
    let services = report.json()["services"].as_array().unwrap();
    let mut names: Vec<&str> = services.iter().map(|service| service["name"].as_str().unwrap()).collect();
    names.sort_unstable();
    assert_eq!(names, ["demo: http", "demo: load", "demo: mysql"]);
    assert!(services.iter().all(|service| service["pids"].as_array().unwrap().len() == 1), "{services:#?}");
    queries_follow_from_the_requests(&report);
    the_loop_is_blocked_by_the_export(&report);
}

/// One loop serves, and is blocked once for each export; its threads have ended before the report was made.
fn the_loop_is_blocked_by_the_export(report: &Report) {
    let row = report.rows("event_loops").filter(|row| row["turn"].is_object()).only().unwrap();
    assert!(row["turn"]["count"].as_u64() > Some(100), "{row}");
    let exports = report.rows("http").role("server").with("route", "/export").count();
    let findings = report.rows("findings");
    let blocked = findings.filter(|finding| finding["id"] == "event-loop-blocked").only().unwrap();
    assert_eq!((&blocked["service"], &blocked["severity"]), (&row["service"], &"critical".into()));
    assert!(blocked["count"].as_u64() >= Some(exports), "{exports} exports: {blocked:#}");
}

/// What each route asks the database is known: both ends of MySQL agree with it.
fn queries_follow_from_the_requests(report: &Report) {
    let routes = report.rows("http").role("server").by("route");
    let route = |name: &str| routes.get(name).copied().unwrap_or(0);
    for role in ["client", "server"] {
        let mut statements: BTreeMap<&str, u64> = BTreeMap::new();
        let mut handshakes = 0;
        for row in report.rows("mysql").role(role).iter() {
            let count = row["count"].as_u64().unwrap();
            match (row["command"].as_str().unwrap(), row["digest_text"].as_str()) {
                ("prepare", _) => {}
                ("handshake", _) => handshakes += count,
                (_, Some(text)) => *statements.entry(text).or_default() += count,
                other => panic!("{other:?}"),
            }
        }
        let of = |part: &str| -> u64 {
            statements.iter().filter(|(text, _)| text.contains(part)).map(|(_, count)| *count).sum()
        };
        assert_eq!(of("FROM order_items"), route("/orders/{id}"), "{role}: {statements:#?}");
        assert_eq!(of("FROM events"), route("/export"), "{role}: {statements:#?}");
        assert_eq!(of("FROM invoices_2019"), route("/broken"), "{role}: {statements:#?}");
        assert_eq!(of("FROM users"), route("/login"), "{role}: {statements:#?}");
        // The N + 1: one list of 39 orders, and a query for each.
        assert_eq!(of("FROM customers"), 39 * route("/report"), "{role}: {statements:#?}");
        assert!(handshakes > route("/login"), "{role}: a connection for each login, and the pool's");
    }
}

#[test]
fn ctrl_c_ends_it_early_and_leaves_no_process() {
    let running = Running::attached(Command::new(binary().unwrap()).arg("demo")).unwrap();
    let pid = running.pid();
    let children = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap();
    assert_eq!(children.split_whitespace().count(), 3, "{children}");
    let ended = running.end(libc::SIGINT).unwrap();
    assert!(ended.code() == Some(0) && ended.stdout.contains("hostprof itself used"), "{ended}");
    for child in children.split_whitespace() {
        assert!(!std::path::Path::new(&format!("/proc/{child}")).exists(), "process {child} is left");
    }
}
