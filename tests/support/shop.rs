//! `tests/apps/connections_wsgi.py` under gunicorn: a service that asks MariaDB once for each request.

use std::process::Command;

use anyhow::Result;
use tempfile::TempDir;

use crate::{
    address::Address,
    http_client::HttpClient,
    install::{app, service},
    process::{Process, temp_dir},
};

/// How it comes to its connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sessions {
    /// One for each request.
    Fresh,
    /// One for each process, kept open.
    Kept,
    /// A pool of so many in one process, for so many threads.
    Pool { sessions: usize, threads: usize },
}

/// A running service.
#[derive(Debug)]
pub struct Shop {
    process: Process,
    address: Address,
    _dir: TempDir,
}

impl Shop {
    /// Starts the service and waits until it answers.
    pub fn start(sessions: Sessions, mysql: &Address) -> Result<Self> {
        let dir = temp_dir()?;
        let address = Address::free_port()?;
        let mut command = Command::new(service("venv/bin/python")?);
        // Compiled files would land beside the sources.
        command.current_dir(app("")).args(["-B", "-m", "gunicorn", "--bind", &address.to_string()]);
        let mode = match sessions {
            Sessions::Fresh => "fresh".to_owned(),
            Sessions::Kept => "kept".to_owned(),
            Sessions::Pool { sessions, .. } => sessions.to_string(),
        };
        match sessions {
            Sessions::Pool { threads, .. } => {
                command.args(["--worker-class", "gthread", "--threads", &threads.to_string()])
            }
            _ => command.args(["--workers", "2"]),
        };
        command.arg("connections_wsgi:app");
        command.env("CONNECTIONS", mode).env("MYSQL_PORT", mysql.port()?.to_string());
        let mut process = Process::start("shop", &mut command, dir.path())?;
        process.wait_until("its workers had started", |process| {
            let workers = if matches!(sessions, Sessions::Pool { .. }) { 1 } else { 2 };
            process.stderr().matches("Booting worker").count() == workers
                && HttpClient::new(&address).get("/items/1").is_ok_and(|answer| answer.status == 200)
        })?;
        Ok(Self { process, address, _dir: dir })
    }

    pub fn address(&self) -> &Address {
        &self.address
    }

    /// gunicorn's master and its workers.
    pub fn pids(&self) -> Vec<u32> {
        self.process.pids()
    }

    /// Stops it and checks that no process is left.
    pub fn stop(self) -> Result<()> {
        self.process.stop()
    }
}
