//! Findings, the first thing on the page: what is wrong, what shows it, what to do. Where there is none, one line says
//! what was looked at.

use crate::output::style::{Style, Tone, clean, units, width, wrap};
use crate::report::{Finding, Report, Severity};

/// Findings shown.
const MOST: usize = 20;

/// All findings, worst first as they come.
pub(super) fn section(report: &Report, style: &Style) -> String {
    if report.findings.is_empty() {
        return wrap(&nothing(report), style.width, "");
    }
    let mut page = String::new();
    for (at, finding) in report.findings.iter().take(MOST).enumerate() {
        if at > 0 {
            page.push('\n');
        }
        page.push_str(&one(finding, style));
    }
    if let Some(more) = report.findings.len().checked_sub(MOST).filter(|more| *more > 0) {
        let more = units::things(more as u64, "more finding", "more findings");
        page.push_str(&format!("\n{more} (use -o report.json)\n"));
    }
    page
}

/// One finding in a few lines.
fn one(finding: &Finding, style: &Style) -> String {
    let (mark, tone) = match finding.severity {
        Severity::Critical => ("CRITICAL ", Tone::Bad),
        Severity::Warning => ("WARNING ", Tone::Warning),
        Severity::Info => ("INFO ", Tone::Heading),
    };
    let title = wrap(&clean(&finding.title), style.width.saturating_sub(width(mark)), "");
    let mut page = style.paint(tone, mark.trim_end());
    for (at, line) in title.lines().enumerate() {
        page.push_str(if at > 0 { "  " } else { " " });
        page.push_str(&style.paint(Tone::Heading, line));
        page.push('\n');
    }
    let mut facts = vec![("", finding.detail.clone())];
    match &finding.explained_by {
        // What to do stands there.
        Some(reason) => facts.push(("Because of ", format!("{reason}: see there."))),
        None => facts.push(("Try: ", finding.advice.clone())),
    }
    for (lead, text) in facts.into_iter().filter(|(_, text)| !text.is_empty()) {
        page.push_str(&wrap(&clean(&text), style.width, &format!("  {lead}")));
    }
    page.push_str(&style.paint(Tone::Dim, &format!("  {}", when(finding))));
    page.push('\n');
    page
}

/// The rule, and when.
fn when(finding: &Finding) -> String {
    let time = |rfc3339: &str| match rfc3339.parse::<jiff::Timestamp>() {
        Ok(time) => time.strftime("%T").to_string(),
        Err(_) => clean(rfc3339).into_owned(),
    };
    let first = time(&finding.first_seen);
    let last = match finding.ongoing {
        true => "UTC to the end".to_owned(),
        false => format!("to {} UTC", time(&finding.last_seen)),
    };
    format!("{}, {first} {last}", clean(&finding.id))
}

/// What was looked at and is well.
fn nothing(report: &Report) -> String {
    if report.capture.hooks.loops.is_none() {
        return "No findings; event loops were not watched, so nothing is known of them.".into();
    }
    let serving = report.event_loops.iter().filter_map(|row| row.turn);
    let (loops, turns, longest) =
        serving.fold((0, 0, 0.0), |(n, turns, most), t| (n + 1, turns + t.count, f64::max(most, t.max)));
    if loops == 0 {
        return "No findings; no event loop served a request.".into();
    }
    format!(
        "No findings: {} with {}, the longest {}.",
        units::things(loops, "event loop", "event loops"),
        units::things(turns, "turn", "turns"),
        units::duration(longest)
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::text::render;
    use crate::rules::sample::{judged, sleep, stall, with_stalls};
    use crate::stall::cause::Cause;

    fn judged_report() -> Report {
        let mut report = with_stalls(vec![sleep(0.3), stall(Cause::Cpu, 0.0, 0.2, 0.01)]);
        report.findings = judged(&report).findings();
        report
    }

    #[test]
    fn a_finding_comes_before_its_service() {
        let report = judged_report();
        let page = render(&report, &Style::plain(80));
        let at = |text: &str| page.find(text).unwrap_or_else(|| panic!("no {text:?}: {page}"));
        assert!(at("\nCRITICAL uvicorn shop:app: its event loop") < at("\nuvicorn shop:app ("));
        assert!(at("  Held by ") < at("  Try: ") && at("  Try: ") < at("event-loop-blocked, 12:00:01 to"));
        assert!(at("\n  Event loops\n") < at("STALLED  WORST"), "{page}");
    }

    #[test]
    fn it_fits_and_never_obeys_a_name() {
        let mut report = judged_report();
        report.findings[0].title = format!("\x1b[2J{}", "very-long ".repeat(40));
        report.findings[0].advice = format!("\u{202e}{}", "x".repeat(300));
        report.event_loops[0].stalls[0].stall.stack[0].function = "\x1b]0;owned\x07".repeat(20);
        for columns in [60, 80, 120] {
            let page = render(&report, &Style::plain(columns));
            assert!(page.lines().all(|line| width(line) <= columns), "{columns}: {page}");
            assert!(!page.chars().any(|c| c.is_control() && c != '\n'), "{page}");
        }
        let colour = render(&report, &Style { colour: true, ..Style::plain(80) });
        assert!(colour.contains("\x1b[31mCRITICAL\x1b[0m"), "{colour}");
    }

    #[test]
    fn one_line_where_nothing_is_wrong() {
        let page = render(&with_stalls(Vec::new()), &Style::plain(100));
        let line = "\nNo findings: 1 event loop with 10,000 turns, the longest 8.00 ms.\n";
        assert!(page.contains(line), "{page}");
        let mut idle = with_stalls(Vec::new());
        idle.event_loops.clear();
        assert!(section(&idle, &Style::plain(100)).contains("no event loop served"));
    }

    #[test]
    fn what_another_finding_explains_is_short() {
        let mut report = judged_report();
        report.findings[0].explained_by = Some("cpu-starvation".into());
        let page = section(&report, &Style::plain(80));
        assert!(page.contains("  Because of cpu-starvation: see there.") && !page.contains("Try:"), "{page}");
    }
}
