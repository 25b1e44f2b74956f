//! The command of `record -- CMD`.

use std::ffi::OsString;
use std::os::unix::process::ExitStatusExt;
use std::process::{ExitCode, ExitStatus};

use anyhow::{Context, Result};

/// The command, started with hostprof's own stdin, stdout and stderr.
#[derive(Debug)]
pub(super) struct Child {
    process: tokio::process::Child,
    pid: u32,
}

impl Child {
    pub(super) fn start(command: &[OsString]) -> Result<Self> {
        let (program, args) = command.split_first().context("no command")?;
        let process = tokio::process::Command::new(program)
            .args(args)
            .spawn()
            .with_context(|| format!("{} cannot be started", program.to_string_lossy()))?;
        let pid = process.id().context("the command has no pid")?;
        Ok(Self { process, pid })
    }

    pub(super) fn pid(&self) -> u32 {
        self.pid
    }

    /// Passes a SIGTERM on; the recording ends when the command does.
    pub(super) fn terminate(&self) {
        // SAFETY: our own child, not yet waited for, so the pid is still its.
        unsafe { libc::kill(self.pid as libc::pid_t, libc::SIGTERM) };
    }

    /// Waits for the command's end, for ever when there is none. Safe to cancel.
    pub(super) async fn wait(child: &mut Option<Self>) -> Result<ExitCode> {
        match child {
            Some(child) => Ok(code(child.process.wait().await.context("the command cannot be waited for")?)),
            None => std::future::pending().await,
        }
    }
}

/// The status as a shell passes it on: of a signal 128 and its number.
fn code(status: ExitStatus) -> ExitCode {
    let number = status.code().or_else(|| status.signal().map(|s| 128 + s)).unwrap_or(1);
    ExitCode::from(number as u8)
}
