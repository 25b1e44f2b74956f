//! What connections carry: finished exchanges come in and count in their rows and listeners; out goes to each what only
//! its connection tells. An exchange also says which side a connection is of, where that was guessed.

use profiler_ebpf::life::Life;
use profiler_ebpf::record::Record;

use super::address::Address;
use super::protocol::Protocol;
use super::subject::Subject;
use super::table::{Begun, Id, failed_validation};
use super::{Connections, rows};
use crate::exchange::{Call, Exchange, MysqlCall};
use crate::report::Role;

/// Closed connections whose use is yet to be told of.
const MOST_INVALID: usize = 1_024;

impl Connections {
    /// A finished exchange. Adds to it what only its connection tells.
    pub fn exchange(&mut self, record: &Record, exchange: &mut Exchange) {
        let key = (record.sk, record.born);
        self.held.requests.finished(exchange);
        let invalid = failed_validation(exchange);
        let Some(entry) = self.table.get(key) else {
            // It was told to be closed before, and will be told to be gone.
            if invalid {
                if self.invalid.len() >= MOST_INVALID {
                    self.invalid.clear();
                }
                self.invalid.insert(key);
            }
            return;
        };
        entry.invalid = invalid;
        entry.asked(exchange);
        let protocol = match &exchange.call {
            Call::Http(_) => Protocol::Http,
            Call::Mysql(_) => Protocol::Mysql,
        };
        if entry.role != exchange.role {
            self.turn(key, record, exchange.role);
        }
        self.note(key, protocol);
        let Some(entry) = self.table.get(key) else { return };
        if exchange.role == Role::Server && !std::mem::replace(&mut entry.served, true) && entry.accepted != 0
        {
            (exchange.times.opened, exchange.times.accepted) = (Some(entry.opened), Some(entry.accepted));
        }
        let is_sign_in = matches!(&exchange.call, Call::Mysql(MysqlCall { command: "handshake", .. }));
        let idle_in_transaction = entry.transaction(exchange);
        let (row, listener, begun) = (entry.row, entry.listener, self.begun);
        let transaction = match idle_in_transaction {
            Some((idle, Some(next))) => Some(self.held.over(key, idle, next)),
            // Who left it so is not who leaves it so now.
            Some((_, None)) => {
                self.held.forget(key);
                None
            }
            None => None,
        };
        if let Some(found) = self.touch(row, exchange.times.last) {
            found.exchanges += u64::from(!is_sign_in && exchange.transport_error.is_none());
            if let Some(transaction) = transaction {
                found.idled(transaction);
            }
            if protocol == Protocol::Mysql && exchange.role == Role::Client && !exchange.stream && !is_sign_in
            {
                let start = exchange.times.start.map_or(exchange.times.last, |start| start.max(begun));
                found.exchanged(key, start, exchange.times.last);
            }
        }
        if let Some(listener) = listener.and_then(|number| self.listeners.get(number)) {
            let failed = exchange.transport_error.is_some();
            listener.touched = exchange.times.last;
            if !exchange.stream && !is_sign_in {
                listener.answered((exchange.pid, exchange.tid), &exchange.times, failed);
            }
        }
    }

    /// Requests of this process move between its threads: who sends a command does not tell for which one.
    pub fn requests_move(&mut self, pid: u32) {
        self.held.requests.moves(pid);
    }

    /// It was taken for the other side's.
    fn turn(&mut self, key: Id, record: &Record, role: Role) {
        let Some(entry) = self.table.get(key) else { return };
        let (before, begun) = (entry.row, entry.begun);
        let Some(service) = self.rows.key(before).map(|key| key.service.clone()) else { return };
        let name = match self.rows.key(before).map(|key| &key.place) {
            Some(rows::Place::To(Address::Unix(name)) | rows::Place::At { own: Address::Unix(name), .. }) => {
                name.clone()
            }
            _ => "".into(),
        };
        let subject = Subject { role, ..self.subject(record, &name) };
        let Some(row) = self.row(&subject, service.clone()) else { return };
        self.undo(before, begun);
        self.count_in(row, Some(before));
        let life = Life { t_open: record.born, ..Life::default() };
        let began = self.begun;
        if let Some(found) = self.touch(row, record.t_last) {
            if begun == Begun::Before {
                found.stood()
            } else {
                found.opened(&life, began, role == Role::Client)
            }
        }
        let listener = match role {
            Role::Client => None,
            Role::Server => self.listeners.of(0, subject.netns, &subject.local),
        };
        if let Some(listener) = listener.and_then(|number| self.listeners.get(number)) {
            listener.service = Some(service);
            listener.connections += 1;
        }
        if let Some(entry) = self.table.get(key) {
            (entry.row, entry.listener, entry.role, entry.protocol) =
                (row, listener, role, Protocol::Unknown);
        }
    }
}
