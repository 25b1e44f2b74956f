//! Exchanges: the rows of the report, and the lines of a trace.

use super::Field;
use super::Kind::{self, Counters, Flag, Map, Name, Number, Object, OneOf, Quantiles, Time, Whole};

pub(super) const ROLE: Field = ("role", true, OneOf(&["server", "client"]));

const CLOCK: Field = ("clock", false, OneOf(&["arrival", "read"]));

const PHASES: &[&str] = &["accept", "queue", "receive", "serve", "send"];

const SOURCE: Kind = OneOf(&["pattern", "template", "overflow"]);

pub(super) const HTTP: &[Field] = &[
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

pub(super) const MYSQL: &[Field] = &[
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
