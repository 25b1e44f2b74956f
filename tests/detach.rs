//! Nothing stays behind: hostprof killed at full load, ended in every order and started again and again leaves no
//! program, map or link in the kernel, and the traffic does not notice. Truths: the kernel's own list of eBPF objects,
//! wrk's errors, nginx's access log.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use hostprof_tests::{
    Nginx, Objects, Recording,
    http_truth::settled_log,
    midway::Going,
    process::wait_for,
    times::{in_time, undisturbed},
    wrk,
};

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
    let flag = AtomicBool::new(true);
    let load = thread::scope(|scope| {
        let going = Going::start(&flag);
        let load = scope
            .spawn(|| wrk::run_until(nginx.address(), "/", 50, || !flag.load(Ordering::Relaxed)).unwrap());
        wait_for("the load", || nginx.served() > 100).unwrap();
        for arguments in [&[][..], &["--socket-hooks", "syscall-exit"]] {
            // The words: within a second. The kernel frees maps in a worker, which waits for a processor, too.
            undisturbed(|| {
                let took = killed(arguments, &nginx);
                Ok(in_time(took < Duration::from_secs(1), || format!("{arguments:?}: gone after {took:?}"))?)
            })
            .unwrap();
        }
        drop(going);
        load.join().unwrap()
    });
    assert_eq!((load.socket_errors, load.status_errors), (0, 0), "{load:?}");
    nginx.stop().unwrap();
}

/// Kills a recording at work; how long it took until nothing of it was left.
fn killed(arguments: &[&str], nginx: &Nginx) -> Duration {
    let recording = Recording::start(arguments).unwrap();
    thread::sleep(Duration::from_millis(300));
    let objects = held_by(recording.pid());
    let before = nginx.served();
    recording.kill().unwrap();
    let killed = Instant::now();
    wait_for("the end of all programs, maps and links", || objects.living().is_empty())
        .unwrap_or_else(|error| panic!("{error}: left: {:?}", objects.living()));
    let took = killed.elapsed();
    wait_for("more requests", || nginx.served() > before + 100).unwrap();
    took
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
        assert!(answered.abs_diff(load.requests) <= 1, "{answered} {load:?} {hooks}");
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
