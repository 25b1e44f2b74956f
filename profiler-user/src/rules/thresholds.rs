//! Thresholds: the numbers that a rule judges by. Each has a default and a unit; the tables `[rules.<id>]` of the
//! settings file change them. In comes a table of the file, out go numbers; what names no rule and no threshold is an
//! error that says so.

use std::collections::BTreeMap;
use std::fmt;

use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, Visitor};

use super::{ALL, Rule};
use crate::config::duration;

/// The key that every rule has: `false` turns it off.
const ENABLED: &str = "enabled";

/// A number that a rule judges by.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Threshold {
    /// Its key in the table of the rule.
    pub key: &'static str,
    pub unit: Unit,
    pub default: f64,
    /// What is compared with it.
    pub meaning: &'static str,
}

/// What a threshold counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// In a file a time such as `"100ms"`.
    Seconds,
    /// A whole number.
    Count,
    /// A part of a whole, from 0 to 1.
    Share,
    /// So many a second.
    PerSecond,
}

/// What the operator has set of them; the rest is the defaults.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Thresholds {
    set: BTreeMap<(&'static str, &'static str), f64>,
    off: Vec<&'static str>,
}

impl Thresholds {
    /// The value of a rule's threshold, in its unit.
    pub fn of(&self, rule: &'static str, threshold: &Threshold) -> f64 {
        self.set.get(&(rule, threshold.key)).copied().unwrap_or(threshold.default)
    }

    /// Whether a rule is to be applied.
    pub fn enabled(&self, rule: &str) -> bool {
        !self.off.contains(&rule)
    }

    /// The same with another value.
    #[cfg(test)]
    pub(super) fn with(mut self, rule: &'static str, threshold: &Threshold, value: f64) -> Self {
        self.set.insert((rule, threshold.key), value);
        self
    }
}

impl fmt::Display for Unit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Seconds => "a time such as \"100ms\"",
            Self::Count => "a whole number",
            Self::Share => "a number from 0 to 1",
            Self::PerSecond => "a number, per second",
        })
    }
}

/// What stands in a file behind a key.
#[derive(Deserialize)]
#[serde(untagged)]
enum Written {
    Flag(bool),
    Whole(u64),
    Number(f64),
    Text(String),
}

/// A value in its unit; None where it is another's.
fn value(unit: Unit, written: &Written) -> Option<f64> {
    match (unit, written) {
        (Unit::Seconds, Written::Text(text)) => duration(text).ok().map(|time| time.as_secs_f64()),
        (Unit::Count, Written::Whole(count)) => Some(*count as f64),
        (Unit::Share, Written::Whole(share)) => Some(*share as f64).filter(|share| *share <= 1.0),
        (Unit::Share, Written::Number(share)) => Some(*share).filter(|share| (0.0..=1.0).contains(share)),
        (Unit::PerSecond, Written::Whole(rate)) => Some(*rate as f64),
        (Unit::PerSecond, Written::Number(rate)) => {
            Some(*rate).filter(|rate| rate.is_finite() && *rate >= 0.0)
        }
        _ => None,
    }
}

/// The names in a list, for a person who has misspelled one.
fn listed<'a>(names: impl Iterator<Item = &'a str>) -> String {
    names.collect::<Vec<_>>().join(", ")
}

/// A name that must be one of several. Refused while the name is read, so that the error points at it.
struct OneOf<F>(F);

impl<'de, T, F: FnOnce(&str) -> Result<T, String>> DeserializeSeed<'de> for OneOf<F> {
    type Value = T;

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<T, D::Error> {
        let name = String::deserialize(from)?;
        (self.0)(&name).map_err(Error::custom)
    }
}

fn rule(name: &str) -> Result<&'static dyn Rule, String> {
    ALL.iter().find(|rule| rule.id() == name).copied().ok_or_else(|| {
        format!("there is no rule `{name}` here; the rules are {}", listed(ALL.iter().map(|rule| rule.id())))
    })
}

/// A threshold of a rule, or None for the switch.
fn threshold(rule: &'static dyn Rule, key: &str) -> Result<Option<&'static Threshold>, String> {
    if key == ENABLED {
        return Ok(None);
    }
    let own = rule.thresholds();
    own.iter().find(|threshold| threshold.key == key).map(Some).ok_or_else(|| {
        let keys = listed(own.iter().map(|threshold| threshold.key).chain([ENABLED]));
        format!("the rule `{}` has no key `{key}`; its keys are {keys}", rule.id())
    })
}

/// What a key of a rule's table sets.
enum Set {
    On,
    Off,
    Number(f64),
}

/// The value of a threshold, or of the switch.
struct Value(Option<&'static Threshold>);

impl<'de> DeserializeSeed<'de> for Value {
    type Value = Set;

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<Set, D::Error> {
        let written = Written::deserialize(from)?;
        match (self.0, &written) {
            (None, Written::Flag(true)) => Ok(Set::On),
            (None, Written::Flag(false)) => Ok(Set::Off),
            (None, _) => Err(Error::custom(format!("`{ENABLED}` is true or false"))),
            (Some(threshold), written) => {
                let wrong = || Error::custom(format!("`{}` is {}", threshold.key, threshold.unit));
                value(threshold.unit, written).map(Set::Number).ok_or_else(wrong)
            }
        }
    }
}

/// The table of one rule, read into all thresholds.
struct Table<'a>(&'static dyn Rule, &'a mut Thresholds);

impl<'de> DeserializeSeed<'de> for Table<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<(), D::Error> {
        from.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Table<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a table of thresholds, `[rules.{}]`", self.0.id())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let Self(rule, thresholds) = self;
        while let Some(threshold) = map.next_key_seed(OneOf(|key: &str| threshold(rule, key)))? {
            match (threshold, map.next_value_seed(Value(threshold))?) {
                (Some(threshold), Set::Number(value)) => {
                    thresholds.set.insert((rule.id(), threshold.key), value);
                }
                (_, Set::Off) => thresholds.off.push(rule.id()),
                _ => {}
            }
        }
        Ok(())
    }
}

impl<'de> Deserialize<'de> for Thresholds {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Tables;
        impl<'de> Visitor<'de> for Tables {
            type Value = Thresholds;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("tables of rules, such as `[rules.event-loop-blocked]`")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Thresholds, A::Error> {
                let mut thresholds = Thresholds::default();
                while let Some(rule) = map.next_key_seed(OneOf(rule))? {
                    map.next_value_seed(Table(rule, &mut thresholds))?;
                }
                Ok(thresholds)
            }
        }
        from.deserialize_map(Tables)
    }
}

#[cfg(test)]
mod tests {
    use super::super::event_loop_blocked;
    use super::*;

    const ID: &str = event_loop_blocked::ID;

    #[derive(Debug, Deserialize)]
    struct File {
        rules: Thresholds,
    }

    fn read(text: &str) -> Result<Thresholds, String> {
        toml::from_str::<File>(text).map(|file| file.rules).map_err(|error| error.to_string())
    }

    #[test]
    fn a_table_changes_what_it_names() {
        let own = &event_loop_blocked::STALL;
        let set = read("[rules.event-loop-blocked]\nstall = \"2s\"").unwrap();
        assert_eq!(set.of(ID, own), 2.0);
        assert!(set.enabled(ID));
        assert_eq!(Thresholds::default().of(ID, own), 0.1);
        let off = read("[rules.event-loop-blocked]\nenabled = false").unwrap();
        assert!(!off.enabled(ID) && off.enabled("event-loop-lag"));
    }

    #[test]
    fn what_is_wrong_is_named_where_it_stands() {
        for (text, at, says) in [
            ("[rules.event-loop-blokked]\nstall = \"2s\"", "line 1", "no rule `event-loop-blokked`"),
            ("[rules.event-loop-blocked]\nstal = \"2s\"", "line 2", "no key `stal`"),
            ("[rules.event-loop-blocked]\nstall = 2", "line 2", "`stall` is a time"),
            ("[rules.event-loop-blocked]\nstall = \"soon\"", "line 2", "`stall` is a time"),
            ("[rules.event-loop-blocked]\nenabled = 1", "line 2", "`enabled` is true or false"),
            ("[rules]\nevent-loop-blocked = 3", "line 2", "[rules.event-loop-blocked]"),
            ("rules = 3", "line 1", "tables of rules"),
        ] {
            let error = read(text).unwrap_err();
            assert!(error.contains(at) && error.contains(says), "{text}: {error}");
        }
    }

    #[test]
    fn values_have_the_unit_of_their_threshold() {
        let text = |text: &str| Written::Text(text.into());
        assert_eq!(value(Unit::Seconds, &text("250ms")), Some(0.25));
        assert_eq!(value(Unit::Count, &Written::Whole(3)), Some(3.0));
        assert_eq!(value(Unit::Share, &Written::Number(0.5)), Some(0.5));
        assert_eq!(value(Unit::Share, &Written::Whole(1)), Some(1.0));
        assert_eq!(value(Unit::PerSecond, &Written::Number(2.5)), Some(2.5));
        assert_eq!(value(Unit::PerSecond, &Written::Whole(50)), Some(50.0));
        for (unit, bad) in [
            (Unit::Seconds, Written::Number(0.5)),
            (Unit::Count, Written::Number(0.5)),
            (Unit::Count, text("3")),
            (Unit::Share, Written::Number(1.5)),
            (Unit::Share, Written::Whole(50)),
            (Unit::Share, Written::Number(f64::NAN)),
            (Unit::PerSecond, Written::Number(f64::INFINITY)),
            (Unit::PerSecond, Written::Number(-1.0)),
            (Unit::PerSecond, text("50/s")),
        ] {
            assert_eq!(value(unit, &bad), None, "{unit:?}");
        }
    }

    #[test]
    fn every_threshold_has_a_default_of_its_unit() {
        for rule in ALL {
            assert!(!rule.thresholds().is_empty(), "{}", rule.id());
            for threshold in rule.thresholds() {
                assert!(threshold.default > 0.0, "{} {}", rule.id(), threshold.key);
                assert!(threshold.unit != Unit::Share || threshold.default <= 1.0, "{}", rule.id());
                assert!(threshold.key != ENABLED && !threshold.meaning.is_empty(), "{}", rule.id());
            }
        }
    }
}
