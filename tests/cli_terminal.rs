//! Terminals, pipes and signals: what a person or a script does to a running hostprof ends it with 0 and with its
//! report, and never with a panic.

use std::{
    path::Path,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::Duration,
};

use hostprof_tests::{
    Address, HttpServer, Listen, Report, Runtime, Terminal,
    cli::{self, Ended, Running, command, shell},
    midway::Going,
    process::temp_dir,
    wrk,
};

fn ended(script: &str) -> Ended {
    let ended = Running::start(&mut shell(script).unwrap()).unwrap().wait().unwrap();
    assert!(ended.is_clean(), "{ended}");
    ended
}

/// Runs `body` while requests go to and fro.
fn under_load<T>(body: impl FnOnce(&Address) -> T) -> T {
    let server = HttpServer::start(Runtime::Go, Listen::Tcp).unwrap();
    let address = server.address().clone();
    let flag = AtomicBool::new(true);
    let result = thread::scope(|scope| {
        let _going = Going::start(&flag);
        scope.spawn(|| {
            wrk::run_until(&address, "/items/1", 1, || !flag.load(Ordering::Relaxed)).unwrap();
        });
        body(&address)
    });
    server.stop().unwrap();
    result
}

#[test]
fn ctrl_c_sigterm_and_a_hangup_end_a_recording_with_its_report() {
    for signal in [libc::SIGINT, libc::SIGTERM, libc::SIGHUP] {
        let running = Running::attached(&mut command(["record", "--format", "json"]).unwrap()).unwrap();
        let ended = running.end(signal).unwrap();
        assert!(ended.complaints().is_empty() && ended.is_clean(), "{ended}");
        let report = ended.report().unwrap();
        assert!(report.json()["window"]["seconds"].as_f64().unwrap() < 29.0, "it went on");
    }
}

#[test]
fn a_hangup_that_nohup_ignores_stays_ignored() {
    let script = "trap '' HUP; exec \"$HOSTPROF\" record -d 600s --format json";
    let running = Running::attached(&mut shell(script).unwrap()).unwrap();
    running.signal(libc::SIGHUP);
    thread::sleep(Duration::from_millis(300));
    let alive = Path::new(&format!("/proc/{}/fd", running.pid())).exists();
    assert!(alive, "the hangup ended it");
    running.end(libc::SIGINT).unwrap().report().unwrap();
}

#[test]
fn a_reader_that_has_enough_ends_a_trace() {
    under_load(|_| {
        for (format, start) in [("text", ""), ("json", "{\"type\":\"exchange\"")] {
            let ended = ended(&format!("\"$HOSTPROF\" trace --format {format} | head -1"));
            assert_eq!((ended.code(), ended.stdout.lines().count()), (Some(0), 1), "{ended}");
            assert!(ended.stdout.starts_with(start), "{ended}");
            assert!(ended.complaints().is_empty(), "{ended}");
        }
    });
}

#[test]
fn a_reader_that_has_gone_ends_a_trace_without_traffic() {
    // What this filter lets through is never there.
    let ended = ended("\"$HOSTPROF\" trace --comm no-such-name | true");
    assert_eq!(ended.code(), Some(0), "{ended}");
}

#[test]
fn pipes_that_nobody_reads_end_with_0() {
    for script in [
        "\"$HOSTPROF\" record -d 200ms | true",
        "\"$HOSTPROF\" record -d 200ms 2>&1 | true",
        "\"$HOSTPROF\" record -d 200ms -o /dev/stdout | true",
        "\"$HOSTPROF\" doctor | true",
        "\"$HOSTPROF\" --help | true",
    ] {
        assert_eq!(ended(script).code(), Some(0), "{script}: {}", ended(script));
    }
    // Nobody hears of a failure on stderr, and it is one all the same.
    assert_eq!(ended("\"$HOSTPROF\" record -o /nonexistent/x 2>&1 | true").code(), Some(1));
}

#[test]
fn a_full_stdout_ends_with_1_and_says_so() {
    let full = ended("\"$HOSTPROF\" record -d 200ms > /dev/full");
    assert_eq!(full.code(), Some(1), "{full}");
    assert!(full.complaint().unwrap().contains("stdout"), "{full}");
    under_load(|_| {
        let full = ended("\"$HOSTPROF\" trace > /dev/full");
        assert_eq!(full.code(), Some(1), "{full}");
        assert!(full.complaint().unwrap().contains("stdout"), "{full}");
    });
}

#[test]
fn streams_that_are_closed_are_no_harm() {
    let dir = temp_dir().unwrap();
    let file = dir.path().join("report.json").display().to_string();
    let script = format!("\"$HOSTPROF\" record -d 200ms -o {file} <&- >&- 2>&-");
    assert_eq!(ended(&script).code(), Some(0));
    Report::parse(&cli::read(file.as_ref()).unwrap()).unwrap();
}

#[test]
fn progress_is_on_stderr_alone_and_one_line_where_no_terminal_is() {
    let ended = cli::run(&["record", "-d", "1s", "--format", "json"]).unwrap();
    assert!(ended.stdout.starts_with('{'), "{ended}");
    assert_eq!(ended.stderr.lines().count(), 1, "{ended}");
    assert!(!ended.stdout.contains('\x1b') && !ended.stderr.contains(['\x1b', '\r']), "{ended:?}");
}

#[test]
fn on_a_terminal_progress_moves_and_is_wiped() {
    let mut command = command(["record", "-d", "3500ms"]).unwrap();
    let (status, seen) = Terminal::start(&mut command, 100).unwrap().wait().unwrap();
    assert!(status.success(), "{seen}");
    let shown = |second: u32| seen.contains(&format!("recording {second} of 3 s, "));
    // Where there is other work it may miss one.
    assert!((0..=3).filter(|second| shown(*second)).count() > 1, "{seen:?}");
    let report = seen.find("hostprof 0").unwrap();
    let (progress, report) = seen.split_at(report);
    assert!(progress.trim_end_matches("\x1b[1m").ends_with("\r\x1b[K"), "{progress:?}");
    assert!(!progress.contains('\n'), "{progress:?}");
    assert!(!report.contains("recording "), "{report:?}");
}

#[test]
fn ctrl_c_at_a_terminal_ends_a_recording_with_its_report() {
    let mut command = command(["record", "-d", "600s"]).unwrap();
    let mut terminal = Terminal::start(&mut command, 80).unwrap();
    terminal.wait_for(" of 600 s").unwrap();
    terminal.press("\x03").unwrap();
    let (status, seen) = terminal.wait().unwrap();
    assert!(status.success(), "{seen}");
    assert!(seen.contains("hostprof itself used"), "{seen}");
}

#[test]
fn colours_are_for_terminals_and_not_with_no_color() {
    let colours = |arguments: &str, environment: &[(&str, &str)]| {
        let mut command = shell(&format!("exec \"$HOSTPROF\" {arguments} 2>/dev/null")).unwrap();
        command.env_remove("NO_COLOR").envs(environment.iter().copied());
        let (status, seen) = Terminal::start(&mut command, 100).unwrap().wait().unwrap();
        assert!(status.success() && seen.contains("hostprof"), "{seen}");
        seen.contains("\x1b[")
    };
    let record = "record -d 200ms";
    assert!(colours(record, &[]));
    assert!(colours(record, &[("NO_COLOR", "")]), "an empty NO_COLOR is none (no-color.org)");
    assert!(!colours(record, &[("NO_COLOR", "1")]));
    assert!(!colours(record, &[("TERM", "dumb")]));
    assert!(!colours("record -d 200ms --color never", &[]));
    assert!(colours("record -d 200ms --color always", &[("NO_COLOR", "1")]));
    assert!(!colours("record -d 200ms --format json", &[]));
    assert!(!cli::run(&["record", "-d", "200ms"]).unwrap().stdout.contains('\x1b'), "colours in a file");
}

#[test]
fn no_line_is_wider_than_the_terminal() {
    for columns in [80_u16, 140] {
        for verb in ["demo -d 1s", "doctor"] {
            let script = format!("exec \"$HOSTPROF\" {verb} --color never 2>/dev/null");
            let (status, seen) =
                Terminal::start(&mut shell(&script).unwrap(), columns).unwrap().wait().unwrap();
            assert!(status.success() && seen.lines().count() > 10, "{seen}");
            for line in seen.lines() {
                assert!(line.trim_end().chars().count() <= usize::from(columns), "{columns}: {line}");
            }
        }
    }
}
