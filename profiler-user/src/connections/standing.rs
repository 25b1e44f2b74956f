//! The two readings of `/proc` as the stage takes them: what was there before the hooks, and what is left at the end.

use std::net::SocketAddr;
use std::sync::Arc;

use rustc_hash::{FxHashMap, FxHashSet};

use super::Connections;
use super::address::{Address, Ends};
use super::listener::Listener;
use super::proc_net::{State, Tcp};
use super::rows::Place;
use super::snapshot::{Listening, Snapshot};
use super::{Subject, table::Begun};
use crate::report::Role;

/// The TCP sockets that are there at the end.
#[derive(Debug, Default)]
pub struct Left {
    open: FxHashSet<Ends>,
    /// How many go from one end to the other: by the remote address, and by the own address and the remote host.
    to: FxHashMap<(u32, SocketAddr), u64>,
    at: FxHashMap<(u32, SocketAddr, std::net::IpAddr), u64>,
    /// Connections turned away within the window, by namespace.
    overflows: FxHashMap<u32, u64>,
}

impl Left {
    /// One of them.
    pub fn see(&mut self, netns: u32, socket: Tcp) {
        match socket.state {
            State::TimeWait => {
                *self.to.entry((netns, socket.remote)).or_default() += 1;
                *self.at.entry((netns, socket.local, socket.remote.ip())).or_default() += 1;
            }
            State::Open => {
                self.open.insert(Ends::Inet { netns, local: socket.local, remote: socket.remote });
            }
            _ => {}
        }
    }
}

impl Left {
    /// A Unix socket that is there.
    pub fn see_unix(&mut self, inode: u64) {
        self.open.insert(Ends::Unix(inode));
    }

    /// What the namespaces have counted of connections turned away: before the window (one that was not there yet begins
    /// with none), and by now.
    pub fn overflows(&mut self, before: &FxHashMap<u32, u64>, now: FxHashMap<u32, u64>) {
        let since =
            |(netns, now): (u32, u64)| (netns, now.saturating_sub(before.get(&netns).copied().unwrap_or(0)));
        self.overflows = now.into_iter().map(since).collect();
    }
}

impl Connections {
    /// What was there before the hooks. `service` says whose a process's sockets are, where they are wanted, by process
    /// and the ports of both ends.
    pub fn stood(&mut self, snapshot: &Snapshot, mut service: impl FnMut(u32, [u16; 2]) -> Option<Arc<str>>) {
        for listening in &snapshot.listening {
            self.listens(listening);
            if let Some(listener) = self.listeners.exactly(listening.netns, &listening.address) {
                listener.stood(listening.backlog);
            }
        }
        for open in &snapshot.open {
            let is_server = self.listeners.listens(open.netns, &open.local);
            // Its name is its own, or that of a listener which is gone: whose end it is is not told.
            if !is_server && matches!(open.local, Address::Unix(_)) {
                continue;
            }
            let Some(service) = service(open.pid, [open.local.port(), open.remote.port()]) else { continue };
            let role = if is_server { Role::Server } else { Role::Client };
            let subject =
                Subject { role, local: open.local.clone(), peer: open.remote.clone(), netns: open.netns };
            let Some(row) = self.row(&subject, service) else { continue };
            if self.table.stand(open.ends, row) {
                self.count_in(row, None);
                if let Some(row) = self.rows.get(row) {
                    row.stood();
                }
            }
        }
    }

    fn listens(&mut self, listening: &Listening) {
        self.listeners.place(listening.netns, &listening.address);
        let Some(number) = self.listeners.on(listening.netns, &listening.address) else { return };
        if matches!(listening.address, Address::Unix(_)) {
            self.listeners.numbered(listening.inode, number);
        }
        if let Some(listener) = self.listeners.get(number) {
            listener.owner = listener.owner.or(listening.pid);
        }
    }

    /// Whether something waits at a listener of which nobody knows whose it is: it is to be looked up, once.
    pub fn wants_owners(&self) -> bool {
        let asks = |l: &Listener| l.service.is_none() && l.owner.is_none() && !l.asked && l.is_used();
        self.listeners.has_nameless() || self.listeners.iter().any(asks)
    }

    /// It is being looked up.
    pub fn asked_for_owners(&mut self) {
        self.listeners.each().for_each(|listener| listener.asked |= listener.is_used());
        self.listeners.asked();
    }

    /// Whose the listeners are, as it was looked up.
    pub fn owners(&mut self, listening: &[Listening]) {
        listening.iter().for_each(|listening| self.listens(listening));
    }

    /// Names the services of listeners at which something waits and that nobody has accepted from.
    pub fn name_listeners(&mut self, mut service: impl FnMut(u32, [u16; 2]) -> Option<Arc<str>>) {
        for listener in self.listeners.each().filter(|l| l.service.is_none() && l.is_used()) {
            let ports = [listener.address.port(), 0];
            listener.service = listener.owner.and_then(|pid| service(pid, ports));
        }
    }

    /// What is left at the end: sockets in TIME_WAIT, which nobody owns any more. Those that go to one address are
    /// shared out among the rows that do, by how many connections each has ended itself.
    pub fn left(&mut self, left: &Left) {
        for (ends, gone) in self.table.forget_standing(|ends| left.open.contains(ends)) {
            if matches!(ends, Ends::Unix(_)) {
                // No hook tells of the end of one that was not used.
                if let Some(row) = self.rows.get(gone.row) {
                    row.vanished();
                }
            } else {
                // It ended between the snapshot and the hooks.
                self.undo(gone.row, Begun::Before);
            }
        }
        for (netns, all) in &left.overflows {
            let dropped = |l: &Listener| if l.netns == *netns { l.dropped() } else { 0 };
            let mut weights: Vec<u64> = self.listeners.iter().map(dropped).collect();
            let mut most = weights.iter().sum();
            if most == 0 {
                // A socket whose queue was full all the time has told nothing of itself.
                let waits = |l: &Listener| if l.netns == *netns { l.backlog() } else { 0 };
                weights = self.listeners.iter().map(waits).collect();
                most = u64::MAX;
            }
            let parts = shares((*all).min(most), &weights);
            for (listener, part) in self.listeners.each().zip(parts).filter(|(l, _)| l.netns == *netns) {
                listener.overflowed(part);
            }
        }
        let mut same: FxHashMap<(u32, &Address), Vec<usize>> = FxHashMap::default();
        let mut counts = Vec::new();
        for (at, (key, row)) in self.rows.each().enumerate() {
            let ended = row.closed_by.us;
            let count = match &key.place {
                Place::To(peer @ Address::Inet(to)) => {
                    same.entry((key.netns, peer)).or_default().push(at);
                    left.to.get(&(key.netns, *to)).copied().unwrap_or(0)
                }
                Place::At { own: Address::Inet(own), host: Address::Inet(host) } => {
                    left.at.get(&(key.netns, *own, host.ip())).copied().unwrap_or(0)
                }
                _ => {
                    counts.push((None, ended));
                    continue;
                }
            };
            counts.push((Some(count), ended));
        }
        for rows in same.into_values().filter(|rows| rows.len() > 1) {
            let all = counts[rows[0]].0.unwrap_or(0);
            let weights: Vec<u64> = rows.iter().map(|at| counts[*at].1).collect();
            for (at, part) in rows.iter().zip(shares(all, &weights)) {
                counts[*at].0 = Some(part);
            }
        }
        for ((_, row), (count, _)) in self.rows.each().zip(counts) {
            row.time_wait = count;
        }
    }
}

/// Shares `all` out by weight; the parts sum up to it.
fn shares(all: u64, weights: &[u64]) -> Vec<u64> {
    let total: u64 = weights.iter().sum();
    let (mut given, mut passed) = (0, 0);
    let upto = |passed: u64| match total {
        0 => 0,
        total => u64::try_from(u128::from(all) * u128::from(passed) / u128::from(total)).unwrap_or(all),
    };
    weights
        .iter()
        .map(|weight| {
            passed += weight;
            let part = upto(passed) - given;
            given += part;
            part
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_sum_up() {
        assert_eq!(shares(10, &[1, 1, 2]), [2, 3, 5]);
        assert_eq!(shares(7, &[0, 3]), [0, 7]);
        assert_eq!(shares(7, &[0, 0]), [0, 0]);
    }
}
