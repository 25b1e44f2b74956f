//! Which loops have rows, what finds room, and what is kept of the last while.

use super::*;
use profiler_ebpf::wait::kind;

const SECOND: u64 = 1_000_000_000;

fn seen(tid: u32, busy: u64) -> Loop {
    let mut l = Loop::default();
    (l.turn.pid, l.turn.tid) = (10, tid);
    l.adopt(kind::EPOLL, 5, SECOND);
    (l.turns, l.busy) = (3, busy);
    l
}

#[test]
fn only_loops_that_serve_or_stall_are_rows() {
    let mut loops = Loops::default();
    assert!(!loops.see(&seen(1, SECOND), false, 3 * SECOND), "a worker");
    assert!(loops.see(&seen(2, SECOND / 2), true, 3 * SECOND));
    assert!(!loops.see(&seen(2, SECOND), false, 3 * SECOND), "not new");
    let mut turn = seen(3, 0).turn;
    (turn.start, turn.end) = (SECOND, SECOND + 200_000_000);
    loops.stall(&Stall::of(turn, false).unwrap(), "now".into());
    let (rows, series) = loops.rows(|pid, _| Some(format!("s{pid}")));
    assert!(series.is_empty(), "no turn was measured");
    let told: Vec<_> = rows.iter().map(|r| (r.tid, r.turns, r.busy_seconds, r.utilization)).collect();
    assert_eq!(told, [(2, 3, 1.0, 0.5), (3, 1, 0.2, 1.0)]);
    assert_eq!((rows[0].service.as_str(), rows[1].stalls.len()), ("s10", 1));
}

#[test]
fn a_thread_without_a_set_has_no_row() {
    let mut loops = Loops::default();
    for (tid, closed) in [(1, true), (2, false)] {
        loops.see(&seen(tid, SECOND), true, 3 * SECOND);
        loops.closed(&seen(tid, SECOND), closed);
    }
    let rows = loops.rows(|_, _| Some(String::new())).0;
    assert_eq!(rows.iter().map(|row| row.tid).collect::<Vec<_>>(), [2]);
}

#[test]
fn recent_stalls_are_those_that_ended_lately_and_those_that_go_on() {
    let mut loops = Loops::default();
    let stall = |tid: u32, start: u64| {
        let mut turn = seen(tid, 0).turn;
        (turn.start, turn.end) = (start * SECOND, start * SECOND + 200_000_000);
        Stall::of(turn, false).unwrap()
    };
    for (tid, start) in [(1, 1), (1, 8), (2, 2)] {
        loops.stall(&stall(tid, start), String::new());
    }
    loops.see(&seen(3, SECOND), true, 9 * SECOND);
    let open = [StallRow { start: String::new(), stall: Stall { ongoing: true, ..stall(4, 9) } }];
    let recent = |loops: &mut Loops, since: u64, open: &[StallRow]| {
        let rows = loops.recent(since * SECOND, open, |_, _| Some(String::new()));
        let mut told: Vec<_> = rows.iter().map(|row| (row.tid, row.stalls.len())).collect();
        told.sort_unstable();
        told
    };
    assert_eq!(recent(&mut loops, 5, &open), [(1, 1), (4, 1)]);
    assert_eq!(recent(&mut loops, 9, &[]), []);
    assert_eq!((loops.stalls, loops.known.len()), (0, 1), "only the loop that serves is kept");
}

#[test]
fn what_finds_no_room_is_counted() {
    let mut loops = Loops::default();
    for tid in (0..MOST_LOOPS as u32 + 2).chain([MOST_LOOPS as u32]) {
        loops.see(&seen(tid, 1), true, 2 * SECOND);
    }
    assert_eq!((loops.overflowed, loops.rows(|_, _| Some(String::new())).0.len()), (2, MOST_LOOPS));
}

#[test]
fn threads_that_serve_nobody_leave_room_for_servers() {
    let mut loops = Loops::default();
    let stall = |tid, confidence| {
        let mut turn = seen(tid, 0).turn;
        (turn.start, turn.end) = (SECOND, SECOND + 200_000_000);
        Stall { confidence, ..Stall::of(turn, false).unwrap() }
    };
    for n in 0..MOST_OTHERS + 10 {
        loops.stall(&stall(n as u32 % 8, Confidence::Low), "now".into());
    }
    loops.stall(&stall(9_999, Confidence::High), "now".into());
    assert_eq!(loops.overflowed, 10);
    let rows = loops.rows(|_, _| Some(String::new())).0;
    assert!(rows.iter().any(|row| row.tid == 9_999 && row.stalls.len() == 1));
}

/// The number of a process that has ended may be another's by the time of the report.
#[test]
fn a_loop_is_named_while_it_lives() {
    let mut loops = Loops::default();
    for tid in 1..=3 {
        loops.see(&seen(tid, SECOND), true, 2 * SECOND);
    }
    loops.name(&seen(1, 0), |pid, _| Some(format!("shop {pid}")));
    loops.name(&seen(2, 0), |_, _| None);
    let rows = loops.rows(|_, _| Some("who had its number".into())).0;
    let told: Vec<_> = rows.iter().map(|row| (row.tid, row.service.as_str())).collect();
    assert_eq!(told, [(1, "shop 10"), (3, "who had its number")]);
}
