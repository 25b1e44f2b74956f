//! Servers whose handlers hold the event loop on demand, and what they say of it on their own clock.

use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use tempfile::TempDir;

use crate::{
    address::Address,
    http_client::HttpClient,
    install::{app, built, program, root, service},
    process::{Process, temp_dir_in},
};

/// Whose event loop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LoopRuntime {
    Asyncio,
    Uvloop,
    Node,
    /// A worker, whose connections its master has accepted.
    NodeCluster,
    Aiohttp,
    /// Its connections are with other threads than the loop.
    Granian,
    /// With a runtime of one thread.
    Tokio,
    /// With a runtime of two threads, which share one set.
    TokioThreads,
}

/// A running server.
#[derive(Debug)]
pub struct Stalling {
    process: Process,
    address: Address,
    _dir: TempDir,
}

/// A handler that held the loop: by its own clock, in seconds.
#[derive(Debug, Clone, PartialEq)]
pub struct Held {
    pub kind: String,
    /// On the monotonic clock, ns.
    pub start: u64,
    pub end: u64,
    pub seconds: f64,
    /// By the kernel's own count: its thread on the CPU, and in the run queue.
    pub on_cpu: f64,
    pub run_queue: f64,
}

impl LoopRuntime {
    /// The usual ones.
    pub const ALL: [Self; 3] = [Self::Asyncio, Self::Uvloop, Self::Node];

    fn command(self, port: u16) -> Result<Command> {
        let port = port.to_string();
        let mut command = match self {
            Self::Asyncio | Self::Uvloop => {
                let event_loop = if self == Self::Asyncio { "asyncio" } else { "uvloop" };
                let mut command = python()?;
                command.args(["-m", "uvicorn", "stalls:app", "--no-access-log"]);
                command.args(["--host", "127.0.0.1", "--loop", event_loop, "--port"]);
                command
            }
            Self::Aiohttp => {
                let mut command = python()?;
                command.arg("stalls_aiohttp.py");
                command
            }
            Self::Granian => {
                let mut command = python()?;
                command.args(["-m", "granian", "--interface", "asgi", "stalls:app", "--no-access-log"]);
                command.args(["--host", "127.0.0.1", "--loop", "asyncio", "--port"]);
                command
            }
            Self::Node | Self::NodeCluster => {
                let mut command = Command::new(program("node")?);
                command.arg(app("stalls.js"));
                command
            }
            Self::Tokio | Self::TokioThreads => Command::new(built("stalls-tokio")?),
        };
        command.arg(port);
        match self {
            Self::NodeCluster => command.arg("cluster"),
            Self::TokioThreads => command.arg("threads"),
            _ => &mut command,
        };
        Ok(command)
    }
}

impl Stalling {
    /// Starts the server and waits until it serves.
    pub fn start(runtime: LoopRuntime) -> Result<Self> {
        Self::start_with(runtime, None)
    }

    /// The same for one whose handlers send queries to this database.
    pub fn start_with(runtime: LoopRuntime, mysql: Option<&Address>) -> Result<Self> {
        // On a disk: in memory nothing has to be waited for.
        let dir = temp_dir_in(&root().join("target"))?;
        let address = Address::free_port()?;
        let mut command = runtime.command(address.port()?)?;
        command.env("STALLS_DIR", dir.path()).env("no_proxy", "127.0.0.1");
        if let Some(mysql) = mysql {
            command.env("STALLS_MYSQL_PORT", mysql.port()?.to_string());
        }
        let mut process = Process::start(&format!("{runtime:?}"), &mut command, dir.path())?;
        // Where a master listens there may be no worker yet.
        process.wait_until("it answered", |_| HttpClient::new(&address).get("/wait/1").is_ok())?;
        Ok(Self { process, address, _dir: dir })
    }

    pub fn pid(&self) -> u32 {
        self.process.id()
    }

    pub fn address(&self) -> &Address {
        &self.address
    }

    /// The process whose handlers hold the loop, and those that it has started, or that have started it.
    pub fn pids(&self) -> Vec<u32> {
        self.process.pids()
    }

    /// Has a handler hold the loop for so long, in one of the ways of its app, or wait without holding it.
    pub fn get(&self, kind: &str, milliseconds: u32) -> Result<()> {
        self.get_through(&self.address, kind, milliseconds)
    }

    /// The same through a server in front of it.
    pub fn get_through(&self, address: &Address, kind: &str, milliseconds: u32) -> Result<()> {
        let mut client = HttpClient::new(address);
        let response = client.get(&format!("/{kind}/{milliseconds}"))?;
        ensure!(response.status == 200, "status {}", response.status);
        Ok(())
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: i32) {
        self.process.signal(signal);
    }

    /// What the handlers said, in order.
    pub fn held(&self) -> Result<Vec<Held>> {
        let stdout = self.process.stdout();
        let lines = stdout.lines().filter_map(|line| line.strip_prefix("held "));
        lines
            .map(|line| Held::parse(line).with_context(|| format!("no line of a handler's: {line}")))
            .collect()
    }

    /// The stalls among trace's lines that are this server's and are over, in order.
    pub fn stalls<'a>(&self, lines: &'a [Value]) -> Vec<&'a Value> {
        self.told(lines).filter(|line| line["ongoing"] == false).collect()
    }

    /// Those that were told of while they lasted.
    pub fn announced<'a>(&self, lines: &'a [Value]) -> Vec<&'a Value> {
        self.told(lines).filter(|line| line["ongoing"] == true).collect()
    }

    fn told<'a>(&self, lines: &'a [Value]) -> impl Iterator<Item = &'a Value> {
        let pids = self.pids();
        let ours = move |line: &Value| pids.iter().any(|pid| line["pid"] == *pid);
        lines.iter().filter(move |line| line["type"] == "stall" && ours(line))
    }

    /// Stops it and checks that no process is left.
    pub fn stop(self) -> Result<()> {
        self.process.stop()
    }
}

impl Held {
    fn parse(line: &str) -> Option<Self> {
        let mut words = line.split_whitespace();
        let kind = words.next()?.to_owned();
        let mut ns = || words.next()?.parse::<u64>().ok();
        let (start, end, on_cpu, run_queue) = (ns()?, ns()?, ns()?, ns()?);
        let seconds = |ns: u64| ns as f64 / 1e9;
        Some(Self {
            kind,
            start,
            end,
            seconds: seconds(end.checked_sub(start)?),
            on_cpu: seconds(on_cpu),
            run_queue: seconds(run_queue),
        })
    }
}

/// The Python of the servers, in the folder of the apps; compiled files would land beside the sources.
fn python() -> Result<Command> {
    let mut command = Command::new(service("venv/bin/python")?);
    command.current_dir(app("")).arg("-B");
    Ok(command)
}
