//! A Redis server that may be told to sleep, and a client that says for how long it did by the server's own clock.

use std::{
    io::{Read as _, Write as _},
    net::{Ipv4Addr, TcpStream},
    process::Command,
};

use anyhow::{Context as _, Result, ensure};
use tempfile::TempDir;

use crate::{
    address::Address,
    install::program,
    process::{PATIENCE, Process, temp_dir},
    stalling::Held,
    times::now,
};

/// A running server with one client.
#[derive(Debug)]
pub struct Redis {
    process: Process,
    client: TcpStream,
    _dir: TempDir,
}

impl Redis {
    /// Starts the server, without a file of its data, and connects.
    pub fn start() -> Result<Self> {
        let dir = temp_dir()?;
        let port = Address::free_port()?.port()?;
        let connect = || TcpStream::connect((Ipv4Addr::LOCALHOST, port));
        let mut command = Command::new(program("redis-server")?);
        command.current_dir(dir.path()).args(["--bind", "127.0.0.1", "--save", "", "--daemonize", "no"]);
        command.args(["--enable-debug-command", "yes", "--slowlog-log-slower-than", "100000"]);
        command.args(["--port", &port.to_string()]);
        let mut process = Process::start("redis", &mut command, dir.path())?;
        process.wait_until("it accepted a connection", |_| connect().is_ok())?;
        let client = connect().context("failed to connect to redis")?;
        client.set_read_timeout(Some(PATIENCE)).context("failed to limit the patience")?;
        Ok(Self { process, client, _dir: dir })
    }

    pub fn pid(&self) -> u32 {
        self.process.id()
    }

    /// Has it answer at once.
    pub fn ping(&mut self) -> Result<()> {
        let answer = self.ask("PING")?;
        ensure!(answer == "+PONG\r\n", "redis answered {answer:?}");
        Ok(())
    }

    /// Has its loop held for so long; how long that was is in its log of slow commands.
    pub fn sleep(&mut self, seconds: f64) -> Result<Held> {
        self.ask("SLOWLOG RESET")?;
        let start = now(libc::CLOCK_MONOTONIC);
        let answer = self.ask(&format!("DEBUG SLEEP {seconds}"))?;
        let end = now(libc::CLOCK_MONOTONIC);
        ensure!(answer == "+OK\r\n", "redis answered {answer:?}");
        // Of the only entry: its number, the time of day, and microseconds.
        let log = self.ask("SLOWLOG GET 1")?;
        let microseconds: f64 = log
            .split("\r\n")
            .filter_map(|line| line.strip_prefix(':')?.parse().ok())
            .nth(2)
            .with_context(|| format!("no duration in {log:?}"))?;
        let seconds = microseconds / 1e6;
        Ok(Held { kind: "sleep".into(), start, end, seconds, on_cpu: 0.0, run_queue: 0.0 })
    }

    /// Sends a command and reads what fits into one answer of some hundred bytes.
    fn ask(&mut self, command: &str) -> Result<String> {
        self.client.write_all(format!("{command}\r\n").as_bytes()).context("failed to write to redis")?;
        let mut answer = vec![0; 4_096];
        let length = self.client.read(&mut answer).context("no answer of redis")?;
        Ok(String::from_utf8_lossy(&answer[..length]).into_owned())
    }

    /// Stops it and checks that no process is left.
    pub fn stop(self) -> Result<()> {
        self.process.stop()
    }
}
