//! The report as a whole, and what says how it came about.

use super::Field;
use super::Kind::{self, Counters, Flag, List, Name, Number, Object, OneOf, Time, Whole};
use super::connections::{CONNECTION, LISTENER};
use super::exchanges::{HTTP, MYSQL};
use super::findings::FINDING;
use super::loops::EVENT_LOOP;

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
    ("connections", true, List(&Object(CONNECTION))),
    ("listeners", true, List(&Object(LISTENER))),
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
    // An addition: the options that left them out.
    ("filters", false, List(&Name)),
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
