//! Made-up facts for the rules' tests.

use profiler_ebpf::turn::Turn;

use super::thresholds::Thresholds;
use super::{Facts, Verdict};
use crate::kernel::hooks::Wait;
use crate::report::{ConnectionRow, Finding, HttpRow, ListenerRow, LoopRow, Report, Role, Service, StallRow};
use crate::stall::cause::Cause;
use crate::stall::{BlockedIn, Confidence, Frame, Kind, Queries, Stall, Waiting};

pub(crate) use crate::output::text::sample::{distribution, empty, http_row};

/// A stall during which clients waited, by its parts.
pub(crate) fn stall(cause: Cause, blocked: f64, on_cpu: f64, run_queue: f64) -> Stall {
    Stall {
        turn: Turn::default(),
        pid: 4242,
        tid: 4242,
        comm: "uvicorn".into(),
        wait: Wait::Epoll,
        seconds: blocked + on_cpu + run_queue,
        on_cpu,
        run_queue,
        blocked,
        blocked_in: Vec::new(),
        cause,
        throttled: None,
        digest: None,
        queries: None,
        stack: Vec::new(),
        lock_holder: None,
        uncertain: false,
        confidence: Confidence::High,
        waiting: Some(Waiting { requests: 3, connections: 1 }),
        ongoing: false,
    }
}

/// A sleep on the loop.
pub(crate) fn sleep(seconds: f64) -> Stall {
    let mut stall = stall(Cause::BlockingCall, seconds, 0.001, 0.0);
    stall.blocked_in = vec![blocked("clock_nanosleep", Kind::Sleep, None, 1, seconds)];
    stall.stack = vec![frame("wait", "/srv/shop/app.py", 40)];
    stall
}

/// A turn that waited for the database.
pub(crate) fn queried(count: u32, seconds: f64, on_cpu: f64) -> Stall {
    let mut stall = stall(Cause::BlockingCall, seconds, on_cpu, 0.0);
    stall.blocked_in = vec![blocked("recvfrom", Kind::Database, Some("tcp 10.0.0.9:3306"), count, seconds)];
    stall.digest = Some("00c0ffee00c0ffee".into());
    stall.queries = Some(Queries {
        peer: "10.0.0.9:3306".into(),
        digest: "00c0ffee00c0ffee".into(),
        digest_text: "SELECT name FROM customers WHERE id = ?".into(),
        count,
        seconds,
    });
    stall
}

pub(crate) fn blocked(
    syscall: &str,
    kind: Kind,
    target: Option<&str>,
    count: u32,
    seconds: f64,
) -> BlockedIn {
    let (call, syscall, target) = ((0, 0), syscall.into(), target.map(Into::into));
    BlockedIn { call, syscall, kind, target, count, seconds }
}

pub(crate) fn frame(function: &str, file: &str, line: u32) -> Frame {
    Frame { function: function.into(), file: Some(file.into()), line: Some(line) }
}

/// A Python server's loop with these stalls, one each second.
pub(crate) fn with_stalls(stalls: Vec<Stall>) -> Report {
    let mut report = empty();
    report.capture.hooks.loops = Some("wait tracepoints".into());
    report.services = vec![Service {
        id: "shop".into(),
        name: "uvicorn shop:app".into(),
        pids: vec![4242],
        runtime: Some("python".into()),
        ..Service::default()
    }];
    report.event_loops = vec![event_loop(stalls)];
    report
}

/// A loop that serves, half of the time busy, almost all of it on the CPU.
pub(crate) fn event_loop(stalls: Vec<Stall>) -> LoopRow {
    let rows = stalls.into_iter().enumerate().map(|(second, stall)| StallRow {
        start: format!("2026-09-01T12:00:{:02}.000000000Z", second + 1),
        stall,
    });
    LoopRow {
        service: "shop".into(),
        pid: 4242,
        tid: 4242,
        wait: Wait::Epoll,
        turns: 10_000,
        busy_seconds: 15.0,
        on_cpu_seconds: 14.0,
        run_queue_seconds: 0.5,
        blocked_seconds: 0.5,
        late_seconds: 0.2,
        utilization: 0.5,
        turn: Some(distribution(10_000, 0.001)),
        stalls: rows.collect(),
    }
}

/// A service without an event loop that has answered 600 requests in 30 s, with these connections.
pub(crate) fn with_connections(connections: Vec<ConnectionRow>) -> Report {
    let mut report = with_stalls(Vec::new());
    report.event_loops.clear();
    report.http =
        vec![HttpRow { service: "shop".into(), ..http_row("GET", "/orders", Some(200), 600, 0.02) }];
    report.connections = connections;
    report
}

/// A pool of five connections to a database, opened at the start and kept.
pub(crate) fn pool() -> ConnectionRow {
    ConnectionRow {
        service: "shop".into(),
        role: Role::Client,
        peer: "10.0.0.9:3306".into(),
        protocol: "mysql".into(),
        netns: 4_026_531_840,
        established: 5,
        attempted: 5,
        live: 5,
        peak: 5,
        exchanges: 1_800,
        connect: Some(distribution(5, 0.0002)),
        handshake: Some(distribution(5, 0.002)),
        busy_seconds: 4.0,
        idle_seconds: 140.0,
        opening_seconds: 1,
        ..ConnectionRow::default()
    }
}

/// Connections that were opened, used and closed all the time.
pub(crate) fn short(count: u64, lifetime: f64) -> ConnectionRow {
    let mut row = ConnectionRow {
        established: count,
        attempted: count,
        closed: count,
        live: 0,
        peak: 4,
        exchanges: 3 * count,
        exchanges_per_connection: Some(distribution(count, 3.0)),
        connect: Some(distribution(count, 0.0002)),
        handshake: Some(distribution(count, 0.002)),
        lifetime: Some(distribution(count, lifetime)),
        opening_seconds: 28,
        time_wait: Some(count),
        ..pool()
    };
    row.closed_by.us = count;
    row
}

/// The same without a connection, behind one listening socket on four CPUs.
pub(crate) fn with_listener(listener: ListenerRow) -> Report {
    let mut report = with_connections(Vec::new());
    report.host.cpus = 4;
    report.listeners = vec![listener];
    report
}

/// A listening socket with four workers that have little to do.
pub(crate) fn listener() -> ListenerRow {
    ListenerRow {
        service: "shop".into(),
        address: "0.0.0.0:8000".into(),
        netns: 4_026_531_840,
        workers: 4,
        processes: 4,
        peak_in_flight: 3,
        requests: 600,
        backlog_max: Some(2_048),
        accept_wait: Some(distribution(600, 0.000_1)),
        queue: Some(distribution(600, 0.000_1)),
        concurrency: 0.4,
        cpu: Some(0.2),
        ..ListenerRow::default()
    }
}

/// What all rules say, by default.
pub(crate) fn judged(report: &Report) -> Verdict {
    super::judge(&Facts::of(report), &Thresholds::default())
}

/// The findings of one rule.
pub(crate) fn findings(report: &Report, id: &str) -> Vec<Finding> {
    judged(report).findings().into_iter().filter(|finding| finding.id == id).collect()
}
