//! When hostprof cannot keep up, what it did not see is counted: seen + lost = sent, and it recovers.
//! Judged against nginx's access log and the client's own count.

use std::{
    process,
    sync::atomic::{AtomicBool, Ordering},
    thread,
};

use hostprof_tests::{
    HttpClient, Nginx, Recording, hostile, http_truth::settled_log, midway::Going, process::wait_for,
    require_root, wrk,
};

const SERVER: &str =
    "server { listen 127.0.0.1:PORT; keepalive_requests 10000000; location / { return 200 'hello'; } }";

/// Requests that nginx serves while hostprof stands still, and afterwards. Each has two records of 280 bytes and more,
/// of which the ring of 1 MiB takes fewer than 4,000.
const STALLED: usize = 4_000;
const AFTER: usize = 16_000;

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
    let flag = AtomicBool::new(true);
    let load = thread::scope(|scope| {
        let going = Going::start(&flag);
        let load = scope
            .spawn(|| wrk::run_until(nginx.address(), "/", 50, || !flag.load(Ordering::Relaxed)).unwrap());
        let serve = |more: usize| {
            let until = nginx.served() + more;
            wait_for("more requests", || nginx.served() >= until).unwrap();
        };
        serve(1);
        signal(pid, libc::SIGSTOP);
        serve(STALLED);
        signal(pid, libc::SIGCONT);
        serve(AFTER);
        drop(going);
        load.join().unwrap()
    });
    let served = settled_log(&nginx).unwrap().len() as u64;
    let report = recording.finish().unwrap();
    // Those that were answered: of a request that wrk gives up at its end nginx may know nothing.
    let rows = |pids: &[u32], role: &str| report.rows("http").of(pids).role(role).with("status", 200).count();
    let seen = rows(&nginx.pids(), "server") + rows(&[load.pid], "client");
    let lost = report.lost();
    let missed = lost.get("ring_full").copied().unwrap_or(0);
    println!("{served} served, {seen} seen, {lost:?}");
    assert!(missed > 0, "the stall was too short to show anything: {lost:?}");
    // Each exchange has two ends; wrk leaves those in flight at its end.
    let sent = 2 * served;
    assert!(seen + missed <= sent && seen + missed + 100 >= sent, "{seen} seen + {missed} lost of {sent}");
    // It stood still for a fifth of them: had it not caught up, far more would be missing.
    assert!(missed < sent / 4, "{missed} of {sent} lost");
    nginx.stop().unwrap();
}

#[test]
fn what_was_seen_and_what_was_lost_is_what_was_sent() {
    require_root().unwrap();
    let own = process::id().to_string();
    let recording = Recording::start(&["--pid", &own, "--ring-size", "256K"]).unwrap();
    // The ring takes some 300 of the 2,000 records that come meanwhile.
    signal(recording.pid(), libc::SIGSTOP);
    hostile::http(1_000).unwrap();
    signal(recording.pid(), libc::SIGCONT);
    hostile::http(1_000).unwrap();
    let report = recording.finish().unwrap();
    let lost = report.lost();
    let missed = lost.get("ring_full").copied().unwrap_or(0);
    let seen = ["server", "client"].map(|role| report.rows("http").role(role).count());
    println!("{seen:?} seen, {lost:?}");
    assert!(missed > 1_000, "it did not stand still: {lost:?}");
    assert_eq!(seen[0] + seen[1] + missed, 4_000, "{seen:?} seen, {lost:?}");
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
