//! How full a service's pool is: its connections to one server and the requests that it had in hand go in, whether they
//! hit a ceiling comes out.

use super::super::Facts;
use super::super::peer::Peer;
use super::super::thresholds::Thresholds;
use super::{BUSY, CONNECTIONS, ID};

/// So many times as many requests in hand as connections, on average.
const CROWD: f64 = 1.2;
/// A pool that keeps its connections opens no more of them than this many times its ceiling: it replaces some. Or those
/// that were closed lived for no more than this part of the time of all: something beside it opens short ones.
const KEPT: u64 = 3;
const SHORT: f64 = 0.5;
/// Of the time with requests in hand, that with one connection busy at the least: requests that wait for one are there only
/// then.
const ASKED: f64 = 0.5;
/// Connections beyond the ceiling that are usually open, at the most, as a part of it. With more there is room
/// in a pool that those who wait do not get at, or something else bounds the load.
const ROOM: f64 = 0.25;

/// A service's connections to a server, and the requests that it had in hand.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Ceiling {
    /// How many are busy at the ceiling, and how many are usually open.
    pub(super) connections: u64,
    pub(super) open: u64,
    /// The most that were open at one time, and how many were opened.
    pub(super) peak: u64,
    pub(super) opened: u64,
    /// Time that connections which were closed had lived for, and time of all, seconds.
    pub(super) closed: f64,
    pub(super) all: f64,
    /// Time at the ceiling, and with one busy or more, seconds.
    pub(super) full: f64,
    pub(super) used: f64,
    /// Connections that are busy, and requests read and not answered, on average over the time with one busy or more.
    pub(super) busy: f64,
    pub(super) in_hand: f64,
    /// Time with requests in hand, at the least, seconds.
    pub(super) at_work: f64,
    /// Processes that share them.
    pub(super) processes: u64,
}

impl Ceiling {
    pub(super) fn of(facts: &Facts<'_>, peer: &Peer<'_>) -> Self {
        let used = peer.seconds(|row| row.used_seconds);
        let own = || facts.listeners.iter().filter(|row| row.service == peer.service);
        let served: f64 = own().map(|row| row.concurrency * facts.window.seconds).sum();
        let most = own().map(|row| row.peak_in_flight).sum::<u64>().max(1) as f64;
        let over = |seconds: f64| if used > 0.0 { seconds / used } else { 0.0 };
        Self {
            connections: peer.sum(|row| row.ceiling),
            open: peer.sum(|row| row.usually_open),
            peak: peer.sum(|row| row.peak),
            opened: peer.sum(|row| row.established),
            closed: peer.total(|row| row.lifetime),
            all: peer.seconds(|row| row.busy_seconds + row.idle_seconds),
            full: peer.seconds(|row| row.full_seconds),
            used,
            busy: over(peer.seconds(|row| row.busy_seconds)),
            in_hand: over(served).min(most),
            at_work: served / most,
            processes: own().map(|row| row.processes).max().unwrap_or(0),
        }
    }

    /// The share of the time with one busy or more that is spent at the ceiling.
    pub(super) fn share(&self) -> f64 {
        if self.used > 0.0 { self.full / self.used } else { 0.0 }
    }

    /// Whether requests outnumber the same connections, most of the time.
    pub(super) fn is_hit(&self, thresholds: &Thresholds) -> bool {
        let crowd = CROWD * self.connections as f64;
        self.connections as f64 >= thresholds.of(ID, &CONNECTIONS)
            && self.is_kept()
            && self.used >= ASKED * self.at_work
            && self.share() >= thresholds.of(ID, &BUSY)
            && self.in_hand > crowd
    }

    fn is_kept(&self) -> bool {
        self.opened <= KEPT * self.connections || self.closed <= SHORT * self.all
    }

    /// Whether connections are usually open that are not used while requests wait.
    pub(super) fn has_room(&self) -> bool {
        let spare = self.open.saturating_sub(self.connections) as f64;
        spare > ROOM * self.connections as f64
    }

    /// Requests in hand without a connection that is busy for them, on average.
    pub(super) fn waiting(&self) -> f64 {
        (self.in_hand - self.busy).max(0.0)
    }
}
