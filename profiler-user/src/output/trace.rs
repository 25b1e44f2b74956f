//! One line per finished exchange, and per event of connections, loops and findings, for `hostprof trace`: text for a person, a JSON object for a program.
//!
//! Comes in: an exchange, the name of its service and the wall clock at its end. Never goes out: query strings, header
//! values and literals of statements.

pub mod connection;
pub mod finding;
pub mod stall;

use std::borrow::Cow;
use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::Serialize;

use super::style::{Style, Tone, clean, shorten, units, width};
use crate::exchange::{Call, Exchange, HttpCall, MysqlCall, PHASES};
use crate::report::{Clock, Role, RouteSource};

/// What the fields around a statement need at most; a statement never gets less than [`LEAST`].
const LEAST: usize = 24;

/// An exchange as JSON: the names are those of the report's rows.
#[derive(Debug, Serialize)]
struct Line<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    /// The end of the exchange.
    time: String,
    service: &'a str,
    pid: u32,
    tid: u32,
    comm: &'a str,
    role: Role,
    #[serde(skip_serializing_if = "str::is_empty")]
    local: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    peer: &'a str,
    #[serde(flatten)]
    call: Fields<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error_type: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    clock: Option<Clock>,
    #[serde(skip_serializing_if = "Option::is_none")]
    duration: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    first_byte: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    queue: Option<f64>,
    /// HTTP servers only, as in the report.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    phases: BTreeMap<&'static str, f64>,
    request_bytes: u64,
    response_bytes: u64,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    stream: bool,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    truncated: bool,
}

/// What only one protocol has.
#[derive(Debug, Serialize)]
#[serde(tag = "protocol", rename_all = "lowercase")]
enum Fields<'a> {
    Http {
        method: &'a str,
        path: &'a str,
        route: &'a str,
        route_source: RouteSource,
        #[serde(skip_serializing_if = "Option::is_none")]
        status: Option<u16>,
    },
    Mysql {
        command: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        digest: Option<String>,
        #[serde(skip_serializing_if = "Option::is_none")]
        digest_text: Option<&'a str>,
        #[serde(skip_serializing_if = "Option::is_none")]
        schema: Option<&'a str>,
        #[serde(skip_serializing_if = "Option::is_none")]
        sqlstate: Option<&'a str>,
        #[serde(skip_serializing_if = "Option::is_none")]
        rows_returned: Option<u64>,
        #[serde(skip_serializing_if = "Option::is_none")]
        rows_affected: Option<u64>,
        #[serde(skip_serializing_if = "std::ops::Not::not")]
        no_index: bool,
        #[serde(skip_serializing_if = "std::ops::Not::not")]
        no_good_index: bool,
        #[serde(skip_serializing_if = "std::ops::Not::not")]
        server_slow: bool,
    },
}

/// The exchange as one line of text without its newline: `12:00:00.123 <- orders[42] GET /orders/7 200  4.00 ms ...`.
pub fn text(exchange: &Exchange, service: &str, at: Timestamp, style: &Style) -> String {
    let arrow = match exchange.role {
        Role::Server => "<-",
        Role::Client => "->",
    };
    let start = format!("{} {arrow} {}[{}] ", time_of_day(at), clean(service), exchange.pid);
    let (outcome, tone) = outcome(exchange);
    let rest = measures(exchange);
    let what = what(&exchange.call);
    let taken = width(&start) + 1 + width(&outcome) + width(&rest);
    let what = match style.line {
        Some(columns) => shorten(&what, columns.saturating_sub(taken).max(LEAST)),
        None => Cow::Borrowed(what.as_str()),
    };
    let outcome = tone.map_or_else(|| outcome.clone(), |tone| style.paint(tone, &outcome));
    format!("{}{what} {outcome}{rest}", style.paint(Tone::Dim, &start))
}

/// The exchange as a JSON object on one line, without its newline.
pub fn json(exchange: &Exchange, service: &str, at: Timestamp) -> Result<String, serde_json::Error> {
    let call = match &exchange.call {
        Call::Http(call) => Fields::Http {
            method: &call.method,
            path: without_query(&call.path),
            route: &call.route,
            route_source: call.route_source,
            status: call.status,
        },
        Call::Mysql(call) => Fields::Mysql {
            command: call.command,
            digest: call.digest.map(|digest| format!("{digest:016x}")),
            digest_text: call.digest_text.as_deref(),
            schema: call.schema.as_deref(),
            sqlstate: call.error.as_ref().and_then(|error| error.sqlstate.as_deref()),
            rows_returned: call.rows_returned,
            rows_affected: call.rows_affected,
            no_index: call.no_index,
            no_good_index: call.no_good_index,
            server_slow: call.server_slow,
        },
    };
    // A stream's length says nothing about how fast anything was.
    let timed = !exchange.stream;
    serde_json::to_string(&Line {
        kind: "exchange",
        time: format!("{at:.9}"),
        service,
        pid: exchange.pid,
        tid: exchange.tid,
        comm: &exchange.comm,
        role: exchange.role,
        local: &exchange.local,
        peer: &exchange.peer,
        call,
        error_type: error_type(exchange),
        clock: exchange.times.clock().filter(|_| timed && exchange.role == Role::Server),
        duration: exchange.times.duration().filter(|_| timed),
        first_byte: exchange.times.first_byte(),
        queue: queue(exchange),
        phases: phases(exchange),
        request_bytes: exchange.request_bytes,
        response_bytes: exchange.response_bytes,
        stream: exchange.stream,
        truncated: exchange.truncated,
    })
}

/// Method and path, or command and statement.
fn what(call: &Call) -> String {
    match call {
        Call::Http(HttpCall { method, path, .. }) => {
            format!("{} {}", clean(method), clean(without_query(path)))
        }
        Call::Mysql(MysqlCall { command, digest_text: Some(text), .. }) => {
            let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
            if *command == "query" {
                clean(&text).into_owned()
            } else {
                format!("({command}) {}", clean(&text))
            }
        }
        Call::Mysql(MysqlCall { command, .. }) => format!("({command})"),
    }
}

/// How it ended, and in which colour.
fn outcome(exchange: &Exchange) -> (String, Option<Tone>) {
    let error = exchange.transport_error.as_deref().map(clean);
    let answer = match &exchange.call {
        Call::Http(call) => call.status.map(|status| {
            let tone = match status {
                500.. => Some(Tone::Bad),
                400.. => Some(Tone::Warning),
                _ => None,
            };
            (status.to_string(), tone)
        }),
        Call::Mysql(call) => match &call.error {
            Some(error) => Some((format!("error {}", error.number), Some(Tone::Bad))),
            None => error.is_none().then(|| ("ok".into(), None)),
        },
    };
    match (answer, error) {
        (Some((answer, _)), Some(error)) => (format!("{answer} {error}"), Some(Tone::Bad)),
        (Some(answer), None) => answer,
        (None, Some(error)) => (error.into_owned(), Some(Tone::Bad)),
        (None, None) => ("no answer".into(), Some(Tone::Bad)),
    }
}

/// Duration, queue, sizes and rows, as far as known.
fn measures(exchange: &Exchange) -> String {
    let mut text = match exchange.times.duration() {
        _ if exchange.stream => "  stream".to_owned(),
        Some(duration) => format!("  {}", units::duration(duration)),
        None => format!("  {}", units::UNKNOWN),
    };
    if let Some(queue) = queue(exchange) {
        text.push_str(&format!("  queue {}", units::duration(queue)));
    }
    let [request, response] =
        [exchange.request_bytes, exchange.response_bytes].map(|size| units::bytes(size as f64));
    text.push_str(&format!("  {request} / {response}"));
    if let Call::Mysql(call) = &exchange.call {
        if let Some(rows) = call.rows_returned {
            text.push_str(&format!("  {}", units::things(rows, "row", "rows")));
        }
        for (said, flag) in
            [(call.no_index, "no index"), (call.no_good_index, "bad index"), (call.server_slow, "slow")]
        {
            text.push_str(&if said { format!("  {flag}") } else { String::new() });
        }
    }
    text
}

/// Seconds that the request waited for its first read once somebody had its connection: servers only, where the arrival
/// is known.
fn queue(exchange: &Exchange) -> Option<f64> {
    exchange.times.queue().filter(|_| exchange.role == Role::Server)
}

/// What the client of a served request waited for, as far as known.
fn phases(exchange: &Exchange) -> BTreeMap<&'static str, f64> {
    let served = exchange.role == Role::Server && matches!(exchange.call, Call::Http(_)) && !exchange.stream;
    let known = PHASES.into_iter().zip(exchange.times.phases());
    known.filter(|_| served).filter_map(|(name, phase)| Some((name, phase?))).collect()
}

/// OpenTelemetry's `error.type`, by the same rule as the report's rows.
fn error_type(exchange: &Exchange) -> Option<String> {
    if let Some(error) = &exchange.transport_error {
        return Some(error.clone());
    }
    match &exchange.call {
        Call::Http(call) => {
            let least = if exchange.role == Role::Client { 400 } else { 500 };
            call.status.filter(|status| *status >= least).map(|status| status.to_string())
        }
        Call::Mysql(call) => call.error.as_ref().map(|error| error.number.to_string()),
    }
}

/// The parser has cut the query string off; a secret is worth a second look.
fn without_query(path: &str) -> &str {
    path.split(['?', '#']).next().unwrap_or_default()
}

/// `12:00:00.123`, local time as a person's watch shows it.
fn time_of_day(at: Timestamp) -> String {
    let whole = at.as_second();
    // SAFETY: all-zero is a valid tm: numbers and a null pointer.
    let mut local: libc::tm = unsafe { std::mem::zeroed() };
    // SAFETY: reads one time_t and writes one tm, both of which outlive the call.
    let known = unsafe { !libc::localtime_r(&raw const whole, &raw mut local).is_null() };
    if !known {
        return at.strftime("%T%.3f").to_string();
    }
    let millisecond = at.subsec_millisecond().max(0);
    format!("{:02}:{:02}:{:02}.{millisecond:03}", local.tm_hour, local.tm_min, local.tm_sec)
}

#[cfg(test)]
mod tests;
