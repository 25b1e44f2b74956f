//! For how long a listener's clients wait without a byte answered: what the surveys see of its requests goes in.

use super::Listener;

/// What a survey sees of the requests that wait or run.
#[derive(Debug, Clone, Copy, Default)]
pub(in crate::connections) struct Now {
    pub(in crate::connections) in_flight: u64,
    pub(in crate::connections) unread: u64,
    /// When the oldest of them began, ns.
    pub(in crate::connections) oldest: Option<u64>,
    /// The last byte of an answer that still goes on, ns.
    pub(super) answered: u64,
    /// For how long those that were read have run within the window, together, ns.
    pub(super) running: u64,
}

impl Now {
    /// Requests of one connection: their number, the begin of the oldest, the last byte of an answer under way, and for
    /// how long it has run within the window; None where it has not been read.
    pub(in crate::connections) fn add(
        &mut self,
        requests: u64,
        since: u64,
        answered: u64,
        running: Option<u64>,
    ) {
        self.in_flight += requests;
        self.unread += if running.is_none() { requests } else { 0 };
        self.running += running.unwrap_or(0);
        self.oldest = Some(self.oldest.map_or(since, |oldest| oldest.min(since)));
        self.answered = self.answered.max(answered);
    }
}

/// How long its answers took of late: one bit for each of the last eight, set for the slow ones.
#[derive(Debug, Default)]
pub(super) struct Habits {
    slow: u8,
    count: u64,
}

impl Habits {
    /// An answer that takes so long is no sign of anything at this server, ns.
    const SLOW_NS: u64 = 2_000_000_000;

    pub(super) fn add(&mut self, ns: u64) {
        self.slow = self.slow << 1 | u8::from(ns >= Self::SLOW_NS);
        self.count += 1;
    }
}

impl Listener {
    /// A survey begins.
    pub(in crate::connections) fn begin(&mut self) {
        self.now = Now::default();
    }

    /// A survey is over: `now`, in a window that began at `begun`.
    pub(in crate::connections) fn surveyed(&mut self, now: u64, begun: u64) {
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
    pub(super) fn silence(&self, now: u64, begun: u64) -> Option<u64> {
        let several = self.now.in_flight > 1 && self.habits.count > 0 && self.habits.slow.count_ones() < 4;
        let oldest = self.now.oldest.filter(|_| self.now.unread > 0 || several)?;
        Some(now.saturating_sub(oldest.max(self.answered).max(begun)))
    }
}
