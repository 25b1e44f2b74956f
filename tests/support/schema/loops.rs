//! Event loops and their stalls: the rows of the report, and the lines of a trace.

use super::Field;
use super::Kind::{self, Flag, List, Name, Number, Object, OneOf, Quantiles, Time, Whole};

pub(super) const EVENT_LOOP: &[Field] = &[
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
