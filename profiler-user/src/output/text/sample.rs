//! A made-up report for the tests of the outputs.

use crate::report::{
    Capture, Clock, ClosedBy, ConnectionRow, Container, Distribution, Hooks, Host, HttpRow, ListenerRow,
    MysqlRow, Report, Role, RouteSource, SCHEMA, Service, Window,
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

/// Connections of all sorts, of [`busy`]'s first service and of one without exchanges.
pub(crate) fn connections() -> Vec<ConnectionRow> {
    let known = |count, median| Some(distribution(count, median));
    let us = |us| ClosedBy { us, ..ClosedBy::default() };
    let client = ConnectionRow {
        service: "orders-1".into(),
        role: Role::Client,
        netns: 4_026_531_840,
        ..ConnectionRow::default()
    };
    let churn = ConnectionRow {
        peer: "127.0.0.1:3306".into(),
        peer_name: Some("db".into()),
        protocol: "mysql".into(),
        established: 1_290,
        attempted: 1_290,
        closed: 1_280,
        closed_by: us(1_280),
        live: 10,
        peak: 21,
        exchanges: 1_534,
        exchanges_per_connection: known(1_280, 1.2),
        connect: known(1_290, 0.000_12),
        handshake: known(1_290, 0.004_2),
        lifetime: known(1_280, 0.008_3),
        time_wait: Some(812),
        busy_seconds: 1.5,
        idle_seconds: 9.0,
        opening_seconds: 30,
        ..client.clone()
    };
    let gone = ConnectionRow {
        peer: "10.0.0.9:3306".into(),
        protocol: "mysql".into(),
        established: 5,
        attempted: 5,
        closed: 4,
        closed_by: ClosedBy { peer: 4, ..ClosedBy::default() },
        live: 1,
        peak: 5,
        exchanges: 60,
        exchanges_per_connection: known(4, 12.0),
        connect: known(5, 0.000_3),
        handshake: known(5, 0.005),
        lifetime: known(4, 12.3),
        gone: 4,
        gone_idle: known(4, 8.0),
        gone_by: [("4031".to_owned(), 4)].into(),
        farewells: [("4031".to_owned(), 4), ("1927".to_owned(), 1)].into(),
        open_transactions: 1,
        longest_open_transaction: Some(11.5),
        ..client.clone()
    };
    let refused = ConnectionRow {
        peer: "[::1]:9200".into(),
        protocol: "unknown".into(),
        attempted: 13,
        failed: [("ECONNREFUSED".to_owned(), 12), ("abandoned".to_owned(), 1)].into(),
        ..client.clone()
    };
    let pool = ConnectionRow {
        peer: "10.0.0.7:9000".into(),
        protocol: "http".into(),
        preexisting: 8,
        live: 8,
        peak: 8,
        exchanges: 310,
        ..client.clone()
    };
    let served = ConnectionRow {
        role: Role::Server,
        peer: "10.0.0.5".into(),
        protocol: "http".into(),
        established: 41,
        closed: 40,
        closed_by: ClosedBy { peer: 37, reset: 3, ..ClosedBy::default() },
        live: 1,
        peak: 12,
        exchanges: 3_055,
        exchanges_per_connection: known(40, 76.0),
        lifetime: known(40, 20.0),
        accept_wait: known(41, 0.3),
        cut: 3,
        cut_by: ClosedBy { reset: 3, ..ClosedBy::default() },
        ..client.clone()
    };
    let of_other = ConnectionRow {
        service: "cron-1".into(),
        peer: "unix:/run/log.sock".into(),
        protocol: "other".into(),
        established: 30,
        attempted: 30,
        closed: 30,
        closed_by: ClosedBy { unknown: 30, ..ClosedBy::default() },
        peak: 1,
        lifetime: known(30, 0.001),
        ..client
    };
    vec![served, churn, gone, refused, pool, of_other]
}

/// A listener of [`busy`]'s service where requests wait.
pub(crate) fn listener() -> ListenerRow {
    ListenerRow {
        service: "orders-1".into(),
        address: "127.0.0.1:8080".into(),
        netns: 4_026_531_840,
        workers: 1,
        processes: 1,
        in_flight: 3,
        peak_in_flight: 50,
        requests: 3_055,
        backlog: 0,
        peak_backlog: 12,
        backlog_max: Some(128),
        overflows: 2,
        closed_at: Vec::new(),
        accept_wait: Some(distribution(41, 0.3)),
        queue: Some(distribution(3_055, 0.2)),
        concurrency: 0.9,
        cpu: Some(0.42),
        oldest_waiting: Some(6.2),
        unread: 2,
        silent: Some(5.5),
        silence: Some(5.5),
        longest_silence: 5.5,
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
