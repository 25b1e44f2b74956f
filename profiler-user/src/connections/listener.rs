//! One address that a service listens on: who works for it, how long clients wait, what waits now.

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

/// Threads told apart; of more only so many are counted.
const MOST_WORKERS: usize = 4_096;
/// Ends of its sockets that are kept, the last ones.
const MOST_CLOSED: usize = 16;

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

/// How long its answers took of late: one bit for each of the last eight, set for the slow ones.
#[derive(Debug, Default)]
struct Habits {
    slow: u8,
    count: u64,
}

impl Habits {
    /// An answer that takes so long is no sign of anything at this server, ns.
    const SLOW_NS: u64 = 2_000_000_000;

    fn add(&mut self, ns: u64) {
        self.slow = self.slow << 1 | u8::from(ns >= Self::SLOW_NS);
        self.count += 1;
    }
}

/// What waits to be accepted at one socket.
#[derive(Debug, Clone, Copy, Default)]
struct Queue {
    backlog: u32,
    peak: u32,
    room: u32,
    drops: u32,
    /// The kernel half has told of it at its last reading.
    told: bool,
}

/// What a survey sees of the requests that wait or run.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Now {
    pub(super) in_flight: u64,
    pub(super) unread: u64,
    /// When the oldest of them began, ns.
    pub(super) oldest: Option<u64>,
    /// The last byte of an answer that still goes on, ns.
    answered: u64,
    /// For how long those that were read have run within the window, together, ns.
    running: u64,
}

impl Now {
    /// Requests of one connection: their number, the begin of the oldest, the last byte of an answer under way, and for
    /// how long it has run within the window; None where it has not been read.
    pub(super) fn add(&mut self, requests: u64, since: u64, answered: u64, running: Option<u64>) {
        self.in_flight += requests;
        self.unread += if running.is_none() { requests } else { 0 };
        self.running += running.unwrap_or(0);
        self.oldest = Some(self.oldest.map_or(since, |oldest| oldest.min(since)));
        self.answered = self.answered.max(answered);
    }
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

    /// Its queue before we came.
    pub(super) fn stood(&mut self, backlog: u64) {
        self.standing = Some(self.standing.unwrap_or(0) + backlog);
        self.peak_backlog = self.peak_backlog.max(self.backlog());
    }

    /// The kernel half's table is read `now`: true once all of it has been.
    pub(super) fn reading(&mut self, done: bool, now: u64) {
        if done {
            // What is not there any more is closed.
            let gone = self.sockets.extract_if(|_, queue| !queue.told);
            let drops: Vec<_> = gone.map(|(_, queue)| u64::from(queue.drops)).collect();
            self.drops_before += drops.iter().sum::<u64>();
            if !self.sockets.is_empty() {
                self.room = self.queues_room();
            }
            if !drops.is_empty() {
                self.closed.truncate(MOST_CLOSED - 1);
                self.closed.insert(0, now);
            }
        } else {
            self.sockets.values_mut().for_each(|queue| queue.told = false);
        }
    }

    /// What the kernel half says of one of its sockets. Clients of Unix sockets that find no room wait, or are told to
    /// try again: none of them is dropped.
    pub(super) fn socket(&mut self, socket: &profiler_ebpf::listener::Listener) {
        // What stood at the start is in the kernel's numbers as soon as it has some.
        self.standing = None;
        let queue = Queue {
            backlog: socket.backlog,
            peak: socket.peak_backlog,
            room: socket.backlog_max,
            drops: socket.drops.wrapping_sub(socket.drops_before),
            told: true,
        };
        self.sockets.insert(socket.sk, queue);
        self.peak_backlog = self.peak_backlog.max(self.backlog()).max(u64::from(queue.peak));
    }

    /// Whether the kernel half, or `/proc`, has told of it.
    pub(super) fn is_told(&self) -> bool {
        self.standing.is_some() || !self.sockets.is_empty()
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

    /// A survey begins.
    pub(super) fn begin(&mut self) {
        self.now = Now::default();
    }

    /// A survey is over: `now`, in a window that began at `begun`.
    pub(super) fn surveyed(&mut self, now: u64, begun: u64) {
        self.peak_in_flight = self.peak_in_flight.max(self.now.in_flight);
        self.answered = self.answered.max(self.now.answered);
        if let Some(silence) = self.silence(now, begun) {
            self.longest_silence = self.longest_silence.max(silence);
        }
        if self.now.oldest.is_some() {
            self.touched = now;
        }
        if self.backlog() > 0 {
            self.touched = now;
        }
    }

    /// For how long requests have waited without a byte answered. One that is being worked on may take its time, and so may
    /// several at a server where that is usual (long polls).
    fn silence(&self, now: u64, begun: u64) -> Option<u64> {
        let several = self.now.in_flight > 1 && self.habits.count > 0 && self.habits.slow.count_ones() < 4;
        let oldest = self.now.oldest.filter(|_| self.now.unread > 0 || several)?;
        Some(now.saturating_sub(oldest.max(self.answered).max(begun)))
    }

    /// Connections that wait to be accepted.
    pub(super) fn backlog(&self) -> u64 {
        let told: u64 = self.sockets.values().map(|queue| u64::from(queue.backlog)).sum();
        told + self.standing.unwrap_or(0)
    }

    /// Whether there is anything to say of it.
    pub(super) fn is_used(&self) -> bool {
        self.connections > 0
            || self.requests > 0
            || self.peak_backlog > 0
            || self.peak_in_flight > 0
            || self.overflows() > 0
    }

    fn queues_room(&self) -> u64 {
        self.sockets.values().map(|queue| u64::from(queue.room)).sum()
    }

    /// The namespace's own count of what was turned away here.
    pub(super) fn overflowed(&mut self, overflows: u64) {
        self.overflows = Some(overflows);
    }

    fn overflows(&self) -> u64 {
        self.overflows.unwrap_or_else(|| self.dropped())
    }

    /// What its sockets have dropped: what was turned away for want of room, the last packet of its handshake counted too
    /// (`discard_and_relse` in net/ipv4/tcp_ipv4.c).
    pub(super) fn dropped(&self) -> u64 {
        self.drops_before + self.sockets.values().map(|queue| u64::from(queue.drops)).sum::<u64>()
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

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    fn listener() -> Listener {
        Listener::new(Address::Inet("0.0.0.0:80".parse().unwrap()), 1)
    }

    #[test]
    fn who_works_and_how_much() {
        let mut l = listener();
        l.accepted((7, 7), Some(SECOND));
        l.accepted((7, 8), None);
        let times =
            Times { arrival: Some(SECOND), start: Some(2 * SECOND), last: 4 * SECOND, ..Times::default() };
        l.answered((7, 8), &times, false);
        l.answered((7, 8), &times, true);
        let row = l.report(10 * SECOND, 0, Some(5 * SECOND));
        assert_eq!((row.workers, row.processes, row.requests, row.peak_in_flight), (2, 1, 1, 2));
        assert_eq!((row.concurrency, row.cpu), (0.4, Some(0.5)));
        assert_eq!(row.accept_wait.unwrap().count, 1);
        assert_eq!(row.queue.unwrap().sum, 2.0);
        assert_eq!(row.silent, Some(6.0));
    }

    #[test]
    fn the_queue_as_the_kernel_tells_it() {
        let mut l = listener();
        l.stood(3);
        assert_eq!((l.backlog(), l.is_used()), (3, true));
        let of = |sk, backlog, drops| profiler_ebpf::listener::Listener {
            sk,
            backlog,
            peak_backlog: 5,
            backlog_max: 16,
            drops,
            drops_before: 2,
            ..Default::default()
        };
        l.socket(&of(1, 4, 2));
        l.socket(&of(2, 1, 9));
        l.socket(&of(1, 0, 3));
        let row = l.report(1, 0, None);
        assert_eq!((row.backlog, row.peak_backlog, row.backlog_max, row.overflows), (1, 5, Some(32), 8));
        l.reading(false, 3 * SECOND);
        l.socket(&of(1, 2, 3));
        l.reading(true, 3 * SECOND);
        let row = l.report(1, 0, None);
        assert_eq!((row.backlog, row.backlog_max, row.overflows), (2, Some(16), 8), "one is closed");
        assert_eq!(row.closed_at, [3.0]);
        l.reading(false, 4 * SECOND);
        l.reading(true, 4 * SECOND);
        let row = l.report(1, 0, None);
        assert_eq!((row.backlog, row.backlog_max, row.overflows), (0, Some(16), 8), "both are");
    }

    #[test]
    fn several_that_are_worked_on_are_silence_where_answers_are_fast() {
        let waiting = |answers: &[u64]| {
            let mut l = listener();
            for seconds in answers {
                let times = Times { start: Some(SECOND), last: (1 + seconds) * SECOND, ..Times::default() };
                l.answered((7, 7), &times, false);
            }
            l.begin();
            l.now.add(2, 40 * SECOND, 0, Some(SECOND));
            l.surveyed(47 * SECOND, SECOND);
            let row = l.report(47 * SECOND, SECOND, None);
            assert_eq!(row.silence.unwrap_or(0.0), row.longest_silence);
            row.silence
        };
        assert_eq!(waiting(&[0, 0, 0]), Some(7.0));
        assert_eq!(waiting(&[0, 30, 25, 30, 30]), None, "a long poll is usual");
        assert_eq!(waiting(&[30, 30, 30, 30, 0, 0, 0, 0, 0]), Some(7.0));
        assert_eq!(waiting(&[]), None, "nothing is known of it");
    }

    #[test]
    fn silence_is_while_somebody_waits() {
        let mut l = listener();
        let survey = |l: &mut Listener, oldest: Option<u64>, answered: u64, now: u64| {
            l.begin();
            if let Some(oldest) = oldest {
                l.now.add(1, oldest * SECOND, answered * SECOND, None);
            }
            l.surveyed(now * SECOND, SECOND);
        };
        survey(&mut l, None, 0, 100);
        assert_eq!(l.report(100 * SECOND, SECOND, None).longest_silence, 0.0);
        survey(&mut l, Some(97), 0, 103);
        let row = l.report(103 * SECOND, SECOND, None);
        assert_eq!((row.longest_silence, row.oldest_waiting, row.unread), (6.0, Some(6.0), 1));
        assert_eq!(row.silent, Some(102.0));
        // Bytes of an answer came, and the same one still waits.
        survey(&mut l, Some(97), 104, 106);
        let row = l.report(106 * SECOND, SECOND, None);
        assert_eq!((row.longest_silence, row.silent), (6.0, Some(2.0)));
    }
}
