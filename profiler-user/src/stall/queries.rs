//! Which MySQL commands a thread waited for in a stall. In come the client exchanges of all threads as they end, those
//! that are still under way, and the stalls; out goes the word for each stall. Pure.
//!
//! A command was waited for when it was sent and answered within one turn: a driver that does not block reads the
//! answer in a later one. An exchange may be told of long after its stall, since a reply's end shows lazily, so stalls
//! that are over are remembered for as long as the report remembers them.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use rustc_hash::{FxHashMap, FxHashSet};

use super::cause::Cause;
use super::{Kind, Queries, Stall};
use crate::exchange::{Call, Exchange};
use crate::report::Role;

/// Exchanges kept for one thread and in all, before it is known whether they were in a stall.
const MOST_OF_THREAD: usize = 8_192;
const MOST: usize = 65_536;
/// Stalls remembered at the most: as many as a report has.
const MOST_STALLS: usize = 4_096;
/// Statements told apart in one stall.
const STATEMENTS: usize = 32;
/// Commands under way that are remembered of one stall.
const UNDER_WAY: usize = 16;
/// Servers remembered.
const PEERS: usize = 1_024;
/// The record of a stall may come so long after its end, ns.
const LATE_NS: u64 = 5_000_000_000;
/// Stands for the statements beyond [`STATEMENTS`].
const OTHERS: &str = "<other statements>";

/// A command that a client sent.
#[derive(Debug, Clone, PartialEq)]
pub struct Asked {
    /// When it was sent, and when the last byte of the reply was read, or how long it lasts by now; ns.
    pub start: u64,
    pub last: u64,
    pub peer: Arc<str>,
    pub digest: Option<u64>,
    /// The statement without its literals; None for a command that has none.
    pub text: Option<Arc<str>>,
    /// The protocol's name of the command.
    pub command: &'static str,
}

/// The commands of one statement to one server.
#[derive(Debug, Clone)]
struct Sum {
    peer: Arc<str>,
    digest: Option<u64>,
    text: Option<Arc<str>>,
    command: &'static str,
    count: u32,
    ns: u64,
}

/// The commands of one stall.
#[derive(Debug, Clone, Default)]
struct Tally {
    sums: Vec<Sum>,
    /// Those that no finished exchange has come for yet.
    under_way: Vec<Asked>,
}

/// A stall that is over.
#[derive(Debug)]
struct Over {
    end: u64,
    tally: Tally,
}

/// What the threads of the host asked of MySQL servers.
#[derive(Debug, Default)]
pub struct Ledger {
    threads: FxHashMap<u32, VecDeque<Asked>>,
    kept: usize,
    /// Stalls under way: commands under way in them.
    under_way: FxHashMap<(u32, u64), Vec<Asked>>,
    over: BTreeMap<(u32, u64), Over>,
    peers: FxHashSet<Arc<str>>,
    /// Exchanges that found no room.
    pub forgotten: u64,
}

impl Ledger {
    /// An exchange has ended: kept if it is a MySQL client's.
    pub fn finished(&mut self, exchange: &Exchange) {
        let (Role::Client, Call::Mysql(call), Some(start)) =
            (exchange.role, &exchange.call, exchange.times.start)
        else {
            return;
        };
        let asked = Asked {
            start,
            last: exchange.times.last,
            peer: self.peer(&exchange.peer),
            digest: call.digest,
            text: call.digest_text.clone(),
            command: call.command,
        };
        let tid = exchange.tid;
        let before = self.over.range_mut(..=(tid, start)).next_back();
        if let Some((_, over)) = before.filter(|((thread, _), over)| *thread == tid && start <= over.end) {
            if asked.last <= over.end {
                over.tally.add(asked);
            }
            return;
        }
        if self.kept >= MOST {
            self.forgotten += 1;
            return;
        }
        let thread = self.threads.entry(tid).or_default();
        thread.push_back(asked);
        if thread.len() > MOST_OF_THREAD {
            thread.pop_front();
            self.forgotten += 1;
        } else {
            self.kept += 1;
        }
    }

    /// A command of a stall that is under way, or whose end has not been told of.
    pub fn under_way(&mut self, tid: u32, turn: u64, asked: Asked) {
        if self.under_way.len() >= MOST_STALLS && !self.under_way.contains_key(&(tid, turn)) {
            return;
        }
        self.peer(&asked.peer);
        let known = self.under_way.entry((tid, turn)).or_default();
        known.retain(|other| other.start != asked.start || other.peer != asked.peer);
        if known.len() < UNDER_WAY {
            known.push(asked);
        }
    }

    /// A stall is over: what it waited for, as far as known, and room for what is told of later.
    pub fn over(&mut self, stall: &Stall) {
        let (tid, start, end) = (stall.tid, stall.turn.start, stall.turn.end);
        let tally = self.tally(tid, start, end);
        self.under_way.remove(&(tid, start));
        if let Some(thread) = self.threads.get_mut(&tid) {
            let before = thread.len();
            thread.retain(|asked| asked.last < start || asked.start > end);
            self.kept -= before - thread.len();
        }
        if self.over.len() >= MOST_STALLS
            && let Some(oldest) = self.over.iter().min_by_key(|(_, over)| over.end).map(|(key, _)| *key)
        {
            self.over.remove(&oldest);
        }
        self.over.insert((tid, start), Over { end, tally });
    }

    /// Forgets what no stall can ask for any more. `since` tells when the turn under way of a thread began.
    pub fn forget(&mut self, now: u64, since: impl Fn(u32) -> Option<u64>) {
        self.threads.retain(|tid, thread| {
            let needed = since(*tid).unwrap_or(now).saturating_sub(LATE_NS);
            let old = thread.partition_point(|asked| asked.last < needed);
            thread.drain(..old);
            self.kept -= old;
            !thread.is_empty()
        });
        self.under_way.retain(|(tid, turn), _| {
            since(*tid) == Some(*turn)
                || self.over.contains_key(&(*tid, *turn))
                || now.saturating_sub(*turn) < LATE_NS
        });
    }

    /// Adds to a stall what it waited for.
    pub fn dress(&self, stall: &mut Stall) {
        for blocked in &mut stall.blocked_in {
            let target = blocked.target.as_deref().unwrap_or_default();
            if blocked.kind == Kind::Socket
                && self.peers.contains(target.strip_prefix("tcp ").unwrap_or(target))
            {
                blocked.kind = Kind::Database;
            }
        }
        let (tid, start) = (stall.tid, stall.turn.start);
        let found = match self.over.get(&(tid, start)) {
            Some(over) => over.tally.queries(),
            None => self.tally(tid, start, stall.turn.end).queries(),
        };
        // Of a stall that is forgotten here what was known before stays.
        if found.is_some() {
            stall.queries = found;
        }
        let waited = stall
            .queries
            .as_ref()
            .filter(|queries| stall.cause == Cause::BlockingCall && queries.seconds >= stall.blocked / 2.0);
        stall.digest = waited.map(|queries| queries.digest.clone()).filter(|digest| !digest.is_empty());
    }

    fn tally(&self, tid: u32, start: u64, end: u64) -> Tally {
        let mut tally = Tally::default();
        tally.under_way.extend(self.under_way.get(&(tid, start)).into_iter().flatten().cloned());
        let thread = self.threads.get(&tid).into_iter().flatten();
        for asked in thread.filter(|asked| asked.start >= start && asked.last <= end) {
            tally.add(asked.clone());
        }
        tally
    }

    /// The name as it is kept.
    fn peer(&mut self, peer: &str) -> Arc<str> {
        if let Some(known) = self.peers.get(peer) {
            return known.clone();
        }
        let peer: Arc<str> = peer.into();
        if !peer.is_empty() && self.peers.len() < PEERS {
            self.peers.insert(peer.clone());
        }
        peer
    }
}

impl Tally {
    fn add(&mut self, asked: Asked) {
        self.under_way.retain(|other| other.start != asked.start || other.peer != asked.peer);
        self.count(&asked);
    }

    fn count(&mut self, asked: &Asked) {
        let ns = asked.last.saturating_sub(asked.start);
        let same =
            |sum: &&mut Sum| sum.peer == asked.peer && sum.text == asked.text && sum.command == asked.command;
        if let Some(sum) = self.sums.iter_mut().find(same) {
            sum.count += 1;
            sum.ns += ns;
            return;
        }
        let mut sum = Sum {
            peer: asked.peer.clone(),
            digest: asked.digest,
            text: asked.text.clone(),
            command: asked.command,
            count: 1,
            ns,
        };
        if self.sums.len() >= STATEMENTS {
            let rest = |sum: &&mut Sum| sum.peer == asked.peer && sum.text.as_deref() == Some(OTHERS);
            if let Some(rest) = self.sums.iter_mut().find(rest) {
                rest.count += 1;
                rest.ns += ns;
                return;
            }
            (sum.digest, sum.text) = (None, Some(OTHERS.into()));
            if self.sums.len() >= 2 * STATEMENTS {
                return;
            }
        }
        self.sums.push(sum);
    }

    /// In words: of the server with most time. Commands without a statement (a sign-in, a ping) count only where there
    /// is no other.
    fn queries(&self) -> Option<Queries> {
        let mut all = Tally { sums: self.sums.clone(), under_way: Vec::new() };
        self.under_way.iter().for_each(|asked| all.count(asked));
        let mut peers: BTreeMap<&str, u64> = BTreeMap::new();
        for sum in &all.sums {
            *peers.entry(&sum.peer).or_default() += sum.ns;
        }
        let (peer, _) = peers.into_iter().max_by_key(|(_, ns)| *ns)?;
        let of_peer: Vec<_> = all.sums.iter().filter(|sum| &*sum.peer == peer).collect();
        let any = of_peer.iter().any(|sum| sum.text.is_some());
        let counted: Vec<_> = of_peer.into_iter().filter(|sum| sum.text.is_some() == any).collect();
        let most = counted.iter().max_by_key(|sum| sum.ns)?;
        Some(Queries {
            peer: peer.to_owned(),
            digest: most.digest.map(|digest| format!("{digest:016x}")).unwrap_or_default(),
            digest_text: match &most.text {
                Some(text) => text.to_string(),
                None => format!("({})", most.command),
            },
            count: counted.iter().map(|sum| sum.count).sum(),
            seconds: counted.iter().map(|sum| sum.ns).sum::<u64>() as f64 / 1e9,
        })
    }
}

#[cfg(test)]
mod tests;
