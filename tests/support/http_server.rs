//! The test service on the HTTP servers that Python, Node and Go programs use. All have the routes of
//! `tests/apps/asgi.py`.

use std::process::Command;

use anyhow::Result;
use tempfile::TempDir;

use crate::{
    address::Address,
    install::{app, program, service},
    process::{Process, temp_dir},
};

/// Which server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Runtime {
    UvicornAsyncio,
    UvicornUvloop,
    GunicornSync,
    GunicornThreads,
    Waitress,
    Node,
    Go,
}

/// What it listens on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Listen {
    Tcp,
    Unix,
}

/// A running test service.
#[derive(Debug)]
pub struct HttpServer {
    process: Process,
    address: Address,
    _dir: TempDir,
}

impl Runtime {
    /// The usual ones.
    pub const ALL: [Self; 5] =
        [Self::UvicornAsyncio, Self::UvicornUvloop, Self::GunicornSync, Self::Node, Self::Go];

    fn command(self, address: &Address) -> Result<Command> {
        let plain = match address {
            Address::Tcp(port) => port.to_string(),
            Address::Unix(path) => path.display().to_string(),
        };
        Ok(match self {
            Self::UvicornAsyncio => uvicorn("asyncio", "h11", address)?,
            Self::UvicornUvloop => uvicorn("uvloop", "httptools", address)?,
            Self::GunicornSync => {
                let mut command = python("gunicorn")?;
                command.args(["--workers", "2", "--bind", &address.to_string(), "wsgi:app"]);
                command
            }
            Self::GunicornThreads => {
                let mut command = python("gunicorn")?;
                command.args(["--worker-class", "gthread", "--workers", "2", "--threads", "4"]);
                command.args(["--bind", &address.to_string(), "wsgi:app"]);
                command
            }
            Self::Waitress => {
                let mut command = python("waitress")?;
                match address {
                    Address::Tcp(_) => command.arg(format!("--listen={address}")),
                    Address::Unix(path) => command.arg(format!("--unix-socket={}", path.display())),
                };
                command.arg("wsgi:app");
                command
            }
            Self::Node => {
                let mut command = Command::new(program("node")?);
                command.arg(app("server.js")).arg(plain);
                command
            }
            Self::Go => {
                let mut command = Command::new(service("go-programs/server")?);
                command.arg(plain);
                command
            }
        })
    }
}

impl HttpServer {
    /// Starts the service and waits until it accepts connections.
    pub fn start(runtime: Runtime, listen: Listen) -> Result<Self> {
        let dir = temp_dir()?;
        let address = match listen {
            Listen::Tcp => Address::free_port()?,
            Listen::Unix => Address::Unix(dir.path().join("http.sock")),
        };
        let mut command = runtime.command(&address)?;
        let mut process = Process::start(&format!("{runtime:?}"), &mut command, dir.path())?;
        process.wait_until("it accepted a connection", |_| address.connect().is_ok())?;
        Ok(Self { process, address, _dir: dir })
    }

    pub fn address(&self) -> &Address {
        &self.address
    }

    /// The service's processes: gunicorn's master and workers, or the only one.
    pub fn pids(&self) -> Vec<u32> {
        self.process.pids()
    }

    /// Stops it and checks that no process is left.
    pub fn stop(self) -> Result<()> {
        self.process.stop()
    }
}

fn uvicorn(event_loop: &str, http: &str, address: &Address) -> Result<Command> {
    let mut command = python("uvicorn")?;
    command.args(["asgi:app", "--no-access-log", "--loop", event_loop, "--http", http]);
    match address {
        Address::Tcp(port) => command.args(["--host", "127.0.0.1", "--port", &port.to_string()]),
        Address::Unix(path) => command.arg("--uds").arg(path),
    };
    Ok(command)
}

/// A Python module as a program, in the folder of the apps.
fn python(module: &str) -> Result<Command> {
    let mut command = Command::new(service("venv/bin/python")?);
    // Compiled files would land beside the sources.
    command.current_dir(app("")).args(["-B", "-m", module]);
    Ok(command)
}
