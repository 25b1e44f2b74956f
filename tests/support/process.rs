//! One started program with all its children: its output in files, its end by process id, nothing left behind.

use std::{
    fs::{self, File},
    os::unix::process::CommandExt as _,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};
use tempfile::TempDir;

/// How long a program may take to become ready, and to end. MySQL on a busy machine needs seconds.
const PATIENCE: Duration = Duration::from_secs(30);

const POLL: Duration = Duration::from_millis(5);

/// A running program. It leads a process group of its own, which is killed when this is dropped.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
    stdout: PathBuf,
    stderr: PathBuf,
}

/// A folder under the system's temporary one, short enough for the paths of Unix sockets.
pub fn temp_dir() -> Result<TempDir> {
    tempfile::Builder::new().prefix("hostprof-").tempdir().context("failed to create a temporary folder")
}

impl Process {
    /// Starts `command`; what it writes goes to files in `dir`.
    pub fn start(name: &str, command: &mut Command, dir: &Path) -> Result<Self> {
        let stdout = dir.join(format!("{name}.stdout"));
        let stderr = dir.join(format!("{name}.stderr"));
        let create =
            |path: &Path| File::create(path).with_context(|| format!("failed to create {}", path.display()));
        command.stdin(Stdio::null()).stdout(create(&stdout)?).stderr(create(&stderr)?).process_group(0);
        let child = command.spawn().with_context(|| format!("failed to start {command:?}"))?;
        Ok(Self { name: name.to_owned(), child, stdout, stderr })
    }

    /// Runs `command` to its end and returns its process id and what it wrote to stdout.
    pub fn run(name: &str, command: &mut Command, patience: Duration) -> Result<(u32, String)> {
        let dir = temp_dir()?;
        let mut process = Self::start(name, command, dir.path())?;
        let status = process.wait(patience)?;
        ensure!(status.success(), "{name} failed ({status}):\n{}\n{}", process.stdout(), process.stderr());
        Ok((process.id(), process.stdout()))
    }

    /// The id of the started process and of its group.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Every living process of the group, in order.
    pub fn pids(&self) -> Vec<u32> {
        group(self.id())
    }

    /// What it has written to stdout so far.
    pub fn stdout(&self) -> String {
        read_lossy(&self.stdout)
    }

    /// What it has written to stderr so far.
    pub fn stderr(&self) -> String {
        read_lossy(&self.stderr)
    }

    /// Waits until `ready` says so; fails when the program ends or the time is up.
    pub fn wait_until(&mut self, what: &str, mut ready: impl FnMut(&Self) -> bool) -> Result<()> {
        let begun = Instant::now();
        while !ready(self) {
            if let Some(status) = self.child.try_wait().context("failed to wait for a child")? {
                bail!("{} ended ({status}) before {what}:\n{}", self.name, self.stderr());
            }
            ensure!(begun.elapsed() < PATIENCE, "{}: {what} took too long:\n{}", self.name, self.stderr());
            thread::sleep(POLL);
        }
        Ok(())
    }

    /// Sends `signal` to the started process alone.
    pub fn signal(&self, signal: i32) {
        kill(self.child.id().cast_signed(), signal);
    }

    /// Waits for the started process to end by itself.
    pub fn wait(&mut self, patience: Duration) -> Result<ExitStatus> {
        let begun = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().context("failed to wait for a child")? {
                return Ok(status);
            }
            ensure!(begun.elapsed() < patience, "{} did not end:\n{}", self.name, self.stderr());
            thread::sleep(POLL);
        }
    }

    /// Asks it to end, and fails if it, or a child of it, does not.
    pub fn stop(mut self) -> Result<()> {
        self.signal(libc::SIGTERM);
        self.wait(PATIENCE)?;
        let begun = Instant::now();
        loop {
            let left = self.pids();
            if left.is_empty() {
                return Ok(());
            }
            ensure!(begun.elapsed() < PATIENCE, "{} left processes behind: {left:?}", self.name);
            thread::sleep(POLL);
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // While a member lives, nobody else can be given the group's number: this reaches only what we started.
        if !self.pids().is_empty() {
            kill(-self.child.id().cast_signed(), libc::SIGKILL);
        }
        // Only the zombie is left; there is nobody to tell about an error.
        let _ = self.child.wait();
    }
}

/// Waits until `done` says so, or fails with `what`.
pub fn wait_for(what: &str, mut done: impl FnMut() -> bool) -> Result<()> {
    let begun = Instant::now();
    while !done() {
        ensure!(begun.elapsed() < PATIENCE, "{what} took longer than {PATIENCE:?}");
        thread::sleep(POLL);
    }
    Ok(())
}

fn kill(pid: i32, signal: i32) {
    // SAFETY: kill reads its two numbers and no memory of ours.
    unsafe { libc::kill(pid, signal) };
}

/// The living processes whose group is `leader`'s. Zombies do not count: their parent has only to notice.
fn group(leader: u32) -> Vec<u32> {
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    let mut pids: Vec<u32> = entries
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .filter(|pid| {
            let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
            // After the name, which may hold anything: state, parent, group.
            let fields = stat.rsplit_once(") ").map_or("", |(_, fields)| fields);
            let mut fields = fields.split(' ');
            fields.next().is_some_and(|state| state != "Z")
                && fields.nth(1).is_some_and(|group| group.parse() == Ok(leader))
        })
        .collect();
    pids.sort_unstable();
    pids
}

fn read_lossy(path: &Path) -> String {
    String::from_utf8_lossy(&fs::read(path).unwrap_or_default()).into_owned()
}
