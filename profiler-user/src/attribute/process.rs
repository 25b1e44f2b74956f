//! Who a process is: a pid and the kernel's fork, exec and exit records go in, [`Process`] comes out.
//!
//! `/proc` tells all about a process that lives, nothing about one that has ended, and pids are used again. So what was
//! read is kept for a while after the end, is checked against the start time, and what the kernel's records say fills in
//! for processes too short-lived to be read. Nothing is guessed: who stays unknown is `gone`, and the caller counts it.

mod ancestors;
mod entry;
mod procfs;

#[cfg(test)]
mod tests;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use rustc_hash::FxHashMap;

use ancestors::child_of;
use entry::{Entry, Source};
use procfs::Procfs;

/// Processes kept at most.
pub const MAX_PROCESSES: usize = 8_192;
/// A snapshot fills at most this share of them: the rest is for those that come.
const SNAPSHOT: (usize, usize) = (3, 4);
/// Ended processes stay for so long unless their room is needed or their pid is used again.
const KEEP: Duration = Duration::from_secs(30);
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
    /// A thread of the kernel's: it has no program, and its name is of whatever it works on just now.
    pub of_kernel: bool,
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

    /// Reads every process that lives now, as far as there is room, so that one which ends before it is first asked for
    /// has a name. To be called when the kernel's records have begun to come and before the first exchange can.
    pub fn snapshot(&mut self) {
        let (part, whole) = SNAPSHOT;
        let most = self.capacity / whole * part;
        let now = Instant::now();
        for pid in self.procfs.pids() {
            if self.entries.len() >= most {
                break;
            }
            let Some(stat) = self.procfs.stat(pid).filter(|stat| !stat.of_kernel) else { continue };
            let process = Arc::new(self.procfs.process(pid, stat));
            let entry = Entry { checked: Some(now), used: 0, ..self.entry(process, Source::Snapshot) };
            self.insert(pid, entry, now);
        }
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
        // At its end a process loses program and arguments before its number (do_exit() in kernel/exit.c).
        let is_bare = process.exe.is_none() && process.cmdline.is_empty();
        if is_bare
            && kept.is_some_and(Entry::is_told)
            && self.procfs.stat(pid).is_none_or(|stat| stat.is_ending)
        {
            return self.ended(pid, comm, now);
        }
        let (forked_by, family) = kept.map_or((None, None), |entry| (entry.forked_by, entry.family));
        let entry =
            Entry { forked_by, family, checked: Some(now), ..self.entry(process.clone(), Source::Proc) };
        self.insert(pid, entry, now);
        process
    }

    /// The best that is known of a process that is not there to be read.
    fn ended(&mut self, pid: u32, comm: &str, now: Instant) -> Arc<Process> {
        // Without `/proc` only the kernel tells of an end.
        let end = self.procfs.is_there().then_some(now);
        let old = self.entries.get_mut(&pid).filter(|entry| !entry.is_past(now));
        if let Some(entry) = old
            && entry.source > Source::Nothing
        {
            entry.exited = entry.exited.or(end);
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
        let entry = Entry { forked_by, family, checked: Some(now), exited: end, ..fresh };
        self.insert(pid, entry, now);
        process
    }

    /// The kernel says that a process (not a thread) was forked.
    pub fn on_fork(&mut self, parent: u32, child: u32) {
        let family = self.entries.get(&parent).and_then(|entry| entry.family);
        // The snapshot was quicker than this record: an earlier owner of the number would have ended first.
        if let Some(entry) = self.entries.get_mut(&child)
            && entry.source == Source::Snapshot
            && entry.exited.is_none()
        {
            (entry.forked_by, entry.family) = (Some(parent), family);
            return;
        }
        let known = self.entries.get(&parent);
        let known = known.filter(|entry| entry.source > Source::Nothing && entry.exited.is_none());
        let (process, source) = match known {
            Some(entry) => (child_of(&entry.process, parent, child), Source::Parent),
            None => (Process { pid: child, ppid: parent, gone: true, ..Process::default() }, Source::Nothing),
        };
        let entry = Entry { forked_by: Some(parent), family, ..self.entry(Arc::new(process), source) };
        self.insert(child, entry, Instant::now());
    }

    /// The kernel says that a process runs another program, and of which file.
    pub fn on_exec(&mut self, pid: u32, comm: &str, exe: Option<String>, args: Vec<String>) {
        let old = self.entries.get(&pid);
        let before = old.map(|entry| (*entry.process).clone()).unwrap_or_default();
        let process = Process {
            pid,
            comm: comm.into(),
            exe,
            cmdline: procfs::bounded(args),
            of_kernel: false,
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

    /// Makes room: what ended long ago, else an eighth of all.
    fn evict(&mut self, now: Instant) {
        self.entries.retain(|_, entry| entry.exited.is_none_or(|exited| now.duration_since(exited) < KEEP));
        if self.entries.len() < self.capacity {
            return;
        }
        let mut ranks: Vec<_> = self.entries.iter().map(|(pid, entry)| (entry.rank(), *pid)).collect();
        let count = (ranks.len() / 8).max(1);
        ranks.select_nth_unstable(count - 1);
        for (_, pid) in &ranks[..count] {
            self.entries.remove(pid);
        }
    }
}
