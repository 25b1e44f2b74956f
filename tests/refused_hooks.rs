//! A kernel that refuses hooks: the run goes on with what is left, and the report, its text and doctor say what is
//! missing. Refusals are made by a seccomp filter which answers for the kernel; the traffic is counted by its client.

use hostprof_tests::{
    HttpClient, HttpServer, Listen, LoopRuntime, Report, Runtime, Stalling,
    cli::{Ended, Running, command},
    refusal::{Refused, refuse},
};
use libc::{EACCES, EINVAL, ENOENT, EPERM};

const REQUESTS: u64 = 25;

fn run(refused: &'static [Refused], arguments: &[&str]) -> Running {
    let mut hostprof = command(arguments).unwrap();
    refuse(&mut hostprof, refused).unwrap();
    Running::start(&mut hostprof).unwrap()
}

/// Records known traffic on such a kernel.
fn record(refused: &'static [Refused]) -> Ended {
    let server = HttpServer::start(Runtime::Go, Listen::Tcp).unwrap();
    let port = server.address().port().unwrap().to_string();
    let mut hostprof = command(["record", "--format", "json", "--port", &port]).unwrap();
    refuse(&mut hostprof, refused).unwrap();
    let running = Running::attached(&mut hostprof).unwrap();
    let mut client = HttpClient::new(server.address());
    for n in 0..REQUESTS {
        client.get(&format!("/items/{n}")).unwrap();
    }
    let ended = running.end(libc::SIGINT).unwrap();
    server.stop().unwrap();
    assert!(ended.is_clean() && ended.complaints().is_empty(), "{ended}");
    ended
}

fn counts(report: &Report) -> [u64; 2] {
    ["server", "client"].map(|role| report.rows("http").role(role).with("status", 200).count())
}

fn limits(report: &Report) -> String {
    report.json()["capture"]["limits"].to_string()
}

#[test]
fn each_hook_that_is_refused_costs_only_what_it_gives() {
    for (refused, program, lost) in [
        (&[Refused::Tracepoint("sk_data_ready", ENOENT)][..], "data_ready", "arrival times"),
        (&[Refused::Program("data_ready", EINVAL)], "data_ready", "arrival times"),
        (&[Refused::Tracepoint("inet_sock_set_state", EPERM)], "set_state", "TCP connections"),
        (&[Refused::Tracepoint("sched_process_fork", ENOENT)], "process_fork", "new processes"),
        (&[Refused::Program("process_exec", EACCES)], "process_exec", "new programs"),
        (&[Refused::Program("process_exit", EINVAL)], "process_exit", "ends of processes"),
        (&[Refused::Program("sweep", EINVAL)], "sweep", "idle connection"),
    ] {
        let report = record(refused).report().unwrap();
        assert_eq!(counts(&report), [REQUESTS; 2], "{refused:?}: {:#}", report.json()["http"]);
        let said = report.json()["capture"]["limits"].as_array().unwrap();
        assert_eq!(said.len(), 1, "{refused:?}: {said:?}");
        let said = said[0].as_str().unwrap();
        assert!(said.contains(program) && said.contains(lost), "{refused:?}: {said}");

        let hooks = &report.json()["capture"]["hooks"];
        assert_eq!(hooks["arrival"].is_string(), program != "data_ready", "{hooks}");
        assert_eq!(hooks["connections"].is_string(), program != "set_state", "{hooks}");
        let server = report.rows("http").role("server");
        // A connection that nobody told of is known from its first read on: that request's arrival is not.
        if program != "set_state" {
            let clock = if program == "data_ready" { "read" } else { "arrival" };
            assert!(
                server.iter().all(|row| row["clock"] == clock),
                "{refused:?}: {:#}",
                report.json()["http"]
            );
        }
        let queue = server.iter().any(|row| row["phases"]["queue"].is_object());
        assert_eq!(queue, program != "data_ready", "a queue time without an arrival is invented");
    }
}

/// Event loops are watched as a whole or, where their ends would not be seen, not at all; exchanges do not suffer.
#[test]
fn each_hook_of_event_loops_that_is_refused_costs_only_what_it_gives() {
    for (refused, program, watched) in [
        (&[Refused::Program("wait_enter", EINVAL)][..], "wait_enter", false),
        (&[Refused::Program("wait_exit", EACCES)], "wait_exit", false),
        (&[Refused::Program("loop_exit", EINVAL)], "loop_exit", false),
        (&[Refused::Program("loop_exec", EINVAL)], "loop_exec", true),
        (&[Refused::Program("loop_switch", EINVAL)], "loop_switch", true),
        (&[Refused::Tracepoint("sched_switch", ENOENT)], "loop_switch", true),
        (&[Refused::Tracepoint("sched_wakeup", EPERM)], "loop_wake", true),
    ] {
        let report = record(refused).report().unwrap();
        assert_eq!(counts(&report), [REQUESTS; 2], "{refused:?}: {:#}", report.json()["http"]);
        assert!(report.lost().is_empty(), "{refused:?}: {:?}", report.lost());
        let said = report.json()["capture"]["limits"].as_array().unwrap();
        assert!(said.len() == 1 && said[0].as_str().unwrap().contains(program), "{refused:?}: {said:?}");
        let hooks = &report.json()["capture"]["hooks"];
        assert_eq!(hooks["loops"].is_string(), watched, "{refused:?}: {hooks}");
    }
}

#[test]
fn with_every_optional_hook_refused_requests_are_counted_all_the_same() {
    const REFUSED: &[Refused] = &[
        Refused::Tracepoint("sk_data_ready", ENOENT),
        Refused::Tracepoint("inet_sock_set_state", ENOENT),
        Refused::Tracepoint("sched_process_fork", ENOENT),
        Refused::Tracepoint("sched_process_exec", ENOENT),
        Refused::Tracepoint("sched_process_exit", ENOENT),
        Refused::Tracepoint("sched_switch", ENOENT),
        Refused::Tracepoint("sched_wakeup", ENOENT),
    ];
    // Two programs hang on the end of a process and on its change of program.
    const TWICE: usize = 2;
    let report = record(REFUSED).report().unwrap();
    assert_eq!(counts(&report), [REQUESTS; 2], "{:#}", report.json()["http"]);
    let said = report.json()["capture"]["limits"].as_array().unwrap();
    assert_eq!(said.len(), REFUSED.len() + TWICE, "{said:#?}");
}

#[test]
fn a_kernel_without_socket_tracepoints_gets_the_next_best() {
    const OLD: &[Refused] =
        &[Refused::Tracepoint("sock_send_length", ENOENT), Refused::Tracepoint("sock_recv_length", ENOENT)];
    // One of the two is refused after the other was attached: nothing of the first may stay and count twice.
    const HALF: &[Refused] = &[Refused::Tracepoint("sock_recv_length", ENOENT)];
    for refused in [OLD, HALF] {
        let report = record(refused).report().unwrap();
        assert_eq!(report.json()["capture"]["hooks"]["socket"], "syscall-exit", "{refused:?}");
        assert_eq!(counts(&report), [REQUESTS; 2], "{refused:?}: {:#}", report.json()["http"]);
        assert!(report.lost().is_empty(), "{:?}", report.lost());
    }
    const OLDER: &[Refused] =
        &[Refused::Tracepoint("sock_send_length", ENOENT), Refused::Program("call_exit", EINVAL)];
    let report = record(OLDER).report().unwrap();
    assert_eq!(report.json()["capture"]["hooks"]["socket"], "raw-exit", "{}", limits(&report));
    assert_eq!(counts(&report), [REQUESTS; 2], "{:#}", report.json()["http"]);
}

/// What was attached for one way to see sockets goes when that way fails; what was attached for event loops stays.
#[test]
fn a_way_that_fails_takes_no_event_loop_with_it() {
    const HALF: &[Refused] = &[Refused::Tracepoint("sock_recv_length", ENOENT)];
    let server = Stalling::start(LoopRuntime::Asyncio).unwrap();
    let mut hostprof = command(["record", "--format", "json", "--pid", &server.pid().to_string()]).unwrap();
    refuse(&mut hostprof, HALF).unwrap();
    let running = Running::attached(&mut hostprof).unwrap();
    // A wait that began before the attach is not known to be a loop's.
    server.get("wait", 1).unwrap();
    server.get("sleep", 200).unwrap();
    let report = running.end(libc::SIGINT).unwrap().report().unwrap();
    assert_eq!(report.json()["capture"]["hooks"]["socket"], "syscall-exit", "{}", limits(&report));
    let loops = report.json()["event_loops"].as_array().unwrap();
    assert_eq!(loops.len(), 1, "{loops:#?}");
    assert_eq!(loops[0]["stalls"].as_array().unwrap().len(), 1, "{loops:#?}");
    server.stop().unwrap();
}

#[test]
fn with_no_way_to_see_sockets_it_ends_with_1_and_every_reason() {
    const NONE: &[Refused] = &[
        Refused::Tracepoint("sock_send_length", ENOENT),
        Refused::Program("call_exit", EINVAL),
        Refused::Tracepoint("sys_exit", EPERM),
    ];
    for verb in [&["record", "-d", "600s"][..], &["trace"], &["demo"]] {
        let ended = run(NONE, verb).wait().unwrap();
        assert_eq!((ended.code(), ended.stdout.as_str()), (Some(1), ""), "{ended}");
        let line = ended.complaint().unwrap();
        for part in ["sock-tracepoints", "syscall-exit", "raw-exit", "doctor"] {
            assert!(line.contains(part), "no {part} in {line}");
        }
    }
    let doctor = run(NONE, &["doctor"]).wait().unwrap();
    assert!(doctor.is_clean() && doctor.code() == Some(1), "{doctor}");
    for way in ["sock-tracepoints", "syscall-exit", "raw-exit"] {
        assert!(doctor.stdout.contains(&format!("no   hook-{way}")), "{doctor}");
    }
    assert!(doctor.stdout.contains("cannot run here"), "{doctor}");
}

#[test]
fn the_text_and_doctor_say_what_is_missing() {
    const NO_ARRIVAL: &[Refused] = &[Refused::Tracepoint("sk_data_ready", ENOENT)];
    let text = run(NO_ARRIVAL, &["record", "-d", "100ms"]).wait().unwrap();
    assert!(text.code() == Some(0) && text.is_clean(), "{text}");
    let words = text.stdout.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(words.contains("Limits of this run - No arrival times of requests: durations start"), "{text}");
    let doctor = run(NO_ARRIVAL, &["doctor"]).wait().unwrap();
    assert!(doctor.code() == Some(0) && doctor.stdout.contains("no   hook-data_ready"), "{doctor}");
}
