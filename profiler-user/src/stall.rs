//! A stall: a turn of an event loop that took too long, in words. In come the kernel half's [`Turn`]s, out go the rows
//! of reports and the lines of `trace`. Pure: what a descriptor was is looked up elsewhere, while the stall lasts.

pub mod cause;
pub mod kind;
pub mod place;
pub mod queries;

use profiler_ebpf::turn::{Turn, flag};
use serde::{Deserialize, Serialize};

use self::cause::{Cause, Evidence};
pub use self::kind::Kind;
use crate::kernel::hooks::Wait;
use crate::kernel::syscalls;

/// Stalls that wait to be taken at the most; more in one turn of the source are counted, not kept.
const MOST: usize = 4_096;

/// How sure it is that clients waited.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Confidence {
    /// The loop had clients' connections.
    High,
    /// None was seen: a worker's loop, or one between connections.
    Low,
}

/// Who waited while the loop stalled, when that was last looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Waiting {
    /// Connections with bytes that nobody has read.
    #[serde(rename = "waiting_requests")]
    pub requests: u32,
    /// Connections that nobody has accepted.
    #[serde(rename = "waiting_connections")]
    pub connections: u32,
}

/// Time blocked in one call on one target.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BlockedIn {
    /// Its number and target as the kernel half gave them.
    #[serde(skip)]
    pub call: (u32, u64),
    pub syscall: String,
    pub kind: Kind,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
    pub count: u32,
    pub seconds: f64,
}

/// A place in a program's code, innermost first in a stack.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Frame {
    pub function: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub line: Option<u32>,
}

/// A thread that ran while the loop waited for the interpreter's lock.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holder {
    pub tid: u32,
    pub stack: Vec<Frame>,
}

/// MySQL commands that the loop's thread waited for in the stall.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Queries {
    /// `ip:port` or `unix:PATH` of the server; empty for an unnamed Unix socket.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub peer: String,
    /// The one with most time: hash (empty where the statement is not known) and text without its literals.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub digest: String,
    pub digest_text: String,
    pub count: u32,
    pub seconds: f64,
}

/// A stall, over or under way.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Stall {
    #[serde(skip)]
    pub turn: Turn,
    pub pid: u32,
    pub tid: u32,
    pub comm: String,
    pub wait: Wait,
    pub seconds: f64,
    pub on_cpu: f64,
    pub run_queue: f64,
    pub blocked: f64,
    pub blocked_in: Vec<BlockedIn>,
    pub cause: Cause,
    /// The part of `run_queue` during which the process's cgroup had used up its share of the CPUs; absent where it has
    /// no limit, or it is not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub throttled: Option<f64>,
    /// Hash of the statement that it was blocked on, as in the rows of MySQL.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub queries: Option<Queries>,
    /// Where in the code it was when looked at, innermost first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub stack: Vec<Frame>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lock_holder: Option<Holder>,
    /// Some switch of the thread was not seen: the parts may be wrong, their sum is not.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub uncertain: bool,
    pub confidence: Confidence,
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    pub waiting: Option<Waiting>,
    pub ongoing: bool,
}

impl Stall {
    /// Reads a turn; None for a kind of wait that this version does not know.
    pub fn of(turn: Turn, ongoing: bool) -> Option<Self> {
        let called = turn.calls.iter().filter(|call| call.count > 0);
        let mut blocked_in: Vec<_> = called
            .map(|call| BlockedIn {
                call: (call.nr, call.target),
                syscall: syscalls::name(call.nr),
                kind: kind::of((call.nr, call.target), None),
                target: None,
                count: call.count,
                seconds: seconds(call.ns),
            })
            .collect();
        blocked_in.sort_by(|a, b| b.seconds.total_cmp(&a.seconds));
        Some(Self {
            pid: turn.pid,
            tid: turn.tid,
            comm: comm(&turn.comm),
            wait: Wait::of(turn.wait)?,
            seconds: seconds(turn.length()),
            on_cpu: seconds(turn.on_cpu),
            run_queue: seconds(turn.run_queue),
            blocked: seconds(turn.blocked),
            cause: cause::of(&turn, &Evidence::default()),
            blocked_in,
            throttled: None,
            digest: None,
            queries: None,
            stack: Vec::new(),
            lock_holder: None,
            uncertain: turn.flags & flag::UNCERTAIN != 0,
            confidence: Confidence::Low,
            waiting: None,
            ongoing,
            turn,
        })
    }
}

/// Stalls that have ended and that nobody has taken yet.
#[derive(Debug, Default)]
pub struct Stalls {
    waiting: Vec<Stall>,
    /// All so far.
    pub count: u64,
    /// Those that were not kept.
    pub overflowed: u64,
}

impl Stalls {
    pub fn add(&mut self, turn: Turn) {
        let Some(stall) = Stall::of(turn, false) else { return };
        self.count += 1;
        if self.waiting.len() < MOST {
            self.waiting.push(stall);
        } else {
            self.overflowed += 1;
        }
    }

    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    pub fn iter(&self) -> impl Iterator<Item = &Stall> {
        self.waiting.iter()
    }

    pub fn take(&mut self) -> Vec<Stall> {
        std::mem::take(&mut self.waiting)
    }
}

fn seconds(ns: u64) -> f64 {
    ns as f64 / 1e9
}

/// A thread's name.
pub fn comm(bytes: &[u8; 16]) -> String {
    let end = bytes.iter().position(|b| *b == 0).unwrap_or(bytes.len());
    String::from_utf8_lossy(&bytes[..end]).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use profiler_ebpf::turn::Blocked;
    use profiler_ebpf::wait::kind;

    #[test]
    fn a_turn_in_words() {
        let mut turn =
            Turn { pid: 7, tid: 8, wait: kind::EPOLL, start: 1_000, end: 300_001_000, ..Turn::default() };
        turn.blocked = 299_000_000;
        turn.on_cpu = 1_000_000;
        turn.calls[0] = Blocked { ns: 9_000_000, target: 0, nr: 202, count: 3 };
        turn.calls[1] = Blocked { ns: 290_000_000, target: 0, nr: 230, count: 1 };
        turn.comm[..4].copy_from_slice(b"node");
        let stall = Stall::of(turn, false).unwrap();
        assert_eq!((stall.seconds, stall.blocked, stall.comm.as_str()), (0.3, 0.299, "node"));
        let calls: Vec<_> = stall.blocked_in.iter().map(|b| (b.syscall.as_str(), b.count)).collect();
        assert_eq!(calls, [("clock_nanosleep", 1), ("futex", 3)]);
        assert_eq!(Stall::of(Turn::default(), false), None);
    }

    #[test]
    fn what_is_not_taken_is_counted() {
        let mut stalls = Stalls::default();
        for _ in 0..MOST + 3 {
            stalls.add(Turn { wait: kind::EPOLL, ..Turn::default() });
        }
        assert_eq!((stalls.count, stalls.overflowed, stalls.take().len()), (MOST as u64 + 3, 3, MOST));
        assert!(stalls.take().is_empty());
    }
}
