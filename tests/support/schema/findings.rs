//! Findings: in the report, and the lines of a trace.

use super::Field;
use super::Kind::{self, Any, Flag, Name, Object, OneOf, Time, Whole};

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

pub(super) const FINDING: &[Field] = finding!();

/// A line of `trace --format json` that tells of a finding.
pub const FINDING_LINE: Kind = Object(finding!(
    ("type", true, OneOf(&["finding"])),
    ("time", true, Time),
    ("event", true, OneOf(&["begun", "over", "found"]))
));
