//! Which HTTP request a MySQL command was sent for: finished requests of the processes that are MySQL's clients come in,
//! and those that a survey finds under way; out goes the one request that a command at some instant can belong to, if
//! there is only one. Pure, and bounded: processes, and requests of each.
//!
//! A process may work on several requests at a time. Where each thread works on one, a command is of its thread's
//! request. Where a thread works on several, or requests are read by one thread and worked on by others, or move between
//! threads, it is only known if there is no other request at that instant.

mod tally;

use std::collections::VecDeque;
use std::sync::Arc;

use rustc_hash::{FxHashMap, FxHashSet};

use crate::exchange::{Call, Exchange, HttpCall};
use crate::report::Role;
use tally::{Cover, Tally};

/// Processes known at the most, the last finished requests kept of each, and its threads that read some.
const MOST_PROCESSES: usize = 256;
const MOST_DONE: usize = 512;
const MOST_READERS: usize = 4_096;
/// Requests under way that one survey may name.
const MOST_UNDER_WAY: usize = 4_096;

/// The thread that read a request, and its begin, ns.
pub(super) type Id = (u32, u64);

/// How far a request had come when last looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    UnderWay,
    /// When the last byte of its response was handed to the kernel, ns.
    Answered(u64),
    /// Its connection ended without a whole response.
    Broken,
}

/// The request that a command was sent for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Sender {
    /// Method and route.
    pub(super) route: Arc<str>,
    pub(super) end: End,
    pub(super) id: Id,
}

/// What is known of a command's request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Found {
    One(Sender),
    Nobody,
    /// Several may be it.
    Several,
    /// Requests of that time are not kept any more, or were not seen.
    Forgotten,
}

/// A MySQL command: who sent it, and when, ns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Command {
    pub(super) pid: u32,
    pub(super) tid: u32,
    pub(super) at: u64,
}

/// A request from its first read on; `tid` has read it.
#[derive(Debug, Clone)]
struct Span {
    tid: u32,
    start: u64,
    /// Its end, `u64::MAX` where there is none yet.
    last: u64,
    end: End,
    method: String,
    route: Arc<str>,
}

/// A process that has sent MySQL commands.
#[derive(Debug, Default)]
struct Process {
    done: VecDeque<Span>,
    /// How those ended.
    ends: FxHashMap<Id, End>,
    /// Those of this survey. They may have ended since.
    under_way: FxHashMap<Id, Span>,
    /// From when on it has served over a connection that cannot be read and that is still open in this survey, ns.
    hidden: Option<u64>,
    /// Requests that ended up to here may be missing.
    forgotten: u64,
    /// Threads that have read requests, and when the last of each ended.
    readers: FxHashMap<u32, u64>,
    /// One of them has worked on several requests at a time.
    is_shared: bool,
    /// One of them has sent a command itself.
    reader_sends: bool,
    /// Requests go on in other threads than they began in: who sends a command says nothing.
    moves: bool,
}

#[derive(Debug, Default)]
pub(super) struct Requests {
    processes: FxHashMap<u32, Process>,
    /// Requests under way that this survey has named, of all processes.
    named: usize,
    /// Processes whose requests under way are wanted, in this survey and in the next.
    wanted: FxHashSet<u32>,
    wanted_next: FxHashSet<u32>,
    /// The latest end that was told of, ns.
    clock: u64,
}

impl Requests {
    /// An exchange has ended.
    pub(super) fn finished(&mut self, exchange: &Exchange) {
        let last = exchange.times.last;
        self.clock = self.clock.max(last);
        match (&exchange.call, exchange.role) {
            (Call::Mysql(_), Role::Client) => self.sent(exchange.pid, exchange.tid),
            (Call::Http(call), Role::Server) => {
                if let Some(process) = self.processes.get_mut(&exchange.pid) {
                    let whole = call.status.is_some() && exchange.transport_error.is_none();
                    let end = if whole { End::Answered(last) } else { End::Broken };
                    match exchange.times.start {
                        Some(start) => process.add(Span::new(exchange.tid, start, last, end, call)),
                        None => process.forgotten = process.forgotten.max(last),
                    }
                }
            }
            _ => {}
        }
    }

    fn sent(&mut self, pid: u32, tid: u32) {
        if self.processes.len() >= MOST_PROCESSES && !self.processes.contains_key(&pid) {
            return;
        }
        let fresh = || Process { forgotten: self.clock, ..Process::default() };
        let process = self.processes.entry(pid).or_insert_with(fresh);
        process.reader_sends |= process.readers.contains_key(&tid);
    }

    /// Requests of this process move between its threads.
    pub(super) fn moves(&mut self, pid: u32) {
        if let Some(process) = self.processes.get_mut(&pid) {
            process.moves = true;
        }
    }

    /// `next` goes on in the transaction that `before` was a command of. If another thread has sent it while the one
    /// before is still at its own request, the request has moved: who works on one keeps its session until it is over.
    pub(super) fn goes_on(&mut self, before: Command, next: Command) {
        let Some(process) = self.processes.get_mut(&before.pid).filter(|_| before.pid == next.pid) else {
            return;
        };
        let is_at_work = process.readers.get(&before.tid).is_some_and(|last| *last < before.at);
        process.moves |= next.tid != before.tid && is_at_work && before.at > process.forgotten;
    }

    pub(super) fn exited(&mut self, pid: u32) {
        self.processes.remove(&pid);
    }

    /// A survey begins.
    pub(super) fn survey(&mut self) {
        for process in self.processes.values_mut() {
            process.under_way.clear();
            process.hidden = None;
        }
        self.named = 0;
        self.wanted = std::mem::take(&mut self.wanted_next);
    }

    /// Whether requests of this process that are under way are to be told of in this survey.
    pub(super) fn wants(&self, pid: u32) -> bool {
        self.wanted.contains(&pid) && self.named < MOST_UNDER_WAY
    }

    /// The same from the next survey on.
    pub(super) fn want(&mut self, pid: u32) {
        self.wanted_next.insert(pid);
    }

    /// A request that is under way.
    pub(super) fn under_way(&mut self, pid: u32, tid: u32, start: u64, call: &HttpCall) {
        self.named += 1;
        if let Some(process) = self.processes.get_mut(&pid) {
            let span = Span::new(tid, start, u64::MAX, End::UnderWay, call);
            process.readers.entry(tid).or_insert(0);
            process.under_way.insert(span.id(), span);
        }
    }

    /// A connection of this process's clients, open since `since`, that may carry requests that we cannot see.
    pub(super) fn hidden(&mut self, pid: u32, since: u64) {
        if let Some(process) = self.processes.get_mut(&pid) {
            process.hidden = Some(process.hidden.map_or(since, |before| before.min(since)));
        }
    }

    /// The request that each of these commands of one process was sent for.
    pub(super) fn senders(&self, pid: u32, commands: &[Command]) -> Vec<Found> {
        match self.processes.get(&pid).filter(|_| self.wants(pid)) {
            Some(process) => process.senders(commands),
            None => vec![Found::Forgotten; commands.len()],
        }
    }

    /// How far a request of this process has come that was under way; None where that is not known any more.
    pub(super) fn end(&self, pid: u32, id: Id) -> Option<End> {
        let process = self.processes.get(&pid)?;
        process.ends.get(&id).copied().or_else(|| process.under_way.get(&id).map(|span| span.end))
    }
}

impl Process {
    fn add(&mut self, span: Span) {
        if self.readers.len() >= MOST_READERS {
            self.readers.clear();
        }
        let before = self.readers.insert(span.tid, span.last);
        self.is_shared |= before.is_some_and(|before| span.start < before);
        if self.done.len() >= MOST_DONE
            && let Some(oldest) = self.done.pop_front()
        {
            self.ends.remove(&oldest.id());
            self.forgotten = self.forgotten.max(oldest.last);
        }
        self.ends.insert(span.id(), span.end);
        self.done.push_back(span);
    }

    fn senders(&self, commands: &[Command]) -> Vec<Found> {
        let under_way: Vec<&Span> =
            self.under_way.values().filter(|span| !self.ends.contains_key(&span.id())).collect();
        // Of a thread that has read another before one was over it is not known yet.
        let mut at_work = FxHashSet::default();
        let is_shared = self.is_shared
            || under_way.iter().any(|span| {
                let last = self.readers.get(&span.tid).copied().unwrap_or_default();
                span.start < last || !at_work.insert(span.tid)
            });
        let spans: Vec<&Span> = self.done.iter().chain(under_way).collect();
        let all = Tally::new(
            commands.iter().map(|command| command.at).collect(),
            spans.iter().map(|span| (span.start, span.last)),
        );
        // The same for each thread: instants and spans of others come before or after.
        let own = Tally::new(
            commands.iter().map(|command| (command.tid, command.at)).collect(),
            spans.iter().map(|span| ((span.tid, span.start), (span.tid, span.last))),
        );
        let found = commands.iter().map(|command| {
            let Command { tid, at, .. } = *command;
            if at <= self.forgotten {
                return Found::Forgotten;
            }
            let all = match all.at(at) {
                // It need not be the only one.
                Cover::One(_) if self.hidden.is_some_and(|since| since <= at) => Cover::Several,
                cover => cover,
            };
            match self.judge(own.at((tid, at)), all, is_shared) {
                Cover::Nobody => Found::Nobody,
                Cover::One(place) => Found::One(spans[place].sender()),
                Cover::Several => Found::Several,
            }
        });
        found.collect()
    }

    /// Whose a command is: `own` are the requests at its instant that its thread has read, `all` are those of all threads.
    fn judge(&self, own: Cover, all: Cover, is_shared: bool) -> Cover {
        match (own, all) {
            (_, Cover::Nobody) => Cover::Nobody,
            (_, Cover::One(_)) if self.moves => all,
            (Cover::One(_), Cover::One(_)) => all,
            (Cover::One(_), Cover::Several) if !self.moves && !is_shared => own,
            // Who reads requests does not work on them.
            (Cover::Nobody, Cover::One(_)) if !self.reader_sends => all,
            _ => Cover::Several,
        }
    }
}

impl Span {
    fn new(tid: u32, start: u64, last: u64, end: End, call: &HttpCall) -> Self {
        Self { tid, start, last, end, method: call.method.clone(), route: call.route.clone() }
    }

    fn id(&self) -> Id {
        (self.tid, self.start)
    }

    fn sender(&self) -> Sender {
        let name =
            if self.route.is_empty() { &*self.method } else { &format!("{} {}", self.method, self.route) };
        Sender { route: name.into(), end: self.end, id: self.id() }
    }
}

/// An exchange of the process 42.
#[cfg(test)]
pub(super) fn exchange(role: Role, tid: u32, start: u64, last: u64, call: Call) -> Exchange {
    Exchange {
        pid: 42,
        tid,
        comm: String::new(),
        role,
        local: String::new(),
        peer: String::new(),
        local_port: 0,
        peer_port: 0,
        times: crate::exchange::Times { start: Some(start), last, ..crate::exchange::Times::default() },
        request_bytes: 1,
        response_bytes: 1,
        transport_error: None,
        stream: false,
        truncated: false,
        call,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exchange::MysqlCall;
    use crate::report::RouteSource;

    const PID: u32 = 42;

    fn http(route: &str) -> HttpCall {
        HttpCall {
            method: "GET".into(),
            path: route.into(),
            route: route.into(),
            route_source: RouteSource::Template,
            status: Some(200),
        }
    }

    /// Commands that thread 1 has sent, up to `last`.
    fn client(last: u64) -> Requests {
        let mut requests = Requests::default();
        let call = Call::Mysql(MysqlCall::default());
        requests.finished(&exchange(Role::Client, 1, last - 1, last, call));
        requests.want(PID);
        requests.survey();
        requests
    }

    fn served(requests: &mut Requests, tid: u32, start: u64, last: u64, route: &str) {
        requests.finished(&exchange(Role::Server, tid, start, last, Call::Http(http(route))));
    }

    fn sender(requests: &Requests, tid: u32, at: u64) -> Found {
        let mut found = requests.senders(PID, &[Command { pid: PID, tid, at }]);
        found.remove(0)
    }

    fn one(route: &str, end: End) -> Option<(String, End)> {
        Some((format!("GET {route}"), end))
    }

    /// Route and end of the only one.
    fn known(requests: &Requests, tid: u32, at: u64) -> Option<(String, End)> {
        match sender(requests, tid, at) {
            Found::One(sender) => Some((sender.route.to_string(), sender.end)),
            _ => None,
        }
    }

    #[test]
    fn the_only_request_at_that_time() {
        let mut requests = client(5);
        served(&mut requests, 1, 10, 20, "/a");
        served(&mut requests, 1, 30, 40, "/b");
        assert_eq!(known(&requests, 1, 35), one("/b", End::Answered(40)));
        assert_eq!(sender(&requests, 1, 25), Found::Nobody, "work of its own");
        let another = Command { pid: 7, tid: 1, at: 35 };
        assert_eq!(requests.senders(7, &[another; 2]), vec![Found::Forgotten; 2], "another process");
    }

    #[test]
    fn threads_that_work_on_one_request_each() {
        let mut requests = client(5);
        served(&mut requests, 2, 12, 18, "/b");
        served(&mut requests, 1, 10, 20, "/a");
        assert_eq!(known(&requests, 1, 15), one("/a", End::Answered(20)));
        assert_eq!(known(&requests, 2, 15), one("/b", End::Answered(18)));
        assert_eq!(sender(&requests, 3, 15), Found::Several, "a thread that has read neither");
    }

    #[test]
    fn a_loop_that_works_on_several() {
        let mut requests = client(5);
        served(&mut requests, 1, 12, 18, "/b");
        served(&mut requests, 1, 10, 20, "/a");
        assert_eq!(sender(&requests, 1, 15), Found::Several);
        assert_eq!(known(&requests, 1, 19), one("/a", End::Answered(20)));
        // Two threads share their requests: that one of them has read it says nothing.
        served(&mut requests, 2, 19, 22, "/c");
        assert_eq!(sender(&requests, 1, 20), Found::Several);
    }

    /// FastAPI's plain functions: the loop reads, another thread asks the database.
    #[test]
    fn threads_that_work_on_what_another_has_read() {
        let mut requests = client(5);
        served(&mut requests, 9, 10, 20, "/a");
        assert_eq!(known(&requests, 1, 15), one("/a", End::Answered(20)));
        // Those that read also send: this one works on something of its own.
        let call = Call::Mysql(MysqlCall::default());
        requests.finished(&exchange(Role::Client, 9, 16, 17, call));
        assert_eq!(sender(&requests, 1, 15), Found::Several);
    }

    /// The thread that has read a request goes on to the next while another works on the first.
    #[test]
    fn a_thread_that_reads_another_before_the_first_is_over() {
        let mut requests = client(5);
        served(&mut requests, 9, 10, 60, "/c");
        requests.under_way(PID, 1, 30, &http("/b"));
        assert_eq!(known(&requests, 1, 35), one("/b", End::UnderWay));
        served(&mut requests, 1, 10, 20, "/a");
        assert_eq!(known(&requests, 1, 35), one("/b", End::UnderWay), "one after the other");
        served(&mut requests, 1, 21, 32, "/a");
        assert_eq!(sender(&requests, 1, 35), Found::Several, "the first was not over");
        let mut requests = client(5);
        requests.under_way(PID, 1, 30, &http("/a"));
        requests.under_way(PID, 2, 30, &http("/b"));
        assert_eq!(known(&requests, 1, 35), one("/a", End::UnderWay));
        requests.under_way(PID, 1, 40, &http("/c"));
        assert_eq!(sender(&requests, 1, 35), Found::Several, "nor is the first of these");
    }

    #[test]
    fn requests_that_move_between_threads() {
        let mut requests = client(5);
        served(&mut requests, 1, 10, 20, "/a");
        served(&mut requests, 2, 15, 30, "/b");
        assert_eq!(known(&requests, 1, 17), one("/a", End::Answered(20)));
        requests.moves(PID);
        requests.moves(7);
        assert_eq!(sender(&requests, 1, 17), Found::Several, "whoever has sent it");
        assert_eq!(known(&requests, 1, 25), one("/b", End::Answered(30)), "the only one");
    }

    /// What a thread has begun another goes on with.
    #[test]
    fn transactions_that_move_between_threads() {
        let command = |tid, at| Command { pid: PID, tid, at };
        let moves = |before: Command, next: Command| {
            let mut requests = client(5);
            served(&mut requests, 1, 10, 20, "/a");
            served(&mut requests, 2, 12, 40, "/b");
            requests.goes_on(before, next);
            sender(&requests, 1, 17) == Found::Several
        };
        assert!(moves(command(1, 25), command(2, 35)), "thread 1 is at another by then");
        assert!(!moves(command(1, 25), command(1, 35)));
        assert!(
            !moves(command(1, 15), command(2, 35)),
            "its request was over: the session was left as it was"
        );
        assert!(!moves(command(3, 25), command(2, 35)), "no thread that reads requests");
        assert!(!moves(command(1, 3), command(2, 35)), "before we knew its requests");
        assert!(!moves(command(1, 25), Command { pid: 7, ..command(2, 35) }));
    }

    #[test]
    fn requests_that_cannot_be_seen() {
        let seen = |shared: bool, opened: &[u64]| {
            let mut requests = client(5);
            served(&mut requests, 1, 10, 20, "/a");
            if shared {
                served(&mut requests, 1, 30, 50, "/b");
                served(&mut requests, 1, 40, 60, "/c");
            }
            opened.iter().for_each(|since| requests.hidden(PID, *since));
            [1, 2].map(|tid| known(&requests, tid, 15).is_some())
        };
        assert_eq!(seen(false, &[]), [true, true]);
        assert_eq!(seen(false, &[30, 16]), [true, true], "too late");
        assert_eq!(seen(false, &[16, 15, 30]), [true, false], "what a thread of its own has read is its own");
        assert_eq!(seen(true, &[]), [true, true]);
        assert_eq!(seen(true, &[15]), [false, false]);
        let mut requests = client(5);
        served(&mut requests, 1, 10, 20, "/a");
        requests.hidden(PID, 15);
        requests.want(PID);
        requests.survey();
        assert!(known(&requests, 2, 15).is_some(), "closed since");
    }

    #[test]
    fn many_commands_at_once() {
        let mut requests = client(5);
        served(&mut requests, 1, 10, 20, "/a");
        served(&mut requests, 2, 12, 18, "/b");
        requests.under_way(PID, 3, 30, &http("/c"));
        let commands = [(3, 31), (1, 13), (2, 13), (3, 25), (1, 13), (4, 13), (1, 4)];
        let commands = commands.map(|(tid, at)| Command { pid: PID, tid, at });
        let found: Vec<_> = requests.senders(PID, &commands);
        let one_by_one: Vec<_> = commands.map(|command| sender(&requests, command.tid, command.at)).into();
        assert_eq!(found, one_by_one);
        let named = |found: &Found| match found {
            Found::One(sender) => sender.route.to_string(),
            other => format!("{other:?}"),
        };
        let named: Vec<_> = found.iter().map(named).collect();
        assert_eq!(named, ["GET /c", "GET /a", "GET /b", "Nobody", "GET /a", "Several", "Forgotten"]);
    }

    #[test]
    fn requests_under_way() {
        let mut requests = client(5);
        requests.under_way(PID, 1, 10, &http("/slow"));
        assert_eq!(known(&requests, 1, 15), one("/slow", End::UnderWay));
        assert_eq!(sender(&requests, 1, 9), Found::Nobody);
        served(&mut requests, 1, 10, 20, "/slow");
        assert_eq!(known(&requests, 1, 15), one("/slow", End::Answered(20)), "ended since the survey");
        assert_eq!(requests.end(PID, (1, 10)), Some(End::Answered(20)));
        requests.under_way(PID, 2, 11, &http("/other"));
        assert_eq!(requests.end(PID, (2, 11)), Some(End::UnderWay));
        assert_eq!(requests.end(PID, (2, 12)), None);
        assert_eq!(sender(&requests, 3, 15), Found::Several);
        requests.survey();
        assert!(!requests.wants(PID), "nobody has asked for them");
        assert_eq!(sender(&requests, 1, 15), Found::Forgotten, "others may be under way");
    }

    #[test]
    fn what_was_not_seen_is_not_guessed() {
        let mut requests = client(5);
        assert_eq!(sender(&requests, 1, 5), Found::Forgotten, "before we knew that it is a client");
        for n in 0..2 * MOST_DONE as u64 {
            served(&mut requests, 1, 10 * n + 10, 10 * n + 19, "/a");
        }
        assert_eq!(requests.processes[&PID].done.len(), MOST_DONE);
        assert_eq!(sender(&requests, 1, 15), Found::Forgotten);
        assert_eq!(
            known(&requests, 1, 20 * MOST_DONE as u64 + 5),
            one("/a", End::Answered(20 * MOST_DONE as u64 + 9))
        );
        (1_000..2_000).for_each(|pid| requests.sent(pid, pid));
        assert_eq!(requests.processes.len(), MOST_PROCESSES);
        requests.exited(PID);
        assert_eq!(sender(&requests, 1, 20 * MOST_DONE as u64 + 5), Found::Forgotten);
    }

    #[test]
    fn a_request_whose_client_hung_up_was_not_answered() {
        let mut requests = client(5);
        let mut broken = exchange(Role::Server, 1, 10, 20, Call::Http(http("/a")));
        broken.transport_error = Some("closed".into());
        requests.finished(&broken);
        assert_eq!(known(&requests, 1, 15), one("/a", End::Broken));
    }
}
