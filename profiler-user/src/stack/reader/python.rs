//! Stacks of Python's threads, by the crate py-spy in its non-blocking mode: it reads the interpreter's structures out
//! of the process's memory while the process goes on.

use lru::LruCache;
use py_spy::config::LockingStrategy;
use py_spy::{Config, PythonSpy, StackTrace};

use super::memory;
use super::process::{Identity, Process};
use super::{Problem, Seen};
use crate::stall::{Frame, Holder};

/// Processes kept at the most: finding the interpreter in one takes tens of milliseconds.
const MOST: usize = 64;
/// Where glibc keeps a thread's number, from the address that Python knows the thread by: `tid` of `struct pthread`
/// (nptl/descr.h), after a header of the machine's size (sysdeps/*/nptl/tls.h) and a list of 16 bytes. Another libc has
/// something else there, which is no number of a thread of this process.
const TID: u64 = if cfg!(target_arch = "x86_64") { 704 + 16 } else { 192 + 16 };

/// The interpreters found so far.
pub(super) struct Pythons {
    known: LruCache<u32, (Identity, PythonSpy)>,
}

impl Default for Pythons {
    fn default() -> Self {
        let most = std::num::NonZeroUsize::new(MOST).unwrap_or(std::num::NonZeroUsize::MIN);
        Self { known: LruCache::new(most) }
    }
}

impl Pythons {
    /// The stack of one thread; empty where it runs no Python. And of the thread that has the interpreter's lock.
    pub(super) fn look(&mut self, process: &Process, tid: u32) -> Result<Seen, Problem> {
        let traces = self.traces(process)?;
        let inner = process.inner(tid).ok_or(Problem::Torn)?;
        let Some(own) = find(&traces, inner, |at| tid_at(process.pid, at), tid == process.pid) else {
            return Ok((Vec::new(), None));
        };
        let holder = traces.iter().enumerate().find(|(at, trace)| trace.owns_gil && *at != own).and_then(
            |(_, trace)| {
                let number = number(trace, |at| tid_at(process.pid, at))?;
                Some(Holder { tid: process.outer(number)?, stack: frames(trace) })
            },
        );
        Ok((frames(&traces[own]), holder))
    }

    fn traces(&mut self, process: &Process) -> Result<Vec<StackTrace>, Problem> {
        let pid = process.pid;
        if self.known.get(&pid).is_none_or(|(identity, _)| *identity != process.identity) {
            let spy = PythonSpy::new(pid as i32, &config()).map_err(|_| Problem::Unreadable)?;
            self.known.put(pid, (process.identity, spy));
        }
        let (_, spy) = self.known.get_mut(&pid).ok_or(Problem::Torn)?;
        // Its structures changed while they were read; or an execve came in between, which the next look sees.
        spy.get_stack_traces().map_err(|_| Problem::Torn)
    }
}

fn config() -> Config {
    Config {
        // The other modes stop the process.
        blocking: LockingStrategy::NonBlocking,
        native: false,
        collect_thread_names: false,
        full_filenames: true,
        dump_locals: 0,
        ..Config::default()
    }
}

/// Which of the threads has this number inside. Python 3.11 and newer tell it; before that glibc does.
fn find(traces: &[StackTrace], inner: u32, tid_at: impl Fn(u64) -> Option<u32>, main: bool) -> Option<usize> {
    let by_number = traces.iter().position(|trace| number(trace, &tid_at) == Some(inner));
    // Another libc: the main thread is the first that Python knew, and its list begins with the last.
    let unknown = || traces.iter().all(|trace| trace.os_thread_id.is_none());
    by_number.or_else(|| (main && unknown()).then(|| traces.len().checked_sub(1)).flatten())
}

fn number(trace: &StackTrace, tid_at: impl Fn(u64) -> Option<u32>) -> Option<u32> {
    match trace.os_thread_id {
        Some(number) => u32::try_from(number).ok(),
        None => tid_at(trace.thread_id),
    }
}

fn tid_at(pid: u32, thread: u64) -> Option<u32> {
    memory::read::<4>(pid, thread.checked_add(TID)?).map(u32::from_ne_bytes)
}

fn frames(trace: &StackTrace) -> Vec<Frame> {
    let frames = trace.frames.iter().map(|frame| Frame {
        function: frame.name.clone(),
        file: Some(frame.filename.clone()).filter(|file| !file.is_empty()),
        line: u32::try_from(frame.line).ok().filter(|line| *line > 0),
    });
    frames.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trace(thread_id: u64, os_thread_id: Option<u64>) -> StackTrace {
        StackTrace {
            pid: 1,
            thread_id,
            thread_name: None,
            os_thread_id,
            active: true,
            owns_gil: false,
            frames: Vec::new(),
            process_info: None,
        }
    }

    #[test]
    fn a_thread_by_its_number() {
        let new = [trace(0x100, Some(12)), trace(0x200, Some(11))];
        assert_eq!(find(&new, 11, |_| None, true), Some(1));
        assert_eq!(find(&new, 13, |_| None, true), None, "a thread that runs no Python");
        let old = [trace(0x100, None), trace(0x200, None)];
        let glibc = |at| Some(if at == 0x100 { 12 } else { 11 });
        assert_eq!(find(&old, 12, glibc, false), Some(0));
        assert_eq!(find(&old, 11, |_| None, true), Some(1), "the first one, in another libc");
        assert_eq!(find(&old, 12, |_| None, false), None);
    }
}
