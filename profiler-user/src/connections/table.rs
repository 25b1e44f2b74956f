//! What is remembered of each connection while it is open, and of those that the snapshot found before anything was
//! seen of them. Bounded by `--max-connections` each; one that finds no room is counted in its row all the same.

use rustc_hash::FxHashMap;

use super::address::Ends;
use super::held::Idle;
use super::protocol::Protocol;
use super::requests::Command;
use crate::exchange::{Call, Exchange, is_validation};
use crate::report::Role;

/// A connection's identity: the socket's address in the kernel, and when it was first seen.
pub(super) type Id = (u64, u64);

/// Surveys that may miss a connection before it counts as gone: four a second.
const PATIENCE: u32 = 16;
/// A MySQL command that ends an open transaction though the server's error has no flags to say so: deadlock
/// (`ER_LOCK_DEADLOCK`), which rolls all of it back.
const DEADLOCK: u16 = 1213;

/// When a connection began.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Begun {
    Before,
    Within,
}

/// An open connection.
#[derive(Debug, Clone, Copy)]
pub(super) struct Entry {
    pub(super) row: u32,
    pub(super) listener: Option<u32>,
    pub(super) begun: Begun,
    pub(super) role: Role,
    pub(super) protocol: Protocol,
    /// The end of the handshake, and of accept(), ns; 0 where unknown.
    pub(super) opened: u64,
    pub(super) accepted: u64,
    pub(super) pid: u32,
    /// Its first request is known.
    pub(super) served: bool,
    /// Its sign-in is in its row.
    pub(super) signed_in: bool,
    /// MySQL: its last command was a validation query that failed.
    pub(super) invalid: bool,
    /// MySQL: the session is idle in an open transaction.
    in_transaction: Option<Idle>,
    /// Number of the survey that saw it last.
    seen: u32,
}

/// One that the snapshot found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Standing {
    pub(super) row: u32,
}

#[derive(Debug)]
pub(super) struct Table {
    open: FxHashMap<Id, Entry>,
    standing: FxHashMap<Ends, Standing>,
    most: usize,
    survey: u32,
}

/// Whether a client's validation query has failed.
pub(super) fn failed_validation(exchange: &Exchange) -> bool {
    let Call::Mysql(call) = &exchange.call else { return false };
    let failed = exchange.transport_error.is_some() || call.error.is_some();
    failed && exchange.role == Role::Client && call.digest_text.as_deref().is_some_and(is_validation)
}

impl Entry {
    pub(super) fn new(row: u32, listener: Option<u32>, begun: Begun) -> Self {
        Self {
            row,
            listener,
            begun,
            role: Role::Client,
            protocol: Protocol::Unknown,
            opened: 0,
            accepted: 0,
            pid: 0,
            served: false,
            signed_in: false,
            invalid: false,
            in_transaction: None,
            seen: 0,
        }
    }

    /// Notes whether a command has left a transaction open. Returns that the session had been idle in one before it, and
    /// the command, where its begin is known.
    pub(super) fn transaction(&mut self, exchange: &Exchange) -> Option<(Idle, Option<Command>)> {
        let Call::Mysql(call) = &exchange.call else { return None };
        if exchange.role != Role::Client {
            return None;
        }
        let before = self.in_transaction.take();
        let open = match call.in_transaction {
            Some(open) => open,
            // An error does not say, and leaves it open but for one.
            None => before.is_some() && call.error.as_ref().is_none_or(|error| error.number != DEADLOCK),
        };
        let (since, start) = (exchange.times.last, exchange.times.start);
        let command = Command { pid: exchange.pid, tid: exchange.tid, at: start.unwrap_or(since) };
        self.in_transaction = open.then_some(Idle { since, command });
        Some((before?, start.map(|at| Command { at, ..command })))
    }

    /// The session is idle in an open transaction; None while a command is under way.
    pub(super) fn idle_in_transaction(&self, is_asking: bool) -> Option<Idle> {
        self.in_transaction.filter(|_| !is_asking)
    }
}

impl Table {
    pub(super) fn new(most: usize) -> Self {
        Self { open: FxHashMap::default(), standing: FxHashMap::default(), most, survey: 0 }
    }

    pub(super) fn most(&self) -> usize {
        self.most
    }

    /// False where there is no room.
    pub(super) fn insert(&mut self, id: Id, entry: Entry) -> bool {
        let room = self.open.len() < self.most;
        if room {
            self.open.insert(id, Entry { seen: self.survey, ..entry });
        }
        room
    }

    pub(super) fn get(&mut self, id: Id) -> Option<&mut Entry> {
        self.open.get_mut(&id)
    }

    pub(super) fn remove(&mut self, id: Id) -> Option<Entry> {
        self.open.remove(&id)
    }

    /// A survey sees it.
    pub(super) fn see(&mut self, id: Id) -> Option<&mut Entry> {
        let entry = self.open.get_mut(&id)?;
        entry.seen = self.survey;
        Some(entry)
    }

    /// A survey is over. Returns connections, with their rows, that none has seen for long; now and then, as it takes a look
    /// at all of them.
    pub(super) fn surveyed(&mut self) -> Vec<(Id, u32)> {
        self.survey += 1;
        if !self.survey.is_multiple_of(PATIENCE) {
            return Vec::new();
        }
        let since = self.survey.saturating_sub(PATIENCE);
        self.open.extract_if(|_, entry| entry.seen < since).map(|(id, entry)| (id, entry.row)).collect()
    }

    /// The snapshot found it. False where there is no room, or it is there already.
    pub(super) fn stand(&mut self, ends: Ends, row: u32) -> bool {
        self.standing.len() < self.most && self.standing.insert(ends, Standing { row }).is_none()
    }

    /// Whether the snapshot found it, and nothing was seen of it since.
    pub(super) fn stands(&self, ends: &Ends) -> bool {
        self.standing.contains_key(ends)
    }

    pub(super) fn take_standing(&mut self, ends: &Ends) -> Option<Standing> {
        self.standing.remove(ends)
    }

    /// Those of the snapshot that `is_there` does not know any more: they ended before anything was seen of them.
    pub(super) fn forget_standing(&mut self, is_there: impl Fn(&Ends) -> bool) -> Vec<(Ends, Standing)> {
        self.standing.extract_if(|ends, _| !is_there(ends)).collect()
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.open.len() + self.standing.len()
    }
}
