//! Servers whose handlers hold the event loop on demand, and what they say of it on their own clock.

use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use tempfile::TempDir;

use crate::{
    address::Address,
    database::Database,
    http_client::HttpClient,
    install::{app, program, root, service},
    process::Process,
};

/// Whose event loop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LoopRuntime {
    Asyncio,
    Uvloop,
    Node,
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
    pub seconds: f64,
}

impl LoopRuntime {
    pub const ALL: [Self; 3] = [Self::Asyncio, Self::Uvloop, Self::Node];

    fn command(self, port: u16) -> Result<Command> {
        let port = port.to_string();
        let event_loop = match self {
            Self::Node => {
                let mut command = Command::new(program("node")?);
                command.arg(app("stalls.js")).arg(port);
                return Ok(command);
            }
            Self::Asyncio => "asyncio",
            Self::Uvloop => "uvloop",
        };
        let mut command = Command::new(service("venv/bin/python")?);
        command.current_dir(app("")).args(["-B", "-m", "uvicorn", "stalls:app", "--no-access-log"]);
        command.args(["--host", "127.0.0.1", "--port", &port, "--loop", event_loop]);
        Ok(command)
    }
}

impl Stalling {
    /// Starts the server and waits until it accepts connections.
    pub fn start(runtime: LoopRuntime) -> Result<Self> {
        Self::launch(runtime, None)
    }

    /// The same for one whose handlers send queries to this database.
    pub fn start_beside(runtime: LoopRuntime, database: &Database) -> Result<Self> {
        Self::launch(runtime, Some(database))
    }

    fn launch(runtime: LoopRuntime, database: Option<&Database>) -> Result<Self> {
        // On a disk: in memory nothing has to be waited for.
        let dir = tempfile::tempdir_in(root().join("target")).context("failed to create a folder")?;
        let address = Address::free_port()?;
        let mut command = runtime.command(address.port()?)?;
        command.env("STALLS_DIR", dir.path());
        if let Some(database) = database {
            command.env("STALLS_MYSQL_PORT", database.tcp().port()?.to_string());
            command.env("STALLS_MYSQL_SOCKET", database.unix().to_string().trim_start_matches("unix:"));
        }
        let mut process = Process::start(&format!("{runtime:?}"), &mut command, dir.path())?;
        process.wait_until("it accepted a connection", |_| address.connect().is_ok())?;
        Ok(Self { process, address, _dir: dir })
    }

    pub fn pid(&self) -> u32 {
        self.process.id()
    }

    pub fn address(&self) -> &Address {
        &self.address
    }

    /// Has a handler hold the loop for so long (`sleep`, `spin`, in Python `receive`), or wait without holding it (any other name).
    pub fn get(&self, kind: &str, milliseconds: u32) -> Result<()> {
        let mut client = HttpClient::new(&self.address);
        let response = client.get(&format!("/{kind}/{milliseconds}"))?;
        ensure!(response.status == 200, "status {}", response.status);
        Ok(())
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: i32) {
        self.process.signal(signal);
    }

    /// What the handlers said, in order.
    pub fn held(&self) -> Vec<Held> {
        let stdout = self.process.stdout();
        let lines = stdout.lines().filter_map(|line| line.strip_prefix("held "));
        lines
            .filter_map(|line| {
                let mut words = line.split_whitespace();
                let kind = words.next()?.to_owned();
                let mut ns = || words.next()?.parse::<u64>().ok();
                let (start, end) = (ns()?, ns()?);
                Some(Held { kind, seconds: (end - start) as f64 / 1e9 })
            })
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
        let pid = u64::from(self.pid());
        lines.iter().filter(move |line| line["type"] == "stall" && line["pid"].as_u64() == Some(pid))
    }

    /// Stops it and checks that no process is left.
    pub fn stop(self) -> Result<()> {
        self.process.stop()
    }
}
