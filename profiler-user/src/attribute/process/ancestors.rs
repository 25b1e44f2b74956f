//! Whose child a process is: the kernel's fork records and the parents that `/proc` tells of go in, out comes what a
//! child has from its parents, and who descends from whom.

use std::sync::Arc;

use super::entry::Source;
use super::{Process, ProcessTable};

/// No ancestor of interest: init, or none at all.
const INIT: u32 = 1;
/// Steps from a process up to its ancestors.
const MAX_ANCESTORS: usize = 64;

impl ProcessTable {
    /// What a process is, or the next of its ancestors of which that is known.
    pub(super) fn identity(&self, mut pid: u32) -> Option<Arc<Process>> {
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
            at = parent.unwrap_or_else(|| self.parent(at));
            if at <= INIT {
                return false;
            }
        }
        false
    }

    /// The parent that `/proc` tells of; 0 when there is none, or when its number is another process's by now.
    fn parent(&mut self, pid: u32) -> u32 {
        let child = self.lookup(pid, "");
        if child.ppid <= INIT {
            return 0;
        }
        let parent = self.lookup(child.ppid, "");
        match (child.start_ticks, parent.start_ticks) {
            (Some(began), Some(parent)) if parent > began => 0,
            _ => child.ppid,
        }
    }
}

/// What a child has from its parent until it executes something else.
pub(super) fn child_of(identity: &Process, ppid: u32, pid: u32) -> Process {
    Process { pid, ppid, started: None, start_ticks: None, gone: false, ..identity.clone() }
}
