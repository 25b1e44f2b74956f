//! Connections of the host's services: the kernel's events of their lives and finished exchanges come in, the report's
//! rows of connections and listeners go out, and [`Told`] for whoever follows them one by one.
//!
//! Pure but for `snapshot`, which reads `/proc`: times and readings come as arguments. Bounded: connections by
//! `--max-connections`, rows and listeners by ceilings of their own.

pub mod address;
pub mod cpu;
pub mod ended;
pub mod errno;
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
pub mod snapshot;
pub mod standing;
mod survey;
mod table;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use profiler_ebpf::conn::{Conn, state};
use profiler_ebpf::life::{Event, Life, end, mark, what};
use profiler_ebpf::record::{Record, flag, proto, role};
use rustc_hash::FxHashSet;

use crate::aggregate::Series;
use crate::attribute::service::KERNEL;
use crate::exchange::{Call, Exchange, HttpCall, MysqlCall, seconds};
use crate::parse::patience::Patience;
use crate::report::{ConnectionRow, ListenerRow, Role};
use address::{Address, Ends};
use exits::Exits;
use held::Held;
use listeners::Listeners;
use protocol::Protocol;
use rows::{Key, Rows};
use table::{Begun, Entry, Id, Table, failed_validation};

/// Events that wait to be taken at the most.
const MOST_TOLD: usize = 8_192;
/// Closed connections whose use is yet to be told of.
const MOST_INVALID: usize = 1_024;
/// Who waits for as long is asked whether it means to, ns.
const LONG_NS: u64 = 1_000_000_000;
/// A MySQL command that ends an open transaction though the server's error has no flags to say so: deadlock
/// (`ER_LOCK_DEADLOCK`), which rolls all of it back.
const DEADLOCK: u16 = 1213;

/// Something has happened to a connection of a service that is wanted.
#[derive(Debug, Clone, PartialEq)]
pub struct Told {
    /// [`profiler_ebpf::life::what`].
    pub what: u8,
    /// When, ns on the monotonic clock.
    pub time: u64,
    pub service: Arc<str>,
    pub pid: u32,
    pub role: Role,
    /// `ip:port`, `[ip6]:port` or `unix:PATH`, both with their ports; `unix:` where the name is not known.
    pub local: String,
    pub peer: String,
    /// As in [`crate::report::ConnectionRow::protocol`]: what is known by now.
    pub protocol: &'static str,
    /// Inode number of the network namespace.
    pub netns: u32,
    pub life: Life,
}

/// What is known of the request under way on a connection, as far as it was wanted.
#[derive(Debug, Clone, Default)]
pub struct UnderWay {
    pub call: Option<HttpCall>,
    /// For how long it says that it may wait.
    pub patience: Option<Patience>,
}

/// A connection in words, before it is known whose it is.
#[derive(Debug, Clone)]
pub struct Subject {
    pub role: Role,
    pub local: Address,
    pub peer: Address,
    pub netns: u32,
}

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

    /// The two ends of a connection; `name` is that of its Unix socket.
    pub fn subject(&self, record: &Record, name: &Arc<str>) -> Subject {
        let local = Address::of(record.family, &record.laddr, record.lport, name);
        let peer = Address::of(record.family, &record.raddr, record.rport, name);
        self.sided(record.role, record.netns, inode(&record.laddr), local, peer)
    }

    /// The same, of an event.
    pub fn subject_of(&self, event: &Event, name: &Arc<str>) -> Subject {
        let local = Address::of(event.family, &event.laddr, event.lport, name);
        let peer = Address::of(event.family, &event.raddr, event.rport, name);
        self.sided(event.role, event.netns, inode(&event.laddr), local, peer)
    }

    fn sided(&self, side: u8, netns: u32, inode: u64, local: Address, peer: Address) -> Subject {
        // It was there before us, and nothing was recognised yet: whose port is listened on is a server. Both ends of a
        // Unix connection have one name, and the snapshot knows servers' ends.
        let serves = || match &local {
            Address::Inet(_) => self.listeners.listens(netns, &local),
            Address::Unix(_) => self.table.stands(&Ends::Unix(inode)),
        };
        let role = match side {
            role::SERVER => Role::Server,
            role::CLIENT => Role::Client,
            _ if serves() => Role::Server,
            _ => Role::Client,
        };
        Subject { role, local, peer, netns }
    }

    /// Something has happened to a connection. `service` is that of the process that has it: None where it is not
    /// wanted, or nobody is known to.
    pub fn event(&mut self, event: &Event, subject: &Subject, service: Option<Arc<str>>) {
        self.exits.at(event.time);
        match event.what {
            what::OPENED => self.opened(event, subject, service),
            what::CLOSED => self.closed(event, subject, service),
            what::FAILED | what::GONE => {
                let known = self.table.get((event.sk, event.born)).map(|entry| entry.row);
                let invalid = self.invalid.remove(&(event.sk, event.born)) || event.life.validated != 0;
                let row = known.or_else(|| self.row(subject, service?));
                let Some(row) = row else { return };
                if event.what == what::FAILED {
                    self.count_in(row, None);
                }
                let begun = self.begun;
                if let Some(found) = self.touch(row, event.time) {
                    if event.what == what::FAILED {
                        // The event may come later than what it tells of: at the sweep.
                        let time = if event.life.t_end != 0 { event.life.t_end } else { event.time };
                        found.failed(event.life.error, time, begun)
                    } else {
                        found.gone(&event.life, begun);
                        found.gone_validated += u64::from(invalid);
                    }
                }
                self.tell(event, subject, row);
            }
            _ => {}
        }
    }

    fn opened(&mut self, event: &Event, subject: &Subject, service: Option<Arc<str>>) {
        let Some(mut service) = service else { return };
        let life = &event.life;
        if is_nameless(event, subject) {
            return;
        }
        let (stood, mut before) = (life.t_open == 0, None);
        // One of the snapshot is counted already.
        if stood && let Some(standing) = self.table.take_standing(&ends(event, subject)) {
            // A thread of the kernel's may work on a process's socket. That process is known.
            if let Some(key) = self.rows.key(standing.row).filter(|_| &*service == KERNEL) {
                service = key.service.clone();
            }
            self.undo(standing.row, Begun::Before);
            before = Some(standing.row);
        }
        let Some(row) = self.row(subject, service.clone()) else { return };
        self.count_in(row, before);
        let is_client = subject.role == Role::Client;
        let begun = self.begun;
        let Some(found) = self.touch(row, event.time) else { return };
        if stood {
            found.stood()
        } else {
            found.opened(life, begun, is_client)
        }
        let listener = if is_client { None } else { self.accepted(event, subject, &service) };
        let mut entry = Entry::new(row, listener, if stood { Begun::Before } else { Begun::Within });
        (entry.role, entry.opened, entry.accepted) = (subject.role, life.t_open, life.t_accept);
        entry.pid = life.pid;
        if self.table.insert((event.sk, event.born), entry) {
            self.note((event.sk, event.born), Protocol::of(event.proto, life.marks));
        }
        self.tell(event, subject, row);
    }

    fn accepted(&mut self, event: &Event, subject: &Subject, service: &Arc<str>) -> Option<u32> {
        let life = &event.life;
        let number = self.listeners.of(life.listener, subject.netns, &subject.local)?;
        self.listeners.told(life.listener, number);
        let listener = self.listeners.get(number)?;
        listener.service = Some(service.clone());
        listener.touched = event.time;
        let waited =
            (life.t_open != 0 && life.t_accept != 0).then(|| life.t_accept.saturating_sub(life.t_open));
        listener.accepted((life.pid, life.tid), waited);
        Some(number)
    }

    fn closed(&mut self, event: &Event, subject: &Subject, service: Option<Arc<str>>) {
        let key = (event.sk, event.born);
        let seen = Protocol::of(event.proto, event.life.marks);
        self.note(key, seen);
        let standing =
            if event.life.t_open == 0 { self.table.take_standing(&ends(event, subject)) } else { None };
        let mut invalid = self.invalid.remove(&key) || event.life.validated != 0;
        let row = if let Some(entry) = self.table.remove(key) {
            invalid |= entry.invalid;
            self.sign_in(entry.row, &entry, &event.life);
            self.held.forget(key);
            entry.row
        } else if let Some(before) = standing {
            before.row
        } else {
            // Nobody accepted it, or it was there before us and nobody used it; else there was no room to remember it.
            if event.life.marks & mark::OPENED == 0 || is_nameless(event, subject) {
                return;
            }
            let Some(row) = service.and_then(|service| self.row(subject, service)) else { return };
            row
        };
        let begun = self.begun;
        let Some(found) = self.touch(row, event.time) else { return };
        let protocol = if seen == Protocol::Unknown { found.spoken.protocol() } else { seen };
        found.closed(&event.life, protocol, begun);
        found.gone_validated += u64::from(invalid && event.life.marks & mark::GONE != 0);
        let ours = matches!(event.life.end, end::OURS | end::ABORTED);
        if ours
            && subject.role == Role::Server
            && event.life.marks & mark::CUT != 0
            && self.exits.cut(event.life.pid, row)
        {
            self.cut_by_exit(row);
        }
        self.tell(event, subject, row);
    }

    /// A server's process has ended in the middle of an exchange.
    fn cut_by_exit(&mut self, row: u32) {
        if let Some(row) = self.rows.get(row) {
            row.cut_by_exit += 1;
        }
    }

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
        let transaction = idle_in_transaction.map(|(idle, next)| self.held.over(key, idle, next));
        if let Some(found) = self.touch(row, exchange.times.last) {
            found.exchanges += u64::from(!is_sign_in && exchange.transport_error.is_none());
            if let Some(transaction) = transaction {
                found.idled(transaction);
            }
            if protocol == Protocol::Mysql && exchange.role == Role::Client && !exchange.stream && !is_sign_in
            {
                let start = exchange.times.start.map_or(exchange.times.last, |start| start.max(begun));
                found.exchanged(start, exchange.times.last);
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
    fn turn(&mut self, key: table::Id, record: &Record, role: Role) {
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

    /// What a connection was seen to speak.
    fn note(&mut self, key: table::Id, protocol: Protocol) {
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

    fn tell(&mut self, event: &Event, subject: &Subject, row: u32) {
        if !self.telling {
            return;
        }
        if self.told.len() >= MOST_TOLD {
            self.untold += 1;
            return;
        }
        // Its row knows more of it than its last event.
        let Some((service, role)) = self.rows.key(row).map(|key| (key.service.clone(), key.role)) else {
            return;
        };
        let seen = Protocol::of(event.proto, event.life.marks);
        let known = self.rows.get(row).map(|row| row.spoken.protocol()).unwrap_or_default();
        self.told.push(Told {
            what: event.what,
            time: event.time,
            service,
            pid: event.life.pid,
            role,
            local: subject.local.to_string(),
            peer: subject.peer.to_string(),
            protocol: if seen > Protocol::Other { seen } else { known.max(seen) }.name(),
            netns: event.netns,
            life: event.life,
        });
    }

    /// A survey of the kernel's table begins.
    pub fn survey(&mut self) {
        self.rows.each().for_each(|(_, row)| row.now = row::Now::default());
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

    /// The rows of connections in which something was seen since `since`.
    pub fn rows(&self, since: u64, wanted: impl Fn(&str) -> bool) -> Vec<ConnectionRow> {
        self.rows.report(since, |protocol| wanted(protocol.name()))
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

/// How a connection is found among those of the snapshot.
fn ends(event: &Event, subject: &Subject) -> Ends {
    match (&subject.local, &subject.peer) {
        (Address::Inet(local), Address::Inet(remote)) => {
            Ends::Inet { netns: event.netns, local: *local, remote: *remote }
        }
        _ => Ends::Unix(inode(&event.laddr)),
    }
}

/// The number of a Unix socket, which stands in its address's place.
fn inode(address: &[u8; 16]) -> u64 {
    u64::from_ne_bytes(*address.first_chunk().unwrap_or(&[0; 8]))
}

/// A pair of sockets that a process made for itself (socketpair()): nobody has connected to anybody.
fn is_nameless(event: &Event, subject: &Subject) -> bool {
    event.life.t_open == 0
        && event.role == role::UNKNOWN
        && matches!(&subject.peer, Address::Unix(name) if name.is_empty())
}
