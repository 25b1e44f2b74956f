//! The rows of connections while they grow, found by whose they are and where they go. Bounded: past
//! [`MAX_ROWS`] a connection is summed up in one row for its service and role.

use std::sync::Arc;

use rustc_hash::FxHashMap;

use super::address::Address;
use super::protocol::Protocol;
use super::row::Row;
use crate::aggregate::{MAX_ROWS, OVERFLOW, Series};
use crate::report::{ConnectionRow, Role};

/// Where a connection goes to.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Place {
    /// A client's peer.
    To(Address),
    /// A server's own address, and the host that its peer is on.
    At { own: Address, host: Address },
    /// Anywhere: there is no more room.
    Overflow,
}

/// Whose it is, and where it goes.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Key {
    pub(super) service: Arc<str>,
    pub(super) place: Place,
    pub(super) netns: u32,
    pub(super) role: Role,
}

/// All rows so far. A row keeps its number.
#[derive(Debug, Default)]
pub(super) struct Rows {
    numbers: FxHashMap<Key, u32>,
    rows: Vec<(Key, Row)>,
}

impl Key {
    pub(super) fn new(service: Arc<str>, role: Role, netns: u32, local: &Address, peer: &Address) -> Self {
        let place = match role {
            Role::Client => Place::To(peer.clone()),
            Role::Server => Place::At { own: local.clone(), host: peer.host() },
        };
        Self { service, place, netns, role }
    }

    fn peer(&self) -> String {
        match &self.place {
            Place::To(peer) => peer.to_string(),
            Place::At { host, .. } => host.host_text(),
            Place::Overflow => OVERFLOW.to_owned(),
        }
    }

    fn names(&self, row: ConnectionRow) -> ConnectionRow {
        named(&self.service, self.role, self.peer(), self.netns, row)
    }
}

impl Rows {
    /// The number of the row with this key, made if there is room; else of its service's row for the rest.
    pub(super) fn number(&mut self, key: Key) -> u32 {
        if let Some(number) = self.numbers.get(&key) {
            return *number;
        }
        if self.rows.len() < MAX_ROWS {
            return self.add(key);
        }
        let rest = Key { place: Place::Overflow, netns: 0, ..key };
        match self.numbers.get(&rest) {
            Some(number) => *number,
            None => self.add(rest),
        }
    }

    fn add(&mut self, key: Key) -> u32 {
        let number = u32::try_from(self.rows.len()).unwrap_or(u32::MAX);
        self.rows.push((key.clone(), Row::default()));
        self.numbers.insert(key, number);
        number
    }

    pub(super) fn get(&mut self, number: u32) -> Option<&mut Row> {
        self.rows.get_mut(number as usize).map(|(_, row)| row)
    }

    pub(super) fn key(&self, number: u32) -> Option<&Key> {
        self.rows.get(number as usize).map(|(key, _)| key)
    }

    /// Whether this row sums up what found no row of its own.
    pub(super) fn is_rest(&self, number: u32) -> bool {
        self.key(number).is_some_and(|key| key.place == Place::Overflow)
    }

    pub(super) fn each(&mut self) -> impl Iterator<Item = (&Key, &mut Row)> {
        self.rows.iter_mut().map(|(key, row)| (&*key, row))
    }

    /// The rows as the report has them: those that look the same in one, the most connections first.
    pub(super) fn report(&self, wanted: impl Fn(Protocol) -> bool) -> Vec<ConnectionRow> {
        let mut shown: FxHashMap<(&str, Role, String, Protocol, u32), Row> = FxHashMap::default();
        for (key, row) in self.shown(wanted) {
            let same = (&*key.service, key.role, key.peer(), row.spoken.protocol(), key.netns);
            match shown.entry(same) {
                std::collections::hash_map::Entry::Occupied(mut found) => found.get_mut().merge(row),
                std::collections::hash_map::Entry::Vacant(room) => {
                    room.insert(row.clone());
                }
            }
        }
        let rows = shown.into_iter().map(|((service, role, peer, _, netns), row)| {
            named(service, role, peer, netns, row.report(role == Role::Client))
        });
        let mut rows: Vec<_> = rows.collect();
        let total =
            |row: &ConnectionRow| row.established + row.preexisting + row.failed.values().sum::<u64>();
        rows.sort_by(|a, b| {
            let names = |row: &ConnectionRow| (row.service.clone(), row.role, row.peer.clone(), row.netns);
            total(b).cmp(&total(a)).then_with(|| names(a).cmp(&names(b)))
        });
        rows
    }

    /// Those in which something was seen since `since`, in any order, and of each what is had at once ([`Row::counts`]):
    /// it is asked for once a second.
    pub(super) fn counts(&self, since: u64, wanted: impl Fn(Protocol) -> bool) -> Vec<ConnectionRow> {
        let rows = self.shown(wanted).filter(|(_, row)| row.touched >= since);
        rows.map(|(key, row)| key.names(row.counts(key.role == Role::Client))).collect()
    }

    /// The rows with their histograms, for metrics: those that look the same apart.
    pub(super) fn series(&self, wanted: impl Fn(Protocol) -> bool) -> impl Iterator<Item = Series> {
        self.shown(wanted).map(|(key, row)| Series::Connection {
            row: Box::new(key.names(row.report(key.role == Role::Client))),
            buckets: Box::new(row.buckets()),
        })
    }

    fn shown(&self, wanted: impl Fn(Protocol) -> bool) -> impl Iterator<Item = &(Key, Row)> {
        self.rows.iter().filter(move |(_, row)| !row.is_empty() && wanted(row.spoken.protocol()))
    }
}

fn named(service: &str, role: Role, peer: String, netns: u32, row: ConnectionRow) -> ConnectionRow {
    ConnectionRow { service: service.to_owned(), role, peer, netns, ..row }
}

#[cfg(test)]
mod tests {
    use profiler_ebpf::life::Life;

    use super::*;

    fn address(text: &str) -> Address {
        Address::Inet(text.parse().unwrap())
    }

    fn open(rows: &mut Rows, key: Key) -> u32 {
        let number = rows.number(key);
        rows.get(number).unwrap().opened(&Life { t_open: 1, ..Life::default() }, 0, false);
        number
    }

    fn server(own: &str, peer: &str, netns: u32) -> Key {
        Key::new("web".into(), Role::Server, netns, &address(own), &address(peer))
    }

    #[test]
    fn peers_ports_are_one_row_and_namespaces_are_not() {
        let mut rows = Rows::default();
        open(&mut rows, server("10.0.0.1:80", "10.0.0.9:1000", 1));
        open(&mut rows, server("10.0.0.1:80", "10.0.0.9:1001", 1));
        open(&mut rows, server("10.0.0.1:81", "10.0.0.9:1002", 1));
        open(&mut rows, server("10.0.0.1:80", "10.0.0.9:1000", 2));
        let shown = rows.report(|_| true);
        let seen: Vec<_> = shown.iter().map(|r| (r.peer.as_str(), r.netns, r.established)).collect();
        assert_eq!(seen, [("10.0.0.9", 1, 3), ("10.0.0.9", 2, 1)]);
    }

    /// As they are while it goes on: those that look the same sum up to the report's one.
    #[test]
    fn counts_of_what_was_seen_lately() {
        let mut rows = Rows::default();
        let key = |port: &str| server(&format!("10.0.0.1:{port}"), "10.0.0.9:1000", 1);
        for (n, port) in ["80", "81", "82"].iter().enumerate() {
            let number = open(&mut rows, key(port));
            let row = rows.get(number).unwrap();
            row.touched = n as u64;
            row.now.waiting = 1;
            row.exchanged((1, 1), 0, 10);
        }
        let counts = rows.counts(1, |_| true);
        let of = |row: &ConnectionRow| (row.peer.clone(), row.netns, row.established, row.waiting);
        assert_eq!(counts.iter().map(of).collect::<Vec<_>>(), vec![("10.0.0.9".to_owned(), 1, 1, 1); 2]);
        let whole = rows.report(|_| true);
        assert_eq!(whole.iter().map(of).collect::<Vec<_>>(), [("10.0.0.9".to_owned(), 1, 3, 3)]);
        assert_eq!((whole[0].ceiling, counts[0].ceiling), (1, 0), "not worked out");
    }

    #[test]
    fn every_row_has_its_histograms() {
        let mut rows = Rows::default();
        open(&mut rows, server("10.0.0.1:80", "10.0.0.9:1000", 1));
        let number = open(
            &mut rows,
            Key::new("web".into(), Role::Client, 1, &address("1.1.1.1:9"), &address("1.1.1.2:80")),
        );
        let over = Life { t_open: 1, t_end: 2_000_000_001, exchanges: 3, ..Life::default() };
        rows.get(number).unwrap().closed(&over, Protocol::Http, 0);
        let of = |series: Series| match series {
            Series::Connection { row, buckets } => {
                Some((row.peer, buckets.lifetimes.sum, buckets.exchanges.sum))
            }
            _ => None,
        };
        let mut series: Vec<_> = rows.series(|_| true).map(of).map(Option::unwrap).collect();
        series.sort_by(|a, b| a.0.cmp(&b.0));
        assert_eq!(series, [("1.1.1.2:80".to_owned(), 2.0, 3.0), ("10.0.0.9".to_owned(), 0.0, 0.0)]);
        assert_eq!(rows.series(|protocol| protocol == Protocol::Mysql).count(), 0);
    }

    #[test]
    fn a_port_that_speaks_something_else_is_another_row() {
        let mut rows = Rows::default();
        open(&mut rows, server("10.0.0.1:80", "10.0.0.9:1000", 1));
        let mysql = open(&mut rows, server("10.0.0.1:3306", "10.0.0.9:1000", 1));
        rows.get(mysql).unwrap().spoken.note(Protocol::Unknown, Protocol::Mysql);
        let mut shown: Vec<_> = rows.report(|_| true).into_iter().map(|r| r.protocol).collect();
        shown.sort_unstable();
        assert_eq!(shown, ["mysql", "unknown"]);
        assert_eq!(rows.report(|p| p == Protocol::Mysql).len(), 1);
    }

    #[test]
    fn many_hosts_do_not_make_many_rows() {
        let mut rows = Rows::default();
        for n in 0..3 * MAX_ROWS as u32 {
            let peer = std::net::Ipv4Addr::from(n);
            open(&mut rows, server("10.0.0.1:80", &format!("{peer}:1000"), 1));
        }
        assert_eq!(rows.rows.len(), MAX_ROWS + 1);
        let shown = rows.report(|_| true);
        assert_eq!((shown[0].peer.as_str(), shown[0].established), (OVERFLOW, 2 * MAX_ROWS as u64));
        assert_eq!(shown.iter().map(|row| row.established).sum::<u64>(), 3 * MAX_ROWS as u64);
    }

    #[test]
    fn an_empty_row_is_not_shown() {
        let mut rows = Rows::default();
        rows.number(server("10.0.0.1:80", "10.0.0.9:1000", 1));
        assert!(rows.report(|_| true).is_empty());
    }
}
