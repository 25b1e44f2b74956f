//! CPU time of the processes that work for listeners: read at first sight, again now and then, and at the end.

use std::path::{Path, PathBuf};

use rustc_hash::FxHashMap;

/// Processes watched at the most.
const MOST: usize = 1_024;
/// A tick of `/proc/PID/stat` (USER_HZ, include/asm-generic/param.h; 100 on all machines that we build for), ns.
const TICK_NS: u64 = 10_000_000;

/// CPU time so far, ns: when it was first looked at, and last.
#[derive(Debug, Clone, Copy)]
struct Used {
    first: u64,
    last: u64,
    began: u64,
}

/// The processes.
#[derive(Debug)]
pub struct Cpu {
    proc_root: PathBuf,
    known: FxHashMap<u32, Used>,
}

impl Cpu {
    /// Processes of the `/proc` at `proc_root`.
    pub fn new(proc_root: &Path) -> Self {
        Self { proc_root: proc_root.into(), known: FxHashMap::default() }
    }

    /// Looks at these, and again at those that are known.
    pub fn look(&mut self, processes: impl Iterator<Item = u32>) {
        for pid in processes {
            if self.known.contains_key(&pid) || self.known.len() >= MOST {
                continue;
            }
            if let Some((began, used)) = self.read(pid) {
                self.known.insert(pid, Used { first: used, last: used, began });
            }
        }
        let pids: Vec<_> = self.known.keys().copied().collect();
        for pid in pids {
            if let Some((began, used)) = self.read(pid)
                && let Some(known) = self.known.get_mut(&pid).filter(|known| known.began == began)
            {
                known.last = used;
            }
        }
    }

    /// What these have used since they were first looked at, ns; None where not all of them could be: a part would look like
    /// a CPU with room.
    pub fn used(&self, processes: &mut dyn Iterator<Item = u32>) -> Option<u64> {
        let used = processes.map(|pid| self.known.get(&pid).map(|used| used.last.saturating_sub(used.first)));
        used.reduce(|sum, used| Some(sum? + used?)).flatten()
    }

    fn read(&self, pid: u32) -> Option<(u64, u64)> {
        let stat = std::fs::read(self.proc_root.join(pid.to_string()).join("stat")).ok()?;
        parse(&String::from_utf8_lossy(&stat))
    }
}

/// When a process began, in ticks, and its CPU time, ns (do_task_stat() in fs/proc/array.c: utime, stime and starttime
/// are the 14th, 15th and 22nd field; the second, a name, may hold spaces).
fn parse(stat: &str) -> Option<(u64, u64)> {
    let (_, rest) = stat.rsplit_once(')')?;
    let mut fields = rest.split_ascii_whitespace().skip(11);
    let mut number = |skipped: usize| fields.nth(skipped)?.parse::<u64>().ok();
    let (user, system) = (number(0)?, number(0)?);
    Some((number(6)?, (user + system) * TICK_NS))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_stat() {
        let line = "42 (a (b) c) S 1 42 42 0 -1 4194304 100 0 0 0 250 50 0 0 20 0 4 0 777 1000 10 184 1";
        assert_eq!(parse(line), Some((777, 3_000_000_000)));
        assert_eq!(parse("42 (a"), None);
    }

    #[test]
    fn what_this_process_uses() {
        let mut cpu = Cpu::new(Path::new("/proc"));
        let own = std::process::id();
        cpu.look([own, u32::MAX].into_iter());
        let begun = std::time::Instant::now();
        while cpu.used(&mut [own].into_iter()) == Some(0) && begun.elapsed().as_secs() < 60 {
            cpu.look(std::iter::empty());
        }
        assert!(cpu.used(&mut [own].into_iter()).is_some_and(|used| used >= TICK_NS));
        assert_eq!(cpu.used(&mut [u32::MAX].into_iter()), None);
    }
}
