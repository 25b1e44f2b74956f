//! What `hostprof trace` says about time, checked for what cannot be.

use std::{collections::BTreeMap, fmt};

use anyhow::{Context as _, Result};
use serde_json::Value;

/// Nanoseconds are told as seconds in floating point: equal sums may differ by this much.
const ROUNDING: f64 = 2e-9;
const ROUNDING_NS: i128 = 4;

/// Runs of a comparison with another instrument, of which one has to be undisturbed.
const RUNS: usize = 5;

/// Two times that are not what they should be to each other. Nothing else may come right in another run.
#[derive(Debug)]
pub struct Disturbed(String);

impl fmt::Display for Disturbed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Disturbed {}

/// Compares with another instrument, again where `run` ends with [`Disturbed`]. On a machine with other work a program
/// waits for a processor between the two now and then; what hostprof measures wrongly it does in each run.
pub fn undisturbed(mut run: impl FnMut() -> Result<()>) -> Result<()> {
    for number in 1..RUNS {
        match run() {
            Err(error) if error.is::<Disturbed>() => println!("run {number} of {RUNS}: {error:#}"),
            other => return other,
        }
    }
    run().context("in each of several runs")
}

/// A comparison of times, for [`undisturbed`].
pub fn in_time(holds: bool, otherwise: impl FnOnce() -> String) -> Result<(), Disturbed> {
    if holds { Ok(()) } else { Err(Disturbed(otherwise())) }
}

/// Why the times of a traced exchange are impossible; none if they are not.
pub fn impossible(line: &Value) -> Option<String> {
    let seconds = |value: &Value| value.as_f64();
    let fail = |what: &str| Some(format!("{what}: {line}"));
    let duration = seconds(&line["duration"]);
    if duration.is_some_and(|duration| !(0.0..600.0).contains(&duration)) {
        return fail("a duration that nothing here takes");
    }
    if seconds(&line["queue"]).is_some_and(|queue| queue < 0.0 || Some(queue) > duration) {
        return fail("read before it arrived, or after its end");
    }
    let first_byte = seconds(&line["first_byte"]);
    if first_byte.is_some_and(|first| first < 0.0 || Some(first) > duration) {
        return fail("its first byte is not within it");
    }
    let phases = ["queue", "receive", "serve", "send"].map(|phase| seconds(&line["phases"][phase]));
    if phases.iter().flatten().any(|phase| *phase < 0.0) {
        return fail("a phase that ends before it begins");
    }
    let whole: f64 = phases.iter().flatten().sum();
    let known = phases[1..].iter().all(Option::is_some) && line["clock"].is_string();
    // What waits for accept() has not all of its duration behind it: it may have come meanwhile.
    let accept = seconds(&line["phases"]["accept"]).unwrap_or(0.0);
    let missing = duration.map_or(f64::INFINITY, |duration| duration - whole);
    if known && !(-ROUNDING..=accept + ROUNDING).contains(&missing) {
        return fail("phases that are not the whole");
    }
    None
}

/// The first exchange that began before the one before it on its connection was answered, among clients that wait for
/// each answer. Only for connections that have ports to be told by.
pub fn overlapping<'a>(lines: impl IntoIterator<Item = &'a Value>) -> Option<String> {
    let mut connections: BTreeMap<[String; 4], Vec<(i128, &Value)>> = BTreeMap::new();
    let exchanges = lines.into_iter().filter(|line| line["type"] == "exchange");
    for line in exchanges.filter(|line| !line["local"].as_str().unwrap_or("unix").starts_with("unix")) {
        let key = ["pid", "role", "local", "peer"].map(|field| line[field].to_string());
        connections.entry(key).or_default().push((nanoseconds(line["time"].as_str()?)?, line));
    }
    connections.into_values().find_map(|mut exchanges| {
        exchanges.sort_by_key(|(end, _)| *end);
        let mut pairs = exchanges.windows(2);
        pairs.find_map(|pair| {
            let [(end, before), (next_end, after)] = pair else { return None };
            let length = |line: &Value| Some((line["duration"].as_f64()? * 1e9) as i128);
            let sum = |phases: &[&str]| {
                phases.iter().filter_map(|phase| before["phases"][*phase].as_f64()).sum::<f64>()
            };
            // A client reads the response whole, then asks again. A server has read the request; the response's write
            // may return when the client has it already.
            let earliest = if before["role"] == "client" {
                *end
            } else {
                end - length(before)? + (sum(&["queue", "receive"]) * 1e9) as i128
            };
            let begun = next_end - length(after)?;
            (begun + ROUNDING_NS < earliest)
                .then(|| format!("{} ns too early:\n{before}\n{after}", earliest - begun))
        })
    })
}

/// Of an RFC 3339 time in UTC with nanoseconds: those since 1970.
pub fn nanoseconds(time: &str) -> Option<i128> {
    let mut parts = time.trim_end_matches('Z').split(['-', 'T', ':', '.']);
    let mut next = || parts.next()?.parse::<i128>().ok();
    // Years begin in March, so that a leap day is the last.
    let months = next()? * 12 + next()? - 3;
    let (year, month) = (months.div_euclid(12), months.rem_euclid(12));
    let leap_days = year / 4 - year / 100 + year / 400;
    let days = 365 * year + leap_days + (153 * month + 2) / 5 + next()? - 719_469;
    let seconds = ((days * 24 + next()?) * 60 + next()?) * 60 + next()?;
    Some(seconds * 1_000_000_000 + next()?)
}

/// A clock of the kernel's, ns.
pub fn now(clock: libc::clockid_t) -> u64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the kernel writes one timespec; a clock that every Linux has cannot fail.
    unsafe { libc::clock_gettime(clock, &raw mut time) };
    time.tv_sec.cast_unsigned() * 1_000_000_000 + time.tv_nsec.cast_unsigned()
}

/// The middle one, or the upper of the two.
pub fn median(samples: impl IntoIterator<Item = f64>) -> f64 {
    let mut sorted: Vec<_> = samples.into_iter().collect();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied().unwrap_or(f64::NAN)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn times_are_compared_again_and_nothing_else_is() {
        let mut runs = 0;
        let mut run = |disturbed: usize| {
            runs += 1;
            in_time(runs > disturbed, || format!("run {runs}"))?;
            Ok(())
        };
        undisturbed(|| run(2)).unwrap();
        assert_eq!(runs, 3);
        let mut runs = 0;
        let late = undisturbed(|| {
            runs += 1;
            Ok(in_time(false, || format!("run {runs}"))?)
        });
        assert!(late.is_err());
        assert_eq!(runs, RUNS);
        let mut runs = 0;
        let wrong = undisturbed(|| {
            runs += 1;
            anyhow::bail!("a wrong status")
        });
        assert_eq!((wrong.unwrap_err().to_string().as_str(), runs), ("a wrong status", 1));
    }

    #[test]
    fn what_cannot_be_is_found() {
        let good = json!({ "clock": "arrival", "duration": 0.010, "first_byte": 0.008, "queue": 0.001,
            "phases": { "queue": 0.001, "receive": 0.0, "serve": 0.007, "send": 0.002 } });
        assert_eq!(impossible(&good), None);
        for (pointer, value) in [
            ("/duration", -0.010),
            ("/duration", 0.012),
            ("/duration", 9e9),
            ("/queue", 0.011),
            ("/first_byte", 0.011),
            ("/phases/receive", -0.001),
        ] {
            let mut bad = good.clone();
            *bad.pointer_mut(pointer).unwrap() = value.into();
            assert!(impossible(&bad).is_some(), "{pointer} {value}");
        }
    }

    #[test]
    fn an_exchange_that_began_too_early_is_found() {
        let at = |role: &str, time: &str, duration: f64| {
            json!({ "type": "exchange", "pid": 1, "role": role, "local": "127.0.0.1:80", "peer": "127.0.0.1:9", "duration": duration,
                "time": format!("2026-11-30T23:59:{time}Z"), "phases": { "queue": 0.001, "receive": 0.002 } })
        };
        let before = at("client", "10.000000000", 0.5);
        assert_eq!(overlapping([&before, &at("client", "10.300000000", 0.3)]), None);
        assert!(overlapping([&at("client", "10.300000000", 0.300_001), &before]).is_some());
        let before = at("server", "10.000000000", 0.5);
        assert_eq!(overlapping([&before, &at("server", "10.300000000", 0.797)]), None);
        assert!(overlapping([&before, &at("server", "10.300000000", 0.798)]).is_some());
    }

    #[test]
    fn times_are_counted_from_1970() {
        for (time, seconds) in [
            ("1970-01-01T00:00:00.000000000Z", 0),
            ("2000-02-29T23:59:59.000000000Z", 951_868_799),
            ("2026-11-21T16:00:00.000000000Z", 1_795_276_800),
        ] {
            assert_eq!(nanoseconds(time), Some(seconds * 1_000_000_000), "{time}");
        }
    }

    #[test]
    fn the_median_is_in_the_middle() {
        assert_eq!(median([3.0, 1.0, 2.0]), 2.0);
        assert!(median([]).is_nan());
    }
}
