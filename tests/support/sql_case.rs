//! A client for what a workload cannot express: the cases of `tests/apps/mysql_cases.py`, which may stop at a point
//! until the test lets them go on.

use std::{fs, path::PathBuf, process::Command};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use tempfile::TempDir;

use crate::{
    address::Address,
    install::{app, service},
    process::{PATIENCE, Process, temp_dir},
    sql_client::{SqlRun, Statement, endpoint},
};

/// A case under way.
#[derive(Debug)]
pub struct SqlCase {
    process: Process,
    /// Appears when the case may go on.
    gate: PathBuf,
    dir: TempDir,
}

impl SqlCase {
    /// Starts the case of this name.
    pub fn start(name: &str, address: &Address) -> Result<Self> {
        let dir = temp_dir()?;
        let gate = dir.path().join("go-on");
        let mut command = Command::new(service("venv/bin/python")?);
        command.arg("-B").arg(app("mysql_cases.py")).arg(name);
        command.arg(endpoint(address).to_string()).arg(&gate);
        let process = Process::start("case", &mut command, dir.path())?;
        Ok(Self { process, gate, dir })
    }

    /// Runs the case of this name to its end: what it sent, and what else it has to say.
    pub fn run(name: &str, address: &Address) -> Result<(SqlRun, Value)> {
        Self::start(name, address)?.finish()
    }

    pub fn pid(&self) -> u32 {
        self.process.id()
    }

    /// Waits until the case stands at its gate.
    pub fn stands(&mut self) -> Result<()> {
        self.process.wait_until("it stood at its gate", |process| process.stderr().contains("at the gate"))
    }

    /// Lets the case through its gate.
    pub fn go_on(&self) -> Result<()> {
        fs::write(&self.gate, b"").context("failed to open the gate")
    }

    /// Waits for the case's end: what it sent, and what else it has to say.
    pub fn finish(mut self) -> Result<(SqlRun, Value)> {
        let status = self.process.wait(PATIENCE)?;
        let (stdout, stderr) = (self.process.stdout(), self.process.stderr());
        ensure!(status.success(), "the case failed ({status}):\n{stderr}");
        let said: Value = serde_json::from_str(&stdout).with_context(|| format!("no JSON: {stdout}"))?;
        let run = SqlRun { pid: self.pid(), statements: Statement::parse_all(&said["statements"])? };
        self.dir.close().context("failed to remove a folder")?;
        Ok((run, said["notes"].clone()))
    }
}
