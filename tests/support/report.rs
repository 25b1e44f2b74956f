//! Reading a report: the rows of its tables by what a test knows about them.

use std::{collections::BTreeMap, fmt};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

/// A report of schema `hostprof.report/1`.
#[derive(Debug, Clone, PartialEq)]
pub struct Report {
    json: Value,
}

/// The rules about connections and about those who serve them.
pub const CONNECTION_RULES: [&str; 10] = [
    "connection-per-request",
    "connection-churn",
    "connection-failures",
    "pool-exhausted",
    "server-gone-away",
    "connection-held",
    "missing-timeout",
    "queue-buildup",
    "single-worker",
    "stuck-server",
];

/// Some rows of one table.
#[derive(Clone)]
pub struct Rows<'a> {
    report: &'a Report,
    rows: Vec<&'a Value>,
}

impl Report {
    pub fn parse(text: &str) -> Result<Self> {
        let json: Value = serde_json::from_str(text).context("the report is not JSON")?;
        ensure!(json["schema"] == "hostprof.report/1", "another schema: {}", json["schema"]);
        Ok(Self { json })
    }

    /// The whole of it.
    pub fn json(&self) -> &Value {
        &self.json
    }

    /// The rows of a table such as `http` or `mysql`; none if there is no such table.
    pub fn rows(&self, table: &str) -> Rows<'_> {
        let rows = self.json[table].as_array().map(|rows| rows.iter().collect()).unwrap_or_default();
        Rows { report: self, rows }
    }

    /// Faults by name, those that happened.
    pub fn lost(&self) -> BTreeMap<String, u64> {
        self.counters("lost")
    }

    /// Connections recognised but not read, by reason.
    pub fn not_parsed(&self) -> BTreeMap<String, u64> {
        self.counters("not_parsed")
    }

    /// A number of the `capture` section, such as `streams`.
    pub fn capture(&self, name: &str) -> u64 {
        self.json["capture"][name].as_u64().unwrap_or(0)
    }

    /// The findings of these rules about the services of these processes, by their ids.
    pub fn found(&self, rules: &[&str], pids: &[u32]) -> Vec<(&str, &Value)> {
        let findings = self.rows("findings").of(pids).rows.into_iter();
        let ids = findings.filter_map(|finding| Some((finding["id"].as_str()?, finding)));
        ids.filter(|(id, _)| rules.contains(id)).collect()
    }

    fn counters(&self, name: &str) -> BTreeMap<String, u64> {
        let counters = self.json["capture"][name].as_object().into_iter().flatten();
        counters
            .filter_map(|(name, count)| Some((name.clone(), count.as_u64().filter(|count| *count > 0)?)))
            .collect()
    }

    /// Whether the service called `id` has one of these processes.
    fn is_service_of(&self, id: &Value, pids: &[u32]) -> bool {
        let services = self.json["services"].as_array().into_iter().flatten();
        services.filter(|service| service["id"] == *id).any(|service| {
            let running = service["pids"].as_array().into_iter().flatten();
            running.filter_map(Value::as_u64).any(|pid| pids.iter().any(|ours| u64::from(*ours) == pid))
        })
    }
}

/// The rows alone: the report that they are of is long.
impl fmt::Debug for Rows<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_list().entries(self.rows.iter().map(|row| row.to_string())).finish()
    }
}

impl<'a> Rows<'a> {
    /// Those whose field has this value.
    pub fn with(self, field: &str, value: impl Into<Value>) -> Self {
        let value = value.into();
        self.filter(|row| row[field] == value)
    }

    /// Those of the `server` or of the `client`.
    pub fn role(self, role: &str) -> Self {
        self.with("role", role)
    }

    /// Those of the services that any of these processes belongs to.
    pub fn of(self, pids: &[u32]) -> Self {
        let report = self.report;
        self.filter(|row| report.is_service_of(&row["service"], pids))
    }

    /// Those that `keep` holds for.
    pub fn filter(mut self, keep: impl Fn(&Value) -> bool) -> Self {
        self.rows.retain(|row| keep(row));
        self
    }

    /// The exchanges of all rows together.
    pub fn count(&self) -> u64 {
        self.total(|row| row["count"].as_u64().unwrap_or(0))
    }

    /// The sum of what `number` reads from each row.
    pub fn total(&self, number: impl Fn(&Value) -> u64) -> u64 {
        self.rows.iter().map(|row| number(row)).sum()
    }

    /// The values that a field has, each once and with its number of exchanges.
    pub fn by(&self, field: &str) -> BTreeMap<String, u64> {
        let mut counts = BTreeMap::new();
        for row in &self.rows {
            let name = row[field].as_str().map_or_else(|| row[field].to_string(), str::to_owned);
            *counts.entry(name).or_default() += row["count"].as_u64().unwrap_or(0);
        }
        counts
    }

    /// The only row.
    pub fn only(&self) -> Result<&'a Value> {
        ensure!(self.rows.len() == 1, "not one row but {}: {:#?}", self.rows.len(), self.rows);
        Ok(self.rows[0])
    }

    pub fn iter(&self) -> impl Iterator<Item = &'a Value> {
        self.rows.iter().copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_found_by_process_and_field() {
        let report = Report::parse(
            r#"{"schema": "hostprof.report/1",
                "capture": {"lost": {"ring_full": 0, "series_overflow": 2}, "not_parsed": {"tls": 1}, "streams": 4},
                "services": [{"id": "a", "pids": [10, 11]}, {"id": "b", "pids": [20]}],
                "http": [{"service": "a", "role": "server", "status": 200, "route": "/x", "count": 3},
                         {"service": "a", "role": "server", "status": 404, "route": "/x", "count": 1},
                         {"service": "b", "role": "client", "status": 200, "route": "/x", "count": 4}]}"#,
        )
        .unwrap();
        let http = || report.rows("http");
        assert_eq!(http().of(&[11]).count(), 4);
        assert_eq!(http().role("client").of(&[10, 11]).count(), 0);
        assert_eq!(http().with("status", 404).only().unwrap()["count"], 1);
        assert_eq!(http().by("status"), BTreeMap::from([("200".to_owned(), 7), ("404".to_owned(), 1)]));
        assert!(http().role("server").only().is_err());
        assert_eq!(report.lost(), BTreeMap::from([("series_overflow".to_owned(), 2)]));
        assert_eq!((report.not_parsed()["tls"], report.capture("streams")), (1, 4));
        assert_eq!(report.rows("mysql").count(), 0);
    }
}
