//! hostprof never traces its own process: what it sends itself, as an exporter will, would feed on itself. A library in its
//! process sends requests for it; the server's side of them shows that they were sent, their client's side must not be
//! there. The same library in another process shows that it could have been.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{self, Command},
};

use hostprof_tests::{
    HttpClient, HttpServer, Listen, Process, Recording, Report, Runtime,
    hostprof::binary,
    install::{app, program},
    process::{PATIENCE, temp_dir, wait_for},
};

const REQUESTS: u64 = 7;

/// The library, compiled into `dir`.
fn library(dir: &Path) -> PathBuf {
    let library = dir.join("inside.so");
    let mut compiler = Command::new(program("cc").unwrap());
    compiler.args(["-shared", "-fPIC", "-pthread", "-o"]).arg(&library).arg(app("inside.c"));
    Process::run("cc", &mut compiler, PATIENCE).unwrap();
    library
}

/// Makes a program send requests to the server once `gate` is there.
fn inside(command: &mut Command, library: &Path, server: &HttpServer, gate: &Path) {
    let port = server.address().port().unwrap().to_string();
    command.env("LD_PRELOAD", library).env("INSIDE_GATE", gate).env("INSIDE_PORT", port);
    command.env("INSIDE_REQUESTS", REQUESTS.to_string());
}

/// Opens the gate and waits until all requests behind it were answered.
fn let_through(gate: &Path) {
    fs::write(gate, b"").unwrap();
    let answers = gate.with_extension("answers");
    wait_for("the answers", || answers.exists()).unwrap();
    assert_eq!(fs::read_to_string(answers).unwrap(), REQUESTS.to_string());
}

fn count(report: &Report, route: &str, role: &str) -> u64 {
    report.rows("http").with("route", route).role(role).with("status", 200).count()
}

#[test]
fn what_hostprof_sends_itself_is_seen_by_its_server_alone() {
    let dir = temp_dir().unwrap();
    let library = library(dir.path());
    let server = HttpServer::start(Runtime::UvicornUvloop, Listen::Tcp).unwrap();
    let [own, other] = ["own", "other"].map(|name| dir.path().join(name));
    for hooks in ["sock-tracepoints", "syscall-exit", "raw-exit"] {
        let mut hostprof = Command::new(binary().unwrap());
        inside(&mut hostprof, &library, &server, &own);
        let recording = Recording::start_as(hostprof, &["--socket-hooks", hooks]).unwrap();
        let pid = recording.pid();
        let mut sleeper = Command::new("sleep");
        inside(sleeper.arg("600"), &library, &server, &other);
        let sleeper = Process::start("sleep", &mut sleeper, dir.path()).unwrap();
        HttpClient::new(server.address()).get("/items/1").unwrap();
        let_through(&own);
        let_through(&other);
        let report = recording.finish().unwrap();

        // The service has no such route: 404 is what these get.
        let sent = |role| report.rows("http").with("route", "/from/inside").role(role).count();
        assert_eq!(sent("server"), 2 * REQUESTS, "{hooks}: {:#}", report.json()["http"]);
        assert_eq!(sent("client"), REQUESTS, "{hooks}: {:#}", report.json()["http"]);
        assert_eq!(report.rows("http").of(&[sleeper.id()]).role("client").count(), REQUESTS, "{hooks}");
        assert_eq!(report.rows("http").of(&[pid]).count(), 0, "{hooks}: it traces itself");
        // And everybody else's is there.
        assert_eq!(count(&report, "/items/{id}", "client"), 1, "{hooks}");
        assert!(!report.rows("http").of(&[process::id()]).iter().any(|row| row["route"] == "/from/inside"));
        for gate in [&own, &other] {
            fs::remove_file(gate).unwrap();
            fs::remove_file(gate.with_extension("answers")).unwrap();
        }
    }
    server.stop().unwrap();
}
