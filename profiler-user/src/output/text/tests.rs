//! Tests of the whole page.

use super::sample::{busy, connections, empty, listener, widest};
use super::*;

#[test]
fn a_busy_host() {
    assert_eq!(render(&busy(), &Style::plain(100)), BUSY);
}

#[test]
fn an_idle_host_is_told_what_to_check() {
    let page = render(&empty(), &Style::plain(80));
    assert!(page.contains("No HTTP or MySQL exchange was seen."), "{page}");
    assert!(page.contains("hostprof doctor"), "{page}");
}

#[test]
fn it_fits_and_never_obeys_the_wire() {
    for width in [60, 80, 100, 140] {
        let page = render(&hostile(), &Style::plain(width));
        for line in page.lines() {
            assert!(super::super::style::width(line) <= width, "{width}: {line}");
        }
        assert!(!page.chars().any(|c| c.is_control() && c != '\n'), "{page}");
        assert!(!page.contains("NaN") && !page.contains("inf"), "{page}");
    }
}

#[test]
fn rows_without_a_service_and_rows_past_the_limit_are_told() {
    let page = render(&hostile(), &Style::plain(80));
    assert!(page.contains("nobody-knows"), "{page}");
    assert!(page.contains("  ... and 37 more (use -o report.json)"), "{page}");
}

#[test]
fn the_runtime_is_said_once() {
    let mut report = busy();
    for (name, heading) in [
        ("index.php (python)", "index.php (python) (pid 4242,"),
        ("(python)", "(python) (python, pid 4242,"),
        ("app.py (pythons)", "app.py (pythons) (python, pid 4242,"),
    ] {
        report.services[0].name = name.into();
        let page = render(&report, &Style::plain(100));
        assert!(page.lines().any(|line| line.starts_with(heading)), "{name}: {page}");
    }
}

/// Long, wide and hostile names, values that are no numbers, more rows than are shown.
fn hostile() -> Report {
    let mut report = busy();
    let row = report.http[0].clone();
    let names = [
        format!("/{}", "very-long/".repeat(80)),
        "/\u{6771}\u{4eac}\u{1f600}".repeat(60),
        "/\x1b[2J\x1b]0;owned\x07\u{202e}".to_owned(),
    ];
    for route in names {
        report.http.push(HttpRow { service: "nobody-knows".into(), route, ..row.clone() });
    }
    for number in 0..54 {
        let nan = Distribution { count: 1, sum: f64::NAN, p99: f64::NAN, max: f64::INFINITY, ..widest() };
        let row = HttpRow { route: format!("/{number}"), duration: Some(nan), ..row.clone() };
        report.http.push(HttpRow { service: "nobody-knows".into(), ..row });
    }
    report.mysql[0].digest_text = Some("SELECT\n\x1b[31m ?".into());
    report.mysql[1].peer = Some(format!("unix:/{}", "p".repeat(200)));
    report.services[0].name = "\x1bc\u{9b}0m".repeat(50);
    report.connections = connections();
    report.connections[1].peer_name = Some("\u{6771}\x1b[2J".repeat(40));
    report.connections[2].peer = format!("unix:/{}", "p".repeat(200));
    report.listeners = vec![ListenerRow { address: "\x1bc".repeat(90), ..listener() }];
    report.capture.lost.insert("\x1b[1mnew_reason".repeat(9), 3);
    report
}

const BUSY: &str = "\
hostprof 0.1.0: web1, Linux 6.8.0-45-generic, 8 CPUs
30.0 s from 2026-09-01 12:00:00 UTC to 2026-09-01 12:00:30 UTC, 12,410 records
Hooks: socket sock-tracepoints, arrival sock_def_readable

No findings; event loops were not watched, so nothing is known of them.

orders (python, pid 4242, 4243, on 127.0.0.1:8080, container 3f4e5d6c7b8a)

  HTTP served: 3,055 requests, 102/s, 13 errors (0.4 %)
  ROUTE             STATUS      COUNT      p50      p99      MAX  QUEUE p99  1st BYTE    TOTAL
  GET /orders/{id}  200         3,012  4.00 ms  16.0 ms  32.0 ms    1.60 ms   3.60 ms   12.0 s
  GET /orders/{id}  500            12  2.00 ms  8.00 ms  16.0 ms     800 us   1.80 ms  24.0 ms
  GET /export       200            30   262 ms   1.05 s   2.10 s     105 ms    236 ms   7.86 s
  POST /upload      ECONNRESET      1   1.50 s   6.00 s   12.0 s     600 ms    1.35 s   1.50 s

  HTTP called: 310 requests, 10.3/s, 0 errors (0 %)
  ROUTE            PEER           STATUS  COUNT    RATE      p50      p99      MAX  1st BYTE   TOTAL
  GET /stock/{id}  10.0.0.7:9000  200       310  10.3/s  11.0 ms  44.0 ms  88.0 ms   9.90 ms  3.41 s

  MySQL called at 127.0.0.1:3306: 6,066 commands, 202/s, 12 errors (0.2 %)
  STATEMENT                                 COUNT  ERRORS      p50      p99  ROWS    TOTAL  FLAGS
  SELECT id, payload FROM ev…E note LIKE ?     30           251 ms   1.00 s   500   7.53 s  no index
  (execute) SELECT sku, quan… order_id = ?  3,012          1.00 ms  4.00 ms     3   3.01 s
  SELECT * FROM invoices_2019 WHERE id = ?     12      12   400 us  1.60 ms     3  4.80 ms
  (ping)                                    3,012                -        -              -
  Errors: 12 x 1146 (no such table)

No finished exchange: cron

Lost: this should be in the report and is not
  - 12 records: the ring from the kernel was full (ring_full). Give it more room (--ring-size 16M).
Not in the durations
  - 41 connections in protocols other than HTTP/1 and MySQL
  - 3 connections encrypted with TLS: only the plain side of a proxy can be read
  - 4 exchanges half seen: begun before the recording, cut by its end, or with a part that could not
    be read
  - 1 stream (WebSocket, server-sent events, binlog): long-lived by design, counted apart
Limits of this run
  - Without CAP_SYS_PTRACE the names of other users' processes are unknown.
hostprof itself used 210 ms CPU, 23.4 MB memory.
";
