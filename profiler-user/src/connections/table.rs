//! What is remembered of each connection while it is open, and of those that the snapshot found before anything was
//! seen of them. Bounded by `--max-connections` each; one that finds no room is counted in its row all the same.

use profiler_ebpf::life::{Life, end, mark};
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

/// No server ends connections that have been idle for less, ns; and a round trip takes less.
const KEPT_NS: u64 = 250_000_000;

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
    /// Clients: its last exchange got no byte of an answer.
    unanswered: Option<Unanswered>,
    /// The end of the last one that was answered, ns; 0 before.
    answered: u64,
    /// MySQL: the session is idle in an open transaction.
    in_transaction: Option<Idle>,
    /// Number of the survey that saw it last.
    seen: u32,
}

/// What a client asked in vain.
#[derive(Debug, Clone, Copy)]
enum Unanswered {
    /// MySQL: nothing but whether the server is there, by a ping or a reset of the session.
    Ping,
    /// HTTP: a request, begun then, over a connection that had been idle for so long after the exchange before, ns.
    Reused { start: u64, idle: u64 },
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

/// Whether a command asks nothing but whether the server is there.
fn is_ping(command: &str) -> bool {
    matches!(command, "ping" | "reset_connection")
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
            unanswered: None,
            answered: 0,
            in_transaction: None,
            seen: 0,
        }
    }

    /// Notes an exchange of a client's: whether it was answered.
    pub(super) fn asked(&mut self, exchange: &Exchange) {
        let times = &exchange.times;
        self.unanswered = match (&exchange.call, times.start) {
            _ if times.first.is_some() || exchange.transport_error.is_none() => None,
            (Call::Mysql(call), _) => is_ping(call.command).then_some(Unanswered::Ping),
            (Call::Http(_), Some(start)) if self.answered != 0 => {
                Some(Unanswered::Reused { start, idle: start.saturating_sub(self.answered) })
            }
            _ => None,
        };
        if exchange.transport_error.is_none() {
            self.answered = times.last;
        }
    }

    /// How a client's connection ended, as it matters to the client. A ping that found it closed, or was the last to find
    /// it open, has lost nothing. A server that closes an idle connection while the next request is on its way did so
    /// before it knew of it: its FIN, or its reset, comes within a round trip, sooner than an answer could.
    pub(super) fn end(&self, life: &Life) -> Life {
        let mut seen = *life;
        let is_servers = matches!(life.end, end::PEERS | end::RESET);
        if self.role != Role::Client || !is_servers || life.marks & mark::CUT == 0 {
            return seen;
        }
        // About a round trip; far longer where a packet was lost.
        let handshake = life.t_open.saturating_sub(life.t_connect);
        match self.unanswered {
            Some(Unanswered::Ping) => seen.marks &= !mark::CUT,
            Some(Unanswered::Reused { start, idle })
                if idle >= KEPT_NS
                    && life.t_connect != 0
                    && handshake < KEPT_NS
                    && life.t_end.saturating_sub(start) < handshake =>
            {
                seen.marks = seen.marks & !mark::CUT | mark::GONE;
                seen.idle = idle;
            }
            _ => {}
        }
        seen
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
