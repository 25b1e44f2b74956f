//! What is said of a pool at its ceiling, and where there is not enough to say so.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::super::peer::Peer;
use super::super::stalled::runtime;
use super::super::{Facts, Rule, Said, evidence};
use super::ceiling::Ceiling;
use crate::output::style::units::{self, amount, duration};

pub(super) fn too_short(peer: &Peer<'_>, ceiling: &Ceiling) -> String {
    format!(
        "{} to {}, all of them busy for {}: too short a time to judge",
        units::things(ceiling.connections, "connection", "connections"),
        peer.name(),
        duration(ceiling.full),
    )
}

pub(super) fn bounded(peer: &Peer<'_>, ceiling: &Ceiling) -> String {
    format!(
        "{} of {} to {} are busy at a time and no more, while {} requests are in hand: the pool of one process may be \
         exhausted and another's not, or something else bounds the load",
        units::count(ceiling.connections),
        units::things(ceiling.open, "connection", "connections"),
        peer.name(),
        amount(ceiling.in_hand),
    )
}

pub(super) fn said<'a>(
    rule: &'a dyn Rule,
    facts: &Facts<'a>,
    peer: &Peer<'a>,
    ceiling: &Ceiling,
) -> Said<'a> {
    let waiting = ceiling.waiting();
    let (requests, _) = facts.served(peer.service);
    let each = waiting * ceiling.used / requests.max(1) as f64;
    let connections = units::things(ceiling.connections, "connection", "connections");
    // Its processes have a pool each, and are not told apart.
    let exhausted = if ceiling.processes > 1 {
        format!("its pools to {}, {connections} in all, are exhausted", peer.name())
    } else {
        format!("its pool of {connections} to {} is exhausted", peer.name())
    };
    let title = format!(
        "{}: {exhausted}: {} requests wait for one on average",
        facts.name(peer.service),
        amount(waiting)
    );
    let detail = format!(
        "All of them are busy for {:.0} % of the {} that it has asked anything in, next to never more; {} requests are in \
         hand then, on average. Each spends {} without a connection that works for it.",
        100.0 * ceiling.share(),
        duration(ceiling.used),
        amount(ceiling.in_hand),
        duration(each)
    );
    let mut evidence = numbers(peer, ceiling);
    evidence.insert("waiting_requests".into(), json!(waiting));
    evidence.insert("wait_mean_seconds".into(), json!(each));
    Said {
        title,
        detail,
        evidence,
        advice: advice(runtime(facts.service(peer.service))),
        weight: waiting * ceiling.used,
        ..Said::of(rule, facts, peer.service, peer.address)
    }
}

pub(super) fn numbers(peer: &Peer<'_>, ceiling: &Ceiling) -> BTreeMap<String, Value> {
    let mut numbers = evidence([
        ("peer", json!(peer.address)),
        ("ceiling", json!(ceiling.connections)),
        ("usually_open", json!(ceiling.open)),
        ("opened", json!(ceiling.opened)),
        ("full_seconds", json!(ceiling.full)),
        ("used_seconds", json!(ceiling.used)),
        ("full_share", json!(ceiling.share())),
        ("busy_connections", json!(ceiling.busy)),
        ("requests_in_hand", json!(ceiling.in_hand)),
    ]);
    numbers.extend(peer.looked_up().map(|name| ("peer_name".to_owned(), json!(name))));
    numbers
}

fn advice(runtime: &str) -> String {
    let larger = match runtime {
        "python" => "SQLAlchemy: `pool_size` and `max_overflow`.",
        "node" | "bun" | "deno" => "mysql2: `connectionLimit` (10 by default).",
        "java" => "HikariCP: `maximumPoolSize` (10 by default).",
        "go" => "`SetMaxOpenConns`.",
        "ruby" => "`pool` in database.yml (5 by default).",
        _ => "The pool's size is in its settings.",
    };
    format!(
        "Look at the statements first: the slowest ones in the report hold the connections; `SHOW FULL PROCESSLIST` shows \
         them. Give a connection back before slow work that needs none. Then a larger pool. {larger}"
    )
}
