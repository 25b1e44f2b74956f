//! The line of code of a stall, read while it lasts: the right one, of the right thread, or none.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use hostprof_tests::{
    Address, HttpClient, Process, Recording, Trace,
    install::{app, program, service},
    process::temp_dir,
    stall_match::is_starved,
};
use serde_json::Value;
use tempfile::TempDir;

/// Stalls of one kind. Long enough for a look on a machine that has much else to do.
const STALLS: usize = 4;
const STALL_MS: u32 = 400;
/// Looks in a second at all processes, and as many at once.
const RATE: f64 = 50.0;

/// A file that is removed when this is dropped.
struct Remove(PathBuf);

impl Drop for Remove {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

/// A server with marked lines.
struct Server {
    process: Process,
    address: Address,
    _dir: TempDir,
}

impl Server {
    fn start(name: &str, command: impl FnOnce(&str) -> Result<Command>) -> Result<Self> {
        let dir = temp_dir()?;
        let address = Address::free_port()?;
        let mut command = command(&address.port()?.to_string())?;
        // Node leaves a log where it is started.
        if command.get_current_dir().is_none() {
            command.current_dir(app(""));
        }
        let mut process = Process::start(name, &mut command, dir.path())?;
        process.wait_until("it accepted a connection", |_| address.connect().is_ok())?;
        Ok(Self { process, address, _dir: dir })
    }

    fn uvicorn(event_loop: &str) -> Result<Self> {
        Self::start(event_loop, |port| {
            let mut command = Command::new(service("venv/bin/python")?);
            command.args(["-B", "-m", "uvicorn", "places:app", "--no-access-log", "--host", "127.0.0.1"]);
            command.args(["--loop", event_loop, "--port", port]);
            Ok(command)
        })
    }

    /// A Python that looks like another one from here: its files lie elsewhere in its own mount namespace, and its
    /// processes have other numbers.
    fn contained(python: &Path) -> Result<Self> {
        let folder = python.parent().context("python lies in no folder")?.to_owned();
        let name = python.file_name().context("python has no name")?.to_owned();
        Self::start("contained", |port| {
            let mut command = Command::new(program("unshare")?);
            command.args(["--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "sh", "-c"]);
            command.arg("mount --bind \"$1\" /mnt && exec \"/mnt/$2\" -B places.py \"$3\"");
            command.arg("sh").arg(folder).arg(name).arg(port);
            Ok(command)
        })
    }

    fn get(&self, kind: &str, milliseconds: u32) -> Result<()> {
        let response = HttpClient::new(&self.address).get(&format!("/{kind}/{milliseconds}"))?;
        ensure!(response.status == 200, "status {}", response.status);
        Ok(())
    }

    /// Its stalls among trace's lines that are over.
    fn stalls<'a>(&self, lines: &'a [Value]) -> Vec<&'a Value> {
        let pids = self.process.pids();
        let ours = |line: &&Value| {
            line["type"] == "stall"
                && line["ongoing"] == false
                && pids.iter().any(|pid| line["pid"] == u64::from(*pid))
        };
        lines.iter().filter(ours).collect()
    }
}

/// The line of an app's source with this mark.
fn line_of(app_name: &str, kind: &str) -> Result<u64> {
    let source = std::fs::read_to_string(app(app_name))?;
    let mark = format!("# place: {kind}");
    let at = source.lines().position(|line| line.ends_with(&mark)).context("no such mark")?;
    Ok(at as u64 + 1)
}

fn frames(stall: &Value) -> impl Iterator<Item = &Value> {
    stall["stack"].as_array().into_iter().flatten()
}

/// The innermost frame of the application's own code.
fn place<'a>(stall: &'a Value, file: &str) -> Option<(&'a str, u64)> {
    let own = frames(stall).find(|frame| frame["file"].as_str().is_some_and(|f| f.ends_with(file)))?;
    Some((own["function"].as_str()?, own["line"].as_u64()?))
}

/// Has the loop held in one way; returns the stalls once their number is right.
fn held(server: &Server, kind: &str, arguments: &[&str]) -> Result<Vec<Value>> {
    server.get("wait", 1)?;
    let trace = Trace::start(arguments)?;
    for _ in 0..STALLS {
        server.get(kind, STALL_MS)?;
    }
    trace.settle(|lines| server.stalls(lines).len())?;
    let lines = trace.finish_whole()?;
    let stalls: Vec<_> = server.stalls(&lines).into_iter().cloned().collect();
    // A starved machine adds stalls of its own.
    let stalls: Vec<_> = if stalls.len() > STALLS {
        stalls.into_iter().filter(|stall| !is_starved(stall)).collect()
    } else {
        stalls
    };
    ensure!(stalls.len() == STALLS, "{kind}: {} stalls instead of {STALLS}: {stalls:#?}", stalls.len());
    Ok(stalls)
}

fn check_lines(server: &Server, kinds: &[&str]) -> Result<()> {
    for kind in kinds {
        let line = line_of("places.py", kind)?;
        for stall in held(server, kind, &[])? {
            // Where a handler that computes is inside of the marked line differs from moment to moment.
            let marked = frames(&stall).find(|frame| frame["function"] == *kind);
            let marked = marked.with_context(|| format!("{kind}: not in its stack: {stall:#}"))?;
            ensure!(marked["line"] == line, "{kind}: not line {line}: {stall:#}");
            if *kind != "cpu" {
                ensure!(place(&stall, "places.py") == Some((*kind, line)), "{kind}, {line}: {stall:#}");
            }
            ensure!(stall.get("lock_holder").is_none(), "{kind}: nobody else had the lock: {stall:#}");
        }
    }
    Ok(())
}

#[test]
fn the_line_of_a_python_handler() -> Result<()> {
    for event_loop in ["asyncio", "uvloop"] {
        let server = Server::uvicorn(event_loop)?;
        check_lines(&server, &["sleep", "cpu", "read", "parse", "fsync", "flock", "child"])?;
        server.process.stop()?;
    }
    Ok(())
}

#[test]
fn the_line_of_a_python_in_other_namespaces() -> Result<()> {
    let server = Server::contained(&service("venv/bin/python")?.canonicalize()?)?;
    check_lines(&server, &["sleep", "cpu"])
    // unshare pays no heed to SIGTERM while its child lives; dropping the server kills both.
}

#[test]
fn who_had_the_interpreters_lock() -> Result<()> {
    let server = Server::uvicorn("asyncio")?;
    server.get("wait", 1)?;
    let trace = Trace::start(&[])?;
    thread::scope(|scope| -> Result<()> {
        let worker = scope.spawn(|| server.get("json", 2_000));
        // Each of these has to wait for the lock.
        while !worker.is_finished() {
            server.get("wait", 50)?;
        }
        worker.join().expect("the client panicked")
    })?;
    trace.settle(|lines| server.stalls(lines).len())?;
    let lines = trace.finish_whole()?;
    let stalls = server.stalls(&lines);
    let contended: Vec<_> = stalls.iter().filter(|stall| stall["cause"] == "interpreter-lock").collect();
    ensure!(!contended.is_empty(), "no stall for the lock: {stalls:#?}");
    for stall in contended {
        let holder = &stall["lock_holder"];
        let names = holder["stack"].as_array().into_iter().flatten().map(|frame| &frame["function"]);
        ensure!(names.into_iter().any(|name| name == "decode_large"), "another holder: {stall:#}");
        ensure!(holder["tid"] != stall["tid"], "the loop itself: {stall:#}");
    }
    server.process.stop()
}

#[test]
fn the_function_of_a_node_handler() -> Result<()> {
    let folder = temp_dir()?;
    let server = Server::start("node", |port| {
        let mut command = Command::new(program("node")?);
        command.current_dir(folder.path()).arg("--perf-basic-prof").arg(app("places.js")).arg(port);
        Ok(command)
    })?;
    let _map = Remove(PathBuf::from(format!("/tmp/perf-{}.map", server.process.id())));
    // Only code that the runtime has compiled has a name.
    for _ in 0..20 {
        server.get("cpu", 50)?;
    }
    for stall in held(&server, "cpu", &[])? {
        let named = frames(&stall).any(|frame| {
            frame["function"] == "compute"
                && frame["file"].as_str().is_some_and(|file| file.ends_with("places.js"))
        });
        ensure!(named, "the handler's function is not in the stack: {stall:#}");
    }
    for stall in held(&server, "sleep", &[])? {
        ensure!(frames(&stall).count() > 1, "not even native frames: {stall:#}");
    }
    server.process.stop()
}

#[test]
fn off_is_off() -> Result<()> {
    let server = Server::uvicorn("asyncio")?;
    for stall in held(&server, "sleep", &["--stacks", "off"])? {
        ensure!(stall.get("stack").is_none(), "a stack though they are off: {stall:#}");
    }
    server.process.stop()
}

#[test]
fn a_program_that_becomes_another_or_ends_has_none_and_the_next_one_has() -> Result<()> {
    let other = Server::uvicorn("asyncio")?;
    other.get("wait", 1)?;
    let recording = Recording::start(&[])?;
    for kind in ["become", "die"] {
        let mut doomed = Server::start(kind, |port| {
            let mut command = Command::new(service("venv/bin/python")?);
            command.args(["-B", "places.py", port]);
            Ok(command)
        })?;
        doomed.get("wait", 1)?;
        // Nobody answers it.
        ensure!(doomed.get(kind, STALL_MS).is_err(), "{kind}: it answered");
        if kind == "die" {
            doomed.process.wait(Duration::from_secs(60))?;
        }
    }
    for _ in 0..3 {
        other.get("sleep", STALL_MS)?;
    }
    thread::sleep(Duration::from_millis(300));
    let report = recording.finish()?;
    let line = line_of("places.py", "sleep")?;
    let loops = report.json()["event_loops"].as_array().into_iter().flatten();
    let stalls: Vec<_> = loops.filter_map(|row| row["stalls"].as_array()).flatten().collect();
    let right = stalls.iter().any(|stall| place(stall, "places.py") == Some(("sleep", line)));
    ensure!(right, "no stack of the server that goes on: {stalls:#?}");
    other.process.stop()
}

#[test]
fn fifty_loops_that_stall_at_once_are_not_looked_at_more_often() -> Result<()> {
    let dir = temp_dir()?;
    let mut command = Command::new(service("venv/bin/python")?);
    command.arg(app("many_loops.py")).args(["50", "400"]);
    let mut many = Process::start("many", &mut command, dir.path())?;
    many.wait_until("all loops ran", |process| process.stdout().contains("ready"))?;
    let begun = Instant::now();
    let recording = Recording::start(&[])?;
    thread::sleep(Duration::from_secs(4));
    let report = recording.finish()?;
    let most = RATE * (1.0 + begun.elapsed().as_secs_f64());
    let events = &report.json()["capture"]["loop_events"];
    let number = |name: &str| events[name].as_f64().unwrap_or(0.0);
    let looks = number("stacks_taken") + number("stacks_failed");
    ensure!(looks > 0.0 && looks <= most, "{looks} looks, {most} allowed: {events:#}");
    ensure!(number("stacks_skipped") > 0.0, "nothing was skipped: {events:#}");
    many.stop()
}
