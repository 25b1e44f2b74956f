//! What a report does not show, in plain words and with what to do about it; what hostprof itself cost; and where
//! to look when nothing was seen at all.

use crate::output::style::{Style, Tone, clean, units, wrap};
use crate::report::{Capture, Report, Undecided};

/// What was lost, not read or left out, the limits of this run, and its cost.
pub(super) fn section(report: &Report, style: &Style) -> String {
    let capture = &report.capture;
    let mut page = String::new();
    let lost: Vec<String> = nonzero(&capture.lost).map(|(reason, count)| fault(reason, count)).collect();
    if lost.is_empty() {
        page.push_str(&style.paint(Tone::Good, "Nothing was lost."));
        page.push('\n');
    } else {
        page.push_str(&list("Lost: this should be in the report and is not", &lost, Tone::Bad, style));
    }
    page.push_str(&list("Not in the durations", &left_out(capture), Tone::Heading, style));
    let limits: Vec<String> = capture.limits.iter().map(|limit| clean(limit).into_owned()).collect();
    page.push_str(&list("Limits of this run", &limits, Tone::Warning, style));
    let undecided: Vec<String> =
        report.undecided.iter().map(|judgement| unjudged(report, judgement)).collect();
    page.push_str(&list("Not enough data to judge", &undecided, Tone::Heading, style));
    if let Some(cost) = cost(capture) {
        page.push_str(&wrap(&cost, style.width, ""));
    }
    page
}

/// What no rule could say for want of data.
fn unjudged(report: &Report, judgement: &Undecided) -> String {
    let service = report.services.iter().find(|service| service.id == judgement.service);
    let name = service.map_or(&judgement.service, |service| &service.name);
    format!("{} of {}: {}", clean(&judgement.id), clean(name), clean(&judgement.reason))
}

/// What a person checks when a report is empty, the likeliest first.
pub(super) fn nothing_seen(report: &Report, style: &Style) -> String {
    let capture = &report.capture;
    let mut checks = Vec::new();
    if capture.filtered > 0 {
        checks.push(filtered(capture));
    }
    if nonzero(&capture.not_parsed).next().is_some() {
        checks.push("There were connections that hostprof does not read: see below.".into());
    }
    if capture.in_flight + capture.half_seen > 0 {
        checks.push(
            "Requests were running but none began and ended within the recording: record longer (-d 60s)."
                .into(),
        );
    }
    checks.push("Was there traffic? Send a request while hostprof records, or run your command under it: hostprof record -- CMD.".into());
    if capture.records == 0 {
        checks.push("The kernel sent no record at all: `hostprof doctor` says which hooks work here and with these rights.".into());
    }
    checks.push("Encrypted traffic, HTTP/2 and other protocols than HTTP and MySQL are not shown.".into());
    list("No HTTP or MySQL exchange was seen.", &checks, Tone::Warning, style)
}

/// What the filters left out, and how to see it.
fn filtered(capture: &Capture) -> String {
    let exchanges = units::things(capture.filtered, "exchange", "exchanges");
    let options: Vec<_> = capture.filters.iter().map(|option| clean(option)).collect();
    match options.split_last() {
        None => format!("{exchanges} of other programs were left out: `record --all -- CMD` shows them."),
        Some((only, [])) => format!("The filters left out {exchanges}: try without {only}."),
        Some((last, others)) => {
            format!("The filters left out {exchanges}: try without {} or {last}.", others.join(", "))
        }
    }
}

/// A titled list, empty without entries.
fn list(title: &str, entries: &[String], tone: Tone, style: &Style) -> String {
    if entries.is_empty() {
        return String::new();
    }
    let lines: String = entries.iter().map(|entry| wrap(entry, style.width, "  - ")).collect();
    format!("{}\n{lines}", style.paint(tone, title))
}

fn nonzero(counters: &crate::report::Counters) -> impl Iterator<Item = (&str, u64)> {
    counters.iter().filter(|(_, count)| **count > 0).map(|(reason, count)| (reason.as_str(), *count))
}

/// One kind of loss: how much, why, and what to do.
fn fault(reason: &str, count: u64) -> String {
    let (what, why, advice) = match reason {
        "ring_full" => {
            ("record", "the ring from the kernel was full", "Give it more room (--ring-size 16M).")
        }
        "connection_table_full" => {
            ("connection", "the connection table was full", "Raise --max-connections.")
        }
        "untracked_operations" => (
            "read or write",
            "it was on a connection that found no room in the table",
            "Raise --max-connections.",
        ),
        "framing_lost" => (
            "operation",
            "one read or write held more messages than are followed",
            "Exchanges of that connection may be missing until its next request.",
        ),
        "probe_missed" => (
            "event",
            "the kernel skipped a probe of hostprof that was at work on that CPU already",
            "An exchange or the time of an arrival may be missing.",
        ),
        "notice_lost" => (
            "notice",
            "the ring was full when a process or a socket's name was to be told",
            "Give it more room (--ring-size 16M).",
        ),
        "head_unreadable" => (
            "request or response",
            "its first bytes were not in the process's memory when they were to be read",
            "A few are normal under memory pressure, or where files are sent by the kernel.",
        ),
        "pipeline_too_deep" => (
            "request",
            "more requests were sent ahead on one connection than are followed",
            "Their durations are unknown.",
        ),
        "waiting_table_full" => (
            "request",
            "too many were sent ahead on all connections together",
            "Their durations are unknown.",
        ),
        "loop_table_full" => (
            "thread",
            "there were more threads that wait for events than are followed",
            "The turns of these are not measured.",
        ),
        "listener_table_full" => (
            "listening socket",
            "there were more of them than are followed",
            "Workers and waits of these are not known.",
        ),
        "connection_event_lost" => (
            "connection's begin or end",
            "the ring from the kernel was full",
            "Counts of connections are too low. Give it more room (--ring-size 16M).",
        ),
        "stall_lost" => (
            "stall",
            "the ring, or the list of stalls, was full",
            "Give it more room (--ring-size 16M), or choose processes (--pid).",
        ),
        "identity_gone" => (
            "exchange",
            "its process ended before its name could be read",
            "They count under the thread's name, if at all.",
        ),
        "series_overflow" => (
            "exchange or connection",
            "there were more different routes, statements or peers than are kept apart",
            "They are summed in one row; --route PATTERN gives routes a name.",
        ),
        other => return format!("{} x {}", units::count(count), clean(other)),
    };
    let many = match what {
        "read or write" => "reads and writes".to_owned(),
        "request or response" => "requests or responses".to_owned(),
        "exchange or connection" => "exchanges or connections".to_owned(),
        _ => format!("{what}s"),
    };
    format!("{}: {why} ({reason}). {advice}", units::things(count, what, &many))
}

/// What was seen but is in no duration, in words.
fn left_out(capture: &Capture) -> Vec<String> {
    let mut entries = Vec::new();
    let mut tell = |count: u64, one: &str, many: &str, why: &str| {
        if count > 0 {
            entries.push(format!("{} {why}", units::things(count, one, many)));
        }
    };
    for (reason, count) in nonzero(&capture.not_parsed) {
        let why = match reason {
            "tls" => "encrypted with TLS: only the plain side of a proxy can be read".into(),
            "mysql_compressed" => {
                "with MySQL compression: switch it off in the client to see its statements".into()
            }
            "http2" => "in HTTP/2, which is not read yet".into(),
            "io_uring" => "through io_uring, whose buffers hostprof does not see".into(),
            "other_protocol" => "in protocols other than HTTP/1 and MySQL".into(),
            "unconfirmed" => "that looked like HTTP or MySQL at first, and were neither".into(),
            other => format!("not read: {}", clean(other)),
        };
        tell(count, "connection", "connections", &why);
    }
    tell(
        capture.half_seen,
        "exchange",
        "exchanges",
        "half seen: begun before the recording, cut by its end, or with a part that could not be read",
    );
    tell(
        capture.unsolicited,
        "server message",
        "server messages",
        "that answered no command (MySQL's word when it ends a connection)",
    );
    tell(capture.in_flight, "exchange", "exchanges", "still running when the recording ended");
    tell(
        capture.streams,
        "stream",
        "streams",
        "(WebSocket, server-sent events, binlog): long-lived by design, counted apart",
    );
    tell(capture.filtered, "exchange", "exchanges", "left out by the filters");
    tell(
        capture.head_truncated,
        "request head",
        "request heads",
        "longer than what is kept: route or statement may be cut (raise --head-bytes)",
    );
    entries
}

/// What hostprof itself used, as far as known.
fn cost(capture: &Capture) -> Option<String> {
    let parts: Vec<String> = [
        capture.probe_seconds.map(|seconds| format!("{} in probes", units::duration(seconds))),
        capture.agent_cpu_seconds.map(|seconds| format!("{} CPU", units::duration(seconds))),
        capture.agent_peak_rss.map(|bytes| format!("{} memory", units::bytes(bytes as f64))),
        capture.kernel_map_bytes.map(|bytes| format!("{} in kernel maps", units::bytes(bytes as f64))),
    ]
    .into_iter()
    .flatten()
    .collect();
    (!parts.is_empty()).then(|| format!("hostprof itself used {}.", parts.join(", ")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::text::sample::empty;

    #[test]
    fn every_drop_is_shown_even_with_an_unknown_name() {
        let mut report = empty();
        let names = [
            "ring_full",
            "connection_table_full",
            "framing_lost",
            "probe_missed",
            "head_unreadable",
            "listener_table_full",
            "connection_event_lost",
            "brand_new",
        ];
        report.capture.lost = names.iter().map(|name| ((*name).to_owned(), 1_234)).collect();
        report.capture.lost.insert("series_overflow".into(), 0);
        report.capture.unsolicited = 2;
        report.capture.not_parsed = [("tls".to_owned(), 1), ("spdy".to_owned(), 2)].into();
        let page = section(&report, &Style::plain(140));
        for name in names {
            assert!(page.contains(name), "{page}");
        }
        assert!(!page.contains("series_overflow"), "{page}");
        assert!(page.contains("1,234 records: the ring from the kernel was full (ring_full)."), "{page}");
        assert!(page.contains("1 connection encrypted with TLS"), "{page}");
        assert!(page.contains("2 connections not read: spdy"), "{page}");
        assert!(page.contains("2 server messages that answered no command"), "{page}");
        assert!(!section(&empty(), &Style::plain(140)).contains("answered no command"));
        assert!(!page.contains("Nothing was lost"), "{page}");
    }

    #[test]
    fn an_empty_report_names_the_filters_first() {
        let mut report = empty();
        report.capture.filtered = 12;
        report.capture.records = 12;
        for (filters, says) in [
            (&["--errors"][..], "The filters left out 12 exchanges: try without --errors."),
            (&["--pid", "--errors"], "The filters left out 12 exchanges: try without --pid or --errors."),
            (
                &["--pid", "--port", "--slower-than"],
                "The filters left out 12 exchanges: try without --pid, --port or --slower-than.",
            ),
            (&[], "12 exchanges of other programs were left out: `record --all -- CMD` shows them."),
        ] {
            report.capture.filters = filters.iter().map(|option| (*option).to_owned()).collect();
            let page = nothing_seen(&report, &Style::plain(100));
            assert!(page.contains(&format!("\n  - {says}\n")), "{page}");
            assert!(!page.contains("doctor"), "{page}");
        }
    }
}
