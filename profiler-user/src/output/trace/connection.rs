//! One line per event in the life of a connection, for `hostprof trace`.

use std::borrow::Cow;
use std::time::Duration;

use jiff::Timestamp;
use profiler_ebpf::life::{end, mark, what};
use serde::Serialize;

use super::{LEAST, time_of_day};
use crate::connections::ended::Ended;
use crate::connections::{Told, errno};
use crate::exchange::seconds;
use crate::output::style::{Style, Tone, clean, shorten, units, width};
use crate::report::Role;

/// An event as JSON: the names are those of the report's rows.
#[derive(Debug, Serialize)]
struct Line<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    time: String,
    service: &'a str,
    pid: u32,
    role: Role,
    #[serde(skip_serializing_if = "str::is_empty")]
    local: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    peer: &'a str,
    protocol: &'static str,
    netns: u32,
    event: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    closed_by: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    how: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error_type: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    connect: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    accept_wait: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    handshake: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    lifetime: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    idle: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    busy: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    exchanges: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    farewell: Option<u16>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    cut: bool,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    gone: bool,
}

/// Whether the event is to be shown, with `--errors` and `--slower-than` as they are. The first use of a connection that
/// was there before us is no event for anybody.
pub fn is_wanted(told: &Told, errors: bool, slower_than: Option<Duration>) -> bool {
    let life = &told.life;
    let waited = match told.what {
        what::OPENED => connect(told).or(accept_wait(told)),
        what::FAILED => connect(told),
        _ => None,
    };
    (told.what != what::OPENED || life.t_open != 0)
        && (!errors || is_error(told))
        && slower_than.is_none_or(|least| waited.is_some_and(|waited| waited > least.as_secs_f64()))
}

/// The event as one line of text without its newline:
/// `12:00:00.123 :: shop[4242] -> 10.0.0.9:3306 closed by the server after 8.00 s idle (MySQL 4031)  mysql  life 12.3 s ...`.
pub fn text(told: &Told, at: Timestamp, style: &Style) -> String {
    let arrow = match told.role {
        Role::Server => "<-",
        Role::Client => "->",
    };
    let start = format!("{} :: {}[{}] ", time_of_day(at), clean(&told.service), told.pid);
    let (event, rest) = (says(told), measures(told));
    let peer = match told.peer.as_str() {
        "" | "unix:" => Cow::Borrowed("a Unix socket"),
        peer => clean(peer),
    };
    let taken = width(&start) + arrow.len() + 2 + width(&event) + width(&rest);
    let peer = match style.line {
        Some(columns) => shorten(&peer, columns.saturating_sub(taken).max(LEAST)),
        None => peer,
    };
    let event = if is_error(told) { style.paint(Tone::Bad, &event) } else { event };
    format!("{}{arrow} {peer} {event}{rest}", style.paint(Tone::Dim, &start))
}

/// The event as a JSON object on one line, without its newline.
pub fn json(told: &Told, at: Timestamp) -> Result<String, serde_json::Error> {
    let life = &told.life;
    let over = matches!(told.what, what::CLOSED | what::GONE);
    let used = over && is_readable(told);
    serde_json::to_string(&Line {
        kind: "connection",
        time: format!("{at:.9}"),
        service: &told.service,
        pid: told.pid,
        role: told.role,
        local: &told.local,
        peer: &told.peer,
        protocol: told.protocol,
        netns: told.netns,
        event: match told.what {
            what::OPENED => "opened",
            what::FAILED => "failed",
            what::GONE => "gone",
            _ => "closed",
        },
        closed_by: over.then(|| Ended::of(life).name()),
        how: how(told),
        error_type: error_type(told),
        connect: connect(told),
        accept_wait: accept_wait(told),
        handshake: between(life.t_greeted, life.t_ready),
        lifetime: lifetime(told),
        idle: idle(told),
        busy: used.then(|| life.busy as f64 / 1e9),
        exchanges: used.then_some(life.exchanges),
        farewell: Some(life.farewell).filter(|number| *number != 0),
        cut: is_cut(told),
        gone: is_gone(told),
    })
}

/// What has happened, in words.
fn says(told: &Told) -> String {
    let (life, other) = (&told.life, if told.role == Role::Client { "server" } else { "client" });
    let mut says = match (told.what, life.end) {
        (what::OPENED, _) if told.role == Role::Client => "connected".into(),
        (what::OPENED, _) => "accepted".into(),
        (what::FAILED, _) if life.error == 0 => "given up before there was an answer".into(),
        (what::FAILED, _) => format!("could not connect: {}", errno::of(life.error)),
        (_, end::OURS) => "closed by us".into(),
        (_, end::ABORTED) => "reset by us".into(),
        (_, end::PEERS) => format!("closed by the {other}"),
        (_, end::RESET) => format!("reset by the {other}"),
        (_, end::TIMEOUT) => "lost: no answer any more".into(),
        (_, end::ERROR) => format!("lost: {}", errno::of(life.error)),
        _ => "ended".into(),
    };
    if let Some(idle) = idle(told).filter(|_| matches!(life.end, end::PEERS | end::RESET)) {
        says.push_str(&format!(" after {} idle", units::duration(idle)));
    }
    if life.farewell != 0 {
        says.push_str(&format!(" (MySQL {})", life.farewell));
    }
    if is_cut(told) {
        says.push_str(", in the middle of an exchange");
    }
    if is_gone(told) {
        says.push_str(", then written to by us");
    }
    says
}

/// What is known in numbers, behind the event.
fn measures(told: &Told) -> String {
    let life = &told.life;
    let mut fields = Vec::new();
    if told.what != what::FAILED && told.protocol != "unknown" {
        fields.push(told.protocol.to_owned());
    }
    let times = match told.what {
        what::OPENED => [("connect", connect(told)), ("waited", accept_wait(told))],
        what::FAILED => [("after", connect(told)), ("", None)],
        _ => [("life", lifetime(told)), ("sign-in", between(life.t_greeted, life.t_ready))],
    };
    for (name, time) in times {
        fields.extend(time.map(|time| format!("{name} {}", units::duration(time))));
    }
    if matches!(told.what, what::CLOSED | what::GONE) && is_readable(told) {
        fields.push(units::things(life.exchanges.into(), "exchange", "exchanges"));
    }
    fields.iter().map(|field| format!("  {field}")).collect()
}

/// How long connecting took, or was tried.
fn connect(told: &Told) -> Option<f64> {
    let life = &told.life;
    let until = if told.what == what::FAILED { told.time } else { life.t_open };
    between(life.t_connect, until).filter(|_| told.role == Role::Client)
}

fn accept_wait(told: &Told) -> Option<f64> {
    between(told.life.t_open, told.life.t_accept).filter(|_| told.role == Role::Server)
}

/// From its begin to what ended it.
fn lifetime(told: &Told) -> Option<f64> {
    let life = &told.life;
    let over = if life.t_end != 0 { life.t_end } else { life.t_closed };
    between(life.t_open, over).filter(|_| matches!(told.what, what::CLOSED | what::GONE))
}

/// How long it had not been used when it ended; in the middle of an exchange it was in use.
fn idle(told: &Told) -> Option<f64> {
    let over = matches!(told.what, what::CLOSED | what::GONE);
    let known = over && told.life.t_used != 0 && told.life.marks & mark::CUT == 0;
    known.then(|| told.life.idle as f64 / 1e9)
}

fn how(told: &Told) -> Option<String> {
    let life = &told.life;
    match (told.what, life.end) {
        (what::OPENED, _) => None,
        (what::FAILED, _) => error_type(told),
        (_, end::OURS | end::PEERS) => Some("fin".into()),
        (_, end::ABORTED | end::RESET) => Some("reset".into()),
        (_, end::TIMEOUT) => Some("timeout".into()),
        (_, end::ERROR) if life.error != 0 => Some(errno::of(life.error)),
        _ => None,
    }
}

/// OpenTelemetry's `error.type`.
fn error_type(told: &Told) -> Option<String> {
    let life = &told.life;
    match (told.what, life.end) {
        (what::OPENED, _) => None,
        (what::FAILED, _) if life.error == 0 => Some("abandoned".into()),
        (_, _) if life.error != 0 => Some(errno::of(life.error)),
        (_, end::RESET) => Some("ECONNRESET".into()),
        (_, end::TIMEOUT) => Some("ETIMEDOUT".into()),
        _ => is_cut(told).then(|| "closed".into()),
    }
}

/// The same sense as of an exchange: something went wrong on the wire, or the server complained.
fn is_error(told: &Told) -> bool {
    told.what != what::OPENED && (error_type(told).is_some() || is_gone(told) || told.life.farewell != 0)
}

fn is_cut(told: &Told) -> bool {
    told.what == what::CLOSED && told.life.marks & mark::CUT != 0
}

fn is_gone(told: &Told) -> bool {
    told.what == what::GONE || told.what == what::CLOSED && told.life.marks & mark::GONE != 0
}

/// Whether its exchanges could be counted.
fn is_readable(told: &Told) -> bool {
    matches!(told.protocol, "http" | "mysql") && told.life.marks & mark::TLS == 0
}

/// Seconds between two instants that were both seen.
fn between(from: u64, to: u64) -> Option<f64> {
    (from != 0 && to >= from).then(|| seconds(from, to))
}

#[cfg(test)]
mod tests;
