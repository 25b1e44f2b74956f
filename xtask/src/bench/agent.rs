//! hostprof at work: arguments go in, a process whose probes are attached comes out, and the time it takes.

use std::{
    fs,
    io::{BufRead as _, BufReader},
    os::unix::process::CommandExt as _,
    path::Path,
    process::{Child, ChildStderr, Command, Stdio},
    time::Duration,
};

use anyhow::{Context as _, Result, bail, ensure};

/// A recording that ends with [`Agent::end`], or at the latest with this value.
#[derive(Debug)]
pub(super) struct Agent {
    child: Child,
    /// Open as long as it lives: its complaints must not end it.
    _stderr: BufReader<ChildStderr>,
}

impl Agent {
    pub(super) fn start(binary: &Path, arguments: &[&str]) -> Result<Self> {
        let mut command = Command::new(binary);
        command.args(["record", "-d", "1h", "--format", "json"]).args(arguments);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        // SAFETY: one system call, which touches no memory, between fork and exec: hostprof goes when we are killed.
        unsafe {
            command.pre_exec(|| {
                libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGTERM);
                Ok(())
            });
        }
        let mut child = command.spawn().with_context(|| format!("failed to run {command:?}"))?;
        let stderr = child.stderr.take().context("no standard error")?;
        let mut agent = Self { child, _stderr: BufReader::new(stderr) };
        let mut said = String::new();
        loop {
            let mut line = String::new();
            let read = agent._stderr.read_line(&mut line).context("failed to read what hostprof says")?;
            if line.contains("recording for") {
                return Ok(agent);
            }
            said += &line;
            if read == 0 {
                bail!("{command:?} ended before it recorded: {}", said.trim_end());
            }
        }
    }

    /// What its threads have had of the CPUs so far (kernel/sched/stats.h, `sched_info`; fs/proc/base.c,
    /// `proc_pid_schedstat`).
    pub(super) fn cpu(&self) -> Result<Duration> {
        let tasks = format!("/proc/{}/task", self.child.id());
        let mut sum = 0;
        for task in fs::read_dir(&tasks).with_context(|| format!("failed to read {tasks}"))? {
            let path = task?.path().join("schedstat");
            // A thread may have ended meanwhile.
            let Ok(text) = fs::read_to_string(&path) else { continue };
            let first = text.split_ascii_whitespace().next().unwrap_or_default();
            sum += first.parse::<u64>().with_context(|| format!("no number in {}", path.display()))?;
        }
        Ok(Duration::from_nanos(sum))
    }

    /// Ends it as Ctrl-C does.
    pub(super) fn end(mut self) -> Result<()> {
        // SAFETY: a plain system call; the process is ours and not yet waited for.
        unsafe { libc::kill(self.child.id() as i32, libc::SIGINT) };
        let status = self.child.wait().context("failed to wait for hostprof")?;
        ensure!(status.success(), "hostprof failed: {status}");
        Ok(())
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
