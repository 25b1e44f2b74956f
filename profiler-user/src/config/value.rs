//! Values of settings: text of a flag or of a key in a file goes in, a time, a size or a route's pattern comes out, or
//! what is wrong with it. Flags and keys are read by the same functions, so both take the same words.

use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Deserializer};

use crate::parse::route::Pattern;

/// A time such as `100ms`, `30s`, `1m30s`, or `0.5s`. It has a unit: a bare number may be meant as seconds or as
/// milliseconds.
pub fn duration(text: &str) -> Result<Duration, String> {
    let wrong = || format!("{text:?} is no time: write it like 100ms, 30s or 1m30s");
    let time = jiff::SignedDuration::from_str(text).map_err(|_| wrong())?;
    Duration::try_from(time).ok().filter(|d| !d.is_zero()).ok_or_else(wrong)
}

/// How long to run: a time, or a bare number of seconds, as `sleep` and `timeout` take it.
pub fn length(text: &str) -> Result<Duration, String> {
    if text.is_empty() || !text.bytes().all(|b| b.is_ascii_digit() || b == b'.') {
        return duration(text);
    }
    let seconds = text.parse().ok().and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    seconds
        .filter(|d| !d.is_zero())
        .ok_or_else(|| format!("{text:?} is no time to run: write it like 30, 30s or 1m30s"))
}

/// A size such as `65536`, `512K`, `4M` or `4MiB`, bytes.
pub(super) fn bytes(text: &str) -> Result<u32, String> {
    let digits = text.trim_end_matches(|c: char| !c.is_ascii_digit());
    let factor: u32 = match text[digits.len()..].to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "k" | "kb" | "kib" => 1 << 10,
        "m" | "mb" | "mib" => 1 << 20,
        "g" | "gb" | "gib" => 1 << 30,
        _ => return Err(format!("{text:?} is no size: write it like 65536, 512K or 4M")),
    };
    let size = digits.parse::<u32>().ok().and_then(|n| n.checked_mul(factor));
    size.filter(|n| (4_096..=1 << 30).contains(n)).ok_or_else(|| format!("{text:?} is not from 4K to 1G"))
}

pub(super) fn duration_key<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Duration>, D::Error> {
    let text = String::deserialize(from)?;
    duration(&text).map(Some).map_err(serde::de::Error::custom)
}

/// A bare number is one in TOML too: `duration = 30`.
pub(super) fn length_key<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Duration>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Length {
        Whole(i64),
        Number(f64),
        Text(String),
    }
    let text = match Length::deserialize(from)? {
        Length::Whole(n) => n.to_string(),
        Length::Number(n) => n.to_string(),
        Length::Text(text) => text,
    };
    length(&text).map(Some).map_err(serde::de::Error::custom)
}

pub(super) fn bytes_key<'de, D: Deserializer<'de>>(from: D) -> Result<Option<u32>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Size {
        Number(u32),
        Text(String),
    }
    let text = match Size::deserialize(from)? {
        Size::Number(n) => n.to_string(),
        Size::Text(text) => text,
    };
    bytes(&text).map(Some).map_err(serde::de::Error::custom)
}

pub(super) fn patterns_key<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<Pattern>, D::Error> {
    let texts = Vec::<String>::deserialize(from)?;
    texts.iter().map(|t| Pattern::from_str(t).map_err(serde::de::Error::custom)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_and_sizes() {
        assert_eq!(duration("100ms"), Ok(Duration::from_millis(100)));
        assert_eq!(duration("1m30s"), Ok(Duration::from_secs(90)));
        for bad in ["", "5", "0s", "-3s", "soon"] {
            assert!(duration(bad).is_err(), "{bad}");
        }
        for (text, milliseconds) in
            [("30", 30_000), ("0.5", 500), (".5", 500), ("007", 7_000), ("100ms", 100), ("1m30s", 90_000)]
        {
            assert_eq!(length(text), Ok(Duration::from_millis(milliseconds)), "{text}");
        }
        for bad in [
            "",
            "0",
            "0.0",
            ".",
            "1.2.3",
            "-3",
            "+3",
            "1e3",
            "inf",
            "NaN",
            "3 0",
            "0s",
            "soon",
            &"9".repeat(40),
        ] {
            assert!(length(bad).is_err(), "{bad}");
        }
        assert_eq!(bytes("4M"), Ok(4 << 20));
        assert_eq!(bytes("8192"), Ok(8_192));
        for bad in ["", "M", "1", "9G", "4X", "-1"] {
            assert!(bytes(bad).is_err(), "{bad}");
        }
    }
}
