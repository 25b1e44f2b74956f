//! What is said of a service that opens connections to a database all the time.

use serde_json::json;

use super::super::peer::Peer;
use super::super::stalled::runtime;
use super::super::{Facts, Rule, Said, evidence};
use crate::output::style::units::{self, amount, duration, rate};

/// Commands of one connection on average, of those that could be read from begin to end.
fn commands_each(peer: &Peer<'_>) -> Option<f64> {
    let read = peer.sum(|row| row.exchanges_per_connection.map_or(0, |exchanges| exchanges.count));
    (read > 0).then(|| peer.total(|row| row.exchanges_per_connection) / read as f64)
}

/// `compared`: the requests that open them, where it is about each of them.
pub(super) fn said<'a>(
    rule: &'a dyn Rule,
    facts: &Facts<'a>,
    peer: &Peer<'a>,
    opened: u64,
    compared: Option<u64>,
) -> Said<'a> {
    let name = facts.name(peer.service);
    let window = facts.window.seconds;
    let asked = compared.map(|requests| requests as f64 / opened.max(1) as f64);
    let (requests, _) = facts.served(peer.service);
    let exchanges = peer.most(|row| row.exchanges_per_connection);
    let uses = asked.or_else(|| commands_each(peer));
    let title = format!(
        "{name}: opens a database connection for {}: {} to {}",
        match asked {
            None if exchanges.is_some_and(|exchanges| exchanges.p50 < 2.0) => "each command or two",
            None => "each few commands",
            Some(uses) if uses < 0.75 => "each request, or several",
            Some(_) => "about each request",
        },
        rate(opened, window),
        peer.name()
    );
    let (_, served) = facts.served(peer.service);
    let handshake = peer.total(|row| row.connect) + peer.total(|row| row.handshake);
    let share = (served > 0.0).then_some(handshake / served);
    let connections = units::things(opened, "connection", "connections");
    let mut detail = match asked {
        Some(uses) => {
            let requests = units::things(requests, "request", "requests");
            format!("{connections} for {requests}, {uses:.2} requests each.")
        }
        None if requests > 0 => format!("{connections}: some of its requests open one."),
        None => format!("{connections}; no HTTP request that it serves was seen."),
    };
    if handshake > 0.0 {
        detail.push_str(&format!(
            " Connecting and signing in took {} in sum, {} each",
            duration(handshake),
            duration(handshake / opened.max(1) as f64),
        ));
        let of = share.map(|share| format!(", {:.0} % of the time that its requests take", 100.0 * share));
        detail.push_str(&format!("{}.", of.unwrap_or_default()));
    }
    if let Some(exchanges) = exchanges {
        detail.push_str(&format!(" Each carries {} commands (median).", amount(exchanges.p50)));
    }
    let mut evidence = evidence([
        ("peer", json!(peer.address)),
        ("connections", json!(opened)),
        ("requests", json!(requests)),
        ("opened_per_second", json!(opened as f64 / window)),
        ("handshake_seconds", json!(handshake)),
        ("opening_seconds", json!(peer.opening_seconds())),
    ]);
    evidence.extend(uses.map(|uses| ("uses_per_connection".to_owned(), json!(uses))));
    evidence.extend(share.map(|share| ("handshake_share".to_owned(), json!(share))));
    evidence
        .extend(exchanges.map(|exchanges| ("exchanges_per_connection_p50".to_owned(), json!(exchanges.p50))));
    evidence.extend(peer.most(|row| row.lifetime).map(|d| ("lifetime_p50_seconds".to_owned(), json!(d.p50))));
    evidence.extend(peer.looked_up().map(|name| ("peer_name".to_owned(), json!(name))));
    Said {
        title,
        detail,
        evidence,
        advice: advice(runtime(facts.service(peer.service))),
        count: opened,
        weight: handshake,
        ..Said::of(rule, facts, peer.service, peer.address)
    }
}

/// What to switch on, and what tells that it is on.
fn advice(runtime: &str) -> String {
    let keep = match runtime {
        "python" => {
            "Keep connections. Django: `CONN_MAX_AGE = 60` and `CONN_HEALTH_CHECKS = True` in DATABASES. SQLAlchemy: \
             one engine for the process, and not `NullPool`. Elsewhere a pool that is made once (`aiomysql.create_pool`, \
             `dbutils.pooled_db`)."
        }
        "php" => {
            "Keep connections: `PDO::ATTR_PERSISTENT => true`, or `p:` before the host's name with mysqli. Laravel: \
             `options` of the connection."
        }
        "node" | "bun" | "deno" => {
            "Make a pool once, at start (mysql2: `createPool`), in place of `createConnection` in each request."
        }
        "go" => {
            "Open one `sql.DB` for the process, and raise `SetMaxIdleConns`: it keeps 2 by default and closes the others."
        }
        "java" => {
            "Use a pool (HikariCP) as DataSource, in place of `DriverManager.getConnection` in each request."
        }
        "ruby" => "Keep clients in a pool (ActiveRecord's own, or the `connection_pool` gem).",
        _ => "Keep connections in a pool that is made once for the process.",
    };
    format!(
        "{keep} Then `SHOW GLOBAL STATUS LIKE 'Connections'` in `mysql` hardly grows any more under load."
    )
}
