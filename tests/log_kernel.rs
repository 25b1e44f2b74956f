//! `--log-kernel`: what the kernel half made of each connection, on stderr and nowhere else; without it not a word.

use std::process;

use hostprof_tests::{HttpClient, HttpServer, Listen, Recording, Runtime, Trace, process::wait_for};
use serde_json::Value;

#[test]
fn the_kernel_half_says_on_stderr_what_it_makes_of_a_connection() {
    let server = HttpServer::start(Runtime::Go, Listen::Tcp).unwrap();
    let ends = [process::id(), server.pids()[0]].map(|pid| format!("of process {pid}: protocol "));
    let ours = ["--port", &server.address().port().unwrap().to_string()];
    let loud = Recording::start(&[&ours[..], &["--log-kernel"]].concat()).unwrap();
    let quiet = Recording::start(&ours).unwrap();
    HttpClient::new(server.address()).get("/items/1").unwrap();
    // Messages go by another ring than exchanges do.
    wait_for("what is said of both ends", || ends.iter().all(|end| loud.stderr().contains(end)))
        .unwrap_or_else(|error| panic!("{error}: no {ends:?} in\n{}", loud.stderr()));
    let said = loud.stderr();
    assert!(said.lines().all(|line| line.starts_with("hostprof: ")), "{said}");
    assert_eq!(quiet.stderr().lines().count(), 1, "more than that it records:\n{}", quiet.stderr());
    for recording in [loud, quiet] {
        let report = recording.finish().unwrap();
        assert_eq!(report.rows("http").count(), 2, "{:#}", report.json()["http"]);
    }
    server.stop().unwrap();
}

#[test]
fn a_trace_stays_one_object_a_line() {
    let server = HttpServer::start(Runtime::Go, Listen::Tcp).unwrap();
    let trace =
        Trace::start(&["--log-kernel", "--port", &server.address().port().unwrap().to_string()]).unwrap();
    HttpClient::new(server.address()).get("/items/1").unwrap();
    let exchanges = |lines: Vec<Value>| lines.iter().filter(|line| line["type"] == "exchange").count();
    wait_for("the exchange", || trace.lines().is_ok_and(|lines| exchanges(lines) == 2)).unwrap();
    // Reads each line as JSON.
    assert_eq!(trace.finish_whole().unwrap().len(), 2);
    server.stop().unwrap();
}
