//! When hostprof cannot keep up, what it did not see is counted: seen + lost = sent, and it recovers.
//! Judged against nginx's access log and the client's own count.

use std::time::Duration;

use hostprof_tests::hostprof::Recording;
use hostprof_tests::{HttpClient, Nginx, require_root, wrk};

const SERVER: &str =
    "server { listen 127.0.0.1:PORT; keepalive_requests 10000000; location / { return 200 'hello'; } }";

fn signal(pid: u32, signal: i32) {
    // SAFETY: plain system call; the process is the test's own.
    assert_eq!(unsafe { libc::kill(pid as i32, signal) }, 0);
}

#[test]
fn a_reader_that_stood_still_counts_what_it_missed_and_catches_up() {
    require_root().unwrap();
    let nginx = Nginx::start(SERVER).unwrap();
    let recording = Recording::start(&["--ring-size", "1M"]).unwrap();
    let pid = recording.pid();
    let stall = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(500));
        signal(pid, libc::SIGSTOP);
        std::thread::sleep(Duration::from_millis(200));
        signal(pid, libc::SIGCONT);
    });
    let load = wrk::run(nginx.address(), "/", 50, Duration::from_secs(4)).unwrap();
    stall.join().unwrap();
    let report = recording.finish().unwrap();
    let served = nginx.access_log().unwrap().len() as u64;
    let rows = |pids: &[u32], role: &str| report.rows("http").of(pids).role(role).count();
    let seen = rows(&nginx.pids(), "server") + rows(&[load.pid], "client");
    let lost = report.lost();
    let missed = lost.get("ring_full").copied().unwrap_or(0);
    println!("{served} served, {seen} seen, {lost:?}");
    assert!(missed > 0, "the stall was too short to show anything: {lost:?}");
    // Each exchange has two ends; wrk leaves those in flight at its end.
    let sent = 2 * served;
    assert!(seen + missed <= sent && seen + missed + 100 >= sent, "{seen} seen + {missed} lost of {sent}");
    // 0.2 of 4 seconds: had it not caught up, far more would be missing.
    assert!(missed < sent / 4, "{missed} of {sent} lost");
    nginx.stop().unwrap();
}

#[test]
fn a_full_connection_table_is_said() {
    require_root().unwrap();
    let nginx = Nginx::start(SERVER).unwrap();
    let recording = Recording::start(&["--max-connections", "4"]).unwrap();
    let mut clients: Vec<_> = (0..20).map(|_| HttpClient::new(nginx.address())).collect();
    for _ in 0..10 {
        for client in &mut clients {
            client.get("/").unwrap();
        }
    }
    let report = recording.finish().unwrap();
    let lost = report.lost();
    println!("{lost:?}");
    assert!(report.rows("http").of(&nginx.pids()).count() < 200);
    // 20 connections of two ends each; the table has room for few of them (it may hold others of the host).
    let refused = lost.get("connection_table_full").copied().unwrap_or(0);
    assert!((36..=40).contains(&refused), "{lost:?}");
    assert!(lost.contains_key("untracked_operations"), "{lost:?}");
    nginx.stop().unwrap();
}
