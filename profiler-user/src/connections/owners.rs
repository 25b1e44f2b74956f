//! Whose listening sockets are, looked up while a recording runs. That takes a look at every descriptor of every process:
//! a thread of its own does it, one search at a time, so that nobody waits for it.

use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, TryRecvError};
use std::thread;
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
    /// A thread that is never joined: one that reads of a process which hangs may not end.
    under_way: Option<Receiver<Found>>,
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

    /// Begins a search, unless one is under way.
    pub fn search(&mut self, now: Instant) {
        if self.under_way.is_some() {
            return;
        }
        self.next = now + EVERY;
        let root = self.proc_root.clone();
        let (found, under_way) = mpsc::channel();
        let search = move || {
            let before = thread_cpu();
            let listening = Namespaces::find(&root).listening();
            // Nobody may be there to take it any more.
            let _ = found.send((listening, thread_cpu().saturating_sub(before)));
        };
        match thread::Builder::new().name("owners".into()).spawn(search) {
            Ok(_) => self.under_way = Some(under_way),
            Err(e) => debug!("nobody looks for the owners of listening sockets: {e}"),
        }
    }

    /// What a search has found that is over by now.
    pub fn take(&mut self, now: Instant) -> Vec<Listening> {
        let Some(under_way) = &self.under_way else { return Vec::new() };
        match under_way.try_recv() {
            Err(TryRecvError::Empty) => Vec::new(),
            Err(TryRecvError::Disconnected) => self.over(None, now),
            Ok(found) => self.over(Some(found), now),
        }
    }

    /// The same, and waits for one that is under way, up to `until`.
    pub fn wait(&mut self, now: Instant, until: Instant) -> Vec<Listening> {
        let Some(under_way) = &self.under_way else { return Vec::new() };
        match under_way.recv_timeout(until.saturating_duration_since(now)) {
            Err(RecvTimeoutError::Timeout) => Vec::new(),
            Err(RecvTimeoutError::Disconnected) => self.over(None, now),
            Ok(found) => self.over(Some(found), now),
        }
    }

    fn over(&mut self, found: Option<Found>, now: Instant) -> Vec<Listening> {
        self.under_way = None;
        let Some((listening, took)) = found else { return Vec::new() };
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
    /// More than any search takes.
    const LONG: Duration = Duration::from_secs(3_600);

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
        let found = owners.wait(now, now + LONG);
        assert_eq!(found.len() as u64, PROCESSES);
        for listening in found {
            let pid = listening.pid.unwrap();
            let name = Address::Unix(format!("unix:/run/{pid}").into());
            assert_eq!((listening.inode, listening.address), (u64::from(pid) * OF_EACH, name));
        }
        assert!(!owners.may_search(now), "it was just now");
        assert!(owners.may_search(now + Duration::from_secs(3_600)));
        assert!(owners.wait(now, now + LONG).is_empty(), "found once");
    }

    #[test]
    fn a_search_that_hangs_is_given_up_and_may_be_taken_later() {
        let proc = processes();
        let mut owners = Owners::new(proc.path());
        let now = Instant::now();
        owners.search(now);
        assert!(owners.wait(now, now + Duration::from_millis(1)).is_empty());
        owners.search(now);
        fs::write(proc.path().join("net/unix"), lines()).unwrap();
        assert_eq!(owners.wait(now, now + LONG).len() as u64, PROCESSES);
    }

    #[test]
    fn a_search_that_has_failed_is_over() {
        let mut owners = Owners::new(Path::new("/nonexistent"));
        let now = Instant::now();
        for wait in [false, true] {
            owners.under_way = Some(mpsc::channel().1);
            let found = if wait { owners.wait(now, now + LONG) } else { owners.take(now) };
            assert!(found.is_empty() && owners.may_search(now));
        }
    }

    #[test]
    fn the_longer_it_takes_the_less_often() {
        let mut owners = Owners::new(Path::new("/nonexistent"));
        let now = Instant::now();
        let (found, under_way) = mpsc::channel();
        found.send((Vec::new(), Duration::from_secs(1))).unwrap();
        owners.under_way = Some(under_way);
        owners.take(now);
        assert!(!owners.may_search(now + Duration::from_secs(49)));
        assert!(owners.may_search(now + Duration::from_secs(51)));
    }
}
