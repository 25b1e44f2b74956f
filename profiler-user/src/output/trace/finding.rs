//! One line per finding that begins or is over, for `hostprof trace`.

use jiff::Timestamp;
use serde::Serialize;

use super::time_of_day;
use crate::output::style::{Style, Tone, clean};
use crate::report::{Finding, Severity};

/// A finding as JSON: the names are those of the report.
#[derive(Debug, Serialize)]
struct Line<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    /// When it was judged.
    time: String,
    #[serde(flatten)]
    finding: &'a Finding,
}

/// The finding as one line of text without its newline.
pub fn text(finding: &Finding, at: Timestamp, style: &Style) -> String {
    let (word, tone) = match finding.severity {
        _ if !finding.ongoing => ("over", Tone::Good),
        Severity::Critical => ("CRITICAL", Tone::Bad),
        Severity::Warning => ("WARNING", Tone::Warning),
        Severity::Info => ("INFO", Tone::Heading),
    };
    let start = style.paint(Tone::Dim, &format!("{} ## ", time_of_day(at)));
    format!("{start}{} {} ({})", style.paint(tone, word), clean(&finding.title), clean(&finding.id))
}

/// The finding as a JSON object on one line, without its newline.
pub fn json(finding: &Finding, at: Timestamp) -> Result<String, serde_json::Error> {
    serde_json::to_string(&Line { kind: "finding", time: format!("{at:.9}"), finding })
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
        let line = text(&begun, at, &style);
        let says = "## CRITICAL uvicorn shop:app: its event loop was blocked for 301 ms\\x1b[2J (event-loop-blocked)";
        assert!(line.ends_with(says), "{line}");
        assert!(text(&finding, at, &style).contains(" ## over uvicorn shop:app"));
        let value: serde_json::Value = serde_json::from_str(&json(&finding, at).unwrap()).unwrap();
        assert_eq!((&value["type"], &value["ongoing"]), (&"finding".into(), &false.into()));
        assert_eq!(value["time"], "2026-09-01T12:00:02.000000000Z");
    }
}
