//! Requests that waited by design when their server hung up: long polls that a restart or a deployment cuts, whose client
//! asks again. A service's HTTP rows with one peer go in, how many requests look like it come out.
//!
//! Not for a route of which one was cut sooner, or that mostly answers sooner: somebody wanted its answer. Nor for requests
//! that were cut at the same age, as a worker's timeout does it, unless the server went down.

use super::super::Facts;
use super::super::peer::Peer;
use crate::output::style::units::{self, duration};
use crate::report::{Distribution, HttpRow, Role};

/// What is cut sooner did not wait by design, seconds.
const LONG: f64 = 1.0;
/// What a timeout ends differs by less than this: servers look for it once a second.
const SWEEP: f64 = 2.0;

/// Long polls that were cut.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Waited {
    pub(super) count: u64,
    /// For how long they had waited, at the least and at the most, seconds.
    least: f64,
    most: f64,
}

impl Waited {
    pub(super) fn of(facts: &Facts<'_>, peer: &Peer<'_>) -> Self {
        let went_down = went_down(facts, peer);
        let own = || {
            facts.http.iter().filter(|row| {
                row.role == Role::Client
                    && row.service == peer.service
                    && row.peer.as_deref() == Some(peer.address)
            })
        };
        let answers_soon = |cut: &HttpRow| {
            let mut same = own()
                .filter(|row| row.status.is_some() && row.method == cut.method && row.route == cut.route);
            same.any(|row| row.duration.is_some_and(|waited| waited.p50 < LONG))
        };
        let unanswered = |row: &&HttpRow| {
            row.status.is_none() && row.error_type.as_deref() == Some("closed") && !answers_soon(row)
        };
        let by_design =
            |waited: &Distribution| waited.min >= LONG && (went_down || waited.max - waited.min > SWEEP);
        let rows = own().filter(unanswered).filter_map(|row| row.duration);
        let all = rows.filter(by_design).fold(Self::default(), |all, waited| {
            all.and(Self { count: waited.count, least: waited.min, most: waited.max })
        });
        // Among them are those that the client has given up: rows do not tell them apart.
        let hung_up = peer.sum(|row| if row.protocol == "http" { row.cut_by.peer } else { 0 });
        let given_up = peer.sum(|row| row.cut_by.us);
        match all.count.saturating_sub(given_up).min(hung_up) {
            0 => Self::default(),
            count => Self { count, ..all },
        }
    }

    /// These and others.
    pub(super) fn and(self, other: Self) -> Self {
        if self.count == 0 {
            return other;
        }
        Self {
            count: self.count + other.count,
            least: self.least.min(other.least),
            most: self.most.max(other.most),
        }
    }

    pub(super) fn reason(&self) -> String {
        format!(
            "{} that had waited for {} to {} ended without an answer when their server hung up: long polls end so when it \
             is restarted",
            units::things(self.count, "request", "requests"),
            duration(self.least),
            duration(self.most)
        )
    }
}

/// Whether nobody listened at the peer's address for a while.
fn went_down(facts: &Facts<'_>, peer: &Peer<'_>) -> bool {
    let refused = peer.sum(|row| row.failed.get("ECONNREFUSED").copied().unwrap_or(0)) > 0;
    let mut own = facts.listeners.iter().filter(|row| peer.comes_to(row) == Some(true));
    refused || own.any(|row| !row.closed_at.is_empty())
}

#[cfg(test)]
mod tests {
    use super::super::super::sample::{distribution, http_row, judged, listener, pool, with_connections};
    use super::super::ID;
    use crate::report::{ClosedBy, ConnectionRow, Distribution, HttpRow, ListenerRow, Report, Role};

    const PEER: &str = "10.0.0.7:9000";

    /// Nine requests that a server hung up on, of these routes: how many, and the ages between which they were cut.
    fn hung_up(routes: &[(u64, f64, f64)]) -> Report {
        let count = routes.iter().map(|(count, ..)| count).sum();
        let by = ClosedBy { peer: count, ..ClosedBy::default() };
        let row = ConnectionRow { protocol: "http".into(), peer: PEER.into(), established: 40, ..pool() };
        let mut report = with_connections(vec![ConnectionRow { cut: count, cut_by: by, ..row }]);
        report.http.extend(routes.iter().enumerate().map(|(n, (count, least, most))| HttpRow {
            service: "shop".into(),
            role: Role::Client,
            peer: Some(PEER.into()),
            error_type: Some("closed".into()),
            duration: Some(Distribution { min: *least, max: *most, ..distribution(*count, *most) }),
            ..http_row("GET", &format!("/route{n}"), None, *count, *most)
        }));
        report
    }

    /// How many are told of as failures, and how many words there are about long polls.
    fn told(report: &Report) -> (u64, usize) {
        let verdict = judged(report);
        let found = verdict.found.iter().filter(|found| found.finding.id == ID);
        let words = verdict.undecided.iter().filter(|undecided| undecided.reason.contains("long polls"));
        (found.map(|found| found.finding.count).sum(), words.count())
    }

    #[test]
    fn long_polls_that_a_restart_cuts() {
        for (what, routes, expected) in [
            ("long polls", vec![(9, 3.0, 28.0)], (0, 1)),
            ("a worker's timeout", vec![(9, 30.1, 31.0)], (9, 0)),
            ("requests at work", vec![(9, 0.02, 28.0)], (9, 0)),
            ("both", vec![(9, 3.0, 28.0), (4, 0.02, 0.3)], (4, 0)),
            ("a few others", vec![(9, 3.0, 28.0), (1, 0.02, 0.02)], (0, 1)),
        ] {
            assert_eq!(told(&hung_up(&routes)), expected, "{what}");
        }
        let verdict = judged(&hung_up(&[(9, 3.0, 28.0)]));
        let reason = "9 requests that had waited for 3.00 s to 28.0 s ended without an answer";
        assert!(verdict.undecided[0].reason.starts_with(reason), "{verdict:#?}");
    }

    /// What hung and was killed then had waited for long, too: elsewhere its answers came at once.
    #[test]
    fn a_route_that_answers_sooner_is_no_long_poll() {
        let mut hung = hung_up(&[(9, 3.0, 28.0)]);
        let answered = |duration: Option<Distribution>| HttpRow {
            service: "shop".into(),
            role: Role::Client,
            peer: Some(PEER.into()),
            duration,
            ..http_row("GET", "/route0", Some(200), 100, 1.0)
        };
        hung.http.push(answered(Some(distribution(100, 20.0))));
        assert_eq!(told(&hung), (0, 1), "its answers come late, too");
        hung.http[1] = answered(Some(distribution(100, 0.02)));
        assert_eq!(told(&hung), (9, 0));
    }

    /// Their rows look like those that the server hung up on.
    #[test]
    fn requests_that_the_client_has_given_up_take_nothing_from_others() {
        let mut given_up = hung_up(&[(30, 1.5, 40.0), (12, 0.02, 0.02)]);
        given_up.connections[0].cut_by = ClosedBy { peer: 12, us: 30, ..ClosedBy::default() };
        assert_eq!(told(&given_up), (12, 0));
        given_up.connections[0].cut_by = ClosedBy { peer: 22, us: 20, ..ClosedBy::default() };
        assert_eq!(told(&given_up), (12, 0), "10 of 30 are long polls");
    }

    /// Clients that all began to wait together: the server went down.
    #[test]
    fn long_polls_of_the_same_age() {
        let mut refused = hung_up(&[(9, 7.0, 7.1)]);
        assert_eq!(told(&refused), (9, 0));
        refused.connections[0].failed = [("ECONNREFUSED".to_owned(), 2)].into();
        refused.connections[0].attempted = 400;
        assert_eq!(told(&refused), (0, 1));
        let mut closed = hung_up(&[(9, 7.0, 7.1)]);
        closed.listeners = vec![ListenerRow { address: PEER.into(), closed_at: vec![12.0], ..listener() }];
        assert_eq!(told(&closed), (0, 1));
    }
}
