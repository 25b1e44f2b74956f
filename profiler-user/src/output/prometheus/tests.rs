//! Tests of the whole page.

use super::strict::parse;
use super::*;
use crate::output::text::sample::{busy, empty, http_row};

fn series(service: &str, metric: Metric, labels: Labels, values: &[f64]) -> Series {
    let mut buckets = Buckets::new(metric.bounds());
    values.iter().for_each(|value| buckets.record(*value));
    Series { service_name: service.into(), metric, labels, buckets }
}

#[test]
fn a_histogram_as_text() {
    let labels = http_labels(&http_row("GET", "/orders/{id}", Some(200), 1, 0.1));
    let page = encode(&[series("orders", Metric::HttpServerDuration, labels, &[0.004, 0.3, 99.0])], &empty());
    let expected = "\
# TYPE http_server_request_duration_seconds histogram
# UNIT http_server_request_duration_seconds seconds
# HELP http_server_request_duration_seconds HTTP requests served, from the arrival in the kernel to the last byte \
of the response.
http_server_request_duration_seconds_bucket{service_name=\"orders\",http_request_method=\"GET\",url_scheme=\"http\",\
http_response_status_code=\"200\",url_template=\"/orders/{id}\",le=\"0.005\"} 1
";
    assert!(page.starts_with(expected), "{page}");
    assert!(page.contains(",le=\"0.25\"} 1\n") && page.contains(",le=\"0.5\"} 2\n"), "{page}");
    assert!(page.contains(",le=\"1.0\"} 2\n") && page.contains(",le=\"+Inf\"} 3\n"), "{page}");
    assert!(page.contains("url_template=\"/orders/{id}\"} 99.304\n"), "{page}");
    assert!(page.contains("} 1788264000.25\n"), "{page}");
    parse(&page).unwrap();
}

#[test]
fn a_whole_report_is_valid() {
    let report = busy();
    let mut samples = Vec::new();
    for row in &report.http {
        samples.push(series("orders", Metric::of_http(row.role), http_labels(row), &[0.1]));
        samples.push(series("orders", Metric::HttpServerQueue, http_labels(row), &[0.1]));
    }
    for row in &report.mysql {
        samples.push(series("orders", Metric::of_mysql(row.role), mysql_labels(row), &[0.1]));
        samples.push(series("orders", Metric::of_mysql(Role::Server), mysql_labels(row), &[0.1]));
        samples.push(series("orders", Metric::DbReturnedRows, mysql_labels(row), &[3.0]));
    }
    let parsed = parse(&encode(&samples, &report)).unwrap();
    let get =
        |name: &str| parsed.iter().find(|(sample, _)| sample.starts_with(name)).map(|(_, value)| *value);
    assert_eq!(get(r#"hostprof_self_lost_total[("reason", "ring_full")]"#), Some(12.0));
    assert_eq!(get(r#"hostprof_self_lost_total[("reason", "identity_gone")]"#), Some(0.0));
    assert_eq!(get(r#"hostprof_self_lost_total[("reason", "probe_missed")]"#), Some(0.0));
    assert_eq!(get(r#"hostprof_self_not_parsed_total[("reason", "tls")]"#), Some(3.0));
    assert_eq!(get("hostprof_self_records_total[]"), Some(12_410.0));
    assert_eq!(get("hostprof_self_memory_bytes[]"), Some(23_400_000.0));
    assert_eq!(get("hostprof_mysql_errors_total["), Some(12.0));
    assert_eq!(get("hostprof_self_map_bytes"), None);
}

#[test]
fn services_of_one_name_are_merged() {
    let row = http_row("GET", "/", Some(200), 1, 0.1);
    let one = series("web", Metric::HttpServerDuration, http_labels(&row), &[0.1]);
    let parsed = parse(&encode(&[one.clone(), one], &empty())).unwrap();
    let count =
        parsed.iter().find(|(name, _)| name.starts_with("http_server_request_duration_seconds_count"));
    assert_eq!(count.map(|(_, value)| *value), Some(2.0));
}

#[test]
fn hostile_names_stay_inside_their_quotes() {
    let row = http_row("GET", "/\"} 1\nevil_total 9\\", Some(200), 1, 0.1);
    let page = encode(&[series("a\"\n\\", Metric::HttpServerDuration, http_labels(&row), &[0.1])], &empty());
    let parsed = parse(&page).unwrap();
    assert!(!parsed.keys().any(|name| name.starts_with("evil")), "{page}");
}

#[test]
fn an_empty_report_is_valid_and_what_is_no_number_left_out() {
    let mut report = empty();
    report.capture.probe_seconds = Some(f64::NAN);
    report.window.start = "yesterday".into();
    let page = encode(&[], &report);
    assert!(!page.contains("NaN") && !page.contains("_created"), "{page}");
    parse(&page).unwrap();
}

#[test]
fn the_strict_parser_refuses_what_prometheus_refuses() {
    for bad in [
        "a 1\n# EOF\n",
        "# TYPE a gauge\na 1\n",
        "# TYPE a gauge\na 1\na 1\n# EOF\n",
        "# TYPE a counter\na 1\n# EOF\n",
        "# TYPE a gauge\na NaN\n# EOF\n",
        "# TYPE a gauge\nb 1\n# EOF\n",
        "# TYPE a gauge\na{b=\"x} 1\n# EOF\n",
        "# TYPE a gauge\na{b=\"x\",b=\"y\"} 1\n# EOF\n",
        "# TYPE a gauge\n# UNIT a seconds\na 1\n# EOF\n",
    ] {
        assert!(parse(bad).is_err(), "{bad}");
    }
}
