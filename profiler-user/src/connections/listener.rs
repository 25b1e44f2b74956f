//! One address that a service listens on: who works for it, how long clients wait, what waits now.

mod queue;
mod silence;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use rustc_hash::{FxHashMap, FxHashSet};

use super::address::Address;
use super::overlap::Overlap;
use super::protocol::Spoken;
use crate::aggregate::ConnectionBuckets;
use crate::aggregate::buckets::Buckets;
use crate::aggregate::distribution::Histogram;
use crate::exchange::Times;
use crate::report::ListenerRow;
use queue::Queue;
use silence::{Habits, Now};

/// Threads told apart; of more only so many are counted.
const MOST_WORKERS: usize = 4_096;

/// A listening socket of the kernel's, or several of one address.
#[derive(Debug)]
pub(super) struct Listener {
    pub(super) address: Address,
    pub(super) netns: u32,
    /// Who accepts and serves; until somebody has, whose socket it is.
    pub(super) service: Option<Arc<str>>,
    /// Whose socket it is, where that is known, and whether it was looked up.
    pub(super) owner: Option<u32>,
    pub(super) asked: bool,
    pub(super) spoken: Spoken,
    pub(super) now: Now,
    /// Connections that came.
    pub(super) connections: u64,
    pub(super) touched: u64,
    /// Sockets by their address in the kernel.
    sockets: FxHashMap<u64, Queue>,
    /// Of sockets that are closed.
    drops_before: u64,
    /// What the namespace counts of them as turned away for want of room, once that is known.
    overflows: Option<u64>,
    /// When they were found to be, ns, the last first.
    closed: Vec<u64>,
    /// As it was before we came.
    standing: Option<u64>,
    workers: FxHashSet<(u32, u32)>,
    processes: FxHashSet<u32>,
    /// The most threads that worked at a time, and processes.
    peak_workers: (usize, usize),
    requests: u64,
    overlap: Overlap,
    accept_wait: Histogram,
    queue: Histogram,
    /// Between first reads and last writes, ns.
    running: u64,
    peak_in_flight: u64,
    peak_backlog: u64,
    /// For how many there was room when its sockets were last looked at.
    room: u64,
    /// The last byte of an answer, ns; 0 when there was none.
    answered: u64,
    longest_silence: u64,
    habits: Habits,
}

impl Listener {
    pub(super) fn new(address: Address, netns: u32) -> Self {
        Self {
            address,
            netns,
            service: None,
            owner: None,
            asked: false,
            spoken: Spoken::default(),
            now: Now::default(),
            connections: 0,
            touched: 0,
            sockets: FxHashMap::default(),
            drops_before: 0,
            overflows: None,
            closed: Vec::new(),
            standing: None,
            workers: FxHashSet::default(),
            processes: FxHashSet::default(),
            peak_workers: (0, 0),
            requests: 0,
            overlap: Overlap::default(),
            accept_wait: Histogram::default(),
            queue: Histogram::default(),
            running: 0,
            peak_in_flight: 0,
            peak_backlog: 0,
            room: 0,
            answered: 0,
            longest_silence: 0,
            habits: Habits::default(),
        }
    }

    /// A connection that somebody accepted, or that was used first; `waited` ns for accept().
    pub(super) fn accepted(&mut self, worker: (u32, u32), waited: Option<u64>) {
        self.connections += 1;
        if let Some(waited) = waited {
            self.accept_wait.record(waited as f64 / 1e9);
        }
        self.worked(worker);
    }

    /// A request was answered.
    pub(super) fn answered(&mut self, worker: (u32, u32), times: &Times, failed: bool) {
        self.worked(worker);
        if !failed {
            self.requests += 1;
            self.answered = self.answered.max(times.last);
        }
        if let Some(from) = times.arrival.or(times.start) {
            self.overlap.add(from, times.last);
            self.habits.add(times.last.saturating_sub(from));
        }
        self.running += times.start.map_or(0, |start| times.last.saturating_sub(start));
        self.queue.record_opt(times.queue());
    }

    fn worked(&mut self, (pid, tid): (u32, u32)) {
        if pid != 0 && self.workers.len() < MOST_WORKERS && self.workers.insert((pid, tid)) {
            self.processes.insert(pid);
            let now = self.workers_now();
            self.peak_workers = (self.peak_workers.0.max(now.0), self.peak_workers.1.max(now.1));
        }
    }

    /// A process has ended. Its CPU time still counts.
    pub(super) fn left(&mut self, pid: u32) {
        if self.processes.contains(&pid) {
            self.workers.retain(|worker| worker.0 != pid);
        }
    }

    /// Threads that work, and their processes.
    fn workers_now(&self) -> (usize, usize) {
        let processes: FxHashSet<u32> = self.workers.iter().map(|worker| worker.0).collect();
        (self.workers.len(), processes.len())
    }

    pub(super) fn processes(&self) -> impl Iterator<Item = u32> {
        self.processes.iter().copied()
    }

    /// Whether there is anything to say of it.
    pub(super) fn is_used(&self) -> bool {
        self.connections > 0
            || self.requests > 0
            || self.peak_backlog > 0
            || self.peak_in_flight > 0
            || self.overflows() > 0
    }

    /// Waits for accept(), for metrics.
    pub(super) fn accepts(&self) -> Buckets {
        self.accept_wait.buckets(ConnectionBuckets::accepts().bounds)
    }

    /// As the report has it: `now`, in a window that began at `begun`; `cpu` is that of its processes, ns.
    pub(super) fn report(&self, now: u64, begun: u64, cpu: Option<u64>) -> ListenerRow {
        let window = now.saturating_sub(begun).max(1) as f64;
        let ns = |ns: u64| ns as f64 / 1e9;
        // A listener that has closed keeps the room that it had: its peak is of then.
        let room = if self.sockets.is_empty() { self.room } else { self.queues_room() };
        let running = self.running + self.now.running;
        let silent = now.saturating_sub(self.answered.max(begun));
        ListenerRow {
            service: self.service.as_deref().unwrap_or_default().to_owned(),
            address: self.address.to_string(),
            netns: self.netns,
            workers: self.peak_workers.0 as u64,
            processes: self.peak_workers.1 as u64,
            in_flight: self.now.in_flight,
            peak_in_flight: self.peak_in_flight.max(self.overlap.most()),
            requests: self.requests,
            backlog: self.backlog(),
            peak_backlog: self.peak_backlog,
            backlog_max: (room > 0).then_some(room),
            overflows: self.overflows(),
            closed_at: self.closed.iter().rev().map(|at| ns(at.saturating_sub(begun))).collect(),
            accept_wait: self.accept_wait.snapshot(),
            queue: self.queue.snapshot(),
            concurrency: running as f64 / window,
            cpu: cpu.map(|cpu| cpu as f64 / window),
            oldest_waiting: self.now.oldest.map(|oldest| ns(now.saturating_sub(oldest))),
            unread: self.now.unread,
            silent: Some(ns(silent)),
            silence: self.silence(now, begun).map(ns),
            longest_silence: ns(self.longest_silence),
        }
    }
}
