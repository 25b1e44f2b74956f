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

/// How long a program may take to become ready, and to end: many times what it takes where nothing else runs, because
/// a test that gives up on a busy machine has found nothing.
pub const PATIENCE: Duration = Duration::from_secs(120);

const POLL: Duration = Duration::from_millis(5);

/// How long [`leave_the_kernel`] waits at the most.
const OUT_OF_THE_KERNEL: Duration = Duration::from_secs(2);

/// A running program. It leads a process group of its own, which is killed when this is dropped; it ends with the thread
/// that has started it in any case.
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

/// A folder under this one.
pub fn temp_dir_in(folder: &Path) -> Result<TempDir> {
    let named = tempfile::Builder::new().prefix("hostprof-").tempdir_in(folder);
    named.with_context(|| format!("failed to create a folder in {}", folder.display()))
}

impl Process {
    /// Starts `command`; what it writes goes to files in `dir`.
    pub fn start(name: &str, command: &mut Command, dir: &Path) -> Result<Self> {
        let stdout = dir.join(format!("{name}.stdout"));
        let stderr = dir.join(format!("{name}.stderr"));
        let create =
            |path: &Path| File::create(path).with_context(|| format!("failed to create {}", path.display()));
        command.stdin(Stdio::null()).stdout(create(&stdout)?).stderr(create(&stderr)?).process_group(0);
        // A test that is killed drops nothing, and what it had started would be in the way of the next one.
        // SAFETY: two system calls between fork and exec, which read numbers alone.
        unsafe {
            command.pre_exec(|| {
                // Whoever started the tests in the background had it ignored.
                libc::signal(libc::SIGINT, libc::SIG_DFL);
                match libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) {
                    0 => Ok(()),
                    _ => Err(std::io::Error::last_os_error()),
                }
            });
        }
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
        self.end()
    }

    /// The same for one whose place is to be taken by another.
    pub fn end(&mut self) -> Result<()> {
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

/// Waits until every program that we have started has left the system calls that it was in.
///
/// A client can have read a response before the server's thread, which lost its processor to the client, returns from
/// the write: only then does the kernel tell of it. A thread on its way out of a write is runnable, so each thread is
/// waited for until it was seen not to be. One that always is, such as a spinning one, is given up on after a while.
pub fn leave_the_kernel() {
    let begun = Instant::now();
    for thread in descendants(std::process::id()).into_iter().flat_map(threads) {
        let runs = || fs::read_to_string(&thread).is_ok_and(|stat| fields(&stat).next() == Some("R"));
        while runs() && begun.elapsed() < OUT_OF_THE_KERNEL {
            thread::sleep(POLL / 5);
        }
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
    let alive = |stat: &str| fields(stat).next().is_some_and(|state| state != "Z");
    let ours = |stat: &str| fields(stat).nth(2).is_some_and(|group| group.parse() == Ok(leader));
    let mut pids: Vec<u32> =
        processes().into_iter().filter(|(_, stat)| alive(stat) && ours(stat)).map(|(pid, _)| pid).collect();
    pids.sort_unstable();
    pids
}

/// The processes that this one has started, and those that they have.
fn descendants(root: u32) -> Vec<u32> {
    let processes = processes();
    let parent = |stat: &str| fields(stat).nth(1).and_then(|parent| parent.parse::<u32>().ok());
    let mut found = vec![root];
    let mut next = 0;
    while let Some(parent_of) = found.get(next).copied() {
        let children = processes.iter().filter(|(_, stat)| parent(stat) == Some(parent_of));
        found.extend(children.map(|(pid, _)| *pid));
        next += 1;
    }
    found.split_off(1)
}

/// The stat files of a process's threads.
fn threads(pid: u32) -> Vec<PathBuf> {
    let entries = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten();
    entries.filter_map(|entry| Some(entry.ok()?.path().join("stat"))).collect()
}

/// All processes with what their stat files say.
fn processes() -> Vec<(u32, String)> {
    let entries = fs::read_dir("/proc").into_iter().flatten();
    let pids = entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    pids.map(|pid: u32| (pid, fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default())).collect()
}

/// Of a stat file what stands behind the name, which may hold anything: state, parent, group.
fn fields(stat: &str) -> std::str::Split<'_, char> {
    stat.rsplit_once(") ").map_or("", |(_, fields)| fields).split(' ')
}

fn read_lossy(path: &Path) -> String {
    String::from_utf8_lossy(&fs::read(path).unwrap_or_default()).into_owned()
}
