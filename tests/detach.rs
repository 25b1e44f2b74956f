//! Nothing stays behind: hostprof killed at full load, ended in every order and started again and again leaves no
//! program, map or link in the kernel, and the traffic does not notice. Truths: the kernel's own list of eBPF objects,
//! wrk's errors, nginx's access log.

use std::{
    thread,
    time::{Duration, Instant},
};

use hostprof_tests::{Nginx, Objects, Recording, http_truth::settled_log, process::wait_for, wrk};

const SERVER: &str = "server { listen 127.0.0.1:PORT; location / { return 200 'hello'; } }";

/// Fails unless hostprof holds what it should, so that looking for leftovers means something.
fn held_by(pid: u32) -> Objects {
    let objects = Objects::of(pid).unwrap();
    let [programs, maps, links] = objects.counts();
    assert!(programs >= 10 && maps >= 5 && links >= 5, "that is not hostprof at work: {objects:?}");
    assert_eq!(objects.living(), objects);
    objects
}

#[test]
fn killed_at_full_load_it_leaves_nothing_and_the_traffic_goes_on() {
    let nginx = Nginx::start(SERVER).unwrap();
    let load = thread::scope(|scope| {
        let load = scope.spawn(|| wrk::run(nginx.address(), "/", 50, Duration::from_secs(6)).unwrap());
        wait_for("the load", || nginx.access_log().is_ok_and(|log| log.len() > 100)).unwrap();
        for arguments in [&[][..], &["--socket-hooks", "syscall-exit"]] {
            let recording = Recording::start(arguments).unwrap();
            thread::sleep(Duration::from_millis(300));
            let objects = held_by(recording.pid());
            let before = nginx.access_log().unwrap().len();
            recording.kill().unwrap();
            // The words: within a second.
            let killed = Instant::now();
            while !objects.living().is_empty() {
                assert!(killed.elapsed() < Duration::from_secs(1), "left: {:?}", objects.living());
                thread::sleep(Duration::from_millis(10));
            }
            wait_for("more requests", || nginx.access_log().is_ok_and(|log| log.len() > before + 100))
                .unwrap();
        }
        assert!(!load.is_finished(), "the load ended before the last kill");
        load.join().unwrap()
    });
    assert_eq!((load.socket_errors, load.status_errors), (0, 0), "{load:?}");
    nginx.stop().unwrap();
}

#[test]
fn two_instances_side_by_side_both_count_right() {
    let nginx = Nginx::start(SERVER).unwrap();
    let first = Recording::start(&[]).unwrap();
    let second = Recording::start(&["--socket-hooks", "raw-exit"]).unwrap();
    let third = Recording::start(&[]).unwrap();
    // One that leaves in between takes nothing along.
    third.kill().unwrap();
    let load = wrk::run(nginx.address(), "/", 10, Duration::from_secs(1)).unwrap();
    let log = settled_log(&nginx).unwrap().len() as u64;
    assert!(load.requests > 500 && load.socket_errors == 0, "{load:?}");
    for recording in [first, second] {
        let report = recording.finish().unwrap();
        let hooks = &report.json()["capture"]["hooks"];
        assert_eq!(report.rows("http").of(&nginx.pids()).role("server").count(), log, "{hooks}");
        let answered = report.rows("http").of(&[load.pid]).role("client").with("status", 200).count();
        assert!((load.requests..=load.requests + 10).contains(&answered), "{answered} {load:?} {hooks}");
        assert!(report.lost().is_empty(), "{hooks}: {:?}", report.lost());
    }
    nginx.stop().unwrap();
}

#[test]
fn twenty_recordings_one_after_the_other_leave_nothing() {
    let nginx = Nginx::start(SERVER).unwrap();
    let mut all = Objects::default();
    for cycle in 0..20 {
        // Each way to see sockets, ended by Ctrl-C and by SIGKILL in turns.
        let hooks = ["sock-tracepoints", "syscall-exit", "raw-exit"][cycle % 3];
        let recording = Recording::start(&["--socket-hooks", hooks, "--max-connections", "1024"]).unwrap();
        all.extend(held_by(recording.pid()));
        nginx.address().connect().unwrap();
        if cycle % 2 == 0 {
            recording.finish().unwrap();
        } else {
            recording.kill().unwrap();
        }
    }
    // Maps are freed a moment after the last descriptor has gone (kernel/bpf/syscall.c, bpf_map_put()).
    wait_for("the end of all programs and maps", || all.living().is_empty())
        .unwrap_or_else(|error| panic!("{error}: {:?} of {:?} live", all.living().counts(), all.counts()));
    nginx.stop().unwrap();
}
