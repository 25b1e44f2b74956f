//! MySQL's part of `server-gone-away`: which connections a server ended that were still wanted, and why, as far as the
//! way tells in which they ended.

use super::super::Facts;
use super::super::peer::{Peer, errors};
use super::TOO_LARGE;
use super::signs::{mostly, refused_connects, went_down, whole_seconds};
use crate::exchange::is_validation;
use crate::report::{Counters, Distribution, HttpRow, MysqlRow, Role};

/// ER_CLIENT_INTERACTION_TIMEOUT.
pub(super) const TIMEOUT: &str = "4031";
/// ER_SERVER_SHUTDOWN.
const SHUTDOWN: &str = "1053";
/// ER_CONNECTION_KILLED.
pub(super) const KILLED: &str = "1927";
/// A command of so many bytes may be longer than a server takes.
const LONG: f64 = 262_144.0;
/// Timeouts that people set are multiples of so many seconds, where only that tells.
const ROUND: f64 = 10.0;

/// Why a server ended connections.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Cause {
    /// They were idle for too long: so many seconds, where that is known.
    WaitTimeout(Option<f64>),
    Killed,
    Restart,
    TooLarge,
    Unknown,
}

/// The connections to one server that it ended.
#[derive(Debug, Clone, Default)]
pub(super) struct Ended {
    /// Idle, and written to afterwards; those that nothing but a pool's test was written to; how all of them ended, and
    /// how long they had been idle.
    pub(super) gone: u64,
    pub(super) tested: u64,
    pub(super) by: Counters,
    pub(super) idle: Option<Distribution>,
    /// In the middle of a command, or with the words that it is shutting down or was told to.
    pub(super) in_use: u64,
    pub(super) too_large: u64,
    /// Errors said, asked or unasked.
    errors: Counters,
    pub(super) farewells: Counters,
    /// Connects that nobody listened to.
    pub(super) refused: u64,
    /// Its socket was closed at that time.
    went_down: bool,
}

impl Ended {
    /// None where there are none, which is soon said.
    pub(super) fn of(facts: &Facts<'_>, peer: &Peer<'_>) -> Option<Self> {
        let errors = peer.mysql_errors(facts);
        if errors.is_empty() && peer.sum(|row| row.gone + row.cut_by.peer) == 0 {
            return None;
        }
        let (tested, asked) = if is_tested(facts, peer) {
            (peer.sum(|row| row.gone_validated), test_errors(facts, peer))
        } else {
            (0, Counters::new())
        };
        let of = |errors: &Counters, number: &str| errors.get(number).copied().unwrap_or(0);
        let error = |number: &str| of(&errors, number) - of(&asked, number);
        // A test whose answer did not come before the server's FIN: of those that were gone, or that ended meanwhile.
        let by = peer.counters(|row| &row.gone_by);
        let tested_by_fin = tested.saturating_sub(of(&by, "reset"));
        let tested_in_use = of(&asked, "closed").saturating_sub(tested_by_fin);
        let unsent = unsent(facts, peer);
        let too_large = error(TOO_LARGE) + unsent;
        Some(Self {
            gone: peer.sum(|row| row.gone).saturating_sub(unsent + tested),
            tested,
            by,
            idle: peer.most(|row| row.gone_idle),
            in_use: peer.sum(|row| row.cut_by.peer).saturating_sub(too_large + tested_in_use)
                + error(SHUTDOWN)
                + error(KILLED),
            too_large,
            went_down: went_down(facts, peer),
            farewells: peer.counters(|row| &row.farewells),
            refused: refused_connects(facts, peer),
            errors,
        })
    }

    pub(super) fn count(&self) -> u64 {
        self.gone + self.in_use + self.too_large
    }

    /// Whether half of the idle ones or more ended so.
    fn mostly(&self, how: &str) -> bool {
        self.gone > 0 && mostly(&self.by, how)
    }

    fn said(&self, number: &str) -> bool {
        [&self.by, &self.errors, &self.farewells].iter().any(|counters| counters.contains_key(number))
    }

    pub(super) fn cause(&self) -> Cause {
        let whole = self.idle.and_then(whole_seconds);
        if self.mostly(TIMEOUT) {
            return Cause::WaitTimeout(whole.or_else(|| self.idle.map(|idle| idle.p50.floor())));
        }
        if self.mostly("reset") && whole.is_some() {
            return Cause::WaitTimeout(whole);
        }
        if self.too_large > 0 && self.too_large >= self.gone + self.in_use {
            return Cause::TooLarge;
        }
        if self.said(SHUTDOWN) || self.refused > 0 || self.went_down {
            return Cause::Restart;
        }
        let round = whole.filter(|seconds| seconds % ROUND == 0.0);
        let several = self.idle.is_some_and(|idle| idle.count >= 3);
        match round {
            Some(_) if self.mostly("fin") && several && self.in_use == 0 => Cause::WaitTimeout(round),
            _ if self.in_use > 0 || self.mostly("fin") || self.said(KILLED) => Cause::Killed,
            _ => Cause::Unknown,
        }
    }
}

impl Cause {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::WaitTimeout(_) => "wait_timeout",
            Self::Killed => "killed",
            Self::Restart => "restart",
            Self::TooLarge => "max_allowed_packet",
            Self::Unknown => "unknown",
        }
    }
}

/// Whether `SELECT 1` is how a service's pool tests its connections, before each use or while they are idle, and replaces
/// those that are gone: it asks for something else, too; or it is a server, none of whose requests failed meanwhile.
fn is_tested(facts: &Facts<'_>, peer: &Peer<'_>) -> bool {
    let mut statements = peer.mysql_rows(facts).filter_map(|row| row.digest_text.as_deref());
    statements.any(wants) || serves_well(facts, peer)
}

/// Whether a statement wants data: no validation query, nor what clients set, show and end when they sign in and leave.
fn wants(text: &str) -> bool {
    let idle = ["SET ", "SHOW ", "USE ", "KILL ", "BEGIN", "START ", "COMMIT", "ROLLBACK"];
    let expression = text.starts_with("SELECT ") && !text.contains(" FROM ");
    !is_validation(text) && !expression && !idle.iter().any(|word| text.starts_with(word))
}

/// Whether a service is a server, and fewer of its requests that could be read have failed than connections ended. Those
/// whose clients have given up say nothing.
fn serves_well(facts: &Facts<'_>, peer: &Peer<'_>) -> bool {
    let listens = facts.service(peer.service).is_some_and(|service| !service.listens.is_empty());
    let requests = facts.http.iter().filter(|row| row.role == Role::Server && row.service == peer.service);
    let has_failed = |row: &&HttpRow| {
        let given_up = row.error_type.as_deref() == Some("closed");
        row.status.map_or(!given_up, |status| status >= 500)
    };
    let failed: u64 = requests.filter(has_failed).map(|row| row.count).sum();
    let ended = peer.sum(|row| row.gone + row.cut_by.peer);
    (listens || facts.served(peer.service).0 > 0) && failed < ended
}

/// Errors that a pool's tests ended with.
fn test_errors(facts: &Facts<'_>, peer: &Peer<'_>) -> Counters {
    let asked = |row: &&MysqlRow| row.digest_text.as_deref().is_some_and(is_validation);
    errors(peer.mysql_rows(facts).filter(asked))
}

/// Commands so long that the server hung up before it had all of them, and whose client writes on and never reads why.
fn unsent(facts: &Facts<'_>, peer: &Peer<'_>) -> u64 {
    let long = facts.mysql.iter().filter(|row| {
        let own = row.role == Role::Client && row.service == peer.service;
        own && row.peer.as_deref() == Some(peer.address) && row.request_bytes.max >= LONG
    });
    let errors = long.flat_map(|row| &row.errors);
    errors
        .filter(|(error, _)| ["EPIPE", "ECONNRESET"].contains(&error.as_str()))
        .map(|(_, count)| count)
        .sum()
}
