//! Connections of the host's services: the kernel's events of their lives and finished exchanges come in, the report's
//! rows of connections and listeners go out, and [`Told`] for whoever follows them one by one.
//!
//! Pure but for `snapshot`, which reads `/proc`: times and readings come as arguments. Bounded: connections by
//! `--max-connections`, rows and listeners by ceilings of their own.

pub mod address;
pub mod cpu;
pub mod ended;
pub mod errno;
mod events;
mod exchanges;
mod exits;
pub mod handshake;
mod held;
mod listener;
mod listeners;
mod overlap;
pub mod owners;
pub mod proc_net;
mod protocol;
mod requests;
mod row;
mod rows;
mod seconds;
pub mod snapshot;
pub mod standing;
mod subject;
mod survey;
mod surveys;
mod table;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use profiler_ebpf::life::Life;
use rustc_hash::FxHashSet;

use crate::aggregate::Series;
use crate::exchange::seconds;
use crate::report::{ConnectionRow, ListenerRow};
pub use events::Told;
use exits::Exits;
use held::Held;
use listeners::Listeners;
use protocol::Protocol;
use rows::{Key, Rows};
pub use subject::Subject;
pub use surveys::UnderWay;
use table::{Begun, Entry, Id, Table};

/// The stage.
#[derive(Debug)]
pub struct Connections {
    /// The window's begin, ns.
    begun: u64,
    table: Table,
    rows: Rows,
    listeners: Listeners,
    exits: Exits,
    /// Closed connections that a validation query has found so.
    invalid: FxHashSet<Id>,
    held: Held,
    /// Whether somebody takes what is told.
    pub telling: bool,
    told: Vec<Told>,
    /// Events that were not told for want of room.
    pub untold: u64,
    /// Connections, and attempts, that are summed up with others for want of room.
    overflowed: u64,
}

impl Connections {
    /// Connections of a window that begins at `begun`; `most` of them are known at a time.
    pub fn new(most: usize, begun: u64) -> Self {
        Self {
            begun,
            table: Table::new(most),
            rows: Rows::default(),
            listeners: Listeners::default(),
            exits: Exits::default(),
            invalid: FxHashSet::default(),
            held: Held::default(),
            telling: false,
            told: Vec::new(),
            untold: 0,
            overflowed: 0,
        }
    }

    /// Nothing that was seen so far is wanted.
    pub fn forget(&mut self) {
        let telling = self.telling;
        *self = Self { telling, ..Self::new(self.table.most(), self.begun) };
    }

    /// The window begins now.
    pub fn begin(&mut self, now: u64) {
        self.begun = now;
    }

    /// Events since the last call, in their order.
    pub fn take(&mut self) -> Vec<Told> {
        std::mem::take(&mut self.told)
    }

    /// Connections, and listeners, that found no row of their own. Each is counted once.
    pub fn overflowed(&self) -> u64 {
        self.overflowed + self.listeners.left_out()
    }

    /// What a connection was seen to speak.
    fn note(&mut self, key: Id, protocol: Protocol) {
        let Some(entry) = self.table.get(key).filter(|entry| entry.protocol < protocol) else { return };
        let before = std::mem::replace(&mut entry.protocol, protocol);
        let (row, listener) = (entry.row, entry.listener);
        if let Some(row) = self.rows.get(row) {
            row.spoken.note(before, protocol);
        }
        if let Some(listener) = listener.and_then(|number| self.listeners.get(number)) {
            listener.spoken.note(before, protocol);
        }
    }

    /// The time that a MySQL session took to sign in, once.
    fn sign_in(&mut self, row: u32, entry: &Entry, life: &Life) {
        if !entry.signed_in
            && life.t_greeted != 0
            && life.t_ready > life.t_greeted
            && life.t_open != 0
            && let Some(found) = self.rows.get(row)
        {
            found.handshake.record(seconds(life.t_greeted, life.t_ready));
        }
    }

    fn row(&mut self, subject: &Subject, service: Arc<str>) -> Option<u32> {
        let key = Key::new(service, subject.role, subject.netns, &subject.local, &subject.peer);
        Some(self.rows.number(key))
    }

    /// A connection, or an attempt, is counted in this row from now on, and was in another one before.
    fn count_in(&mut self, row: u32, before: Option<u32>) {
        let is_new = !before.is_some_and(|before| self.rows.is_rest(before));
        self.overflowed += u64::from(is_new && self.rows.is_rest(row));
    }

    fn touch(&mut self, row: u32, time: u64) -> Option<&mut row::Row> {
        let found = self.rows.get(row)?;
        found.touched = found.touched.max(time);
        Some(found)
    }

    fn undo(&mut self, row: u32, begun: Begun) {
        if let Some(row) = self.rows.get(row) {
            if begun == Begun::Before { row.stood_not() } else { row.opened_not() }
        }
    }

    /// The rows of connections.
    pub fn rows(&self, wanted: impl Fn(&str) -> bool) -> Vec<ConnectionRow> {
        self.rows.report(|protocol| wanted(protocol.name()))
    }

    /// Those in which something was seen since `since`, without distributions and times at each level: for whoever asks
    /// often. Some may look the same.
    pub fn counts(&self, since: u64, wanted: impl Fn(&str) -> bool) -> Vec<ConnectionRow> {
        self.rows.counts(since, |protocol| wanted(protocol.name()))
    }

    /// The rows of listeners in which something was seen since `since`, the busiest first. `cpu` says what the processes
    /// with these numbers have used within the window, ns.
    pub fn listener_rows(
        &self,
        since: u64,
        now: u64,
        wanted: impl Fn(&str) -> bool,
        cpu: impl Fn(&mut dyn Iterator<Item = u32>) -> Option<u64>,
    ) -> Vec<ListenerRow> {
        let used = self.listeners.iter().filter(|l| l.service.is_some() && l.is_used() && l.touched >= since);
        let rows = used
            .filter(|l| wanted(l.spoken.name()))
            .map(|l| l.report(now, self.begun, cpu(&mut l.processes())));
        let mut rows: Vec<_> = rows.collect();
        rows.sort_by(|a, b| {
            b.requests.cmp(&a.requests).then_with(|| (&a.address, a.netns).cmp(&(&b.address, b.netns)))
        });
        rows
    }

    /// The rows of connections and listeners with their histograms, for metrics.
    pub fn series(&self, now: u64, wanted: impl Fn(&str) -> bool) -> Vec<Series> {
        let used = self.listeners.iter().filter(|l| l.service.is_some() && l.is_used());
        let listeners = used.filter(|l| wanted(l.spoken.name())).map(|l| Series::Listener {
            row: Box::new(l.report(now, self.begun, None)),
            accepts: l.accepts(),
        });
        self.rows.series(|protocol| wanted(protocol.name())).chain(listeners).collect()
    }

    /// A process has ended: it works for nobody any more.
    pub fn exited(&mut self, pid: u32) {
        self.listeners.each().for_each(|listener| listener.left(pid));
        for row in self.exits.ended(pid) {
            self.cut_by_exit(row);
        }
        self.held.requests.exited(pid);
    }

    /// The processes that work for listeners.
    pub fn workers(&self) -> impl Iterator<Item = u32> {
        self.listeners.iter().flat_map(listener::Listener::processes)
    }
}
