//! A made-up report for the tests of the outputs.

use crate::report::{
    Capture, Clock, Container, Distribution, Hooks, Host, HttpRow, MysqlRow, Report, Role, RouteSource,
    SCHEMA, Service, Window,
};

/// A recording in which nothing happened.
pub(crate) fn empty() -> Report {
    Report {
        schema: SCHEMA.into(),
        version: "0.1.0".into(),
        host: Host { name: "web1".into(), kernel: "6.8.0-45-generic".into(), cpus: 8, boot_id: None },
        window: Window {
            start: "2026-09-01T12:00:00.250000000Z".into(),
            end: "2026-09-01T12:00:30.250000000Z".into(),
            seconds: 30.0,
        },
        capture: Capture {
            hooks: Hooks {
                socket: "sock-tracepoints".into(),
                arrival: Some("sock_def_readable".into()),
                ..Hooks::default()
            },
            ..Capture::default()
        },
        services: Vec::new(),
        http: Vec::new(),
        mysql: Vec::new(),
        event_loops: Vec::new(),
        connections: Vec::new(),
        listeners: Vec::new(),
        findings: Vec::new(),
        undecided: Vec::new(),
    }
}

/// A host with a service, its database and a few faults.
pub(crate) fn busy() -> Report {
    let mut report = empty();
    report.capture.records = 12_410;
    report.capture.lost = [("ring_full".to_owned(), 12), ("head_unreadable".to_owned(), 0)].into();
    report.capture.not_parsed = [("tls".to_owned(), 3), ("other_protocol".to_owned(), 41)].into();
    report.capture.half_seen = 4;
    report.capture.streams = 1;
    report.capture.limits =
        vec!["Without CAP_SYS_PTRACE the names of other users' processes are unknown.".into()];
    report.capture.agent_cpu_seconds = Some(0.21);
    report.capture.agent_peak_rss = Some(23_400_000);
    report.services = vec![
        Service {
            id: "orders-1".into(),
            name: "orders".into(),
            pids: vec![4242, 4243],
            runtime: Some("python".into()),
            listens: vec!["127.0.0.1:8080".into()],
            container: Some(Container { id: "3f4e5d6c7b8a99887766".into() }),
            ..Service::default()
        },
        Service { id: "cron-1".into(), name: "cron".into(), ..Service::default() },
    ];
    report.http = vec![
        http_row("GET", "/orders/{id}", Some(200), 3_012, 0.004),
        http_row("GET", "/export", Some(200), 30, 0.262),
        HttpRow { error_type: Some("500".into()), ..http_row("GET", "/orders/{id}", Some(500), 12, 0.002) },
        HttpRow { error_type: Some("ECONNRESET".into()), ..http_row("POST", "/upload", None, 1, 1.5) },
        HttpRow {
            role: Role::Client,
            peer: Some("10.0.0.7:9000".into()),
            phases: [].into(),
            ..http_row("GET", "/stock/{id}", Some(200), 310, 0.011)
        },
    ];
    report.mysql = vec![
        MysqlRow {
            rows_returned: Some(distribution(30, 500.0)),
            no_index: 30,
            duration: Some(distribution(30, 0.251)),
            count: 30,
            ..mysql_row("query", Some("SELECT id, payload FROM events WHERE note LIKE ?"))
        },
        mysql_row("execute", Some("SELECT sku, quantity, price FROM order_items WHERE order_id = ?")),
        MysqlRow {
            errors: [("1146".to_owned(), 12)].into(),
            count: 12,
            duration: Some(distribution(12, 0.0004)),
            ..mysql_row("query", Some("SELECT * FROM invoices_2019 WHERE id = ?"))
        },
        MysqlRow { duration: None, ..mysql_row("ping", None) },
    ];
    report
}

pub(crate) fn http_row(method: &str, route: &str, status: Option<u16>, count: u64, median: f64) -> HttpRow {
    HttpRow {
        service: "orders-1".into(),
        role: Role::Server,
        peer: None,
        method: method.into(),
        route: route.into(),
        route_source: RouteSource::Template,
        status,
        error_type: None,
        count,
        request_bytes: distribution(count, 120.0),
        response_bytes: distribution(count, 2_300.0),
        clock: Some(Clock::Arrival),
        duration: Some(distribution(count, median)),
        first_byte: Some(distribution(count, median * 0.9)),
        phases: [("queue".to_owned(), distribution(count, median * 0.1))].into(),
    }
}

pub(crate) fn mysql_row(command: &str, text: Option<&str>) -> MysqlRow {
    MysqlRow {
        service: "orders-1".into(),
        role: Role::Client,
        peer: Some("127.0.0.1:3306".into()),
        command: command.into(),
        digest: text.map(|_| "00c0ffee00c0ffee".into()),
        digest_text: text.map(str::to_owned),
        schema: None,
        count: 3_012,
        errors: [].into(),
        rows_returned: text.map(|_| distribution(3_012, 3.0)),
        rows_affected: None,
        request_bytes: distribution(3_012, 60.0),
        response_bytes: distribution(3_012, 400.0),
        clock: None,
        duration: Some(distribution(3_012, 0.001)),
        first_byte: None,
        no_index: 0,
        no_good_index: 0,
        server_slow: 0,
    }
}

/// Values around a median.
pub(crate) fn distribution(count: u64, median: f64) -> Distribution {
    Distribution {
        count,
        sum: median * count as f64,
        min: median * 0.5,
        p50: median,
        p90: median * 2.0,
        p95: median * 2.5,
        p99: median * 4.0,
        p999: median * 6.0,
        max: median * 8.0,
    }
}

/// Durations that take the most room.
pub(crate) fn widest() -> Distribution {
    distribution(1, 59.9)
}
