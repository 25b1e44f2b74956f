//! Who a process is: a pid and the kernel's fork, exec and exit records go in, [`Process`] comes out.
//!
//! `/proc` tells all about a process that lives, nothing about one that has ended, and pids are used again. So what was
//! read is kept for a while after the end, is checked against the start time, and what the kernel's records say fills in
//! for processes too short-lived to be read. Nothing is guessed: who stays unknown is `gone`, and the caller counts it.

mod procfs;

#[cfg(test)]
mod tests;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use rustc_hash::FxHashMap;

use procfs::Procfs;

/// Processes kept at most.
pub const MAX_PROCESSES: usize = 8_192;
/// What was read is believed for so long before a look at the start time.
const RECHECK: Duration = Duration::from_secs(1);
/// Records of a process arrive until so long after its end; then its pid may be another's.
const LATE: Duration = Duration::from_secs(1);
/// Ended processes stay for so long unless their room is needed or their pid is used again.
const KEEP: Duration = Duration::from_secs(30);
/// Steps from a process up to its ancestors.
const MAX_ANCESTORS: usize = 64;

/// A process as it was when last read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Process {
    pub pid: u32,
    /// 0 when not known.
    pub ppid: u32,
    /// The kernel's name of the main thread, at most 15 bytes; of the record's thread when `gone`.
    pub comm: String,
    /// The executable's path in its own file system; `None` without the right to see it.
    pub exe: Option<String>,
    /// Arguments, the program's name first, long ones shortened. Programs may have overwritten it with a title.
    pub cmdline: Vec<String>,
    /// To a second or so.
    pub started: Option<SystemTime>,
    /// Since boot, in 1/100 s: tells processes of the same pid apart.
    pub start_ticks: Option<u64>,
    /// 64 hexadecimal digits.
    pub container: Option<String>,
    /// It had ended before anything but `comm` was known.
    pub gone: bool,
}

/// All processes seen, found by pid.
#[derive(Debug)]
pub struct ProcessTable {
    procfs: Procfs,
    entries: FxHashMap<u32, Entry>,
    capacity: usize,
    /// Counts uses, for evicting what was not used for longest.
    clock: u64,
}

#[derive(Debug)]
struct Entry {
    process: Arc<Process>,
    source: Source,
    /// The parent by the kernel's word, which stays true when the process is handed to init.
    forked_by: Option<u32>,
    /// An ancestor that [`ProcessTable::is_descendant`] found.
    family: Option<u32>,
    checked: Option<Instant>,
    exited: Option<Instant>,
    used: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Source {
    /// Not even tried, or tried in vain.
    Nothing,
    /// A copy of the parent's.
    Parent,
    /// The kernel's record of its exec.
    Exec,
    Proc,
}

impl Default for ProcessTable {
    fn default() -> Self {
        Self::new(PathBuf::from("/proc"))
    }
}

impl ProcessTable {
    /// A table that reads the `/proc` at `root`.
    pub fn new(root: PathBuf) -> Self {
        Self { procfs: Procfs::new(root), entries: FxHashMap::default(), capacity: MAX_PROCESSES, clock: 0 }
    }

    /// The process of a record that was made by a thread called `comm`. Reads `/proc` at first sight and about once a
    /// second afterwards.
    pub fn lookup(&mut self, pid: u32, comm: &str) -> Arc<Process> {
        self.lookup_at(pid, comm, Instant::now())
    }

    fn lookup_at(&mut self, pid: u32, comm: &str, now: Instant) -> Arc<Process> {
        self.clock += 1;
        if let Some(entry) = self.entries.get_mut(&pid) {
            entry.used = self.clock;
            if entry.is_valid(now) {
                return entry.process.clone();
            }
        }
        self.read(pid, comm, now)
    }

    /// Reads a process, or keeps what is known when there is nothing to read.
    fn read(&mut self, pid: u32, comm: &str, now: Instant) -> Arc<Process> {
        let Some(stat) = self.procfs.stat(pid) else {
            return self.ended(pid, comm, now);
        };
        let old = self.entries.get(&pid);
        let same =
            old.is_none_or(|old| old.process.start_ticks.is_none_or(|ticks| ticks == stat.start_ticks));
        if let Some(entry) = self.entries.get_mut(&pid)
            && entry.source == Source::Proc
            && same
            && entry.process.comm == stat.comm
        {
            entry.checked = Some(now);
            entry.exited = None;
            return entry.process.clone();
        }
        let process = Arc::new(self.procfs.process(pid, stat));
        let kept = self.entries.get(&pid).filter(|_| same);
        let (forked_by, family) = kept.map_or((None, None), |entry| (entry.forked_by, entry.family));
        let entry =
            Entry { forked_by, family, checked: Some(now), ..self.entry(process.clone(), Source::Proc) };
        self.insert(pid, entry, now);
        process
    }

    /// The best that is known of a process that is not there any more.
    fn ended(&mut self, pid: u32, comm: &str, now: Instant) -> Arc<Process> {
        let old = self.entries.get_mut(&pid).filter(|entry| !entry.is_past(now));
        if let Some(entry) = old
            && entry.source > Source::Nothing
        {
            entry.exited.get_or_insert(now);
            return entry.process.clone();
        }
        let old = self.entries.get(&pid).filter(|entry| !entry.is_past(now));
        let (forked_by, family) = old.map_or((None, None), |entry| (entry.forked_by, entry.family));
        // Forked before its parent was looked up: the parent's identity is the child's until an exec.
        let (process, source) = match forked_by.and_then(|parent| Some((parent, self.identity(parent)?))) {
            Some((parent, identity)) => (child_of(&identity, parent, pid), Source::Parent),
            None => (Process { pid, comm: comm.into(), gone: true, ..Process::default() }, Source::Nothing),
        };
        let process = Arc::new(process);
        let fresh = self.entry(process.clone(), source);
        let entry = Entry { forked_by, family, checked: Some(now), exited: Some(now), ..fresh };
        self.insert(pid, entry, now);
        process
    }

    /// What a process is, or the next of its ancestors of which that is known.
    fn identity(&self, mut pid: u32) -> Option<Arc<Process>> {
        for _ in 0..MAX_ANCESTORS {
            let entry = self.entries.get(&pid);
            match entry.filter(|entry| entry.source > Source::Nothing) {
                Some(entry) => return Some(entry.process.clone()),
                None => match self.procfs.stat(pid) {
                    Some(stat) => return Some(Arc::new(self.procfs.process(pid, stat))),
                    None => pid = entry?.forked_by?,
                },
            }
        }
        None
    }

    /// The kernel says that a process (not a thread) was forked.
    pub fn on_fork(&mut self, parent: u32, child: u32) {
        let known = self.entries.get(&parent);
        let family = known.and_then(|entry| entry.family);
        let known = known.filter(|entry| entry.source > Source::Nothing && entry.exited.is_none());
        let (process, source) = match known {
            Some(entry) => (child_of(&entry.process, parent, child), Source::Parent),
            None => (Process { pid: child, ppid: parent, gone: true, ..Process::default() }, Source::Nothing),
        };
        let entry = Entry { forked_by: Some(parent), family, ..self.entry(Arc::new(process), source) };
        self.insert(child, entry, Instant::now());
    }

    /// The kernel says that a process runs another program.
    pub fn on_exec(&mut self, pid: u32, comm: &str, filename: &str, args: Vec<String>) {
        let old = self.entries.get(&pid);
        let before = old.map(|entry| (*entry.process).clone()).unwrap_or_default();
        let process = Process {
            pid,
            comm: comm.into(),
            exe: Some(filename.into()).filter(|name: &String| !name.is_empty()),
            cmdline: procfs::bounded(args),
            gone: false,
            ..before
        };
        let (forked_by, family) = old.map_or((None, None), |entry| (entry.forked_by, entry.family));
        let entry = Entry { forked_by, family, ..self.entry(Arc::new(process), Source::Exec) };
        self.insert(pid, entry, Instant::now());
    }

    /// The kernel says that a process has ended. Its entry stays a while, since records arrive late.
    pub fn on_exit(&mut self, pid: u32) {
        self.exited_at(pid, Instant::now());
    }

    fn exited_at(&mut self, pid: u32, now: Instant) {
        if let Some(entry) = self.entries.get_mut(&pid) {
            entry.exited.get_or_insert(now);
        }
    }

    /// Whether a process is `root` or was started by it, over any number of generations. Once found it stays so, and
    /// passes on to what it forks, even after those in between have ended; so look `root` up and ask for it first.
    pub fn is_descendant(&mut self, pid: u32, root: u32) -> bool {
        let mut at = pid;
        for _ in 0..MAX_ANCESTORS {
            let known = self.entries.get(&at);
            if at == root || known.is_some_and(|entry| entry.family == Some(root)) {
                if let Some(entry) = self.entries.get_mut(&pid) {
                    entry.family = Some(root);
                }
                return true;
            }
            let parent = known.and_then(|entry| entry.forked_by);
            at = match parent.unwrap_or_else(|| self.lookup(at, "").ppid) {
                0 | 1 => return false,
                parent => parent,
            };
        }
        false
    }

    /// Number of processes kept.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether none is kept.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    fn entry(&self, process: Arc<Process>, source: Source) -> Entry {
        let used = self.clock;
        Entry { process, source, forked_by: None, family: None, checked: None, exited: None, used }
    }

    fn insert(&mut self, pid: u32, entry: Entry, now: Instant) {
        if self.entries.len() >= self.capacity && !self.entries.contains_key(&pid) {
            self.evict(now);
        }
        self.entries.insert(pid, entry);
    }

    /// Makes room: what ended long ago, else an eighth of all, the ended first, then those nobody asked for.
    fn evict(&mut self, now: Instant) {
        self.entries.retain(|_, entry| entry.exited.is_none_or(|exited| now.duration_since(exited) < KEEP));
        if self.entries.len() < self.capacity {
            return;
        }
        let rank = |(pid, entry): (&u32, &Entry)| {
            (entry.exited.is_none(), entry.checked.is_some(), entry.used, *pid)
        };
        let mut ranks: Vec<_> = self.entries.iter().map(rank).collect();
        let count = (ranks.len() / 8).max(1);
        ranks.select_nth_unstable(count - 1);
        for (.., pid) in &ranks[..count] {
            self.entries.remove(pid);
        }
    }
}

impl Entry {
    /// Whether the entry answers without another look at `/proc`.
    fn is_valid(&self, now: Instant) -> bool {
        if self.exited.is_some() && self.source > Source::Nothing {
            return !self.is_past(now);
        }
        self.checked.is_some_and(|checked| now.duration_since(checked) < RECHECK)
    }

    /// Whether it ended so long ago that a record of this pid may be of another process.
    fn is_past(&self, now: Instant) -> bool {
        self.exited.is_some_and(|exited| now.duration_since(exited) >= LATE)
    }
}

/// What a child has from its parent until it executes something else.
fn child_of(identity: &Process, ppid: u32, pid: u32) -> Process {
    Process { pid, ppid, started: None, start_ticks: None, gone: false, ..identity.clone() }
}
