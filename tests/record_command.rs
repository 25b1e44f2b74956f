//! `record -- CMD`: its exit status is passed on, its streams are its own, and what is counted are the requests of
//! the command and of all that it started, by its own count; with `--all` those of the whole host.

use std::{path::PathBuf, thread, time::Duration};

use hostprof_tests::{
    HttpClient, HttpServer, Listen, Report, Runtime, Terminal,
    cli::{self, Ended, Running, command, read},
    install::app,
    process::temp_dir,
};

#[test]
fn the_exit_status_is_passed_on() {
    for (script, status) in
        [("exit 0", 0), ("exit 7", 7), ("exit 255", 255), ("kill -9 $$", 137), ("kill $$", 143)]
    {
        let ended = cli::run(&["record", "--format", "json", "--", "sh", "-c", script]).unwrap();
        assert_eq!(ended.code(), Some(status), "{script}: {ended}");
        assert!(ended.complaints().is_empty(), "{ended}");
        Report::parse(&ended.stdout).unwrap();
    }
}

#[test]
fn a_command_that_cannot_be_started_is_said_by_name() {
    let dir = temp_dir().unwrap();
    let file = dir.path().join("no-program");
    std::fs::write(&file, "no program").unwrap();
    for name in ["/nonexistent/program", "no-such-program", file.to_str().unwrap(), "/"] {
        let ended = cli::run(&["record", "--", name]).unwrap();
        assert_eq!((ended.code(), ended.stdout.as_str()), (Some(1), ""), "{ended}");
        assert!(ended.complaint().unwrap().contains(name), "{ended}");
    }
}

#[test]
fn its_streams_are_the_callers() {
    let dir = temp_dir().unwrap();
    let report = dir.path().join("report.json");
    let script = format!(
        "echo in | \"$HOSTPROF\" record -o {} -- sh -c 'cat; echo out; echo err >&2'",
        report.display()
    );
    let ended = Running::start(&mut cli::shell(&script).unwrap()).unwrap().wait().unwrap();
    assert_eq!((ended.code(), ended.stdout.as_str()), (Some(0), "in\nout\n"), "{ended}");
    assert_eq!(ended.complaints(), ["err"]);
    Report::parse(&read(&report).unwrap()).unwrap();
}

/// The family of `workers.py` under `record`, while somebody else asks the same server; its own count, the number of
/// the others' requests, and the report.
fn family(arguments: &[&str]) -> (u64, u64, Report, Ended) {
    let server = HttpServer::start(Runtime::Go, Listen::Tcp).unwrap();
    let dir = temp_dir().unwrap();
    let report: PathBuf = dir.path().join("report.json");
    let mut hostprof = command(["record", "-o"]).unwrap();
    hostprof.arg(&report).args(arguments).arg("--").arg("python3").arg(app("workers.py"));
    let gate = dir.path().join("others-are-done");
    hostprof.arg(server.address().port().unwrap().to_string()).args(["3", "20", "5"]).arg(&gate);
    let running = Running::attached(&mut hostprof).unwrap();
    let mut other = HttpClient::new(server.address());
    for _ in 0..10 {
        other.get("/items/9").unwrap();
        thread::sleep(Duration::from_millis(5));
    }
    std::fs::write(&gate, b"").unwrap();
    let ended = running.wait().unwrap();
    assert_eq!(ended.code(), Some(5), "{ended}");
    let counted = ended.stdout.trim().parse().unwrap();
    server.stop().unwrap();
    (counted, other.log().len() as u64, Report::parse(&read(&report).unwrap()).unwrap(), ended)
}

#[test]
fn the_command_and_all_its_descendants_are_counted_and_nobody_else() {
    let (counted, others, report, ended) = family(&[]);
    assert_eq!(counted, 3 * 22 + 1, "{ended}");
    let http = || report.rows("http");
    assert_eq!(http().role("client").with("status", 200).count(), counted);
    assert_eq!(http().count(), counted, "the server or another client: {:#}", report.json()["http"]);
    // The server's side of all of them, and both sides of the others.
    assert!(report.capture("filtered") >= counted + 2 * others, "{:#}", report.json()["capture"]);
    assert!(report.lost().is_empty(), "{:?}", report.lost());
}

#[test]
fn with_all_the_whole_host_is_counted() {
    let (counted, others, report, _) = family(&["--all"]);
    let items = || report.rows("http").with("route", "/items/{id}").with("status", 200);
    assert_eq!(items().role("client").count(), counted + others);
    assert_eq!(items().role("server").count(), counted + others);
    assert_eq!(report.capture("filtered"), 0);
}

#[test]
fn sigterm_ends_the_command_and_the_report_is_written() {
    let running =
        Running::attached(&mut command(["record", "--format", "json", "--", "sleep", "600"]).unwrap())
            .unwrap();
    let ended = running.end(libc::SIGTERM).unwrap();
    assert_eq!(ended.code(), Some(128 + libc::SIGTERM), "{ended}");
    Report::parse(&ended.stdout).unwrap();
}

#[test]
fn ctrl_c_at_a_terminal_is_the_commands_and_a_second_one_ends_it() {
    // The first Ctrl-C reaches both; the command may clean up, or not care at all.
    for (script, keys, status) in [
        ("trap 'echo cleaned; exit 3' INT; echo ready; while :; do sleep 0.02; done", "\x03", 3),
        ("trap '' INT; echo ready; while :; do sleep 0.02; done", "\x03\x03", 143),
    ] {
        let mut terminal =
            Terminal::start(&mut command(["record", "--", "sh", "-c", script]).unwrap(), 80).unwrap();
        terminal.wait_for("ready").unwrap();
        for key in keys.chars() {
            terminal.press(&key.to_string()).unwrap();
            // Two that are pending at once are one.
            thread::sleep(Duration::from_secs(1));
        }
        let (ended, seen) = terminal.wait().unwrap();
        assert_eq!(ended.code(), Some(status), "{seen}");
        assert!(seen.contains("hostprof itself used"), "no report: {seen}");
    }
}
