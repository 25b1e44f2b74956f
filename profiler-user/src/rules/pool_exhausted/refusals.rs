//! Servers that turn clients away: errors go in, what is said of them comes out, at the client, or at the server where its
//! clients are on other hosts.

use std::collections::BTreeMap;

use serde_json::json;

use super::super::peer::{Peer, errors, listed};
use super::super::thresholds::Thresholds;
use super::super::{Facts, Rule, Said, Verdict, evidence};
use super::ceiling::Ceiling;
use super::{ERRORS, ID, told};
use crate::output::style::units;
use crate::report::{Counters, MysqlRow, Role};

/// ER_CON_COUNT_ERROR, ER_TOO_MANY_USER_CONNECTIONS, ER_USER_LIMIT_REACHED.
pub(super) const TOO_MANY: &[&str] = &["1040", "1203", "1226"];
/// What a server has refused and what its clients were told of differ by no more than this part: either end may be seen
/// without the other at the recording's begin and end.
const ABOUT: f64 = 0.1;

/// Errors that say that there are too many, said in reply or unasked.
pub(super) fn of(errors: &Counters, farewells: &Counters) -> Counters {
    let count = |error: &str| {
        let of = |counters: &Counters| counters.get(error).copied().unwrap_or(0);
        of(errors).max(of(farewells))
    };
    let all = TOO_MANY.iter().map(|error| ((*error).to_owned(), count(error)));
    all.filter(|(_, count)| *count > 0).collect()
}

pub(super) fn enough(errors: &Counters, thresholds: &Thresholds) -> bool {
    let count: u64 = errors.values().sum();
    count > 0 && count as f64 >= thresholds.of(ID, &ERRORS)
}

/// Servers whose clients are on other hosts: those whose refusals no client on this host was `told` of.
pub(super) fn servers(
    rule: &dyn Rule,
    facts: &Facts<'_>,
    thresholds: &Thresholds,
    told: &[(Peer<'_>, u64)],
    verdict: &mut Verdict,
) {
    let mut services: BTreeMap<&str, Vec<&MysqlRow>> = BTreeMap::new();
    for row in facts.mysql.iter().filter(|row| row.role == Role::Server) {
        services.entry(&row.service).or_default().push(row);
    }
    for (service, rows) in services {
        let errors = of(&errors(rows.into_iter()), &Counters::new());
        let times: u64 = errors.values().sum();
        if !enough(&errors, thresholds) || is_told(facts, service, times, told) {
            continue;
        }
        verdict.add(Said {
            title: format!(
                "{}: turned clients away {}: too many connections ({})",
                facts.name(service),
                units::things(times, "time", "times"),
                listed(&errors)
            ),
            detail: "Its clients got the error in place of a connection.".into(),
            evidence: evidence([("errors", json!(errors))]),
            advice: limits(),
            count: times,
            ..Said::of(rule, facts, service, "clients")
        });
    }
}

/// Whether clients on this host were told of a server's refusals: they came to its socket for sure; or they may have, and
/// those of one address were told of about as many as it has refused.
fn is_told(facts: &Facts<'_>, service: &str, times: u64, told: &[(Peer<'_>, u64)]) -> bool {
    let own: Vec<_> = facts.listeners.iter().filter(|row| row.service == service).collect();
    let mut perhaps: BTreeMap<&str, u64> = BTreeMap::new();
    for (peer, refused) in told {
        let comes: Vec<_> = own.iter().map(|row| peer.comes_to(row)).collect();
        if comes.contains(&Some(true)) {
            return true;
        }
        if comes.contains(&None) {
            *perhaps.entry(peer.address).or_default() += refused;
        }
    }
    perhaps.values().any(|refused| refused.abs_diff(times) as f64 <= ABOUT * times as f64)
}

pub(super) fn said<'a>(
    rule: &'a dyn Rule,
    facts: &Facts<'a>,
    peer: &Peer<'a>,
    errors: &Counters,
    ceiling: &Ceiling,
) -> Said<'a> {
    let times: u64 = errors.values().sum();
    let title = format!(
        "{}: the MySQL server {} turned it away {}: too many connections ({})",
        facts.name(peer.service),
        peer.name(),
        units::things(times, "time", "times"),
        listed(errors)
    );
    let detail = format!(
        "It had up to {} at a time, and opened {}.",
        units::things(ceiling.peak, "connection", "connections"),
        units::count(ceiling.opened)
    );
    let mut evidence = told::numbers(peer, ceiling);
    evidence.insert("errors".into(), json!(errors));
    Said {
        title,
        detail,
        evidence,
        advice: limits(),
        count: times,
        ..Said::of(rule, facts, peer.service, peer.address)
    }
}

fn limits() -> String {
    "`SHOW VARIABLES LIKE 'max%connections'` and `SHOW GLOBAL STATUS LIKE 'Max_used_connections'` in `mysql` are the limit \
     and the most so far; `SHOW PROCESSLIST` shows who holds them. Bound each service's pool, so that workers x pool size \
     stay below the limit, or put a proxy (ProxySQL) in between."
        .into()
}
