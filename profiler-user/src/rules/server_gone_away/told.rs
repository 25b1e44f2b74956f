//! What is said of a MySQL server that hung up.

use serde_json::json;

use super::super::peer::{Peer, listed};
use super::super::stalled::runtime;
use super::super::{Facts, Rule, Said, evidence};
use super::mysql::{Cause, Ended};
use super::signs::{span, whole};
use crate::output::style::units;

pub(super) fn said<'a>(rule: &'a dyn Rule, facts: &Facts<'a>, peer: &Peer<'a>, ended: &Ended) -> Said<'a> {
    let cause = ended.cause();
    let (name, server) = (facts.name(peer.service), peer.name());
    let count = ended.count();
    let connections = units::things(count, "connection", "connections");
    let title = match cause {
        Cause::WaitTimeout(seconds) => {
            let after = seconds.map(|seconds| format!(" after {}", whole(seconds))).unwrap_or_default();
            format!(
                "{name}: the MySQL server {server} ended {connections} that were idle{after} (wait_timeout), and were \
                 used again"
            )
        }
        Cause::Killed => format!("{name}: {connections} to the MySQL server {server} were killed"),
        Cause::Restart => {
            format!("{name}: the MySQL server {server} was restarted, and ended {connections}")
        }
        Cause::TooLarge => {
            format!(
                "{name}: the MySQL server {server} ended {connections}: a packet was over max_allowed_packet"
            )
        }
        Cause::Unknown => {
            format!("{name}: the MySQL server {server} ended {connections} that were used again")
        }
    };
    let mut evidence = evidence([
        ("peer", json!(peer.address)),
        ("cause", json!(cause.name())),
        ("gone", json!(ended.gone)),
        ("gone_tested", json!(ended.tested)),
        ("ended_in_use", json!(ended.in_use)),
        ("too_large", json!(ended.too_large)),
        ("gone_by", json!(ended.by)),
        ("farewells", json!(ended.farewells)),
        ("refused_connects", json!(ended.refused)),
    ]);
    if let Some(idle) = ended.idle {
        evidence.insert("idle_p50_seconds".into(), json!(idle.p50));
        evidence.insert("idle_max_seconds".into(), json!(idle.max));
    }
    if let Cause::WaitTimeout(Some(seconds)) = cause {
        evidence.insert("wait_timeout_seconds".into(), json!(seconds));
    }
    evidence.extend(peer.looked_up().map(|name| ("peer_name".to_owned(), json!(name))));
    Said {
        title,
        detail: detail(cause, ended),
        evidence,
        advice: advice(cause, runtime(facts.service(peer.service))),
        count,
        ..Said::of(rule, facts, peer.service, peer.address)
    }
}

fn detail(cause: Cause, ended: &Ended) -> String {
    let mut sentences = Vec::new();
    if ended.gone > 0 {
        let idle = ended.idle.map(|idle| format!("; they had been idle for {}", span(idle)));
        let idle = idle.unwrap_or_default();
        let by = listed(&ended.by);
        sentences.push(if ended.tested == 0 {
            format!(
                "{} ended while idle ({by}){idle}; the client wrote to them afterwards, which is error 2006 or 2013 \
                 there.",
                units::things(ended.gone, "connection", "connections"),
            )
        } else {
            format!(
                "{} ended while idle ({by}){idle}. To {} of them the client wrote a statement that it wanted answered, \
                 which is error 2006 or 2013 there; the others were found by a test (`SELECT 1`), as pools do, and \
                 replaced.",
                units::things(ended.gone + ended.tested, "connection", "connections"),
                units::count(ended.gone),
            )
        });
    }
    if ended.in_use > 0 {
        let connections = units::things(ended.in_use, "connection", "connections");
        sentences.push(format!("{connections} ended within a command, which is error 2013."));
    }
    if ended.too_large > 0 {
        let commands = units::things(ended.too_large, "command was", "commands were");
        sentences.push(format!("{commands} longer than the server takes (error 1153)."));
    }
    if ended.refused > 0 {
        let connects = units::things(ended.refused, "connect was", "connects were");
        sentences.push(format!("{connects} refused."));
    }
    if cause == Cause::Killed {
        sentences
            .push("A FIN without a word is how KILL ends a connection, and a server that goes down.".into());
    }
    sentences.join(" ")
}

fn advice(cause: Cause, runtime: &str) -> String {
    let check = match runtime {
        "python" => {
            "SQLAlchemy: `pool_pre_ping=True`, and `pool_recycle` below it. Django: `CONN_HEALTH_CHECKS = True`, and \
             `CONN_MAX_AGE` below it."
        }
        "java" => "HikariCP: `maxLifetime` and `idleTimeout` below it.",
        "go" => "`SetConnMaxIdleTime` or `SetConnMaxLifetime` below it.",
        "node" | "bun" | "deno" => "mysql2: `createPool` with `maxIdle` and `idleTimeout` below it.",
        "php" => "Connect anew where a connection has been idle for longer (Laravel: `DB::reconnect()`).",
        _ => "Have the pool check connections before it gives them away, or drop them after less than that.",
    };
    match cause {
        Cause::WaitTimeout(_) => {
            format!("`SHOW VARIABLES LIKE 'wait_timeout'` in `mysql` is the server's limit. {check}")
        }
        Cause::Killed => {
            "The server's error log and `SHOW GLOBAL STATUS LIKE 'Uptime'` tell a crash from a KILL; `SHOW GLOBAL STATUS \
             LIKE 'Aborted_clients'` counts both. Look for who kills: pt-kill, an operator, a proxy's timeout."
                .into()
        }
        Cause::Restart => {
            "`SHOW GLOBAL STATUS LIKE 'Uptime'` and the server's error log tell when and why. Have the client try again \
             after errors 2006 and 2013, with a pool that checks connections."
                .into()
        }
        Cause::TooLarge => {
            "`SHOW VARIABLES LIKE 'max_allowed_packet'` is the server's limit: raise it, or send less at a time (rows of \
             one INSERT, blobs)."
                .into()
        }
        Cause::Unknown => format!(
            "A reset without a word is MariaDB's wait_timeout, or a firewall or proxy that forgets idle connections. {check}"
        ),
    }
}
