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
        for (id, row, idle) in std::mem::take(&mut self.idle) {
            self.ask(id, idle.command);
            if let Some(row) = rows.get(row) {
                row.idled(Transaction::new(idle.since, now, self.senders.get(&id)));
            }
        }
    }

    /// The session has sent its next command, at `until`.
    pub(super) fn over(&mut self, id: Id, idle: Idle, until: u64) -> Transaction {
        // Only of one that a survey has seen are all requests known.
        if self.senders.contains_key(&id) {
            self.ask(id, idle.command);
        }
        Transaction::new(idle.since, until, self.senders.remove(&id).as_ref())
    }

    /// The connection has ended.
    pub(super) fn forget(&mut self, id: Id) {
        self.senders.remove(&id);
    }

    fn ask(&mut self, id: Id, command: Command) {
        match self.requests.sender(command) {
            Found::One(sender) => {
                self.senders.insert(id, sender);
            }
            // It has ended when it was last seen, and does not change.
            Found::Forgotten if self.senders.get(&id).is_some_and(|known| known.end != End::UnderWay) => {}
            _ => self.forget(id),
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
    use super::*;

    #[test]
    fn what_was_after_the_response() {
        let of = |end| Transaction::new(10, 30, Some(&Sender { route: "GET /a".into(), end })).after_response;
        assert_eq!(of(End::Answered(12)), Some(18));
        assert_eq!(of(End::Answered(8)), Some(20), "not more than all of it");
        assert_eq!(of(End::Answered(40)), Some(0));
        assert_eq!(of(End::UnderWay), Some(0));
        assert_eq!(of(End::Broken), None);
        let unknown = Transaction::new(10, 30, None);
        assert_eq!((unknown.idle, unknown.route, unknown.after_response), (20, None, None));
    }
}
