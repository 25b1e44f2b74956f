//! One line per stall of an event loop, for `hostprof trace`.

use jiff::Timestamp;
use serde::Serialize;

use super::time_of_day;
use crate::output::style::{Style, Tone, clean, units};
use crate::stall::cause::Cause;
use crate::stall::{BlockedIn, Kind, Queries, Stall, Waiting, place};

/// A stall as JSON: the names are those of the report's rows.
#[derive(Debug, Serialize)]
struct Line<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    /// When this was known: the end of a stall that is over.
    time: String,
    start: String,
    service: &'a str,
    #[serde(flatten)]
    stall: &'a Stall,
}

/// The stall as one line of text without its newline:
/// `12:00:00.123 !! orders[42] event loop stalled  312 ms  on a database  cpu 1.20 ms  ...`.
pub fn text(stall: &Stall, service: &str, at: Timestamp, style: &Style) -> String {
    let start = format!("{} !! {}[{}] ", time_of_day(at), clean(service), stall.pid);
    let what = if stall.ongoing { "event loop stalls" } else { "event loop stalled" };
    let parts = [("cpu", stall.on_cpu), ("run queue", stall.run_queue), ("blocked", stall.blocked)];
    let parts: Vec<_> =
        parts.iter().map(|(name, part)| format!("{name} {}", units::duration(*part))).collect();
    let calls: Vec<_> = stall.blocked_in.iter().map(call).collect();
    let mut fields = vec![units::duration(stall.seconds), why(stall).to_owned()];
    fields.extend(place::of(&stall.stack).map(|frame| format!("at {}", clean(&place::short(frame)))));
    fields.extend(stall.queries.as_ref().map(queries));
    fields.extend(parts);
    if !calls.is_empty() {
        fields.push(format!("in {}", calls.join(", ")));
    }
    fields.extend(stall.waiting.and_then(waiting));
    format!("{}{}  {}", style.paint(Tone::Dim, &start), style.paint(Tone::Bad, what), fields.join("  "),)
}

/// The stall as a JSON object on one line, without its newline.
pub fn json(
    stall: &Stall,
    service: &str,
    start: Timestamp,
    at: Timestamp,
) -> Result<String, serde_json::Error> {
    let (time, start) = (format!("{at:.9}"), format!("{start:.9}"));
    serde_json::to_string(&Line { kind: "stall", time, start, service, stall })
}

/// The cause in words: of a call, what it waited for.
fn why(stall: &Stall) -> &'static str {
    match stall.cause {
        Cause::Cpu => "computing",
        Cause::InterpreterLock => "waiting for the interpreter's lock",
        Cause::CpuStarvation => "waiting for a CPU",
        Cause::Throttled => "throttled by its control group",
        Cause::PageFault => "waiting for memory",
        Cause::Stopped => "stopped",
        Cause::Unknown => "cause unknown",
        Cause::BlockingCall => match stall.blocked_in.first().map(|b| b.kind) {
            Some(Kind::Sleep) => "asleep",
            Some(Kind::Lock) => "on a lock",
            Some(Kind::File) => "on a file",
            Some(Kind::Socket) => "on a socket",
            Some(Kind::Database) => "on a database",
            Some(Kind::Dns) => "looking a name up",
            Some(Kind::Subprocess) => "on a child process",
            Some(Kind::Pipe) => "on a pipe",
            Some(Kind::Memory) => "in a call for memory",
            Some(Kind::Wait | Kind::Stopped | Kind::Other) | None => "in a blocking call",
        },
    }
}

/// `300 queries of 10.0.0.1:3306 312 ms: SELECT ...`.
fn queries(queries: &Queries) -> String {
    let text = queries.digest_text.split_whitespace().collect::<Vec<_>>().join(" ");
    format!(
        "{} to {} {}: {}",
        units::things(queries.count.into(), "query", "queries"),
        if queries.peer.is_empty() { "MySQL".into() } else { clean(&queries.peer) },
        units::duration(queries.seconds),
        clean(&text),
    )
}

/// `recvfrom tcp 10.0.0.1:3306 x300 310 ms`.
fn call(blocked: &BlockedIn) -> String {
    let target = blocked.target.as_deref().map(|t| format!(" {}", clean(t))).unwrap_or_default();
    format!("{}{target} x{} {}", blocked.syscall, blocked.count, units::duration(blocked.seconds))
}

/// Who waited, if anybody did.
fn waiting(waiting: Waiting) -> Option<String> {
    let Waiting { requests, connections } = waiting;
    let mut who = Vec::new();
    if requests > 0 {
        who.push(units::things(requests.into(), "request", "requests"));
    }
    if connections > 0 {
        who.push(units::things(connections.into(), "connection", "connections"));
    }
    (!who.is_empty()).then(|| format!("{} waiting", who.join(" and ")))
}

#[cfg(test)]
mod tests;
