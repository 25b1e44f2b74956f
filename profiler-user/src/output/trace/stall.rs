//! One line per stall of an event loop, for `hostprof trace`.

use jiff::Timestamp;
use serde::Serialize;

use super::time_of_day;
use crate::output::style::{Style, Tone, clean, units};
use crate::stall::{Stall, place};

/// A stall as JSON: the names are those of the report's rows.
#[derive(Debug, Serialize)]
struct Line<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    /// When this was known: the end of a stall that is over.
    time: String,
    start: String,
    #[serde(flatten)]
    stall: &'a Stall,
}

/// The stall as one line of text without its newline.
pub fn text(stall: &Stall, at: Timestamp, style: &Style) -> String {
    let start = format!("{} !! {}[{}] ", time_of_day(at), clean(&stall.comm), stall.pid);
    let what = if stall.ongoing { "event loop stalls" } else { "event loop stalled" };
    let parts = [("cpu", stall.on_cpu), ("run queue", stall.run_queue), ("blocked", stall.blocked)];
    let parts: Vec<_> =
        parts.iter().map(|(name, part)| format!("{name} {}", units::duration(*part))).collect();
    let calls: Vec<_> = stall
        .blocked_in
        .iter()
        .map(|b| {
            let target = b.target.as_deref().map(|t| format!(" {}", clean(t))).unwrap_or_default();
            format!("{}{target} x{} {}", b.syscall, b.count, units::duration(b.seconds))
        })
        .collect();
    let calls = if calls.is_empty() { String::new() } else { format!(": {}", calls.join(", ")) };
    let place = place::of(&stall.stack).map(|frame| format!("  at {}", clean(&place::short(frame))));
    format!(
        "{}{}  {}  {}{calls}{}",
        style.paint(Tone::Dim, &start),
        style.paint(Tone::Bad, what),
        units::duration(stall.seconds),
        parts.join("  "),
        place.unwrap_or_default(),
    )
}

/// The stall as a JSON object on one line, without its newline.
pub fn json(stall: &Stall, start: Timestamp, at: Timestamp) -> Result<String, serde_json::Error> {
    let (time, start) = (format!("{at:.9}"), format!("{start:.9}"));
    serde_json::to_string(&Line { kind: "stall", time, start, stall })
}
