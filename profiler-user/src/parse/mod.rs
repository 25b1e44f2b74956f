//! From raw records to exchanges with names: [`Parser`].
//!
//! Records of the kernel half come in, one after the other as they left it; out come [`Exchange`]s, or the reason why
//! a record is none.

pub mod command;
pub mod connection;
pub mod http;
pub mod patience;
pub mod raw;
pub mod reply;
pub mod route;
pub mod sql;

use std::sync::Arc;

use profiler_ebpf::mysql::command as number;
use profiler_ebpf::record::{COMMAND_HANDSHAKE, ERROR_CLOSED, Record, flag, proto, role};

use crate::connections::errno;
use crate::exchange::{Call, Exchange, HttpCall, MysqlCall, Times};
use crate::report::{Role, RouteSource};
use connection::{Connections, Key};
use patience::Patience;
use reply::{BULK_EXECUTE, Reply};
use route::Routes;
use sql::{Backslash, Digest};

/// Stands in the digest's place when a statement was prepared before we came.
pub const UNKNOWN_STATEMENT: &str = "<unknown statement>";

/// The command that allows several statements in one query (`COM_SET_OPTION`, include/my_command.h).
const SET_OPTION: u8 = 0x1b;
/// Commands that begin the session anew (the same file).
const CHANGE_USER: u8 = 0x11;
const RESET_CONNECTION: u8 = 0x1f;

/// Why a record is no exchange.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Skip {
    /// The request looked like HTTP or MySQL, but nothing bore it out.
    OtherProtocol,
}

/// The parse stage: what it remembers between records.
#[derive(Debug)]
pub struct Parser {
    connections: Connections,
    routes: Routes,
}

impl Parser {
    pub fn new(patterns: Vec<route::Pattern>) -> Self {
        Self { connections: Connections::default(), routes: Routes::new(patterns) }
    }

    /// A Unix connection's path.
    pub fn name(&mut self, sk: u64, born: u64, path: &[u8]) {
        self.connections.name((sk, born), path);
    }

    /// A Unix connection's path, as [`connection::Connections::unix_name`].
    pub fn unix_name(&self, sk: u64, born: u64) -> Arc<str> {
        self.connections.unix_name((sk, born))
    }

    /// A connection that was never established: its path is of no more use.
    pub fn forget(&mut self, sk: u64, born: u64) {
        self.connections.forget((sk, born));
    }

    /// The exchange of a record.
    pub fn exchange(&mut self, record: &Record, head: &[u8]) -> Result<Exchange, Skip> {
        let call =
            if record.proto == proto::HTTP { self.http(record, head)? } else { self.mysql(record, head) };
        let request = &record.request;
        let server = record.role == role::SERVER;
        let some = |t: u64| (t != 0).then_some(t);
        let arrival = some(request.t_arrive).filter(|_| server);
        let c = self.connections.of(record);
        Ok(Exchange {
            pid: request.pid,
            tid: request.tid,
            comm: String::new(),
            role: if server { Role::Server } else { Role::Client },
            local: c.local.to_string(),
            peer: c.peer.to_string(),
            local_port: record.lport,
            peer_port: record.rport,
            times: Times {
                opened: None,
                accepted: None,
                arrival,
                start: some(request.t_start),
                request_end: some(request.t_end).filter(|_| request.t_start != 0),
                first: some(record.t_first),
                last: record.t_last,
            },
            request_bytes: request.bytes,
            response_bytes: record.response_bytes,
            // What the server said is the outcome; that it then hung up is not.
            transport_error: transport_error(record.error)
                .filter(|_| !matches!(&call, Call::Mysql(MysqlCall { error: Some(_), .. }))),
            stream: record.flags & flag::STREAM != 0,
            truncated: record.flags & flag::TRUNCATED != 0,
            call,
        })
    }

    /// A MySQL command that is under way: its peer and statement. Nothing is learned from it.
    pub fn under_way(&mut self, record: &Record, head: &[u8]) -> (Arc<str>, MysqlCall) {
        let payload = payload(record, head);
        let (_, backslash) = self.session(record, payload);
        let digest = self.statement(record, payload, backslash);
        let connection = self.connections.of(record);
        let (peer, schema) = (connection.peer.clone(), connection.schema.clone());
        let call = MysqlCall {
            command: command::name(record.request.command),
            digest: known(digest.as_deref()),
            digest_text: digest.as_ref().map(|d| Arc::from(d.text.as_str())),
            schema,
            ..MysqlCall::default()
        };
        (peer, call)
    }

    /// An HTTP request that is under way, named as it will be.
    pub fn request_under_way(&mut self, record: &Record, head: &[u8]) -> Option<HttpCall> {
        match self.http(record, head) {
            Ok(Call::Http(call)) => Some(call),
            _ => None,
        }
    }

    /// For how long a request that is under way says that it may wait.
    pub fn patience(&mut self, record: &Record, head: &[u8]) -> Option<Patience> {
        match record.proto {
            proto::HTTP => Patience::of_request(head, record.request.truncated != 0),
            _ => Patience::of_statement(self.under_way(record, head).1.digest_text.as_deref()?),
        }
    }

    /// Whether a command may hold several statements, and what backslashes mean in it.
    fn session(&mut self, record: &Record, payload: &[u8]) -> (bool, Backslash) {
        let truncated = record.request.truncated != 0;
        let connection = self.connections.of(record);
        let (caps, backslash) = (if connection.several { 0 } else { record.caps }, connection.backslash);
        let query =
            command::statement(payload, record.caps).filter(|_| record.request.command == number::QUERY);
        let several = query.is_some_and(|query| command::several(query, truncated, caps));
        // One of several statements may change it for those after it.
        let changes = several && query.is_some_and(command::names_sql_mode);
        (several, if changes { Backslash::Unknown } else { backslash })
    }

    /// The statement of a command that has one.
    fn statement(&mut self, record: &Record, payload: &[u8], backslash: Backslash) -> Option<Arc<Digest>> {
        let truncated = record.request.truncated != 0;
        match record.request.command {
            number::QUERY => command::statement(payload, record.caps)
                .map(|query| Arc::new(sql::digest(query, truncated, backslash))),
            number::PREPARE => Some(Arc::new(sql::digest(payload, truncated, backslash))),
            number::EXECUTE | 0x1c | 0x1a | BULK_EXECUTE => Some(
                command::statement_number(payload)
                    .and_then(|id| self.connections.statement((record.sk, record.born), id))
                    .unwrap_or_else(|| {
                        Arc::new(Digest { text: UNKNOWN_STATEMENT.into(), ..Digest::default() })
                    }),
            ),
            _ => None,
        }
    }

    fn http(&mut self, record: &Record, head: &[u8]) -> Result<Call, Skip> {
        // Of one under way the flags do not say it yet.
        let parsed = http::request_head(head, record.request.truncated != 0);
        let tentative = record.flags & flag::TENTATIVE != 0;
        if tentative && !parsed.as_ref().is_some_and(|h| h.versioned) {
            return Err(Skip::OtherProtocol);
        }
        let (method, target, cut) = match parsed {
            Some(h) => {
                // What is missing behind a path is not shown anyway.
                let cut = h.cut && !h.target.contains(['?', '#']);
                // No name as it stands: the end of its last segment is not known.
                let target = if cut { h.target + "…" } else { h.target };
                (h.method, target, cut)
            }
            // Unreadable, or nothing that we know: the exchange was seen, its name was not.
            None => ("_OTHER".to_owned(), String::new(), false),
        };
        // Routes are learned for each address that is served or called.
        let server_port = if record.role == role::SERVER { record.lport } else { record.rport };
        let (route, route_source) = if target.is_empty() {
            (Arc::from(""), RouteSource::Template)
        } else {
            self.routes.route(u64::from(server_port), &target)
        };
        let mut path = http::path_of(&target);
        if cut {
            path = format!("{} …", path.trim_end_matches('…'));
        }
        let status = (record.status != 0).then_some(record.status);
        Ok(Call::Http(HttpCall { method, path, route, route_source, status }))
    }

    fn mysql(&mut self, record: &Record, head: &[u8]) -> Call {
        let key: Key = (record.sk, record.born);
        let asked = record.request.command;
        let payload = payload(record, head);
        let (several, backslash) = self.session(record, payload);
        let reply = reply::read(record, several);
        let digest = self.statement(record, payload, backslash);
        if let (number::PREPARE, Some(digest), Some(id)) = (asked, &digest, reply.statement) {
            self.connections.prepared(key, id, digest.clone());
        }
        let failed = reply.error.is_some() || record.error != 0;
        let connection = self.connections.of(record);
        connection.backslash = backslash_after(asked, several, &reply, backslash);
        connection.several |= asked == SET_OPTION && payload.first() == Some(&0);
        if !failed && let Some(schema) = chosen_schema(asked, payload, digest.as_deref()) {
            connection.schema = Some(schema.into());
        }
        let in_transaction = in_transaction(asked, &reply);
        Call::Mysql(MysqlCall {
            command: command::name(asked),
            digest: known(digest.as_deref()),
            digest_text: digest.as_ref().map(|d| Arc::from(d.text.as_str())),
            schema: connection.schema.clone(),
            error: reply.error,
            rows_returned: reply.rows_returned,
            rows_affected: reply.rows_affected,
            no_index: reply.status & reply::status::NO_INDEX != 0,
            no_good_index: reply.status & reply::status::NO_GOOD_INDEX != 0,
            server_slow: reply.status & reply::status::SLOW != 0,
            in_transaction,
        })
    }
}

/// The hash of a statement, where it is known.
fn known(digest: Option<&Digest>) -> Option<u64> {
    digest.filter(|digest| digest.text != UNKNOWN_STATEMENT).map(|digest| digest.hash)
}

/// The payload of a request: the head of a handshake is the sign-in; of a command, the command's byte and what follows.
fn payload<'a>(record: &Record, head: &'a [u8]) -> &'a [u8] {
    if record.request.command == COMMAND_HANDSHAKE { head } else { head.get(1..).unwrap_or_default() }
}

/// Whether a transaction is open after a reply, as far as it says. A session that begins anew has none.
fn in_transaction(asked: u8, reply: &Reply) -> Option<bool> {
    let anew = matches!(asked, COMMAND_HANDSHAKE | CHANGE_USER | RESET_CONNECTION) && reply.error.is_none();
    reply.session.map(|flags| flags & reply::status::IN_TRANSACTION != 0).or(anew.then_some(false))
}

/// What backslashes mean to the session after a reply. Only QUERY and what executes can change it, and a failed one of
/// them does not, unless it was the last of several.
fn backslash_after(asked: u8, several: bool, reply: &Reply, before: Backslash) -> Backslash {
    match (asked, reply.session) {
        // `init_connect` may run once the server has said OK.
        (COMMAND_HANDSHAKE | CHANGE_USER | RESET_CONNECTION, _) => Backslash::Unknown,
        (_, Some(flags)) if flags & reply::status::NO_BACKSLASH_ESCAPES != 0 => Backslash::Literal,
        (_, Some(_)) => Backslash::Escapes,
        (number::QUERY | number::EXECUTE | BULK_EXECUTE, None) if several || reply.error.is_none() => {
            Backslash::Unknown
        }
        (_, None) => before,
    }
}

/// The schema that a successful command chose.
fn chosen_schema(asked: u8, payload: &[u8], digest: Option<&Digest>) -> Option<String> {
    match asked {
        COMMAND_HANDSHAKE => command::schema(payload),
        0x02 => std::str::from_utf8(payload).ok().map(str::to_owned),
        number::QUERY => {
            let name = digest?.text.strip_prefix("USE ")?.trim_matches('`');
            (!name.is_empty() && !name.contains([' ', '?'])).then(|| name.to_owned())
        }
        _ => None,
    }
}

/// OpenTelemetry's `error.type` for a connection's end: the errno's name, or `closed`.
fn transport_error(error: u8) -> Option<String> {
    match error {
        0 => None,
        ERROR_CLOSED => Some("closed".to_owned()),
        other => Some(errno::of(other)),
    }
}

#[cfg(test)]
mod tests;
