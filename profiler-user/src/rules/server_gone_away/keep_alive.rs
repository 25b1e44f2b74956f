//! HTTP's part of `server-gone-away`: a server ended idle connections, and its client, a proxy more often than not, then
//! wrote a request to them. Its keep-alive timeout is shorter than the client's; or it was restarted.
//!
//! Not for a client that has noticed and opened another connection, nor for a server that closes while its client still
//! sends (an early 413): that connection was not idle. A server that hangs up within a request is
//! `connection-failures`'.

#[cfg(test)]
mod tests;

use serde_json::json;

use super::super::peer::{Peer, listed};
use super::super::stalled::runtime;
use super::super::{Facts, Rule, Said, evidence};
use super::signs::{mostly, refused_connects, span, went_down, whole, whole_seconds};
use crate::output::style::units;
use crate::report::{Counters, Distribution};

/// A server that closes so soon after the last use has not waited, seconds: no keep-alive timeout is that short.
const SOON: f64 = 0.25;
/// A client that reuses connections meets a closed one now and then, and asks again: so many are worth telling, and so
/// large a part of all.
const OFTEN: u64 = 3;
const SHARE: f64 = 0.01;
/// A server that goes down ends all connections within so long, seconds.
const AT_ONCE: f64 = 0.5;
/// Servers look for idle connections once a second; what they end in one go differs by less than this, seconds.
const SWEEP: f64 = 2.0;

/// Why an HTTP server ended idle connections.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Cause {
    /// They were idle for too long: so many seconds, where that is known.
    KeepAlive(Option<f64>),
    Restart,
    Unknown,
}

/// The idle connections to one server that it ended and that were written to afterwards.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Gone {
    pub count: u64,
    by: Counters,
    idle: Distribution,
    /// When, seconds since the window's begin.
    at: Option<Distribution>,
    /// Connects that nobody listened to.
    refused: u64,
    /// Its socket was closed at that time.
    went_down: bool,
}

impl Gone {
    /// None where there are none.
    pub(super) fn of(facts: &Facts<'_>, peer: &Peer<'_>) -> Option<Self> {
        let count = peer.sum(|row| row.gone);
        let idle = peer.most(|row| row.gone_idle).filter(|_| count > 0)?;
        let gone = Self {
            count,
            by: peer.counters(|row| &row.gone_by),
            idle,
            at: peer.most(|row| row.gone_at),
            refused: refused_connects(facts, peer),
            went_down: went_down(facts, peer),
        };
        let all = peer.sum(|row| row.established + row.preexisting);
        let often = count >= OFTEN && count as f64 >= SHARE * all as f64;
        (gone.is_restart() || often && idle.p50 >= SOON).then_some(gone)
    }

    /// Whether all of them ended together.
    fn at_once(&self) -> bool {
        self.at.is_some_and(|at| at.max - at.min <= AT_ONCE)
    }

    fn is_restart(&self) -> bool {
        let whatever = self.count > 1 && self.idle.max - self.idle.min > SWEEP;
        self.went_down || self.at_once() && (self.refused > 0 || whatever)
    }

    pub(super) fn cause(&self) -> Cause {
        let whole = whole_seconds(self.idle);
        if self.is_restart() {
            Cause::Restart
        } else if whole.is_some() {
            Cause::KeepAlive(whole)
        } else if self.refused > 0 {
            Cause::Restart
        } else if mostly(&self.by, "fin") {
            Cause::KeepAlive(None)
        } else {
            Cause::Unknown
        }
    }
}

impl Cause {
    fn name(self) -> &'static str {
        match self {
            Self::KeepAlive(_) => KEEP_ALIVE,
            Self::Restart => "restart",
            Self::Unknown => "unknown",
        }
    }
}

/// The cause that explains no other failure.
pub(super) const KEEP_ALIVE: &str = "keep_alive";

pub(super) fn said<'a>(rule: &'a dyn Rule, facts: &Facts<'a>, peer: &Peer<'a>, gone: &Gone) -> Said<'a> {
    let cause = gone.cause();
    let (name, server) = (facts.name(peer.service), peer.name());
    let connections = units::things(gone.count, "connection", "connections");
    let title = match cause {
        Cause::KeepAlive(seconds) => {
            let after = seconds.map_or_else(|| span(gone.idle), whole);
            format!(
                "{name}: the HTTP server {server} ended {connections} that were idle after {after} (keep-alive timeout), \
                 and requests were written to them"
            )
        }
        Cause::Restart => format!(
            "{name}: the HTTP server {server} was restarted, and requests were written to {connections} that it had ended"
        ),
        Cause::Unknown => {
            format!("{name}: the HTTP server {server} ended {connections}, and requests were written to them")
        }
    };
    let mut evidence = evidence([
        ("peer", json!(peer.address)),
        ("protocol", json!("http")),
        ("cause", json!(cause.name())),
        ("gone", json!(gone.count)),
        ("gone_by", json!(gone.by)),
        ("refused_connects", json!(gone.refused)),
        ("idle_p50_seconds", json!(gone.idle.p50)),
        ("idle_max_seconds", json!(gone.idle.max)),
    ]);
    if let Cause::KeepAlive(Some(seconds)) = cause {
        evidence.insert("keep_alive_seconds".into(), json!(seconds));
    }
    evidence.extend(peer.looked_up().map(|name| ("peer_name".to_owned(), json!(name))));
    let mut detail = format!(
        "{} ended while idle ({}); they had been idle for {}. What was written to them afterwards has no answer: the \
         client fails (502 of a proxy), or sends it again.",
        units::things(gone.count, "connection", "connections"),
        listed(&gone.by),
        span(gone.idle)
    );
    if gone.refused > 0 {
        let connects = units::things(gone.refused, "connect was", "connects were");
        detail.push_str(&format!(" {connects} refused."));
    }
    Said {
        title,
        detail,
        evidence,
        advice: advice(cause, runtime(facts.service(peer.service))),
        count: gone.count,
        ..Said::of(rule, facts, peer.service, peer.address)
    }
}

/// `runtime` is the client's.
fn advice(cause: Cause, runtime: &str) -> String {
    let client = match runtime {
        "nginx" => {
            "nginx: `keepalive_timeout` of the `upstream` (60 s by default) below it, and `proxy_next_upstream` for \
             requests that may be sent again."
        }
        "python" => {
            "httpx: `Limits(keepalive_expiry=...)`, aiohttp: `TCPConnector(keepalive_timeout=...)` below it; requests: an \
             adapter with `Retry`."
        }
        "node" | "bun" | "deno" => {
            "undici and fetch: `keepAliveTimeout` of the `Agent` below it; http.Agent: `timeout`, and another try after \
             `ECONNRESET` where `request.reusedSocket`."
        }
        "go" => "`Transport.IdleConnTimeout` below it (90 s by default).",
        "java" => "Apache HttpClient: `evictIdleConnections` below it; OkHttp: the `ConnectionPool`'s time.",
        _ => "Or have the client drop idle connections after less than that.",
    };
    match cause {
        Cause::KeepAlive(_) => format!(
            "Make the server's keep-alive timeout longer than its client's or proxy's: Node `server.keepAliveTimeout` (5 s \
             by default), gunicorn `--keep-alive` (2 s), uvicorn `--timeout-keep-alive` (5 s), Apache `KeepAliveTimeout` (5 \
             s), nginx `keepalive_timeout` (75 s). {client}"
        ),
        Cause::Restart => "The server's log and `systemctl status` tell when and why. Have it finish its connections before it \
                           goes (a graceful stop answers `Connection: close`), and the client try again."
            .into(),
        Cause::Unknown => format!(
            "A reset is a server that crashed or closed with data unread, or a firewall or proxy that forgets idle \
             connections. {client}"
        ),
    }
}
