//! Tests of the tables of connections.

use super::*;
use crate::output::text::render;
use crate::output::text::sample::{busy, connections};
use crate::report::{Report, Service};

fn of_orders(style: &Style) -> String {
    let rows = connections();
    let rows: Vec<&ConnectionRow> = rows.iter().filter(|row| row.service == "orders-1").collect();
    section(&rows, 30.0, style)
}

#[test]
fn who_connects_to_whom_and_who_hung_up() {
    assert_eq!(of_orders(&Style::plain(120)), WIDE);
}

#[test]
fn a_narrow_terminal_keeps_what_matters() {
    assert_eq!(of_orders(&Style::plain(80)), NARROW);
}

/// What the whole page says of connections.
fn page(report: &Report, width: usize) -> String {
    render(report, &Style::plain(width))
}

#[test]
fn services_without_exchanges_share_a_table() {
    let mut report = busy();
    report.connections = connections();
    let page = page(&report, 100);
    let start = page.find("Connections of other services").unwrap();
    let end = start + page[start..].find("\n\n").unwrap();
    assert_eq!(&page[start..=end], OTHERS);
    assert!(!page.contains("No finished exchange: cron"), "{page}");
}

/// The cache of names that every program asks after and few hosts run; a daemon's own clients are shown.
#[test]
fn daemons_that_need_not_run_are_left_out() {
    let asked = |service: &str, role| ConnectionRow {
        service: service.into(),
        role,
        peer: "unix:/var/run/nscd/socket".into(),
        established: 1,
        failed: [("ENOENT".to_owned(), 600)].into(),
        ..ConnectionRow::default()
    };
    let mut report = busy();
    report.connections = connections();
    let before = page(&report, 100);
    let curl = Service { id: "curl-1".into(), listens: Vec::new(), ..report.services[0].clone() };
    report.services.push(curl);
    report.connections.extend(["orders-1", "curl-1", "nobody-knows"].map(|id| asked(id, Role::Client)));
    assert_eq!(page(&report, 100), before);
    report.connections.push(asked("nscd", Role::Server));
    assert!(page(&report, 100).contains("<- unix:/var/run/nscd/socket"), "{}", page(&report, 100));
}

#[test]
fn what_stays_open_is_one_line_and_a_quiet_host_says_nothing() {
    let mut report = busy();
    report.connections = connections().into_iter().filter(|row| row.preexisting > 0).collect();
    assert_eq!(page(&report, 100), page(&busy(), 100));
    let quiet = ConnectionRow::default();
    assert!(!is_shown(&quiet));
    for (row, shown) in [
        (ConnectionRow { established: 1, ..quiet.clone() }, true),
        (ConnectionRow { failed: [("ETIMEDOUT".to_owned(), 1)].into(), ..quiet.clone() }, true),
        (ConnectionRow { oldest_waiting: Some(31.0), ..quiet.clone() }, true),
        (ConnectionRow { oldest_waiting: Some(0.2), ..quiet.clone() }, false),
        (ConnectionRow { longest_open_transaction: Some(3.0), ..quiet.clone() }, true),
        (ConnectionRow { exchanges: 900, live: 3, peak: 3, ..quiet }, false),
    ] {
        assert_eq!(is_shown(&row), shown, "{row:?}");
    }
}

#[test]
fn the_same_address_in_two_namespaces_is_told_apart() {
    let mut rows = connections();
    rows.truncate(2);
    rows[1] = ConnectionRow { netns: 4_026_532_300, ..rows[0].clone() };
    let table = section(&rows.iter().collect::<Vec<_>>(), 30.0, &Style::plain(100));
    assert!(table.contains("  <- 10.0.0.5  4026531840  "), "{table}");
    assert!(table.contains("  <- 10.0.0.5  4026532300  "), "{table}");
}

#[test]
fn rows_and_errors_are_bounded_and_clean() {
    let row = |at: usize| ConnectionRow {
        peer: format!("10.0.0.{at}\x1b[2J\n"),
        peer_name: Some("\u{202e}evil".repeat(9)),
        protocol: "x\x07".into(),
        failed: (0..9).map(|error| (format!("errno {error}\x1b"), 1)).collect(),
        ..ConnectionRow::default()
    };
    let rows: Vec<ConnectionRow> = (0..ROWS + 7).map(row).collect();
    for width in [60, 80, 120] {
        let table = section(&rows.iter().collect::<Vec<_>>(), f64::NAN, &Style::plain(width));
        assert!(table.contains("  ... and 7 more (use -o report.json)\n"), "{table}");
        assert!(table.contains("and 5 more"), "{table}");
        assert!(table.lines().all(|line| crate::output::style::width(line) <= width), "{table}");
        assert!(!table.chars().any(|c| c.is_control() && c != '\n' || c == '\u{202e}'), "{table}");
    }
}

const OTHERS: &str = "\
Connections of other services: 30 made (1.00/s), 0 open at the end
  SERVICE  PEER                   PROTOCOL  OPENED    RATE  LIVE  PEAK  ENDED BY       LIFE
  cron     -> unix:/run/log.sock  other         30  1.00/s     0     1  unknown 30  1.00 ms
";
const WIDE: &str = "\
\n\
\x20 Connections: 1,295 made (43.2/s), 41 accepted (1.37/s), 13 failed, 20 open at the end
  PEER                    PROTOCOL  OPENED    RATE  FAILED  USES  LIVE  PEAK  ENDED BY             LIFE  SIGN-IN
  <- 10.0.0.5             http          41  1.37/s            76     1    12  peer 37, reset 3   20.0 s
  -> 10.0.0.9:3306        mysql          5  0.17/s            12     1     5  peer 4             12.3 s  5.00 ms
  -> [::1]:9200           unknown        -       -      13
  -> db (127.0.0.1:3306)  mysql      1,290  43.0/s             1    10    21  us 1,280          8.30 ms  4.20 ms
  - 10.0.0.5: 3 connections ended in the middle of an exchange (reset 3)
  - 10.0.0.9:3306: 4 connections ended by the server after 8.00 s without use, 4 x 4031 (closed after idling); then the
    client wrote to them
  - 10.0.0.9:3306: the server hung up with an error, 1 x 1927 (connection killed)
  - 10.0.0.9:3306: sessions idled with an open transaction, 1 at the end, the longest for 11.5 s
  - [::1]:9200: 13 attempts to connect failed, 12 x ECONNREFUSED (nobody listens there), 1 x abandoned (given up before
    there was an answer)
  Open all the time: 8 other connections (1 peer, 310 exchanges)
";
const NARROW: &str = "\
\n\
\x20 Connections: 1,295 made (43.2/s), 41 accepted (1.37/s), 13 failed, 20 open at
  the end
  PEER                      RATE  FAILED  USES  PEAK  ENDED BY          SIGN-IN
  <- 10.0.0.5             1.37/s            76    12  peer 37, reset 3
  -> 10.0.0.9:3306        0.17/s            12     5  peer 4            5.00 ms
  -> [::1]:9200                -      13
  -> db (127.0.0.1:3306)  43.0/s             1    21  us 1,280          4.20 ms
  - 10.0.0.5: 3 connections ended in the middle of an exchange (reset 3)
  - 10.0.0.9:3306: 4 connections ended by the server after 8.00 s without use, 4
    x 4031 (closed after idling); then the client wrote to them
  - 10.0.0.9:3306: the server hung up with an error, 1 x 1927 (connection
    killed)
  - 10.0.0.9:3306: sessions idled with an open transaction, 1 at the end, the
    longest for 11.5 s
  - [::1]:9200: 13 attempts to connect failed, 12 x ECONNREFUSED (nobody listens
    there), 1 x abandoned (given up before there was an answer)
  Open all the time: 8 other connections (1 peer, 310 exchanges)
";
