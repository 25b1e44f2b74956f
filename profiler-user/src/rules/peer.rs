//! The connections of a service to one peer: what the rules about connections share. In come the rows of clients, out
//! go their sums, whatever protocols and network namespaces they are of.

use std::collections::BTreeMap;

use super::Facts;
use crate::report::{ConnectionRow, Counters, Distribution, ListenerRow, MysqlRow, Role};

/// Connections that a service has opened, to one address.
#[derive(Debug, Clone)]
pub(super) struct Peer<'a> {
    pub service: &'a str,
    /// `ip:port`, `[ip6]:port` or `unix:PATH`.
    pub address: &'a str,
    pub rows: Vec<&'a ConnectionRow>,
}

impl<'a> Peer<'a> {
    /// All peers that there are, of the clients' rows that `wanted` holds for.
    pub(super) fn all(facts: &Facts<'a>, wanted: impl Fn(&ConnectionRow) -> bool) -> Vec<Self> {
        let mut peers: BTreeMap<(&str, &str), Vec<&ConnectionRow>> = BTreeMap::new();
        for row in facts.connections.iter().filter(|row| row.role == Role::Client && wanted(row)) {
            peers.entry((&row.service, &row.peer)).or_default().push(row);
        }
        peers.into_iter().map(|((service, address), rows)| Self { service, address, rows }).collect()
    }

    /// Those that are MySQL servers.
    pub(super) fn mysql(facts: &Facts<'a>) -> Vec<Self> {
        Self::all(facts, |row| row.protocol == "mysql")
    }

    /// Those that are HTTP servers.
    pub(super) fn http(facts: &Facts<'a>) -> Vec<Self> {
        Self::all(facts, |row| row.protocol == "http")
    }

    pub(super) fn sum(&self, part: impl Fn(&ConnectionRow) -> u64) -> u64 {
        self.rows.iter().map(|row| part(row)).sum()
    }

    pub(super) fn seconds(&self, part: impl Fn(&ConnectionRow) -> f64) -> f64 {
        self.rows.iter().map(|row| part(row)).sum()
    }

    /// The greatest of a number that some rows have.
    pub(super) fn greatest(&self, part: impl Fn(&ConnectionRow) -> Option<f64>) -> Option<f64> {
        self.rows.iter().filter_map(|row| part(row)).reduce(f64::max)
    }

    /// Counts by name of all rows.
    pub(super) fn counters(&self, part: impl Fn(&ConnectionRow) -> &Counters) -> Counters {
        let mut sum = Counters::new();
        for (name, count) in self.rows.iter().flat_map(|row| part(row)) {
            *sum.entry(name.clone()).or_default() += count;
        }
        sum
    }

    /// The distribution of the row that has the most samples: distributions cannot be added.
    pub(super) fn most(&self, part: impl Fn(&ConnectionRow) -> Option<Distribution>) -> Option<Distribution> {
        self.rows.iter().filter_map(|row| part(row)).max_by_key(|d| d.count)
    }

    /// The sum of a distribution's values over all rows.
    pub(super) fn total(&self, part: impl Fn(&ConnectionRow) -> Option<Distribution>) -> f64 {
        self.seconds(|row| part(row).map_or(0.0, |d| d.sum))
    }

    /// Seconds of the window in which it opened some. Not the sum: rows of one peer open together.
    pub(super) fn opening_seconds(&self) -> u64 {
        self.rows.iter().map(|row| row.opening_seconds).max().unwrap_or(0)
    }

    /// Connections that were seen from their begin to their end; all that were closed, where no lifetime is known.
    pub(super) fn lived(&self) -> u64 {
        self.sum(|row| row.lifetime.map_or_else(|| row.closed.min(row.established), |d| d.count))
    }

    pub(super) fn is_unix(&self) -> bool {
        self.address.starts_with("unix:")
    }

    /// Whether its connections come to that socket of this host. None where that cannot be told: of an address that
    /// stands for all of a host's only the loopback is known here, and of another network namespace's no address.
    pub(super) fn comes_to(&self, socket: &ListenerRow) -> Option<bool> {
        let is_same = self.rows.iter().any(|row| row.netns == socket.netns);
        if is_same && self.address == socket.address {
            return Some(true);
        }
        let ((_, port), (own, own_port)) = (socket.address.rsplit_once(':')?, self.address.rsplit_once(':')?);
        let is_loopback = own.starts_with("127.") || own == "[::1]";
        let is_any = socket.address.starts_with("0.0.0.0:") || socket.address.starts_with("[::]:");
        if port != own_port || (is_same && !is_any) || (is_loopback && !is_same) {
            return Some(false);
        }
        is_loopback.then_some(true)
    }

    /// The name that the service knows it by.
    pub(super) fn looked_up(&self) -> Option<&'a str> {
        self.rows.iter().find_map(|row| row.peer_name.as_deref())
    }

    /// For people.
    pub(super) fn name(&self) -> String {
        match self.looked_up() {
            Some(name) => format!("{name} ({})", self.address),
            None => self.address.to_owned(),
        }
    }

    /// What MySQL commands to it ended with: the server's error numbers, or the transport's errors.
    pub(super) fn mysql_errors(&self, facts: &Facts<'_>) -> Counters {
        errors(self.mysql_rows(facts))
    }

    /// The MySQL commands to it.
    pub(super) fn mysql_rows<'f>(&self, facts: &Facts<'f>) -> impl Iterator<Item = &'f MysqlRow> {
        facts.mysql.iter().filter(|row| {
            row.role == Role::Client
                && row.service == self.service
                && row.peer.as_deref() == Some(self.address)
        })
    }
}

/// Errors of all of these.
pub(super) fn errors<'a>(rows: impl Iterator<Item = &'a MysqlRow>) -> Counters {
    let mut errors = Counters::new();
    for (error, count) in rows.flat_map(|row| &row.errors) {
        *errors.entry(error.clone()).or_default() += count;
    }
    errors
}

/// `ECONNREFUSED 12x, ETIMEDOUT 3x`, most first.
pub(super) fn listed(counters: &Counters) -> String {
    let mut counters: Vec<_> = counters.iter().collect();
    counters.sort_by(|a, b| b.1.cmp(a.1).then(a.0.cmp(b.0)));
    let counters = counters.into_iter().map(|(name, count)| format!("{name} {count}x"));
    counters.collect::<Vec<_>>().join(", ")
}
