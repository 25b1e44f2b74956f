//! One listener: who works, what waits, and for how long.

use super::*;

const SECOND: u64 = 1_000_000_000;

fn listener() -> Listener {
    Listener::new(Address::Inet("0.0.0.0:80".parse().unwrap()), 1)
}

#[test]
fn who_works_and_how_much() {
    let mut l = listener();
    l.accepted((7, 7), Some(SECOND));
    l.accepted((7, 8), None);
    let times =
        Times { arrival: Some(SECOND), start: Some(2 * SECOND), last: 4 * SECOND, ..Times::default() };
    l.answered((7, 8), &times, false);
    l.answered((7, 8), &times, true);
    let row = l.report(10 * SECOND, 0, Some(5 * SECOND));
    assert_eq!((row.workers, row.processes, row.requests, row.peak_in_flight), (2, 1, 1, 2));
    assert_eq!((row.concurrency, row.cpu), (0.4, Some(0.5)));
    assert_eq!(row.accept_wait.unwrap().count, 1);
    assert_eq!(row.queue.unwrap().sum, 2.0);
    assert_eq!(row.silent, Some(6.0));
}

#[test]
fn the_queue_as_the_kernel_tells_it() {
    let mut l = listener();
    l.stood(3);
    assert_eq!((l.backlog(), l.is_used()), (3, true));
    let of = |sk, backlog, drops| profiler_ebpf::listener::Listener {
        sk,
        backlog,
        peak_backlog: 5,
        backlog_max: 16,
        drops,
        drops_before: 2,
        ..Default::default()
    };
    l.socket(&of(1, 4, 2));
    l.socket(&of(2, 1, 9));
    l.socket(&of(1, 0, 3));
    let row = l.report(1, 0, None);
    assert_eq!((row.backlog, row.peak_backlog, row.backlog_max, row.overflows), (1, 5, Some(32), 8));
    l.reading(false, 3 * SECOND);
    l.socket(&of(1, 2, 3));
    l.reading(true, 3 * SECOND);
    let row = l.report(1, 0, None);
    assert_eq!((row.backlog, row.backlog_max, row.overflows), (2, Some(16), 8), "one is closed");
    assert_eq!(row.closed_at, [3.0]);
    l.reading(false, 4 * SECOND);
    l.reading(true, 4 * SECOND);
    let row = l.report(1, 0, None);
    assert_eq!((row.backlog, row.backlog_max, row.overflows), (0, Some(16), 8), "both are");
}

#[test]
fn several_that_are_worked_on_are_silence_where_answers_are_fast() {
    let waiting = |answers: &[u64]| {
        let mut l = listener();
        for seconds in answers {
            let times = Times { start: Some(SECOND), last: (1 + seconds) * SECOND, ..Times::default() };
            l.answered((7, 7), &times, false);
        }
        l.begin();
        l.now.add(2, 40 * SECOND, 0, Some(SECOND));
        l.surveyed(47 * SECOND, SECOND);
        let row = l.report(47 * SECOND, SECOND, None);
        assert_eq!(row.silence.unwrap_or(0.0), row.longest_silence);
        row.silence
    };
    assert_eq!(waiting(&[0, 0, 0]), Some(7.0));
    assert_eq!(waiting(&[0, 30, 25, 30, 30]), None, "a long poll is usual");
    assert_eq!(waiting(&[30, 30, 30, 30, 0, 0, 0, 0, 0]), Some(7.0));
    assert_eq!(waiting(&[]), None, "nothing is known of it");
}

#[test]
fn silence_is_while_somebody_waits() {
    let mut l = listener();
    let survey = |l: &mut Listener, oldest: Option<u64>, answered: u64, now: u64| {
        l.begin();
        if let Some(oldest) = oldest {
            l.now.add(1, oldest * SECOND, answered * SECOND, None);
        }
        l.surveyed(now * SECOND, SECOND);
    };
    survey(&mut l, None, 0, 100);
    assert_eq!(l.report(100 * SECOND, SECOND, None).longest_silence, 0.0);
    survey(&mut l, Some(97), 0, 103);
    let row = l.report(103 * SECOND, SECOND, None);
    assert_eq!((row.longest_silence, row.oldest_waiting, row.unread), (6.0, Some(6.0), 1));
    assert_eq!(row.silent, Some(102.0));
    // Bytes of an answer came, and the same one still waits.
    survey(&mut l, Some(97), 104, 106);
    let row = l.report(106 * SECOND, SECOND, None);
    assert_eq!((row.longest_silence, row.silent), (6.0, Some(2.0)));
}
