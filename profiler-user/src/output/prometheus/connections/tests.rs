//! Tests of connections as metrics.

use super::*;
use crate::aggregate::Series;
use crate::output::prometheus::strict::parse;
use crate::output::prometheus::{encode, samples};
use crate::output::text::sample::{busy, connections, listener};

/// A page of made-up rows, with one value in each histogram.
fn page(report: &Report) -> String {
    let mut buckets = ConnectionBuckets::default();
    for (bucket, value) in [
        (&mut buckets.connects, 0.000_2),
        (&mut buckets.handshakes, 0.004),
        (&mut buckets.lifetimes, 0.3),
        (&mut buckets.exchanges, 1.0),
    ] {
        bucket.record(value);
    }
    let mut accepts = ConnectionBuckets::accepts();
    accepts.record(0.2);
    let rows = report
        .connections
        .iter()
        .map(|row| Series::Connection { row: Box::new(row.clone()), buckets: Box::new(buckets.clone()) });
    let listeners = report
        .listeners
        .iter()
        .map(|row| Series::Listener { row: Box::new(row.clone()), accepts: accepts.clone() });
    let rows: Vec<Series> = rows.chain(listeners).collect();
    encode(&samples(&rows, report), report)
}

fn report() -> Report {
    Report { connections: connections(), listeners: vec![listener()], ..busy() }
}

/// The lines of a family, without its head and its times of creation.
fn family(page: &str, name: &str) -> Vec<String> {
    let starts = format!("{name}{{");
    let total = format!("{name}_total{{");
    let count = format!("{name}_count{{");
    let of_family =
        |line: &&str| [&starts, &total, &count].iter().any(|start| line.starts_with(start.as_str()));
    page.lines().filter(of_family).map(str::to_owned).collect()
}

#[test]
fn counters_say_who_to_whom_and_how_it_ended() {
    let page = page(&report());
    parse(&page).unwrap_or_else(|error| panic!("{error}\n{page}"));
    let db = "service_name=\"orders\",role=\"client\",network_protocol_name=\"mysql\",network_transport=\"tcp\",\
              server_address=\"127.0.0.1\",server_port=\"3306\"";
    let clients =
        "service_name=\"orders\",role=\"server\",network_protocol_name=\"http\",network_transport=\"tcp\"";
    for line in [
        format!("hostprof_connections_established_total{{{db}}} 1290"),
        format!("hostprof_connections_established_total{{{clients}}} 41"),
        format!("hostprof_connections_closed_total{{{db},closed_by=\"us\"}} 1280"),
        format!("hostprof_connections_closed_total{{{clients},closed_by=\"peer\"}} 37"),
        format!("hostprof_connections_closed_total{{{clients},closed_by=\"reset\"}} 3"),
        format!("hostprof_connections_reset_total{{{clients}}} 3"),
        format!("hostprof_connections_reset_total{{{db}}} 0"),
        format!("hostprof_connections_gone_total{{{db}}} 0"),
        format!("hostprof_connections_live{{{db}}} 10.0"),
        format!("hostprof_connections_peak{{{db}}} 21.0"),
        format!("hostprof_connections_time_wait{{{db}}} 812.0"),
        format!("hostprof_connection_handshake_duration_seconds_bucket{{{db},le=\"0.005\"}} 1"),
        format!("hostprof_connection_duration_seconds_count{{{clients}}} 1"),
        "hostprof_connections_failed_total{service_name=\"orders\",role=\"client\",network_transport=\"tcp\",\
         server_address=\"::1\",server_port=\"9200\",error_type=\"ECONNREFUSED\"} 12"
            .to_owned(),
        "hostprof_connections_closed_total{service_name=\"cron\",role=\"client\",network_protocol_name=\"other\",\
         network_transport=\"unix\",server_address=\"/run/log.sock\"} 30"
            .to_owned(),
    ] {
        assert!(page.lines().any(|shown| shown == line), "no {line}\n{page}");
    }
    assert_eq!(family(&page, "hostprof_connections_failed").len(), 2);
    assert!(!page.contains("10.0.0.5"), "a server's clients are any number: {page}");
}

#[test]
fn an_http_clients_connections_go_by_the_conventions() {
    let mut report = report();
    report.connections.retain(|row| row.peer == "10.0.0.7:9000");
    report.connections[0].waiting = 3;
    let page = page(&report);
    let to = "service_name=\"orders\",network_protocol_name=\"http\",network_transport=\"tcp\",\
              server_address=\"10.0.0.7\",server_port=\"9000\"";
    assert_eq!(
        family(&page, "http_client_open_connections"),
        [
            format!("http_client_open_connections{{{to},http_connection_state=\"active\"}} 3.0"),
            format!("http_client_open_connections{{{to},http_connection_state=\"idle\"}} 5.0"),
        ]
    );
    assert_eq!(family(&page, "http_client_connection_duration_seconds").len(), 1);
    assert!(family(&page, "hostprof_connection_duration_seconds").is_empty(), "{page}");
}

#[test]
fn what_shares_its_labels_is_one_series() {
    let mut report = report();
    report.connections.truncate(1);
    let other = ConnectionRow { netns: 7, peer: "10.0.0.6".into(), ..report.connections[0].clone() };
    report.connections.push(ConnectionRow { peak: 40, ..other });
    report.listeners.push(ListenerRow { netns: 7, peak_backlog: 5, ..listener() });
    let page = page(&report);
    parse(&page).unwrap_or_else(|error| panic!("{error}\n{page}"));
    let value = |name: &str| {
        let lines = family(&page, name);
        assert_eq!(lines.len(), 1, "{lines:?}");
        lines[0].rsplit(' ').next().unwrap().parse::<f64>().unwrap()
    };
    assert_eq!(value("hostprof_connections_established"), 82.0);
    assert_eq!(value("hostprof_connections_live"), 2.0);
    assert_eq!(value("hostprof_connections_peak"), 40.0);
    assert_eq!(value("hostprof_listener_overflows"), 4.0);
    assert_eq!(value("hostprof_listener_requests"), 6_110.0);
    assert_eq!(value("hostprof_listener_workers"), 2.0);
    assert_eq!(value("hostprof_listener_in_flight"), 6.0);
    assert_eq!(value("hostprof_listener_in_flight_peak"), 50.0);
    assert_eq!(value("hostprof_listener_backlog"), 0.0);
    assert_eq!(value("hostprof_listener_backlog_peak"), 12.0);
    assert_eq!(value("hostprof_listener_backlog_max"), 256.0);
    assert_eq!(value("hostprof_connection_accept_wait_seconds"), 2.0);
}

#[test]
fn what_found_no_row_says_so() {
    let row = ConnectionRow { peer: OVERFLOW.into(), role: Role::Client, ..connections()[1].clone() };
    let labels: Labels = labels(&row).into_iter().filter(|(_, value)| !value.is_empty()).collect();
    assert_eq!(
        labels,
        [
            ("role", "client".to_owned()),
            ("network_protocol_name", "mysql".to_owned()),
            ("otel_metric_overflow", "true".to_owned())
        ]
    );
}
