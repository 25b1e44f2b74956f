//! The cases of `tests/apps/connections.py`: ways in which connections end, fail or are held, by a service of its own
//! for each, and what the case itself has counted. A case may stop at a point until the test lets it go on.

use std::{fs, os::unix::fs::symlink, path::PathBuf, process::Command};

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::{
    address::Address,
    install::{app, service},
    netns::Netns,
    process::{PATIENCE, Process, temp_dir},
    sql_client::endpoint,
};

/// A case under way.
#[derive(Debug)]
pub struct ClientCase {
    process: Process,
    script: PathBuf,
    /// Where that is, if it is this case's own.
    _scripts: Option<TempDir>,
    dir: TempDir,
}

impl ClientCase {
    /// Starts the case of this name as a service of that name.
    pub fn start(case: &str, called: &str, settings: &Value) -> Result<Self> {
        Self::start_in(None, case, called, settings)
    }

    /// The same in a network namespace.
    pub fn start_in(netns: Option<&Netns>, case: &str, called: &str, settings: &Value) -> Result<Self> {
        let scripts = temp_dir()?;
        let script = scripts.path().join(format!("{called}.py"));
        // Scripts are told apart by their paths.
        symlink(app("connections.py"), &script).context("failed to link a script")?;
        Self::run(netns, case, script, Some(scripts), settings)
    }

    /// Starts another process of this one's service, which must outlive it.
    pub fn another(&self, netns: &Netns, case: &str, settings: &Value) -> Result<Self> {
        Self::run(Some(netns), case, self.script.clone(), None, settings)
    }

    fn run(
        netns: Option<&Netns>,
        case: &str,
        script: PathBuf,
        scripts: Option<TempDir>,
        settings: &Value,
    ) -> Result<Self> {
        let dir = temp_dir()?;
        let mut command = Command::new(service("venv/bin/python")?);
        command.arg("-B").arg(&script).arg(case).arg(settings.to_string()).arg(dir.path());
        if let Some(netns) = netns {
            netns.holds(&mut command)?;
        }
        let process = Process::start(case, &mut command, dir.path())?;
        Ok(Self { process, script, _scripts: scripts, dir })
    }

    /// Starts a case that asks this database, so many times.
    pub fn of_mysql(case: &str, called: &str, database: &Address, count: usize) -> Result<Self> {
        let mut settings = endpoint(database);
        settings["count"] = json!(count);
        Self::start(case, called, &settings)
    }

    pub fn pid(&self) -> u32 {
        self.process.id()
    }

    /// Waits until the case says that it stands there; what else it says.
    pub fn at(&mut self, place: &str) -> Result<Value> {
        let said = |process: &Process| lines(process).into_iter().find(|line| line["at"] == place);
        self.process.wait_until(&format!("it was {place}"), |process| said(process).is_some())?;
        said(&self.process).context("it has unsaid it")
    }

    /// Lets the case go on from there.
    pub fn go_on(&self, place: &str) -> Result<()> {
        fs::write(self.dir.path().join(place), b"").context("failed to open the gate")
    }

    /// Waits until the case stands there, and lets it go on.
    pub fn pass(&mut self, place: &str) -> Result<Value> {
        let said = self.at(place)?;
        self.go_on(place)?;
        Ok(said)
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: i32) {
        self.process.signal(signal);
    }

    /// Waits for the case's end: what it has counted.
    pub fn finish(mut self) -> Result<Value> {
        let status = self.process.wait(PATIENCE)?;
        let (stdout, stderr) = (self.process.stdout(), self.process.stderr());
        ensure!(status.success(), "the case failed ({status}):\n{stdout}\n{stderr}");
        lines(&self.process).pop().with_context(|| format!("it said nothing:\n{stderr}"))
    }

    /// Ends one that goes on for ever.
    pub fn stop(self) -> Result<()> {
        self.process.stop()
    }
}

/// What it has said, line by line; one that is still being written is left out.
fn lines(process: &Process) -> Vec<Value> {
    let stdout = process.stdout();
    let whole = stdout.rsplit_once('\n').map_or("", |(whole, _)| whole);
    whole.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
}
