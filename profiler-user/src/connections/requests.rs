//! Which HTTP request a MySQL command was sent for: finished requests of the processes that are MySQL's clients come in,
//! and those that a survey finds under way; out goes the one request that a command at some instant can belong to, if
//! there is only one. Pure, and bounded: processes, and requests of each.
//!
//! A process may work on several requests at a time. Where each thread works on one, a command is of its thread's
//! request. Where a thread works on several, or requests are read by one thread and worked on by others, or move between
//! threads, it is only known if there is no other request at that instant.

mod process;
mod span;
mod tally;
#[cfg(test)]
mod tests;

use rustc_hash::{FxHashMap, FxHashSet};

use crate::exchange::{Call, Exchange, HttpCall};
use crate::report::Role;
pub(super) use process::{Command, Found};
pub(super) use span::{End, Sender};

use process::Process;
use span::{Id, Span};

/// Processes known at the most.
const MOST_PROCESSES: usize = 256;
/// Requests under way that one survey may name.
const MOST_UNDER_WAY: usize = 4_096;

#[derive(Debug, Default)]
pub(super) struct Requests {
    processes: FxHashMap<u32, Process>,
    /// Requests under way that this survey has named, of all processes.
    named: usize,
    /// Processes whose requests under way are wanted, in this survey and in the next.
    wanted: FxHashSet<u32>,
    wanted_next: FxHashSet<u32>,
    /// The latest end that was told of, ns.
    clock: u64,
}

impl Requests {
    /// An exchange has ended.
    pub(super) fn finished(&mut self, exchange: &Exchange) {
        let last = exchange.times.last;
        self.clock = self.clock.max(last);
        match (&exchange.call, exchange.role) {
            (Call::Mysql(_), Role::Client) => self.sent(exchange.pid, exchange.tid),
            (Call::Http(call), Role::Server) => {
                if let Some(process) = self.processes.get_mut(&exchange.pid) {
                    let whole = call.status.is_some() && exchange.transport_error.is_none();
                    let end = if whole { End::Answered(last) } else { End::Broken };
                    match exchange.times.start {
                        Some(start) => process.ended(Span::new(exchange.tid, start, last, end, call)),
                        None => process.miss(last),
                    }
                }
            }
            _ => {}
        }
    }

    fn sent(&mut self, pid: u32, tid: u32) {
        if self.processes.len() >= MOST_PROCESSES && !self.processes.contains_key(&pid) {
            return;
        }
        let clock = self.clock;
        self.processes.entry(pid).or_insert_with(|| Process::new(clock)).sent(tid);
    }

    /// Requests of this process move between its threads.
    pub(super) fn moves(&mut self, pid: u32) {
        if let Some(process) = self.processes.get_mut(&pid) {
            process.moves();
        }
    }

    /// The command after `before` in an open transaction.
    pub(super) fn goes_on(&mut self, before: Command, next: Command) {
        if let Some(process) = self.processes.get_mut(&before.pid).filter(|_| before.pid == next.pid) {
            process.goes_on(before, next);
        }
    }

    pub(super) fn exited(&mut self, pid: u32) {
        self.processes.remove(&pid);
    }

    /// A survey begins.
    pub(super) fn survey(&mut self) {
        self.processes.values_mut().for_each(Process::survey);
        self.named = 0;
        self.wanted = std::mem::take(&mut self.wanted_next);
    }

    /// Whether requests of this process that are under way are to be told of in this survey.
    pub(super) fn wants(&self, pid: u32) -> bool {
        self.wanted.contains(&pid) && self.named < MOST_UNDER_WAY
    }

    /// The same from the next survey on.
    pub(super) fn want(&mut self, pid: u32) {
        self.wanted_next.insert(pid);
    }

    /// A request that is under way.
    pub(super) fn under_way(&mut self, pid: u32, tid: u32, start: u64, call: &HttpCall) {
        self.named += 1;
        if let Some(process) = self.processes.get_mut(&pid) {
            process.begun(Span::new(tid, start, u64::MAX, End::UnderWay, call));
        }
    }

    /// A connection of this process's clients, open since `since`, that may carry requests that we cannot see.
    pub(super) fn hidden(&mut self, pid: u32, since: u64) {
        if let Some(process) = self.processes.get_mut(&pid) {
            process.hides(since);
        }
    }

    /// The request that each of these commands of one process was sent for.
    pub(super) fn senders(&self, pid: u32, commands: &[Command]) -> Vec<Found> {
        match self.processes.get(&pid).filter(|_| self.wants(pid)) {
            Some(process) => process.senders(commands),
            None => vec![Found::Forgotten; commands.len()],
        }
    }

    /// How far a request of this process has come that was under way; None where that is not known any more.
    pub(super) fn end(&self, pid: u32, id: Id) -> Option<End> {
        self.processes.get(&pid)?.end(id)
    }
}

/// An exchange of the process 42.
#[cfg(test)]
pub(super) fn exchange(role: Role, tid: u32, start: u64, last: u64, call: Call) -> Exchange {
    Exchange {
        pid: 42,
        tid,
        comm: String::new(),
        role,
        local: String::new(),
        peer: String::new(),
        local_port: 0,
        peer_port: 0,
        times: crate::exchange::Times { start: Some(start), last, ..crate::exchange::Times::default() },
        request_bytes: 1,
        response_bytes: 1,
        transport_error: None,
        stream: false,
        truncated: false,
        call,
    }
}
