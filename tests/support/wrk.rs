//! wrk, the load generator: as many requests as a number of connections will carry.

use std::{process::Command, thread, time::Duration};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use crate::{
    address::Address,
    install::{app, program},
    process::{PATIENCE, Process, temp_dir},
};

/// What wrk counted. A request that was cut at the end is in none of the numbers.
#[derive(Debug, Clone, PartialEq)]
pub struct Load {
    pub pid: u32,
    /// Complete responses.
    pub requests: u64,
    pub duration: Duration,
    /// Of the responses, heads included.
    pub bytes: u64,
    /// Failed connects, reads and writes, and time-outs.
    pub socket_errors: u64,
    /// Responses with a status above 399.
    pub status_errors: u64,
    /// The median response time.
    pub p50: Duration,
}

/// Runs wrk against `target` of the server at `address`.
pub fn run(address: &Address, target: &str, connections: u32, duration: Duration) -> Result<Load> {
    let mut command = command(address, target, connections, duration)?;
    let (pid, stdout) = Process::run("wrk", &mut command, duration + PATIENCE)?;
    Load::parse(pid, &stdout)
}

/// Runs wrk until `done` says so: no connection ends before that.
pub fn run_until(
    address: &Address,
    target: &str,
    connections: u32,
    mut done: impl FnMut() -> bool,
) -> Result<Load> {
    let dir = temp_dir()?;
    let mut command = command(address, target, connections, Duration::from_secs(600))?;
    let mut process = Process::start("wrk", &mut command, dir.path())?;
    while !done() {
        thread::sleep(Duration::from_millis(5));
    }
    // As Ctrl-C does: it counts what there is.
    process.signal(libc::SIGINT);
    let status = process.wait(PATIENCE)?;
    ensure!(status.success(), "wrk failed ({status}):\n{}", process.stderr());
    Load::parse(process.id(), &process.stdout())
}

fn command(address: &Address, target: &str, connections: u32, duration: Duration) -> Result<Command> {
    let threads = connections.min(2);
    let mut command = Command::new(program("wrk")?);
    command
        .args(["--threads", &threads.to_string(), "--connections", &connections.to_string()])
        // Its own patience of two seconds is a busy machine's, not an error of the server's.
        .args(["--timeout", "60s"])
        .args(["--duration", &format!("{}s", duration.as_secs().max(1)), "--script"])
        .arg(app("wrk_report.lua"))
        .arg(format!("http://{address}{target}"));
    Ok(command)
}

impl Load {
    /// From the last line of what wrk printed.
    fn parse(pid: u32, stdout: &str) -> Result<Self> {
        let line = stdout.lines().last().unwrap_or_default();
        let report: Value =
            serde_json::from_str(line).with_context(|| format!("wrk printed no report:\n{stdout}"))?;
        let number =
            |name: &str| report[name].as_u64().with_context(|| format!("wrk reported no {name}: {line}"));
        Ok(Self {
            pid,
            requests: number("requests")?,
            duration: Duration::from_micros(number("microseconds")?),
            bytes: number("bytes")?,
            socket_errors: number("connect")? + number("read")? + number("write")? + number("timeout")?,
            status_errors: number("status")?,
            p50: Duration::from_micros(number("p50")?),
        })
    }
}
