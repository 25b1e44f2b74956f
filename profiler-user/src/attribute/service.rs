//! Which program a process belongs to: [`Process`]es go in, the report's services come out.
//!
//! A service is what its operator would call one program: all workers of a server, however often they were restarted,
//! but not a second instance on another port or in another container. It is told by the executable, by what the command
//! line says about the program (see `identity`), by the options for its port, and by the container. Of a process whose
//! executable is not known the rest must do (see `key`).

mod identity;
mod interpreted;
mod key;
mod ports;
pub(super) mod runtime;
mod secrets;
mod title;
mod tool;

#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::SystemTime;

use rustc_hash::{FxHashMap, FxHashSet};

use super::process::Process;
use crate::report::{Container, Service};
pub use identity::{DEMO_PART, KERNEL};
use key::{Key, Keys};
pub use secrets::masked;

/// Services told apart; all later ones are one, called [`OTHERS`].
pub const MAX_SERVICES: usize = 1_024;
/// The service of all that came when there was no more room.
pub const OTHERS: &str = "<overflow>";
/// Ways to find a service that are kept, for all services together: a program can be called by many paths.
const MAX_KEYS: usize = 8 * MAX_SERVICES;
/// Of a service's pids and addresses only so many are listed.
const MAX_LISTED: usize = 1_024;

/// The services of a report, as they are found.
#[derive(Debug)]
pub struct Services {
    proc_root: PathBuf,
    by_key: FxHashMap<Key, usize>,
    /// The last answer for a pid, valid for the very same process.
    by_pid: FxHashMap<u32, (Arc<Process>, usize)>,
    ids: FxHashSet<Arc<str>>,
    rows: Vec<Row>,
}

#[derive(Debug)]
struct Row {
    id: Arc<str>,
    /// Where its program is was known of one of its processes: one from elsewhere is another service.
    located: bool,
    /// Its program's file was looked at.
    read: bool,
    name: String,
    runtime: Option<&'static str>,
    exe: Option<String>,
    cmdline: Option<String>,
    started: Option<SystemTime>,
    container: Option<String>,
    pids: BTreeSet<u32>,
    listens: BTreeSet<String>,
}

impl Default for Services {
    fn default() -> Self {
        Self::new(PathBuf::from("/proc"))
    }
}

impl Services {
    /// Services whose executables are looked at through the `/proc` at `proc_root`.
    pub fn new(proc_root: PathBuf) -> Self {
        Self {
            proc_root,
            by_key: FxHashMap::default(),
            by_pid: FxHashMap::default(),
            ids: FxHashSet::default(),
            rows: Vec::new(),
        }
    }

    /// The identifier of the process's service, which is its name, with a number when there are several of that name.
    ///
    /// `parent` is asked for only where a process has nothing of its own that tells what it works for, such as the
    /// workers of Python's multiprocessing.
    pub fn assign(
        &mut self,
        process: &Arc<Process>,
        parent: impl FnOnce(u32) -> Option<Arc<Process>>,
    ) -> Arc<str> {
        if let Some((known, at)) = self.by_pid.get(&process.pid)
            && Arc::ptr_eq(known, process)
        {
            return self.rows[*at].id.clone();
        }
        let parent = if identity::is_helper(process) { parent(process.ppid) } else { None };
        let whose = parent.as_ref().filter(|parent| !parent.gone).unwrap_or(process);
        let at = self.row(whose);
        let row = &mut self.rows[at];
        if row.pids.len() < MAX_LISTED {
            row.pids.insert(process.pid);
        }
        // The service is as old as the oldest of its processes.
        row.started = match (row.started, process.started) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        };
        let id = row.id.clone();
        if self.by_pid.len() >= super::process::MAX_PROCESSES {
            self.by_pid.clear();
        }
        self.by_pid.insert(process.pid, (process.clone(), at));
        id
    }

    /// An exchange of this service arrived on this address: `ip:port`, `[ip6]:port` or `unix:PATH`.
    pub fn listens(&mut self, process: &Process, address: &str) {
        if let Some((_, at)) = self.by_pid.get(&process.pid) {
            let listens = &mut self.rows[*at].listens;
            if listens.len() < MAX_LISTED && !listens.contains(address) {
                listens.insert(address.into());
            }
        }
    }

    /// All services found so far, in the order of their finding.
    pub fn rows(&self) -> Vec<Service> {
        self.rows.iter().map(Row::report).collect()
    }

    fn row(&mut self, process: &Process) -> usize {
        let keys = Keys::of(process);
        if let Some(at) = self.known(&keys) {
            self.learn(at, &keys, process);
            if self.by_key.len() < MAX_KEYS {
                self.remember(keys, at);
            }
            return at;
        }
        if self.rows.len() < MAX_SERVICES {
            return self.begin(keys, process);
        }
        // One more row, without anything of the process that happens to be the first.
        let others = Process { comm: OTHERS.into(), gone: true, ..Process::default() };
        let keys = Keys::of(&others);
        self.known(&keys).unwrap_or_else(|| self.begin(keys, &others))
    }

    /// The service that these keys are of. One that was found by its name alone so far may be at any path.
    fn known(&self, keys: &Keys) -> Option<usize> {
        let find = |key| self.by_key.get(key).copied();
        keys.exact.iter().find_map(find).or_else(|| {
            let mut alike = keys.alike.iter().filter_map(find);
            alike.find(|at| keys.exact.is_empty() || !self.rows[*at].located)
        })
    }

    /// A new service.
    fn begin(&mut self, keys: Keys, process: &Process) -> usize {
        let id = self.unused(&keys.identity.name);
        self.rows.push(Row {
            id,
            located: false,
            read: false,
            name: keys.identity.name.clone(),
            runtime: keys.identity.runtime,
            exe: None,
            cmdline: Some(masked(&process.cmdline)).filter(|line| !line.is_empty()),
            started: process.started,
            container: process.container.clone(),
            pids: BTreeSet::new(),
            listens: BTreeSet::new(),
        });
        let at = self.rows.len() - 1;
        self.learn(at, &keys, process);
        self.remember(keys, at);
        at
    }

    fn remember(&mut self, keys: Keys, at: usize) {
        for key in keys.exact.into_iter().chain(keys.alike) {
            self.by_key.entry(key).or_insert(at);
        }
    }

    /// What this process tells of its service's program and the ones before did not.
    fn learn(&mut self, at: usize, keys: &Keys, process: &Process) {
        let row = &mut self.rows[at];
        row.located |= !keys.exact.is_empty();
        let Some(exe) = &process.exe else { return };
        row.exe.get_or_insert_with(|| exe.clone());
        if row.runtime.is_none() && !row.read && !process.gone {
            let exe_link = self.proc_root.join(process.pid.to_string()).join("exe");
            row.read = exe_link.exists();
            row.runtime = keys.identity.runtime.or_else(|| runtime::of_file(&exe_link));
        }
    }

    fn unused(&mut self, name: &str) -> Arc<str> {
        let mut id: Arc<str> = name.into();
        let mut number = 1;
        while !self.ids.insert(id.clone()) {
            number += 1;
            id = format!("{name}#{number}").into();
        }
        id
    }
}

impl Row {
    fn report(&self) -> Service {
        let started = self.started.and_then(|time| jiff::Timestamp::try_from(time).ok());
        Service {
            id: self.id.to_string(),
            name: self.name.clone(),
            pids: self.pids.iter().copied().collect(),
            exe: self.exe.clone(),
            cmdline: self.cmdline.clone(),
            runtime: self.runtime.map(Into::into),
            started: started.map(|time| format!("{time:.9}")),
            listens: self.listens.iter().cloned().collect(),
            container: self.container.clone().map(|id| Container { id }),
        }
    }
}
