//! Processes that are gone before anything of them can be looked up: those that lived when the recording began, and those
//! that came later. Each still counts under its service's name, with its program's file.

use std::{
    io::Write as _,
    process::{Command, Stdio},
};

use hostprof_tests::{HttpServer, Listen, Recording, Runtime, install::program};

/// One request, then gone at once: no Python program ends faster.
const CLIENT: &str = "
import os, socket, sys
sys.stdin.readline()
s = socket.create_connection(('127.0.0.1', int(sys.argv[1])))
s.sendall(b'GET /items/1 HTTP/1.1\\r\\nHost: x\\r\\n\\r\\n')
s.recv(65536)
os._exit(0)
";
const CLIENTS: usize = 10;

#[test]
fn a_process_that_is_gone_at_once_has_its_services_name() {
    let server = HttpServer::start(Runtime::Node, Listen::Tcp).unwrap();
    let port = server.address().port().unwrap().to_string();
    let dir = hostprof_tests::process::temp_dir().unwrap();
    let script = dir.path().join("briefly.py");
    std::fs::write(&script, CLIENT).unwrap();
    let client = || {
        let mut command = Command::new(program("python3").unwrap());
        command.arg(&script).arg(&port).stdin(Stdio::piped()).spawn().unwrap()
    };
    let mut before: Vec<_> = (0..CLIENTS).map(|_| client()).collect();
    let recording = Recording::start(&["--port", &port]).unwrap();
    let mut after: Vec<_> = (0..CLIENTS).map(|_| client()).collect();
    for child in before.iter_mut().chain(&mut after) {
        child.stdin.as_mut().unwrap().write_all(b"\n").unwrap();
    }
    let mut pids = Vec::new();
    for child in before.iter_mut().chain(&mut after) {
        assert!(child.wait().unwrap().success());
        pids.push(child.id());
    }
    let report = recording.finish().unwrap();
    assert!(report.lost().is_empty(), "{:?}", report.lost());
    assert_eq!(report.rows("http").role("client").of(&pids).count(), 2 * CLIENTS as u64);
    let services = report.json()["services"].as_array().unwrap();
    let ours: Vec<_> =
        services.iter().filter(|s| s["pids"].as_array().unwrap().contains(&pids[0].into())).collect();
    assert_eq!(ours.len(), 1, "{services:#?}");
    assert_eq!(ours[0]["name"], "briefly.py (python)");
    assert_eq!(ours[0]["pids"].as_array().unwrap().len(), 2 * CLIENTS, "{services:#?}");
    server.stop().unwrap();
}

#[test]
fn one_that_was_called_by_a_link_has_the_file_behind_it() {
    let server = HttpServer::start(Runtime::Node, Listen::Tcp).unwrap();
    let port = server.address().port().unwrap().to_string();
    let dir = hostprof_tests::process::temp_dir().unwrap();
    let script = dir.path().join("linked.py");
    std::fs::write(&script, CLIENT).unwrap();
    // By its own word: what is found by the name may be a script that looks for it.
    let own_word = "import os, sys; print(os.path.realpath(sys.executable), end='')";
    let said = Command::new(program("python3").unwrap()).args(["-c", own_word]).output().unwrap();
    let python = std::path::PathBuf::from(String::from_utf8(said.stdout).unwrap());
    let link = dir.path().join("python-by-another-name");
    std::os::unix::fs::symlink(&python, &link).unwrap();
    let recording = Recording::start(&["--port", &port]).unwrap();
    for _ in 0..CLIENTS {
        let mut command = Command::new(&link);
        let mut child = command.arg(&script).arg(&port).stdin(Stdio::piped()).spawn().unwrap();
        child.stdin.as_mut().unwrap().write_all(b"\n").unwrap();
        assert!(child.wait().unwrap().success());
    }
    let report = recording.finish().unwrap();
    let services = report.json()["services"].as_array().unwrap();
    let [ours] = services.iter().filter(|s| s["name"] == "linked.py (python)").collect::<Vec<_>>()[..] else {
        panic!("not one service: {services:#?}")
    };
    assert_eq!(ours["pids"].as_array().unwrap().len(), CLIENTS, "{ours:#}");
    assert_eq!(ours["exe"].as_str(), python.to_str(), "{ours:#}");
    server.stop().unwrap();
}
