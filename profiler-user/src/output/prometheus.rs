//! A finished report as OpenMetrics text: `.prom` files for node_exporter's textfile collector and for import.
//!
//! Comes in: histograms by series, which the aggregate stage counts beside its sketches, and the report for all the
//! rest. Names follow OpenTelemetry's semantic conventions by the Prometheus mapping (contract, section 3).
//! The encoder is our own: the `prometheus-client` crate writes no `_created` samples.

mod connections;
mod labels;
mod loops;
mod metric;
mod page;

use std::collections::BTreeMap;

pub use labels::{Labels, http_labels, mysql_labels};
pub use metric::Metric;
use page::Page;

use crate::aggregate;
use crate::aggregate::buckets::Buckets;
use crate::report::{Report, Role};

/// Reasons of loss that are exported even at 0, so that an alert has a series before the first fault.
const LOST_REASONS: [&str; 15] = [
    "ring_full",
    "connection_table_full",
    "head_unreadable",
    "pipeline_too_deep",
    "waiting_table_full",
    "framing_lost",
    "probe_missed",
    "notice_lost",
    "loop_table_full",
    "stall_lost",
    "listener_table_full",
    "connection_event_lost",
    "untracked_operations",
    "identity_gone",
    "series_overflow",
];

/// One histogram with its labels.
#[derive(Debug, Clone, PartialEq)]
pub struct Series {
    pub service_name: String,
    pub metric: Metric,
    /// Without `service_name`.
    pub labels: Labels,
    pub buckets: Buckets,
}

/// What people call a service.
fn name_of(report: &Report, id: &str) -> String {
    let service = report.services.iter().find(|service| service.id == id);
    service.map_or(id, |service| &service.name).to_owned()
}

/// The histograms of rows, under the names of their services.
pub fn samples(rows: &[aggregate::Series], report: &Report) -> Vec<Series> {
    let mut samples = Vec::new();
    let mut add = |service: &str, metric, labels: &Labels, buckets: &Buckets| {
        let (service_name, labels) = (name_of(report, service), labels.clone());
        samples.push(Series { service_name, metric, labels, buckets: buckets.clone() });
    };
    for row in rows {
        match row {
            aggregate::Series::Http { row, durations, queues } => {
                let labels = http_labels(row);
                add(&row.service, Metric::of_http(row.role), &labels, durations);
                if queues.count > 0 {
                    add(&row.service, Metric::HttpServerQueue, &labels, queues);
                }
            }
            aggregate::Series::Loop { service, turns } => {
                add(service, Metric::EventLoopTurn, &Labels::new(), turns);
            }
            aggregate::Series::Connection { row, buckets } => {
                let labels = connections::labels(row);
                for (metric, buckets) in connections::histograms(row, buckets) {
                    add(&row.service, metric, &labels, buckets);
                }
            }
            aggregate::Series::Listener { row, accepts } => {
                if accepts.count > 0 {
                    add(&row.service, Metric::AcceptWait, &connections::listener_labels(row), accepts);
                }
            }
            aggregate::Series::Mysql { row, durations, returned } => {
                let labels = mysql_labels(row);
                add(&row.service, Metric::of_mysql(row.role), &labels, durations);
                if returned.count > 0 && row.role == Role::Client {
                    add(&row.service, Metric::DbReturnedRows, &labels, returned);
                }
            }
        }
    }
    loops::stalls(report, |row, labels, buckets| add(&row.service, Metric::EventLoopStall, labels, buckets));
    samples
}

/// The histograms and the report's counters as OpenMetrics text.
pub fn encode(samples: &[Series], report: &Report) -> String {
    // Creation times tell a reader that a smaller number is a new recording, not a counter that ran backwards.
    let start = report.window.start.parse::<jiff::Timestamp>().ok();
    let mut page = Page::new(start.map(|start| start.as_millisecond() as f64 / 1e3));
    histograms(samples, &mut page);
    mysql_errors(report, &mut page);
    connections::families(report, &mut page);
    loops::utilization(report, &mut page);
    loops::findings(report, &mut page);
    own(report, &mut page);
    page.finish()
}

/// All histograms. Series with the same labels (two services of one name) are one.
fn histograms(samples: &[Series], page: &mut Page) {
    let mut by_metric: BTreeMap<Metric, BTreeMap<Labels, Buckets>> = BTreeMap::new();
    for series in samples {
        let mut labels = vec![("service_name", series.service_name.clone())];
        labels.extend(series.labels.iter().cloned());
        by_metric
            .entry(series.metric)
            .or_default()
            .entry(labels)
            .or_insert_with(|| Buckets::new(series.metric.bounds()))
            .merge(&series.buckets);
    }
    for (metric, series) in &by_metric {
        let (name, unit, help) = metric.description();
        page.family(name, "histogram", Some(unit), help);
        for (labels, buckets) in series {
            page.histogram(name, labels, buckets);
        }
    }
}

/// MySQL's errors by number: the conventions would have them split the histograms, which would double the series.
fn mysql_errors(report: &Report, page: &mut Page) {
    let mut errors: BTreeMap<Labels, u64> = BTreeMap::new();
    for row in &report.mysql {
        for (error, count) in &row.errors {
            let mut labels = vec![("service_name", name_of(report, &row.service))];
            labels.extend(mysql_labels(row));
            labels.push(("error_type", error.clone()));
            *errors.entry(labels).or_default() += count;
        }
    }
    let name = "hostprof_mysql_errors";
    page.family(name, "counter", None, "MySQL commands that ended in an error, by the server's number.");
    for (labels, count) in &errors {
        page.counter(name, labels, *count);
    }
}

/// What hostprof says about itself: nothing is lost silently.
fn own(report: &Report, page: &mut Page) {
    let capture = &report.capture;
    let reasons = |counters: &crate::report::Counters, known: &[&str]| -> BTreeMap<String, u64> {
        let zeros = known.iter().map(|reason| ((*reason).to_owned(), 0));
        zeros.chain(counters.iter().map(|(reason, count)| (reason.clone(), *count))).collect()
    };
    let families = [
        (
            "lost",
            "What should have been reported and was not, by reason.",
            reasons(&capture.lost, &LOST_REASONS),
        ),
        ("not_parsed", "Connections recognised but not read, by reason.", reasons(&capture.not_parsed, &[])),
    ];
    for (name, help, counters) in families {
        let name = own_name(name);
        page.family(&name, "counter", None, help);
        for (reason, count) in counters {
            page.counter(&name, &[("reason", reason)], count);
        }
    }
    let counters = [
        ("records", "Records that arrived from the kernel.", capture.records),
        ("half_seen", "Exchanges begun before the recording or cut by its end.", capture.half_seen),
        ("unsolicited", "Server messages that answered nothing.", capture.unsolicited),
        (
            "head_truncated",
            "Exchanges whose head was longer than what is kept of it.",
            capture.head_truncated,
        ),
        ("streams", "Long-lived exchanges, which are in no duration.", capture.streams),
        ("filtered", "Exchanges that the filters left out.", capture.filtered),
    ];
    for (name, help, count) in counters {
        let name = own_name(name);
        page.family(&name, "counter", None, help);
        page.counter(&name, &[], count);
    }
    let gauges = [
        ("in_flight", None, "Exchanges still running at the end.", Some(capture.in_flight as f64)),
        ("window_seconds", Some("seconds"), "Length of the recording.", Some(report.window.seconds)),
        ("probe_seconds", Some("seconds"), "Run time of the probes in the kernel.", capture.probe_seconds),
        ("cpu_seconds", Some("seconds"), "CPU time of hostprof's user half.", capture.agent_cpu_seconds),
        (
            "memory_bytes",
            Some("bytes"),
            "Peak resident memory.",
            capture.agent_peak_rss.map(|size| size as f64),
        ),
        (
            "map_bytes",
            Some("bytes"),
            "Memory of the kernel's maps.",
            capture.kernel_map_bytes.map(|size| size as f64),
        ),
    ];
    for (name, unit, help, value) in gauges {
        if let Some(value) = value.filter(|value| value.is_finite()) {
            let name = own_name(name);
            page.family(&name, "gauge", unit, help);
            page.gauge(&name, &[], value);
        }
    }
}

/// The contract's `hostprof.self.*`.
fn own_name(name: &str) -> String {
    format!("hostprof_self_{name}")
}

#[cfg(test)]
mod strict;
#[cfg(test)]
mod tests;
