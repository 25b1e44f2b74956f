//! What a survey of the kernel half's tables sees: open connections and listening sockets as they are at one moment come
//! in, and count in their rows until the next one.

use std::sync::Arc;

use profiler_ebpf::conn::{Conn, state};
use profiler_ebpf::record::{COMMAND_HANDSHAKE, flag, proto, role};

use super::address::{self, Address};
use super::protocol::Protocol;
use super::subject::Subject;
use super::{Connections, listener, row, survey};
use crate::exchange::HttpCall;
use crate::parse::patience::Patience;
use crate::report::Role;

/// Who waits for as long is asked whether it means to, ns.
pub(super) const LONG_NS: u64 = 1_000_000_000;

/// What is known of the request under way on a connection, as far as it was wanted.
#[derive(Debug, Clone, Default)]
pub struct UnderWay {
    pub call: Option<HttpCall>,
    /// For how long it says that it may wait.
    pub patience: Option<Patience>,
}

impl Connections {
    /// A survey of the kernel's table begins.
    pub fn survey(&mut self) {
        self.rows.each().for_each(|(_, row)| row.survey());
        self.listeners.each().for_each(listener::Listener::begin);
        self.held.survey();
    }

    /// What the kernel half says of a listening socket.
    pub fn listener(&mut self, listener: &profiler_ebpf::listener::Listener) {
        self.listeners.socket(listener);
    }

    /// The kernel half's table of listeners is read, or (`done`) has been.
    pub fn reading_listeners(&mut self, done: bool, now: u64) {
        self.listeners.each().for_each(|listener| listener.reading(done, now));
    }

    /// Whether it is to be told for how long the request under way on a connection of the kernel's table may wait.
    pub fn wants_patience(&self, conn: &Conn, now: u64) -> bool {
        conn.record.role == role::CLIENT
            && survey::under_way(conn, false)
                .and_then(|request| survey::waiting(conn, &request, now))
                .is_some_and(|waits| waits >= LONG_NS)
    }

    /// Whether the request under way on a connection of the kernel's table is to be told of.
    pub fn wants_call(&self, conn: &Conn) -> bool {
        let record = &conn.record;
        (record.proto, record.role) == (proto::HTTP, role::SERVER)
            && (conn.state == state::REQUEST || conn.state == state::RESPONSE)
            && record.flags & (flag::STREAM | flag::ORPHAN) == 0
            && self.held.requests.wants(record.request.pid)
    }

    /// A connection of the kernel's table, as it is `now`, and what is wanted of its request under way.
    pub fn see(&mut self, conn: &Conn, asked: &UnderWay, now: u64) {
        let record = &conn.record;
        if let Some(call) = &asked.call {
            let request = &record.request;
            self.held.requests.under_way(request.pid, request.tid, request.t_start, call);
        }
        let key = (record.sk, record.born);
        let own = address::socket(record.family, &record.laddr, record.lport);
        let serves = match record.role {
            role::UNKNOWN => own.is_some_and(|own| self.listeners.listens(record.netns, &Address::Inet(own))),
            known => known == role::SERVER,
        };
        let request = survey::under_way(conn, serves);
        let Some(entry) = self.table.see(key) else {
            // One that nobody has accepted yet, or used since we came, may have its request already.
            if let Some(request) = request.filter(|_| serves && conn.life.pid == 0)
                && let Some(own) = own
                && let Some(number) = self.listeners.of(conn.life.listener, record.netns, &Address::Inet(own))
            {
                self.wait_at(number, &request, now);
            }
            return;
        };
        let (row, listener, role) = (entry.row, entry.listener, entry.role);
        if role == Role::Server && survey::is_hidden(conn) {
            self.held.requests.hidden(entry.pid, conn.life.t_open);
        }
        let open = conn.life.t_open.max(self.begun);
        let in_transaction = entry.idle_in_transaction(request.is_some());
        let fresh = !entry.signed_in && conn.life.t_ready != 0;
        if fresh {
            let copy = *entry;
            entry.signed_in = true;
            self.sign_in(row, &copy, &conn.life);
        }
        self.note(key, Protocol::of(record.proto, conn.life.marks));
        if let Some(found) = self.rows.get(row) {
            if survey::is_readable(conn) {
                let since = request.and_then(|request| request.read);
                let busy = conn.life.busy
                    + since.map_or(0, |since| now.saturating_sub(since.max(open).max(conn.life.t_told)));
                let (busy, idle) = row::share(busy, open, now);
                found.now.busy += busy;
                found.now.idle += idle;
            }
            if role == Role::Client
                && let Some(request) = request
                && let Some(waits) = survey::waiting(conn, &request, now)
                && !asked.patience.is_some_and(|patience| patience.covers(waits as f64 / 1e9))
            {
                found.now.waiting += request.requests;
                found.now.oldest_waiting = found.now.oldest_waiting.max(waits);
                found.touched = now;
            }
            if role == Role::Client
                && let Some(start) = command(conn, request)
            {
                found.exchanging(key, start.max(self.begun), now);
            }
            if let Some(idle) = in_transaction {
                found.now.open_transactions += 1;
                found.touched = now;
                self.held.see(key, row, idle);
            }
        }
        if let (Some(number), Some(request)) = (listener, request) {
            self.wait_at(number, &request, now);
        }
    }

    /// A connect() of this service that has no answer yet.
    pub fn connecting(&mut self, subject: &Subject, service: Arc<str>, now: u64) {
        if let Some(row) = self.row(subject, service)
            && let Some(found) = self.touch(row, now)
        {
            found.now.connecting += 1;
        }
    }

    /// Whether a connection of the table is one of those.
    pub fn is_connecting(conn: &Conn) -> bool {
        conn.record.role == role::CLIENT && survey::is_connecting(conn)
    }

    fn wait_at(&mut self, listener: u32, request: &survey::UnderWay, now: u64) {
        let begun = self.begun;
        if let Some(listener) = self.listeners.get(listener) {
            let running = request.read.map(|read| now.saturating_sub(read.max(begun)));
            listener.now.add(request.requests, request.since, request.answered, running);
        }
    }

    /// The survey is over. Connections that the kernel's table has not had for a while are gone, unheard.
    pub fn surveyed(&mut self, now: u64) {
        let begun = self.begun;
        self.exits.at(now);
        self.listeners.each().for_each(|listener| listener.surveyed(now, begun));
        self.held.surveyed(&mut self.rows, now);
        for (id, row) in self.table.surveyed() {
            self.held.forget(id);
            if let Some(row) = self.rows.get(row) {
                row.vanished();
            }
        }
    }
}

/// The begin of the MySQL command under way on a connection.
fn command(conn: &Conn, request: Option<survey::UnderWay>) -> Option<u64> {
    let record = &conn.record;
    let is_command = record.proto == proto::MYSQL && record.request.command != COMMAND_HANDSHAKE;
    request.filter(|_| is_command && record.flags & flag::EMITTED == 0)?.read
}
