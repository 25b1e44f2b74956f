//! The public JSON of hostprof, key by key as the contract has it: a value goes in, every breach comes out. Keys that
//! the contract does not name are breaches, and so are values that are invented: empty names, negative times.

use serde_json::Value;

use Kind::{Any, Counters, Flag, List, Map, Name, Number, Object, OneOf, Quantiles, Text, Time, Whole};

/// What a value must be.
#[derive(Debug, Clone, Copy)]
pub enum Kind {
    Text,
    /// Text of at least one letter.
    Name,
    /// From 0 upwards.
    Whole,
    Number,
    Flag,
    /// RFC 3339 in UTC with nanoseconds.
    Time,
    /// A distribution.
    Quantiles,
    OneOf(&'static [&'static str]),
    /// An object with whatever keys.
    Any,
    /// Numbers of events by reason.
    Counters,
    List(&'static Kind),
    /// Any names, values of one kind.
    Map(&'static [&'static str], &'static Kind),
    Object(&'static [Field]),
}

/// A key that is always there (`true`) or only where its value is known.
pub type Field = (&'static str, bool, Kind);

const ROLE: Field = ("role", true, OneOf(&["server", "client"]));
const CLOCK: Field = ("clock", false, OneOf(&["arrival", "read"]));
const PHASES: &[&str] = &["accept", "queue", "receive", "serve", "send"];
const SOURCE: Kind = OneOf(&["pattern", "template", "overflow"]);

/// `record --format json`.
pub const REPORT: Kind = Object(&[
    ("schema", true, OneOf(&["hostprof.report/1"])),
    ("version", true, Name),
    (
        "host",
        true,
        Object(&[
            ("name", true, Name),
            ("kernel", true, Name),
            ("cpus", true, Whole),
            ("boot_id", false, Name),
        ]),
    ),
    ("window", true, Object(&[("start", true, Time), ("end", true, Time), ("seconds", true, Number)])),
    ("capture", true, Object(CAPTURE)),
    ("services", true, List(&Object(SERVICE))),
    ("http", true, List(&Object(HTTP))),
    ("mysql", true, List(&Object(MYSQL))),
    ("event_loops", true, List(&Object(EVENT_LOOP))),
    ("findings", true, List(&Object(FINDING))),
    // An addition: what looks like a finding, without enough data.
    (
        "undecided",
        false,
        List(&Object(&[("id", true, Name), ("service", true, Name), ("reason", true, Name)])),
    ),
]);

const CAPTURE: &[Field] = &[
    (
        "hooks",
        true,
        Object(&[
            ("socket", true, OneOf(&["sock-tracepoints", "syscall-exit", "raw-exit", "fentry"])),
            ("arrival", false, Name),
            ("loops", false, Name),
            ("connections", false, Name),
            ("tls", false, Name),
        ]),
    ),
    ("records", true, Whole),
    ("lost", true, Counters),
    ("not_parsed", true, Counters),
    // An addition: how well event loops were seen.
    ("loop_events", false, Counters),
    ("half_seen", true, Whole),
    ("unsolicited", true, Whole),
    ("head_truncated", true, Whole),
    ("streams", true, Whole),
    ("filtered", true, Whole),
    ("in_flight", true, Whole),
    ("probe_seconds", false, Number),
    ("agent_cpu_seconds", false, Number),
    ("agent_peak_rss", false, Whole),
    ("kernel_map_bytes", false, Whole),
    // An addition: what missing rights and hooks leave out.
    ("limits", false, List(&Name)),
];

const SERVICE: &[Field] = &[
    ("id", true, Name),
    ("name", true, Name),
    ("pids", true, List(&Whole)),
    ("exe", false, Name),
    ("cmdline", false, Name),
    ("runtime", false, Name),
    ("started", false, Time),
    ("listens", true, List(&Name)),
    ("container", false, Object(&[("id", true, Name)])),
];

const HTTP: &[Field] = &[
    ("service", true, Name),
    ROLE,
    ("peer", false, Name),
    ("method", true, Name),
    ("route", true, Name),
    ("route_source", true, SOURCE),
    ("status", false, Whole),
    ("error_type", false, Name),
    ("count", true, Whole),
    ("request_bytes", true, Quantiles),
    ("response_bytes", true, Quantiles),
    CLOCK,
    ("duration", false, Quantiles),
    ("first_byte", false, Quantiles),
    ("phases", false, Map(PHASES, &Quantiles)),
];

const MYSQL: &[Field] = &[
    ("service", true, Name),
    ROLE,
    ("peer", false, Name),
    ("command", true, Name),
    ("digest", false, Name),
    ("digest_text", false, Name),
    ("schema", false, Name),
    ("count", true, Whole),
    ("errors", false, Counters),
    ("rows_returned", false, Quantiles),
    ("rows_affected", false, Quantiles),
    ("request_bytes", true, Quantiles),
    ("response_bytes", true, Quantiles),
    CLOCK,
    ("duration", false, Quantiles),
    ("first_byte", false, Quantiles),
    ("no_index", true, Whole),
    ("no_good_index", true, Whole),
    ("server_slow", true, Whole),
];

const EVENT_LOOP: &[Field] = &[
    ("service", true, Name),
    ("pid", true, Whole),
    ("tid", true, Whole),
    ("wait", true, WAIT),
    ("turns", true, Whole),
    ("busy_seconds", true, Number),
    // An addition: its parts, and the time between the end of a wait and the turn.
    ("on_cpu_seconds", true, Number),
    ("run_queue_seconds", true, Number),
    ("blocked_seconds", true, Number),
    ("late_seconds", true, Number),
    ("utilization", true, Number),
    ("turn", false, Quantiles),
    ("stalls", true, List(&Object(STALL_ROW))),
];

const WAIT: Kind = OneOf(&["epoll", "poll", "select", "io_uring"]);

const BLOCKED_IN: Kind = Object(&[
    ("syscall", true, Name),
    // An addition: what sort of thing that is.
    ("kind", true, BLOCKED_KIND),
    ("target", false, Name),
    ("count", true, Whole),
    ("seconds", true, Number),
]);

const BLOCKED_KIND: Kind = OneOf(&[
    "sleep",
    "lock",
    "file",
    "socket",
    "database",
    "dns",
    "subprocess",
    "pipe",
    "wait",
    "memory",
    "stopped",
    "other",
]);

const CAUSE: Kind = OneOf(&[
    "cpu",
    "blocking-call",
    "interpreter-lock",
    "cpu-starvation",
    "throttled",
    "page-fault",
    "stopped",
    "unknown",
]);

/// An addition: the commands that the loop waited for.
const QUERIES: &[Field] = &[
    ("peer", false, Name),
    ("digest", false, Name),
    ("digest_text", true, Name),
    ("count", true, Whole),
    ("seconds", true, Number),
];

const FRAME: &[Field] = &[("function", true, Name), ("file", false, Name), ("line", false, Whole)];

/// The fields of a finding, with those of a trace's line in front.
macro_rules! finding {
    ($($more:expr),* $(,)?) => {
        &[
            $($more,)*
            ("id", true, Name),
            ("severity", true, OneOf(&["critical", "warning", "info"])),
            ("service", true, Name),
            ("subject", true, Name),
            ("title", true, Name),
            ("detail", true, Name),
            ("evidence", true, Any),
            ("advice", true, Name),
            ("explained_by", false, Name),
            ("first_seen", true, Time),
            ("last_seen", true, Time),
            ("ongoing", true, Flag),
            ("count", true, Whole),
        ]
    };
}

const FINDING: &[Field] = finding!();

/// A line of `trace --format json` that tells of a finding.
pub const FINDING_LINE: Kind = Object(finding!(("type", true, OneOf(&["finding"])), ("time", true, Time)));

/// The fields of a stall; process, thread, name and wait are there as well as in the loop's row, so that a stall is the
/// same in a report and in a trace.
macro_rules! stall {
    ($($more:expr),* $(,)?) => {
        &[
            $($more,)*
            ("start", true, Time),
            ("pid", true, Whole),
            ("tid", true, Whole),
            ("comm", true, Name),
            ("wait", true, WAIT),
            ("seconds", true, Number),
            ("on_cpu", true, Number),
            ("run_queue", true, Number),
            ("blocked", true, Number),
            ("blocked_in", true, List(&BLOCKED_IN)),
            ("cause", true, CAUSE),
            ("throttled", false, Number),
            ("digest", false, Name),
            ("queries", false, Object(QUERIES)),
            ("stack", false, List(&Object(FRAME))),
            ("lock_holder", false, Object(&[("tid", true, Whole), ("stack", true, List(&Object(FRAME)))])),
            ("uncertain", false, Flag),
            ("confidence", true, OneOf(&["high", "low"])),
            ("waiting_requests", false, Whole),
            ("waiting_connections", false, Whole),
            ("ongoing", true, Flag),
        ]
    };
}

const STALL_ROW: &[Field] = stall!();

/// A line of `trace --format json` that tells of a stall.
pub const STALL: Kind = Object(stall!(
    ("type", true, OneOf(&["stall"])),
    ("time", true, Time),
    // An addition: as on the lines of exchanges.
    ("service", true, Name),
));

/// A line of `trace --format json` that tells of an exchange.
pub const EXCHANGE: Kind = Object(&[
    ("type", true, OneOf(&["exchange"])),
    ("time", true, Time),
    ("service", true, Name),
    ("pid", true, Whole),
    ("tid", true, Whole),
    ("comm", true, Name),
    ROLE,
    ("local", false, Name),
    ("peer", false, Name),
    ("protocol", true, OneOf(&["http", "mysql"])),
    ("method", false, Name),
    ("path", false, Name),
    ("route", false, Name),
    ("route_source", false, SOURCE),
    ("status", false, Whole),
    ("command", false, Name),
    ("digest", false, Name),
    ("digest_text", false, Name),
    ("schema", false, Name),
    ("sqlstate", false, Name),
    ("rows_returned", false, Whole),
    ("rows_affected", false, Whole),
    ("no_index", false, Flag),
    ("no_good_index", false, Flag),
    ("server_slow", false, Flag),
    ("error_type", false, Name),
    CLOCK,
    ("duration", false, Number),
    ("first_byte", false, Number),
    ("queue", false, Number),
    ("phases", false, Map(PHASES, &Number)),
    ("request_bytes", true, Whole),
    ("response_bytes", true, Whole),
    ("stream", false, Flag),
    ("truncated", false, Flag),
]);

/// A line of `trace --format json` that tells of a loss.
pub const LOST: Kind = Object(&[
    ("type", true, OneOf(&["lost"])),
    ("time", true, Time),
    ("reason", true, Name),
    ("count", true, Whole),
    ("total", true, Whole),
]);

/// `doctor --format json`.
pub const DOCTOR: Kind = Object(&[
    (
        "checks",
        true,
        List(&Object(&[
            ("id", true, Name),
            ("ok", true, Flag),
            ("effect", true, Name),
            ("reason", false, Name),
            ("advice", false, Name),
        ])),
    ),
    ("can_record", true, Flag),
]);

/// Every breach, with its place.
pub fn breaches(value: &Value, kind: Kind) -> Vec<String> {
    let mut found = Vec::new();
    check(value, kind, "$", &mut found);
    found
}

fn check(value: &Value, kind: Kind, at: &str, found: &mut Vec<String>) {
    let whole = |value: &Value| value.as_u64().is_some();
    let number = |value: &Value| value.as_f64().is_some_and(|number| number.is_finite() && number >= 0.0);
    let right = match kind {
        Text => value.is_string(),
        Name => value.as_str().is_some_and(|text| !text.is_empty()),
        Whole => whole(value),
        Number => number(value),
        Flag => value.is_boolean(),
        Time => value.as_str().is_some_and(is_time),
        Quantiles => is_distribution(value),
        OneOf(names) => value.as_str().is_some_and(|text| names.contains(&text)),
        Any => value.is_object(),
        Counters => value.as_object().is_some_and(|map| map.values().all(whole)),
        List(of) => {
            for (index, value) in value.as_array().into_iter().flatten().enumerate() {
                check(value, *of, &format!("{at}[{index}]"), found);
            }
            value.is_array()
        }
        Map(names, of) => {
            for (name, value) in value.as_object().into_iter().flatten() {
                if !names.contains(&name.as_str()) {
                    found.push(format!("{at}.{name} is not in the contract"));
                }
                check(value, *of, &format!("{at}.{name}"), found);
            }
            value.is_object()
        }
        Object(fields) => {
            for (name, value) in value.as_object().into_iter().flatten() {
                match fields.iter().find(|(field, ..)| field == name) {
                    Some((.., kind)) => check(value, *kind, &format!("{at}.{name}"), found),
                    None => found.push(format!("{at}.{name} is not in the contract")),
                }
            }
            for (name, ..) in fields.iter().filter(|(name, always, _)| *always && value.get(name).is_none()) {
                found.push(format!("{at}.{name} is missing"));
            }
            value.is_object()
        }
    };
    if !right {
        found.push(format!(
            "{at} is no {}: {value}",
            format!("{kind:?}").split('(').next().unwrap_or_default()
        ));
    }
}

/// `2026-09-01T12:00:00.123456789Z`.
fn is_time(text: &str) -> bool {
    let form = "dddd-dd-ddTdd:dd:dd.dddddddddZ";
    text.len() == form.len()
        && text.bytes().zip(form.bytes()).all(|(byte, form)| match form {
            b'd' => byte.is_ascii_digit(),
            _ => byte == form,
        })
}

/// All nine numbers, in their order, and a sum that they allow.
fn is_distribution(value: &Value) -> bool {
    let names = ["min", "p50", "p90", "p95", "p99", "p999", "max"];
    let Some(map) = value.as_object() else { return false };
    let Some(numbers) = names.iter().map(|name| map.get(*name)?.as_f64()).collect::<Option<Vec<f64>>>()
    else {
        return false;
    };
    let (Some(count), Some(sum)) = (value["count"].as_u64(), value["sum"].as_f64()) else { return false };
    let room = 1e-9 + sum.abs() * 1e-9;
    map.len() == 9
        && count > 0
        && numbers[0] >= 0.0
        && numbers.is_sorted()
        && sum >= numbers[0] * count as f64 - room
        && sum <= numbers[6] * count as f64 + room
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_the_contract_does_not_name_is_found() {
        let mut line = json!({ "type": "lost", "time": "2026-09-01T12:00:00.123456789Z", "reason": "ring_full",
            "count": 1, "total": 2 });
        assert!(breaches(&line, LOST).is_empty());
        for (key, value) in [
            ("time", json!("2026-09-01T12:00:00Z")),
            ("time", json!("2026-09-01T12:00:00.123456789+02")),
            ("count", json!(-1)),
            ("reason", json!("")),
            ("reason", json!(null)),
            ("more", json!(1)),
        ] {
            let mut wrong = line.clone();
            wrong[key] = value;
            assert_eq!(breaches(&wrong, LOST).len(), 1, "{wrong}");
        }
        line.as_object_mut().unwrap().remove("total");
        assert_eq!(breaches(&line, LOST), ["$.total is missing"]);
    }

    #[test]
    fn distributions_are_in_order() {
        let good = json!({ "count": 2, "sum": 3.0, "min": 1.0, "p50": 1.0, "p90": 2.0, "p95": 2.0, "p99": 2.0,
            "p999": 2.0, "max": 2.0 });
        assert!(is_distribution(&good));
        for (key, value) in
            [("p99", json!(3.0)), ("sum", json!(1.0)), ("count", json!(0)), ("max", json!(null))]
        {
            let mut wrong = good.clone();
            wrong[key] = value;
            assert!(!is_distribution(&wrong), "{wrong}");
        }
    }
}
