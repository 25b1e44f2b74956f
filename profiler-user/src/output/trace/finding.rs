//! One line per finding that begins or is over, and at the end per finding of the whole recording, for `hostprof trace`.

use jiff::Timestamp;
use serde::Serialize;

use super::time_of_day;
use crate::output::style::{Style, Tone, clean};
use crate::report::{Finding, Severity};

/// What a line tells of a finding.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Event {
    Begun,
    Over,
    /// By the whole recording, at its end.
    Found,
}

impl Event {
    /// Of a finding told of while the recording goes on.
    pub fn live(finding: &Finding) -> Self {
        if finding.ongoing { Self::Begun } else { Self::Over }
    }
}

/// A finding as JSON: the names are those of the report.
#[derive(Debug, Serialize)]
struct Line<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    /// When it was judged.
    time: String,
    event: Event,
    #[serde(flatten)]
    finding: &'a Finding,
}

/// The finding as one line of text without its newline.
pub fn text(finding: &Finding, event: Event, at: Timestamp, style: &Style) -> String {
    let (word, tone) = match finding.severity {
        _ if event == Event::Over => ("over", Tone::Good),
        Severity::Critical => ("CRITICAL", Tone::Bad),
        Severity::Warning => ("WARNING", Tone::Warning),
        Severity::Info => ("INFO", Tone::Heading),
    };
    let start = style.paint(Tone::Dim, &format!("{} ## ", time_of_day(at)));
    format!("{start}{} {} ({})", style.paint(tone, word), clean(&finding.title), clean(&finding.id))
}

/// The finding as a JSON object on one line, without its newline.
pub fn json(finding: &Finding, event: Event, at: Timestamp) -> Result<String, serde_json::Error> {
    serde_json::to_string(&Line { kind: "finding", time: format!("{at:.9}"), event, finding })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::sample::{judged, sleep, with_stalls};

    #[test]
    fn a_line_says_what_begins_and_what_is_over() {
        let finding = judged(&with_stalls(vec![sleep(0.3)])).findings().remove(0);
        let at = "2026-09-01T12:00:02Z".parse().unwrap();
        let style = Style::plain(80);
        let begun = Finding { ongoing: true, title: format!("{}\x1b[2J", finding.title), ..finding.clone() };
        let line = text(&begun, Event::live(&begun), at, &style);
        let says = "## CRITICAL uvicorn shop:app: its event loop was blocked for 301 ms\\x1b[2J (event-loop-blocked)";
        assert!(line.ends_with(says), "{line}");
        let over = Event::live(&finding);
        assert!(text(&finding, over, at, &style).contains(" ## over uvicorn shop:app"));
        assert!(text(&finding, Event::Found, at, &style).contains(" ## CRITICAL uvicorn shop:app"));
        let value: serde_json::Value = serde_json::from_str(&json(&finding, over, at).unwrap()).unwrap();
        assert_eq!((&value["type"], &value["ongoing"]), (&"finding".into(), &false.into()));
        assert_eq!(value["event"], "over");
        assert_eq!(value["time"], "2026-09-01T12:00:02.000000000Z");
    }
}
