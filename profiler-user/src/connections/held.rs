//! Sessions that idle in an open transaction, and the HTTP request that has left each so: what a survey sees and the
//! session's next command come in, the time goes to the session's row with the request's route, where that is known.

use std::sync::Arc;

use rustc_hash::FxHashMap;

use super::requests::{Command, End, Found, Requests, Sender};
use super::rows::Rows;
use super::table::Id;

/// A session that idles in an open transaction: since when, ns, and after which command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Idle {
    pub(super) since: u64,
    pub(super) command: Command,
}

/// For how long a session has idled in an open transaction, ns.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Transaction {
    pub(super) idle: u64,
    /// Method and route of the request that its last command was sent for.
    pub(super) route: Option<Arc<str>>,
    /// How much of it was after that request's response.
    pub(super) after_response: Option<u64>,
}

#[derive(Debug, Default)]
pub(super) struct Held {
    pub(super) requests: Requests,
    /// Those of this survey, with their rows.
    idle: Vec<(Id, u32, Idle)>,
    /// Of sessions that idle, where it is known.
    senders: FxHashMap<Id, Sender>,
}

impl Held {
    /// A survey begins.
    pub(super) fn survey(&mut self) {
        self.requests.survey();
        self.idle.clear();
    }

    /// A survey sees a session that idles.
    pub(super) fn see(&mut self, id: Id, row: u32, idle: Idle) {
        self.idle.push((id, row, idle));
        self.requests.want(idle.command.pid);
    }

    /// The survey is over: the requests under way are known.
    pub(super) fn surveyed(&mut self, rows: &mut Rows, now: u64) {
        let mut idle = std::mem::take(&mut self.idle);
        idle.sort_unstable_by_key(|(_, _, idle)| idle.command.pid);
        for sessions in idle.chunk_by(|(.., one), (.., other)| one.command.pid == other.command.pid) {
            let commands: Vec<_> = sessions.iter().map(|(_, _, idle)| idle.command).collect();
            let Some(pid) = commands.first().map(|command| command.pid) else { continue };
            for ((id, row, idle), found) in sessions.iter().zip(self.requests.senders(pid, &commands)) {
                self.learn(*id, idle.command, found);
                if let Some(row) = rows.get(*row) {
                    row.idled(Transaction::new(idle.since, now, self.senders.get(id)));
                }
            }
        }
    }

    /// The session has sent its next command.
    pub(super) fn over(&mut self, id: Id, idle: Idle, next: Command) -> Transaction {
        self.requests.goes_on(idle.command, next);
        // One that no survey has seen has no sender: not all requests of its time are known.
        self.follow(id, idle.command);
        Transaction::new(idle.since, next.at, self.senders.remove(&id).as_ref())
    }

    /// The connection has ended.
    pub(super) fn forget(&mut self, id: Id) {
        self.senders.remove(&id);
    }

    fn learn(&mut self, id: Id, command: Command, found: Found) {
        match found {
            Found::One(sender) => {
                self.senders.insert(id, sender);
            }
            // Once it was the only one it is for ever.
            Found::Forgotten => self.follow(id, command),
            Found::Nobody | Found::Several => self.forget(id),
        }
    }

    /// How far its request has come meanwhile.
    fn follow(&mut self, id: Id, command: Command) {
        let Some(known) = self.senders.get_mut(&id).filter(|known| known.end == End::UnderWay) else {
            return;
        };
        match self.requests.end(command.pid, known.id) {
            Some(end) => known.end = end,
            None => self.forget(id),
        }
    }
}

impl Transaction {
    fn new(since: u64, until: u64, sender: Option<&Sender>) -> Self {
        let after_response = sender.and_then(|sender| match sender.end {
            End::UnderWay => Some(0),
            End::Answered(at) => Some(until.saturating_sub(at.max(since))),
            End::Broken => None,
        });
        Self {
            idle: until.saturating_sub(since),
            route: sender.map(|sender| sender.route.clone()),
            after_response,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::requests::exchange;
    use super::*;
    use crate::exchange::{Call, HttpCall, MysqlCall};
    use crate::report::{Role, RouteSource};

    #[test]
    fn what_was_after_the_response() {
        let of = |end| {
            let sender = Sender { route: "GET /a".into(), end, id: (1, 5) };
            Transaction::new(10, 30, Some(&sender)).after_response
        };
        assert_eq!(of(End::Answered(12)), Some(18));
        assert_eq!(of(End::Answered(8)), Some(20), "not more than all of it");
        assert_eq!(of(End::Answered(40)), Some(0));
        assert_eq!(of(End::UnderWay), Some(0));
        assert_eq!(of(End::Broken), None);
        let unknown = Transaction::new(10, 30, None);
        assert_eq!((unknown.idle, unknown.route, unknown.after_response), (20, None, None));
    }

    /// Others come and go meanwhile, more of them than are remembered.
    #[test]
    fn a_request_that_goes_on_for_long() {
        let http = |tid: u32, start: u64, last: u64| {
            let call = HttpCall {
                method: "POST".into(),
                path: "/a".into(),
                route: "/a".into(),
                route_source: RouteSource::Template,
                status: Some(200),
            };
            exchange(Role::Server, tid, start, last, Call::Http(call))
        };
        let mut held = Held::default();
        held.requests.finished(&exchange(Role::Client, 1, 1, 2, Call::Mysql(MysqlCall::default())));
        let (id, command) = ((5, 5), Command { pid: 42, tid: 1, at: 12 });
        let Call::Http(slow) = http(1, 10, 10).call else { panic!() };
        let survey = |held: &mut Held, is_under_way: bool| {
            held.survey();
            if is_under_way {
                held.requests.under_way(42, 1, 10, &slow);
            }
            held.see(id, 0, Idle { since: 13, command });
            held.surveyed(&mut Rows::default(), 20);
            held.senders.get(&id).map(|sender| sender.end)
        };
        assert_eq!(survey(&mut held, true), None, "not asked for yet");
        assert_eq!(survey(&mut held, true), Some(End::UnderWay));
        (0..2_000).for_each(|n| held.requests.finished(&http(2, 20 + n, 20 + n)));
        assert_eq!(survey(&mut held, true), Some(End::UnderWay));
        held.requests.finished(&http(1, 10, 5_000));
        assert_eq!(survey(&mut held, false), Some(End::Answered(5_000)));
        (0..2_000).for_each(|n| held.requests.finished(&http(2, 6_000 + n, 6_000 + n)));
        assert_eq!(survey(&mut held, false), Some(End::Answered(5_000)));
        let over = held.over(id, Idle { since: 13, command }, Command { at: 8_000, ..command });
        assert_eq!((over.route.as_deref(), over.after_response), (Some("POST /a"), Some(3_000)));
        assert!(held.senders.is_empty());
    }
}
