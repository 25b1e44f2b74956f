//! Whose listening sockets are, looked up while a recording runs. That takes a look at every descriptor of every process:
//! a thread of its own does it, one search at a time, so that nobody waits for it.

use std::path::{Path, PathBuf};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use log::debug;

use super::snapshot::{Listening, Namespaces};
use crate::clock::thread_cpu;

/// A search begins so often at the most.
const EVERY: Duration = Duration::from_secs(5);
/// Searches may take this share of a CPU.
const SHARE: u32 = 50;

/// What a search has found, and the CPU time that it took.
type Found = (Vec<Listening>, Duration);

/// The searches.
#[derive(Debug)]
pub struct Owners {
    proc_root: PathBuf,
    under_way: Option<JoinHandle<Found>>,
    next: Instant,
}

impl Owners {
    /// In the `/proc` at `proc_root`.
    pub fn new(proc_root: &Path) -> Self {
        Self { proc_root: proc_root.into(), under_way: None, next: Instant::now() }
    }

    /// Whether a search may begin `now`.
    pub fn may_search(&self, now: Instant) -> bool {
        self.under_way.is_none() && now >= self.next
    }

    /// Begins a search.
    pub fn search(&mut self, now: Instant) {
        self.next = now + EVERY;
        let root = self.proc_root.clone();
        let search = move || {
            let before = thread_cpu();
            let listening = Namespaces::find(&root).listening();
            (listening, thread_cpu().saturating_sub(before))
        };
        match thread::Builder::new().name("owners".into()).spawn(search) {
            Ok(thread) => self.under_way = Some(thread),
            Err(e) => debug!("nobody looks for the owners of listening sockets: {e}"),
        }
    }

    /// What a search has found that is over by now.
    pub fn take(&mut self, now: Instant) -> Vec<Listening> {
        let over = self.under_way.take_if(|thread| thread.is_finished());
        over.map_or_else(Vec::new, |thread| self.found(thread, now))
    }

    /// The same, and waits for one that is under way.
    pub fn wait(&mut self, now: Instant) -> Vec<Listening> {
        let last = self.under_way.take();
        last.map_or_else(Vec::new, |thread| self.found(thread, now))
    }

    fn found(&mut self, thread: JoinHandle<Found>, now: Instant) -> Vec<Listening> {
        let Ok((listening, took)) = thread.join() else { return Vec::new() };
        self.next = self.next.max(now + took * SHARE);
        listening
    }
}

#[cfg(test)]
mod tests {
    use std::ffi::CString;
    use std::fs;
    use std::os::unix::ffi::OsStrExt;
    use std::os::unix::fs::symlink;

    use super::*;
    use crate::connections::address::Address;

    const PROCESSES: u64 = 200;
    const OF_EACH: u64 = 10;

    /// A `/proc` of processes with sockets, and one file of their namespace's Unix sockets that nobody has written yet: who
    /// reads it waits.
    fn processes() -> tempfile::TempDir {
        let proc = tempfile::tempdir().unwrap();
        let net = proc.path().join("net");
        fs::create_dir(&net).unwrap();
        let unix = CString::new(net.join("unix").as_os_str().as_bytes()).unwrap();
        // SAFETY: mkfifo reads the path given, which ends in a zero.
        assert_eq!(unsafe { libc::mkfifo(unix.as_ptr(), 0o600) }, 0);
        for pid in 1..=PROCESSES {
            let dir = proc.path().join(pid.to_string());
            for part in ["ns", "fd"] {
                fs::create_dir_all(dir.join(part)).unwrap();
            }
            symlink(&net, dir.join("net")).unwrap();
            symlink("net:[7]", dir.join("ns/net")).unwrap();
            for fd in 0..OF_EACH {
                symlink(format!("socket:[{}]", pid * OF_EACH + fd), dir.join(format!("fd/{fd}"))).unwrap();
            }
        }
        proc
    }

    /// Each process listens on the first of its sockets.
    fn lines() -> String {
        let line = |pid: u64| format!("0: 00000002 00000000 00010000 0001 01 {} /run/{pid}\n", pid * OF_EACH);
        (1..=PROCESSES).map(line).collect()
    }

    #[test]
    fn who_asks_does_not_wait_for_the_search() {
        let proc = processes();
        let mut owners = Owners::new(proc.path());
        let now = Instant::now();
        assert!(owners.may_search(now));
        owners.search(now);
        // It cannot be over.
        assert!(owners.take(now).is_empty() && !owners.may_search(now + 2 * EVERY));
        fs::write(proc.path().join("net/unix"), lines()).unwrap();
        let found = owners.wait(now);
        assert_eq!(found.len() as u64, PROCESSES);
        for listening in found {
            let pid = listening.pid.unwrap();
            let name = Address::Unix(format!("unix:/run/{pid}").into());
            assert_eq!((listening.inode, listening.address), (u64::from(pid) * OF_EACH, name));
        }
        assert!(!owners.may_search(now), "it was just now");
        assert!(owners.may_search(now + Duration::from_secs(3_600)));
        assert!(owners.wait(now).is_empty(), "found once");
    }

    #[test]
    fn the_longer_it_takes_the_less_often() {
        let mut owners = Owners::new(Path::new("/nonexistent"));
        let now = Instant::now();
        owners.under_way = Some(thread::spawn(|| (Vec::new(), Duration::from_secs(1))));
        owners.wait(now);
        assert!(!owners.may_search(now + Duration::from_secs(49)));
        assert!(owners.may_search(now + Duration::from_secs(51)));
    }
}
