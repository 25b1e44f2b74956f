//! The table that comes out: measured rows go in, text and JSON come out, machine and kernel named.

use std::{fmt::Write as _, fs, thread};

use anyhow::{Context as _, Result};
use serde_json::{Value, json};

use super::spread::Spread;

/// What it was measured on.
#[derive(Debug)]
pub(super) struct Machine {
    cpu: String,
    cpus: usize,
    kernel: String,
    /// Of the last minute, when the measuring was over.
    load: String,
}

/// One thing in several setups, each measured once in each round.
#[derive(Debug)]
pub(super) struct Row {
    name: &'static str,
    unit: &'static str,
    setups: Vec<(String, Vec<f64>)>,
}

#[derive(Debug)]
pub(super) struct Table {
    pub(super) machine: Machine,
    pub(super) pairs: usize,
    pub(super) rows: Vec<Row>,
}

impl Machine {
    pub(super) fn this() -> Result<Self> {
        let read = |path: &str| fs::read_to_string(path).with_context(|| format!("failed to read {path}"));
        let info = read("/proc/cpuinfo")?;
        let model = info.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
        Ok(Self {
            cpu: model.map_or("unknown", |(_, name)| name).to_owned(),
            cpus: thread::available_parallelism().context("failed to count the CPUs")?.get(),
            kernel: read("/proc/sys/kernel/osrelease")?.trim().to_owned(),
            load: read("/proc/loadavg")?.split(' ').next().unwrap_or_default().to_owned(),
        })
    }
}

impl Row {
    /// The first setup is what the others are compared with.
    pub(super) fn new(
        name: &'static str,
        unit: &'static str,
        setups: impl IntoIterator<Item = (String, Vec<f64>)>,
    ) -> Self {
        Self { name, unit, setups: setups.into_iter().collect() }
    }

    /// Each setup with what it took and with the difference to the first.
    fn compared(&self) -> Vec<(&str, Spread, Option<Spread>)> {
        let mut compared = Vec::new();
        let mut first = None;
        for (name, values) in &self.setups {
            let difference = first.and_then(|first| Spread::of_pairs(values, first));
            first = first.or(Some(values));
            compared.extend(Spread::of(values).map(|spread| (name.as_str(), spread, difference)));
        }
        compared
    }
}

impl Table {
    pub(super) fn text(&self) -> String {
        let Machine { cpu, cpus, kernel, load } = &self.machine;
        let mut text = format!("{cpus} x {cpu}, Linux {kernel}, load {load}; {} rounds\n", self.pairs);
        for row in &self.rows {
            let _ = writeln!(text, "\n{}, {}: median (range)", row.name, row.unit);
            for (name, took, difference) in row.compared() {
                let took = format!("{:.1} ({:.1} to {:.1})", took.median, took.least, took.most);
                let more = difference.map_or(String::new(), |more| {
                    format!("{:+.1} ({:+.1} to {:+.1})", more.median, more.least, more.most)
                });
                let line = format!("  {name:<50} {took:<28} {more}");
                let _ = writeln!(text, "{}", line.trim_end());
            }
        }
        text
    }

    pub(super) fn json(&self) -> Value {
        let Machine { cpu, cpus, kernel, load } = &self.machine;
        let rows = self.rows.iter().map(|row| {
            let setups = row.compared().into_iter().map(|(name, took, difference)| {
                let values = row.setups.iter().find(|(of, _)| of == name).map(|(_, values)| values);
                let difference = difference.map(Spread::json);
                json!({ "setup": name, "took": took.json(), "difference": difference, "values": values })
            });
            json!({ "name": row.name, "unit": row.unit, "setups": setups.collect::<Vec<_>>() })
        });
        json!({ "machine": { "cpu": cpu, "cpus": cpus, "kernel": kernel, "load": load }, "rounds": self.pairs,
            "rows": rows.collect::<Vec<_>>() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_setup_is_compared_with_the_first() {
        let machine = Machine { cpu: "CPU".into(), cpus: 2, kernel: "6.18".into(), load: "0.10".into() };
        let setups = [("off".to_owned(), vec![10.0, 20.0]), ("on".to_owned(), vec![11.0, 23.0])];
        let table = Table { machine, pairs: 2, rows: vec![Row::new("a call", "ns", setups)] };
        let text = table.text();
        assert!(text.starts_with("2 x CPU, Linux 6.18, load 0.10; 2 rounds\n"), "{text}");
        let lines: Vec<_> = text.lines().map(|line| line.split_whitespace().collect::<Vec<_>>()).collect();
        assert_eq!(lines[3], ["off", "15.0", "(10.0", "to", "20.0)"]);
        assert_eq!(lines[4], ["on", "17.0", "(11.0", "to", "23.0)", "+2.0", "(+1.0", "to", "+3.0)"]);
        let json = table.json();
        assert_eq!(json["rows"][0]["setups"][1]["difference"]["median"], 2.0);
        assert_eq!(json["rows"][0]["setups"][0]["difference"], Value::Null);
    }
}
