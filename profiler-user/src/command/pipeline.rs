//! The stages in a row: a record's bytes go in at one end, a row of the report comes out at the other.

use std::path::Path;
use std::sync::Arc;

use profiler_ebpf::conn::Conn;
use profiler_ebpf::life::{Event, what};
use profiler_ebpf::listener::Listener;
use profiler_ebpf::record::Record;
use rustc_hash::FxHashMap;

use super::filter::Filter;
use crate::aggregate::Aggregator;
use crate::attribute::names::Names;
use crate::attribute::pools::Pools;
use crate::attribute::process::ProcessTable;
use crate::attribute::service::Services;
use crate::clock::monotonic;
use crate::config::{Protocol, Settings};
use crate::connections::snapshot::Snapshot;
use crate::connections::{Connections, Told, UnderWay};
use crate::exchange::{Call, Exchange, MysqlCall};
use crate::parse::raw::Raw;
use crate::parse::{Parser, Skip};
use crate::report::Role;
use crate::stall::queries::{Asked, Ledger};
use crate::stall::{Stall, Stalls};

/// Serving threads remembered at the most.
const MOST_SERVERS: usize = 65_536;

/// All stages behind the source.
#[derive(Debug)]
pub struct Pipeline {
    parser: Parser,
    pub processes: ProcessTable,
    pub services: Services,
    /// What processes have looked up.
    pub names: Names,
    /// Whose threads share their set.
    pub pools: Pools,
    pub aggregator: Aggregator,
    pub filter: Filter,
    pub connections: Connections,
    /// Exchanges that the filters left out.
    pub filtered: u64,
    /// Exchanges whose process was gone before anything of it was known.
    pub identity_gone: u64,
    /// Threads that have served a request.
    servers: FxHashMap<u32, Protocol>,
    /// Stalls of event loops that nobody has taken yet.
    pub stalls: Stalls,
    /// What their threads asked of databases.
    pub queries: Ledger,
    /// Records that turned out to be of another protocol.
    pub other_protocol: u64,
}

/// An exchange that passed the filters, and its service.
#[derive(Debug)]
pub struct Finished {
    pub exchange: Exchange,
    pub service: Arc<str>,
}

impl Pipeline {
    /// Processes are looked up in the `/proc` at `proc_root`.
    pub fn new(settings: &Settings, proc_root: &Path) -> Self {
        Self {
            parser: Parser::new(settings.route.clone()),
            processes: ProcessTable::new(proc_root.into()),
            services: Services::new(proc_root.into()),
            names: Names::default(),
            pools: Pools::new(proc_root.into()),
            aggregator: Aggregator::default(),
            filter: Filter::new(settings.clone(), proc_root.into()),
            connections: Connections::new(settings.kernel().max_connections as usize, monotonic()),
            filtered: 0,
            identity_gone: 0,
            servers: FxHashMap::default(),
            stalls: Stalls::default(),
            queries: Ledger::default(),
            other_protocol: 0,
        }
    }

    /// From now on only what this process starts, and what that starts in turn.
    pub fn only_descendants(&mut self, root: u32) {
        self.processes.lookup(root, "");
        self.processes.is_descendant(root, root);
        self.filter.root = Some(root);
        // What was there before is not theirs.
        self.connections.forget();
    }

    /// Takes one record; gives the exchange if it was one that is wanted.
    pub fn feed(&mut self, bytes: &[u8]) -> Option<Finished> {
        match Raw::parse(bytes)? {
            Raw::Exchange { record, head } => self.exchange(&record, head),
            Raw::Name { sk, born, path } => {
                self.parser.name(sk, born, path);
                None
            }
            Raw::Fork { parent, child } => {
                self.processes.on_fork(parent, child);
                self.pools.renew(child);
                None
            }
            Raw::Exec { pid, comm, file, args } => {
                self.processes.on_exec(pid, &comm, file, args);
                self.pools.renew(pid);
                None
            }
            Raw::Stall(turn) => {
                self.stalls.add(*turn);
                None
            }
            Raw::Answer { netns, message } => {
                self.names.learn(netns, message);
                None
            }
            Raw::Connection(event) => {
                self.connection(&event);
                None
            }
            Raw::Exit { pid } => {
                self.connections.exited(pid);
                self.processes.on_exit(pid);
                None
            }
        }
    }

    /// The protocol in which this thread has answered.
    pub fn serves(&self, tid: u32) -> Option<Protocol> {
        self.servers.get(&tid).copied()
    }

    /// The service of a loop's process, if the loop passes the filters.
    pub fn service_of_loop(&mut self, pid: u32, comm: &str) -> Option<String> {
        let process = self.processes.lookup(pid, comm);
        let wanted = self.filter.wants_loop(pid, comm, &process, &mut self.processes);
        wanted.then(|| self.service_of(pid, comm).to_string())
    }

    /// The service of a process, or of the thread with this name where the process is gone.
    pub fn service_of(&mut self, pid: u32, comm: &str) -> Arc<str> {
        let process = self.processes.lookup(pid, comm);
        let processes = &mut self.processes;
        self.services.assign(&process, |parent| Some(processes.lookup(parent, "")))
    }

    /// Whether a stall passes the filters.
    pub fn wants_stall(&mut self, stall: &Stall) -> bool {
        let process = self.processes.lookup(stall.pid, &stall.comm);
        self.filter.wants_stall(stall, &process, &mut self.processes)
    }

    /// A MySQL command that a thread has sent and that has no end yet; `last` is how far it has come.
    pub fn asked(&mut self, conn: &Conn, head: &[u8], last: u64) -> Asked {
        let (peer, call) = self.parser.under_way(&conn.record, head);
        Asked {
            start: conn.record.request.t_start,
            last,
            peer,
            digest: call.digest,
            text: call.digest_text,
            command: call.command,
        }
    }

    /// What was there before the hooks.
    pub fn stood(&mut self, snapshot: &Snapshot) {
        let Self { connections, processes, services, filter, .. } = self;
        connections.stood(snapshot, |pid, ports| service_of(processes, services, filter, pid, ports));
    }

    /// Names the services of listeners that nobody has accepted from.
    pub fn name_listeners(&mut self) {
        let Self { connections, processes, services, filter, .. } = self;
        connections.name_listeners(|pid, ports| service_of(processes, services, filter, pid, ports));
    }

    /// A connection of the kernel's table, as it was just now, and the kept beginning of its request under way.
    pub fn see(&mut self, conn: &Conn, head: &[u8], now: u64) {
        if Connections::is_connecting(conn) {
            let record = &conn.record;
            let ports = [record.lport, record.rport];
            let Self { connections, processes, services, filter, parser, .. } = self;
            if let Some(service) = service_of(processes, services, filter, conn.life.pid, ports) {
                let subject = connections.subject(record, &parser.unix_name(record.sk, record.born));
                connections.connecting(&subject, service, now);
            }
            return;
        }
        let mut asked = UnderWay::default();
        if self.connections.wants_call(conn) {
            asked.call = self.parser.request_under_way(&conn.record, head);
        }
        if self.connections.wants_patience(conn, now) {
            asked.patience = self.parser.patience(&conn.record, head);
        }
        self.connections.see(conn, &asked, now);
    }

    /// What the kernel half says of a listening socket.
    pub fn listener(&mut self, listener: &Listener) {
        self.connections.listener(listener);
    }

    /// What has happened to connections since the last call, as far as it is wanted.
    pub fn told(&mut self) -> Vec<Told> {
        let mut told = self.connections.take();
        told.retain(|told| self.filter.wants_protocol(told.protocol));
        told
    }

    fn connection(&mut self, event: &Event) {
        let name = self.parser.unix_name(event.sk, event.born);
        let subject = self.connections.subject_of(event, &name);
        let Self { processes, services, filter, .. } = self;
        let service = service_of(processes, services, filter, event.life.pid, [event.lport, event.rport]);
        self.connections.event(event, &subject, service);
        if event.what == what::FAILED {
            self.parser.forget(event.sk, event.born);
        }
    }

    fn exchange(&mut self, record: &Record, head: &[u8]) -> Option<Finished> {
        let mut exchange = match self.parser.exchange(record, head) {
            Ok(exchange) => exchange,
            Err(Skip::OtherProtocol) => {
                self.other_protocol += 1;
                return None;
            }
        };
        self.connections.exchange(record, &mut exchange);
        let leaves_open = matches!(&exchange.call, Call::Mysql(MysqlCall { in_transaction: Some(true), .. }));
        if leaves_open && self.pools.has(exchange.pid) {
            self.connections.requests_move(exchange.pid);
        }
        if exchange.role == Role::Server {
            if self.servers.len() >= MOST_SERVERS {
                // Those that still serve come again at once.
                self.servers.clear();
            }
            let protocol = match exchange.call {
                Call::Http(_) => Protocol::Http,
                Call::Mysql(_) => Protocol::Mysql,
            };
            self.servers.insert(exchange.tid, protocol);
        }
        self.queries.finished(&exchange);
        let process = self.processes.lookup(exchange.pid, &exchange.comm);
        if !self.filter.wants(&exchange, &process, &mut self.processes) {
            self.filtered += 1;
            return None;
        }
        self.identity_gone += u64::from(process.gone);
        exchange.comm.clone_from(&process.comm);
        let processes = &mut self.processes;
        let service = self.services.assign(&process, |parent| Some(processes.lookup(parent, "")));
        if exchange.role == Role::Server && !exchange.local.is_empty() {
            self.services.listens(&process, &exchange.local);
        }
        self.aggregator.add(&exchange, &service);
        Some(Finished { exchange, service })
    }
}

/// The service of a process that has a connection with these ports, if the connection passes the filters.
fn service_of(
    processes: &mut ProcessTable,
    services: &mut Services,
    filter: &mut Filter,
    pid: u32,
    ports: [u16; 2],
) -> Option<Arc<str>> {
    if pid == 0 {
        return None;
    }
    let process = processes.lookup(pid, "");
    let wanted = filter.wants_connection(pid, ports, &process, processes);
    wanted.then(|| services.assign(&process, |parent| Some(processes.lookup(parent, ""))))
}

#[cfg(test)]
mod tests;
