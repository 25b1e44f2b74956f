//! The public JSON of hostprof, key by key as the contract has it: a value goes in, every breach comes out. Keys that
//! the contract does not name are breaches, and so are values that are invented: empty names, negative times.

mod connections;
mod exchanges;
mod findings;
mod loops;
mod report;

use serde_json::Value;

use Kind::{Any, Counters, Flag, List, Map, Name, Number, Object, OneOf, Quantiles, Text, Time, Whole};
pub use connections::CONNECTION_LINE;
pub use exchanges::EXCHANGE;
pub use findings::FINDING_LINE;
pub use loops::STALL;
pub use report::{DOCTOR, LOST, REPORT};

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
