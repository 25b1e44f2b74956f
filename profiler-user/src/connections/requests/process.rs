//! One process that serves and sends MySQL commands: its requests come in, and what tells how its threads share them; for
//! commands goes out which request each was sent for. Pure.

use std::collections::VecDeque;

use rustc_hash::{FxHashMap, FxHashSet};

use super::span::{End, Id, Sender, Span};
use super::tally::{Cover, Tally};

/// The last finished requests kept, and threads that read some.
pub(super) const MOST_DONE: usize = 512;
const MOST_READERS: usize = 4_096;

/// What is known of a command's request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::connections) enum Found {
    One(Sender),
    Nobody,
    /// Several may be it.
    Several,
    /// Requests of that time are not kept any more, or were not seen.
    Forgotten,
}

/// A MySQL command: who sent it, and when, ns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::connections) struct Command {
    pub(in crate::connections) pid: u32,
    pub(in crate::connections) tid: u32,
    pub(in crate::connections) at: u64,
}

/// A process that has sent MySQL commands.
#[derive(Debug, Default)]
pub(super) struct Process {
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

impl Process {
    /// Requests that ended up to `forgotten` are not known.
    pub(super) fn new(forgotten: u64) -> Self {
        Self { forgotten, ..Self::default() }
    }

    /// A request that has ended, and whose begin was not seen.
    pub(super) fn miss(&mut self, last: u64) {
        self.forgotten = self.forgotten.max(last);
    }

    /// A thread has sent a command.
    pub(super) fn sent(&mut self, tid: u32) {
        self.reader_sends |= self.readers.contains_key(&tid);
    }

    /// Its requests move between its threads.
    pub(super) fn moves(&mut self) {
        self.moves = true;
    }

    /// `next` goes on in the transaction that `before` was a command of. If another thread has sent it while the one
    /// before is still at its own request, the request has moved: who works on one keeps its session until it is over.
    pub(super) fn goes_on(&mut self, before: Command, next: Command) {
        let is_at_work = self.readers.get(&before.tid).is_some_and(|last| *last < before.at);
        self.moves |= next.tid != before.tid && is_at_work && before.at > self.forgotten;
    }

    /// A survey begins.
    pub(super) fn survey(&mut self) {
        self.under_way.clear();
        self.hidden = None;
    }

    /// A request that is under way.
    pub(super) fn begun(&mut self, span: Span) {
        self.reader(span.tid);
        self.under_way.insert(span.id(), span);
    }

    /// A connection of its clients, open since `since`, that may carry requests that we cannot see.
    pub(super) fn hides(&mut self, since: u64) {
        self.hidden = Some(self.hidden.map_or(since, |before| before.min(since)));
    }

    /// How far a request has come that was under way; None where that is not known any more.
    pub(super) fn end(&self, id: Id) -> Option<End> {
        self.ends.get(&id).copied().or_else(|| self.under_way.get(&id).map(|span| span.end))
    }

    /// When the last request of this thread ended, 0 where none has.
    fn reader(&mut self, tid: u32) -> &mut u64 {
        if self.readers.len() >= MOST_READERS {
            self.readers.clear();
        }
        self.readers.entry(tid).or_default()
    }

    /// A request that has ended.
    pub(super) fn ended(&mut self, span: Span) {
        let before = std::mem::replace(self.reader(span.tid), span.last);
        self.is_shared |= span.start < before;
        if self.done.len() >= MOST_DONE
            && let Some(oldest) = self.done.pop_front()
        {
            self.ends.remove(&oldest.id());
            self.forgotten = self.forgotten.max(oldest.last);
        }
        self.ends.insert(span.id(), span.end);
        self.done.push_back(span);
    }

    /// The request that each of these commands was sent for.
    pub(super) fn senders(&self, commands: &[Command]) -> Vec<Found> {
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

    #[cfg(test)]
    pub(super) fn kept(&self) -> usize {
        self.done.len()
    }
}
