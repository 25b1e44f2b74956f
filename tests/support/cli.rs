//! hostprof's command line as a script sees it: arguments in, exit status, stdout and stderr out.

use std::{
    ffi::OsStr,
    fs,
    path::Path,
    process::{Command, ExitStatus},
};

use anyhow::{Context as _, Result, ensure};
use tempfile::TempDir;

use crate::{
    hostprof::{ATTACHED, binary},
    process::{PATIENCE, Process, leave_the_kernel, temp_dir},
    report::Report,
};

/// What a run left.
#[derive(Debug, Clone)]
pub struct Ended {
    pub status: ExitStatus,
    pub stdout: String,
    pub stderr: String,
}

/// A run that goes on.
#[derive(Debug)]
pub struct Running {
    process: Process,
    _dir: TempDir,
}

/// The binary with arguments.
pub fn command<A: AsRef<OsStr>>(arguments: impl IntoIterator<Item = A>) -> Result<Command> {
    let mut command = Command::new(binary()?);
    command.args(arguments);
    Ok(command)
}

/// A settings file in a folder, in place of an older one there, and its path as an argument.
pub fn settings(dir: &TempDir, text: &str) -> Result<String> {
    let file = dir.path().join("hostprof.toml");
    fs::write(&file, text)?;
    Ok(file.to_str().context("no text")?.to_owned())
}

/// Runs it to its end.
pub fn run(arguments: &[&str]) -> Result<Ended> {
    Running::start(&mut command(arguments)?)?.wait()
}

/// A shell that runs `script`, in which `$HOSTPROF` is the binary. Its status is the first one that is not 0.
pub fn shell(script: &str) -> Result<Command> {
    let mut command = Command::new("bash");
    command.env("HOSTPROF", binary()?).args(["-o", "pipefail", "-c", script]);
    Ok(command)
}

impl Running {
    /// Starts any command.
    pub fn start(command: &mut Command) -> Result<Self> {
        let dir = temp_dir()?;
        let process = Process::start("cli", command, dir.path())?;
        Ok(Self { process, _dir: dir })
    }

    /// Starts a command that records, and waits until it is attached.
    pub fn attached(command: &mut Command) -> Result<Self> {
        let mut running = Self::start(command)?;
        running.process.wait_until("it recorded", |process| process.stderr().contains(ATTACHED))?;
        Ok(running)
    }

    pub fn pid(&self) -> u32 {
        self.process.id()
    }

    pub fn signal(&self, signal: i32) {
        self.process.signal(signal);
    }

    pub fn stdout(&self) -> String {
        self.process.stdout()
    }

    /// Waits until stdout says so.
    pub fn wait_for_stdout(&mut self, what: &str, ready: impl Fn(&str) -> bool) -> Result<()> {
        self.process.wait_until(what, |process| ready(&process.stdout()))
    }

    /// Waits for its end.
    pub fn wait(mut self) -> Result<Ended> {
        let status = self.process.wait(PATIENCE)?;
        Ok(Ended { status, stdout: self.process.stdout(), stderr: self.process.stderr() })
    }

    /// Ends it by a signal, once all that was sent is seen.
    pub fn end(self, signal: i32) -> Result<Ended> {
        leave_the_kernel();
        self.signal(signal);
        self.wait()
    }
}

impl Ended {
    /// The exit status; a death by a signal has none.
    pub fn code(&self) -> Option<i32> {
        self.status.code()
    }

    /// The report that it printed. Fails unless the status was 0.
    pub fn report(&self) -> Result<Report> {
        ensure!(self.status.success(), "{self}");
        Report::parse(&self.stdout).with_context(|| self.to_string())
    }

    /// The lines on stderr that say why it failed: those that tell of progress are not among them.
    pub fn complaints(&self) -> Vec<&str> {
        self.stderr.lines().filter(|line| !line.contains(ATTACHED)).collect()
    }

    /// The only such line. Fails on a panic or a backtrace, and on a line that does not say who speaks.
    pub fn complaint(&self) -> Result<&str> {
        let lines = self.complaints();
        ensure!(lines.len() == 1 && lines[0].starts_with("hostprof: "), "not one line: {self}");
        Ok(lines[0])
    }

    /// True when nothing looks like a crash.
    pub fn is_clean(&self) -> bool {
        !["panicked", "backtrace", "RUST_BACKTRACE"].iter().any(|word| self.stderr.contains(word))
            && self.status.code().is_some_and(|code| code != 101 && code < 126)
    }
}

impl std::fmt::Display for Ended {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{}\nstdout:\n{}\nstderr:\n{}", self.status, self.stdout, self.stderr)
    }
}

/// A file's text, or why not.
pub fn read(path: &Path) -> Result<String> {
    std::fs::read_to_string(path).with_context(|| format!("failed to read {}", path.display()))
}
