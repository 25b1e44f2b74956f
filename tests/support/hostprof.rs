//! hostprof itself, run as a user runs it. The binary is `$HOSTPROF_BIN`, or else `target/release/hostprof`.

use std::{
    env, fs,
    path::PathBuf,
    process::Command,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use tempfile::TempDir;

use crate::{
    install::{require_root, root},
    process::{PATIENCE, Process, leave_the_kernel, temp_dir},
    report::Report,
};

/// What hostprof says on stderr once every probe is attached: traffic from here on is seen.
pub const ATTACHED: &str = "recording";

/// Longer than the sweep needs for what ends without a sign.
const QUIET: Duration = Duration::from_millis(1_500);

/// What is printed is looked at so often.
const POLL: Duration = Duration::from_millis(10);

/// A running `hostprof record`.
#[derive(Debug)]
pub struct Recording {
    process: Process,
    dir: TempDir,
}

/// A running `hostprof trace --format json`.
#[derive(Debug)]
pub struct Trace {
    process: Process,
    _dir: TempDir,
}

/// The binary under test.
pub fn binary() -> Result<PathBuf> {
    let path = match env::var_os("HOSTPROF_BIN") {
        Some(path) => PathBuf::from(path),
        None => root().join("target/release/hostprof"),
    };
    ensure!(path.is_file(), "{} is missing: run `cargo xtask build` or set HOSTPROF_BIN", path.display());
    Ok(path)
}

impl Recording {
    /// Starts `hostprof record` with further arguments and waits until it is attached.
    pub fn start(arguments: &[&str]) -> Result<Self> {
        require_root()?;
        Self::start_as(Command::new(binary()?), arguments)
    }

    /// The same, for a `command` that runs the binary with other rights or another environment.
    pub fn start_as(mut command: Command, arguments: &[&str]) -> Result<Self> {
        let dir = temp_dir()?;
        command.args(["record", "-d", "600s", "-o"]).arg(dir.path().join("report.json"));
        command.args(arguments);
        let process = start_attached(&mut command, &dir)?;
        Ok(Self { process, dir })
    }

    pub fn pid(&self) -> u32 {
        self.process.id()
    }

    /// What it has written to stderr so far.
    pub fn stderr(&self) -> String {
        self.process.stderr()
    }

    /// Ends it as Ctrl-C does and returns its report.
    pub fn finish(mut self) -> Result<Report> {
        end(&mut self.process)?;
        let path = self.dir.path().join("report.json");
        let text =
            fs::read_to_string(&path).with_context(|| format!("hostprof wrote no {}", path.display()))?;
        Report::parse(&text)
    }

    /// Ends it by SIGKILL, without a report.
    pub fn kill(mut self) -> Result<()> {
        self.process.signal(libc::SIGKILL);
        self.process.wait(PATIENCE)?;
        Ok(())
    }
}

impl Trace {
    /// Starts `hostprof trace` with further arguments and waits until it is attached.
    pub fn start(arguments: &[&str]) -> Result<Self> {
        require_root()?;
        let dir = temp_dir()?;
        let mut command = Command::new(binary()?);
        command.args(["trace", "--format", "json"]).args(arguments);
        let process = start_attached(&mut command, &dir)?;
        Ok(Self { process, _dir: dir })
    }

    pub fn pid(&self) -> u32 {
        self.process.id()
    }

    /// The objects printed so far; a line that is still being written is left out.
    pub fn lines(&self) -> Result<Vec<Value>> {
        let stdout = self.process.stdout();
        let whole = stdout.rsplit_once('\n').map_or("", |(whole, _)| whole);
        whole
            .lines()
            .map(|line| serde_json::from_str(line).with_context(|| format!("no JSON line: {line}")))
            .collect()
    }

    /// Waits until nothing has been added for a while to what `count` counts: servers are done later than clients.
    pub fn settle(&self, count: impl Fn(&[Value]) -> usize) -> Result<()> {
        let mut last = (count(&self.lines()?), Instant::now());
        while last.1.elapsed() < QUIET {
            thread::sleep(QUIET / 20);
            let now = count(&self.lines()?);
            if now != last.0 {
                last = (now, Instant::now());
            }
        }
        Ok(())
    }

    /// Waits until `found` has something among the objects printed so far.
    pub fn wait_for<T>(&self, patience: Duration, mut found: impl FnMut(&[Value]) -> Option<T>) -> Result<T> {
        let begun = Instant::now();
        loop {
            if let Some(value) = found(&self.lines()?) {
                return Ok(value);
            }
            ensure!(begun.elapsed() < patience, "not told of within {patience:?}");
            thread::sleep(POLL);
        }
    }

    /// Waits until a rule's findings about services of this name have been told of so often; returns them.
    pub fn wait_for_findings(
        &self,
        rule: &str,
        service: &str,
        count: usize,
        patience: Duration,
    ) -> Result<Vec<Value>> {
        let is_ours = |line: &&Value| {
            let named = line["service"].as_str().is_some_and(|id| id.contains(service));
            line["type"] == "finding" && line["id"] == rule && named
        };
        let mut found = Vec::new();
        let told = self.wait_for(patience, |lines| {
            found = lines.iter().filter(is_ours).cloned().collect();
            (found.len() >= count).then_some(())
        });
        told.with_context(|| format!("{rule} {count} times: {found:#?}"))?;
        Ok(found)
    }

    /// Ends it as Ctrl-C does and returns everything it printed.
    pub fn finish_all(mut self) -> Result<Vec<Value>> {
        end(&mut self.process)?;
        self.lines()
    }

    /// The same without the lives of connections.
    pub fn finish(self) -> Result<Vec<Value>> {
        let mut lines = self.finish_all()?;
        lines.retain(|line| line["type"] != "connection");
        Ok(lines)
    }

    /// The same; fails when it had to say that something was lost.
    pub fn finish_whole(self) -> Result<Vec<Value>> {
        let lines = self.finish()?;
        let lost: Vec<_> = lines.iter().filter(|line| line["type"] == "lost").collect();
        ensure!(lost.is_empty(), "trace lost lines, so nothing can be said: {lost:?}");
        Ok(lines)
    }
}

fn start_attached(command: &mut Command, dir: &TempDir) -> Result<Process> {
    let mut process = Process::start("hostprof", command, dir.path())?;
    process.wait_until("its probes were attached", |process| process.stderr().contains(ATTACHED))?;
    Ok(process)
}

fn end(process: &mut Process) -> Result<()> {
    leave_the_kernel();
    process.signal(libc::SIGINT);
    let status = process.wait(PATIENCE)?;
    ensure!(status.success(), "hostprof failed ({status}):\n{}", process.stderr());
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A shell that does `script` with hostprof's arguments.
    fn stand_in(script: &str) -> Command {
        let mut shell = Command::new("sh");
        shell.args(["-c", script, "hostprof"]);
        shell
    }

    #[test]
    fn a_recording_waits_for_the_probes_and_reads_the_report() {
        let script = r#"trap 'echo "{\"schema\": \"hostprof.report/1\"}" > "$5"; exit 0' INT
            echo "recording: $6" >&2
            while :; do sleep 0.01; done"#;
        let recording = Recording::start_as(stand_in(script), &["--all"]).unwrap();
        assert!(recording.stderr().contains("recording: --all"));
        assert_eq!(recording.finish().unwrap().rows("http").count(), 0);
    }

    #[test]
    fn a_start_that_fails_says_why() {
        let error = Recording::start_as(stand_in("echo 'CAP_BPF is missing' >&2; exit 1"), &[]).unwrap_err();
        assert!(error.to_string().contains("CAP_BPF is missing"), "{error}");
    }
}
