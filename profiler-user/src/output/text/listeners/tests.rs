//! Tests of the tables of listeners.

use super::*;
use crate::output::text::sample::listener;

#[test]
fn who_serves_and_what_waits() {
    assert_eq!(section(&[&listener()], &Style::plain(100)), WIDE);
}

#[test]
fn a_narrow_terminal_keeps_what_matters() {
    assert_eq!(section(&[&listener()], &Style::plain(80)), NARROW);
}

#[test]
fn where_nothing_waits_there_is_nothing_to_say() {
    let wait = |p99| Some(Distribution { count: 10, p99, ..Distribution::default() });
    let calm = ListenerRow {
        address: "0.0.0.0:80".into(),
        workers: 4,
        requests: 1_000,
        peak_in_flight: 3,
        peak_backlog: 1,
        accept_wait: wait(0.000_1),
        queue: wait(0.000_5),
        ..ListenerRow::default()
    };
    assert_eq!(section(&[&calm], &Style::plain(80)), "");
    for busy in [
        ListenerRow { queue: wait(0.02), ..calm.clone() },
        ListenerRow { accept_wait: wait(0.02), ..calm.clone() },
        ListenerRow { overflows: 1, ..calm.clone() },
        ListenerRow { peak_backlog: 2, ..calm.clone() },
        ListenerRow { oldest_waiting: Some(2.0), ..calm.clone() },
        ListenerRow { longest_silence: 6.0, ..calm },
    ] {
        assert!(section(&[&busy], &Style::plain(80)).contains("  0.0.0.0:80"), "{busy:?}");
    }
}

const WIDE: &str = "\
\n\
\x20 Listening sockets where something waits
  ADDRESS         WORKERS  REQUESTS  IN FLIGHT  PEAK  BACKLOG    OVERFLOWS  ACCEPT p99  QUEUE p99
  127.0.0.1:8080        1     3,055          3    50  12 of 128          2      1.20 s     800 ms
  - 127.0.0.1:8080: clients were turned away 2 times for want of room in the backlog
  - 127.0.0.1:8080: a request has waited for 6.20 s, 2 not read yet, last sign of life 5.50 s ago
  - 127.0.0.1:8080: requests waited for 5.50 s without a byte being answered
";
const NARROW: &str = "\
\n\
\x20 Listening sockets where something waits
  ADDRESS         WORKERS  PEAK  BACKLOG    OVERFLOWS  ACCEPT p99  QUEUE p99
  127.0.0.1:8080        1    50  12 of 128          2      1.20 s     800 ms
  - 127.0.0.1:8080: clients were turned away 2 times for want of room in the
    backlog
  - 127.0.0.1:8080: a request has waited for 6.20 s, 2 not read yet, last sign
    of life 5.50 s ago
  - 127.0.0.1:8080: requests waited for 5.50 s without a byte being answered
";
