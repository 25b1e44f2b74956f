//! The stage as a whole: events and exchanges in, rows out.

mod ends;
mod standing;
mod surveys;
mod transactions;

use profiler_ebpf::conn::{Conn, state};
use profiler_ebpf::life::{Event, end, mark, what};
use profiler_ebpf::record::{Record, kind, proto, role};

use super::events::MOST_TOLD;
use super::*;
use crate::aggregate::MAX_ROWS;
use crate::exchange::{Call, Exchange, MysqlCall};
use crate::report::Role;

const SECOND: u64 = 1_000_000_000;
const NETNS: u32 = 1;

fn stage() -> Connections {
    Connections::new(1_000, SECOND)
}

fn bytes(ip: [u8; 4]) -> [u8; 16] {
    let mut bytes = [0; 16];
    bytes[..4].copy_from_slice(&ip);
    bytes
}

/// An event of the connection with this number, of a client of 10.0.0.2:3306 or of a server on port 80.
fn event(what: u8, role: u8, number: u16, life: Life) -> Event {
    let (lport, rport) = if role == role::SERVER { (80, number) } else { (number, 3_306) };
    Event {
        kind: kind::CONNECTION,
        netns: NETNS,
        sk: u64::from(number),
        born: 7,
        laddr: bytes([10, 0, 0, 1]),
        raddr: bytes([10, 0, 0, 2]),
        family: libc::AF_INET as u16,
        lport,
        rport,
        proto: proto::UNKNOWN,
        role,
        what,
        pad: [0; 7],
        time: 2 * SECOND,
        life,
    }
}

fn feed(stage: &mut Connections, event: &Event, service: Option<&str>) {
    let subject = stage.subject_of(event, &"".into());
    stage.event(event, &subject, service.map(Into::into));
}

fn opened() -> Life {
    Life { t_connect: SECOND, t_open: 2 * SECOND, pid: 42, tid: 43, marks: mark::OPENED, ..Life::default() }
}

fn record(event: &Event) -> Record {
    // SAFETY: plain numbers.
    let mut record: Record = unsafe { std::mem::zeroed() };
    (record.sk, record.born, record.netns, record.family) = (event.sk, event.born, event.netns, event.family);
    (record.laddr, record.raddr) = (event.laddr, event.raddr);
    (record.lport, record.rport, record.role) = (event.lport, event.rport, event.role);
    record
}

fn mysql(role: Role, start: u64, last: u64, in_transaction: Option<bool>) -> Exchange {
    let call = MysqlCall { command: "query", in_transaction, ..MysqlCall::default() };
    let mut exchange = requests::exchange(role, 43, start, last, Call::Mysql(call));
    exchange.times.arrival = Some(start);
    exchange
}

fn all(stage: &Connections) -> Vec<ConnectionRow> {
    stage.rows(|_| true)
}

fn only(stage: &Connections) -> ConnectionRow {
    let mut rows = all(stage);
    assert_eq!(rows.len(), 1, "{rows:#?}");
    rows.remove(0)
}

#[test]
fn many_short_connections_leave_nothing_behind() {
    let mut stage = stage();
    for number in 1..=5_000_u16 {
        feed(&mut stage, &event(what::OPENED, role::CLIENT, number, opened()), Some("app"));
        let over = Life { t_end: 3 * SECOND, end: end::OURS, ..opened() };
        feed(&mut stage, &event(what::CLOSED, role::CLIENT, number, over), Some("app"));
    }
    let row = only(&stage);
    assert_eq!((row.established, row.closed, row.live, row.peak), (5_000, 5_000, 0, 1));
    assert_eq!((row.peer.as_str(), row.attempted, row.closed_by.us), ("10.0.0.2:3306", 5_000, 5_000));
    assert_eq!(stage.table.len(), 0);
}

/// A pool that asks first, over a connection that the server has ended: by an exchange that failed, or by what the kernel
/// half has seen of a write.
#[test]
fn what_a_validation_query_found_gone() {
    for (text, validated, error, count) in [
        ("SELECT ?", 0, Some("ECONNRESET"), 1),
        ("SELECT ? FROM dual", 0, Some("closed"), 1),
        ("SELECT ?", 0, None, 0),
        ("SELECT ? + ?", 0, Some("ECONNRESET"), 0),
        ("SELECT a FROM t", 1, None, 1),
    ] {
        let mut stage = stage();
        let open = event(what::OPENED, role::CLIENT, 5, opened());
        feed(&mut stage, &open, Some("app"));
        let mut asked = mysql(Role::Client, 3 * SECOND, 4 * SECOND, None);
        asked.transport_error = error.map(Into::into);
        if let Call::Mysql(call) = &mut asked.call {
            call.digest_text = Some(text.into());
        }
        stage.exchange(&record(&open), &mut asked);
        let life = Life { marks: mark::OPENED | mark::GONE, validated, end: end::PEERS, ..opened() };
        feed(&mut stage, &event(what::CLOSED, role::CLIENT, 5, life), Some("app"));
        let row = only(&stage);
        assert_eq!((row.gone, row.gone_validated), (1, count), "{text}");
    }
}

/// The reset came back within the write, so that its end was told before it was used.
#[test]
fn what_a_validation_query_found_closed() {
    for (text, count) in [("SELECT ?", 1), ("SELECT a FROM t", 0)] {
        let mut stage = stage();
        let open = event(what::OPENED, role::CLIENT, 5, opened());
        feed(&mut stage, &open, Some("app"));
        let over = Life { end: end::PEERS, ..opened() };
        feed(&mut stage, &event(what::CLOSED, role::CLIENT, 5, over), Some("app"));
        let mut asked = mysql(Role::Client, 3 * SECOND, 4 * SECOND, None);
        asked.transport_error = Some("EPIPE".into());
        if let Call::Mysql(call) = &mut asked.call {
            call.digest_text = Some(text.into());
        }
        stage.exchange(&record(&open), &mut asked);
        feed(&mut stage, &event(what::GONE, role::CLIENT, 5, over), Some("app"));
        let row = only(&stage);
        assert_eq!((row.gone, row.gone_validated), (1, count), "{text}");
        assert!(stage.invalid.is_empty());
    }
}

/// A worker that crashes with requests in hand; one that hangs up and goes on; clients that leave.
#[test]
fn requests_that_went_down_with_their_process() {
    for (role, end, pid, count) in [
        (role::SERVER, end::OURS, 42, 2),
        (role::SERVER, end::ABORTED, 42, 2),
        (role::SERVER, end::OURS, 41, 0),
        (role::SERVER, end::PEERS, 42, 0),
        (role::CLIENT, end::OURS, 42, 0),
    ] {
        let mut stage = stage();
        let life = Life { marks: mark::OPENED | mark::CUT, t_end: 3 * SECOND, end, ..opened() };
        for number in [1, 2] {
            feed(&mut stage, &event(what::OPENED, role, number, opened()), Some("app"));
        }
        feed(&mut stage, &event(what::CLOSED, role, 1, life), Some("app"));
        stage.exited(pid);
        feed(&mut stage, &event(what::CLOSED, role, 2, life), Some("app"));
        let row = only(&stage);
        assert_eq!((row.cut, row.cut_by_exit), (2, count), "{role} {end} {pid}");
    }
}

#[test]
fn more_than_there_is_room_for_are_counted_all_the_same() {
    let mut stage = Connections::new(10, 0);
    for number in 1..=20 {
        feed(&mut stage, &event(what::OPENED, role::CLIENT, number, opened()), Some("app"));
    }
    assert_eq!(stage.table.len(), 10);
    for number in 1..=20 {
        feed(&mut stage, &event(what::CLOSED, role::CLIENT, number, opened()), Some("app"));
    }
    let row = only(&stage);
    assert_eq!((row.established, row.closed, row.live, row.peak), (20, 20, 0, 20));
}

#[test]
fn what_finds_no_row_is_counted_once_however_often_it_is_looked_up() {
    let mut stage = stage();
    let service = |number: u16| Some(format!("app{number}"));
    for number in 1..=2 * MAX_ROWS as u16 {
        feed(&mut stage, &event(what::OPENED, role::CLIENT, number, opened()), service(number).as_deref());
    }
    assert_eq!(stage.overflowed(), MAX_ROWS as u64);
    let last = 2 * MAX_ROWS as u16;
    let open = event(what::OPENED, role::CLIENT, last, opened());
    let subject = stage.subject_of(&open, &"".into());
    for _ in 0..3 {
        stage.survey();
        stage.connecting(&subject, "app0".into(), 3 * SECOND);
        stage.surveyed(3 * SECOND);
    }
    feed(&mut stage, &event(what::GONE, role::CLIENT, last, opened()), Some("app0"));
    // Taken for the other side's, then told of its end, twice.
    stage.exchange(&record(&open), &mut mysql(Role::Server, 3 * SECOND, 4 * SECOND, None));
    for _ in 0..2 {
        feed(&mut stage, &event(what::CLOSED, role::CLIENT, last, opened()), Some("app0"));
    }
    assert_eq!(stage.overflowed(), MAX_ROWS as u64);
    let refused = Life { t_open: 0, error: 111, ..opened() };
    feed(&mut stage, &event(what::FAILED, role::CLIENT, last, refused), Some("app0"));
    assert_eq!(stage.overflowed(), MAX_ROWS as u64 + 1, "another attempt");
}

#[test]
fn what_nobody_accepted_is_no_connection_of_a_service() {
    let mut stage = stage();
    let life = Life { marks: 0, pid: 0, ..opened() };
    feed(&mut stage, &event(what::CLOSED, role::SERVER, 5, life), None);
    assert!(all(&stage).is_empty());
}

#[test]
fn what_is_not_wanted_is_not_shown() {
    let mut stage = stage();
    for what in [what::OPENED, what::CLOSED, what::FAILED, what::GONE] {
        feed(&mut stage, &event(what, role::CLIENT, 5, opened()), None);
    }
    assert!(all(&stage).is_empty());
    feed(&mut stage, &event(what::OPENED, role::CLIENT, 5, opened()), Some("app"));
    assert!(stage.rows(|protocol| protocol == "mysql").is_empty(), "nothing says that it is MySQL");
}

#[test]
fn failures_take_the_protocol_of_those_that_were_used() {
    let mut stage = stage();
    let refused = Life { t_open: 0, error: 111, t_end: 3 * SECOND / 2, ..opened() };
    feed(&mut stage, &event(what::FAILED, role::CLIENT, 5, refused), Some("app"));
    let row = only(&stage);
    assert_eq!((row.protocol.as_str(), row.first_established, row.last_failed), ("unknown", None, Some(0.5)));
    let open = event(what::OPENED, role::CLIENT, 6, opened());
    feed(&mut stage, &open, Some("app"));
    stage.exchange(&record(&open), &mut mysql(Role::Client, 1, 2, None));
    let row = only(&stage);
    assert_eq!((row.protocol.as_str(), row.attempted, row.established, row.exchanges), ("mysql", 2, 1, 1));
    assert_eq!(row.failed["ECONNREFUSED"], 1);
}

#[test]
fn the_first_request_of_a_connection_has_waited_for_accept() {
    let mut stage = stage();
    let life = Life { t_accept: 5 * SECOND, ..opened() };
    let open = event(what::OPENED, role::SERVER, 5, life);
    feed(&mut stage, &open, Some("web"));
    let mut first = mysql(Role::Server, 6 * SECOND, 8 * SECOND, None);
    stage.exchange(&record(&open), &mut first);
    assert_eq!((first.times.opened, first.times.accepted), (Some(2 * SECOND), Some(5 * SECOND)));
    let mut second = mysql(Role::Server, 9 * SECOND, 10 * SECOND, None);
    stage.exchange(&record(&open), &mut second);
    assert_eq!((second.times.opened, second.times.accepted), (None, None));
    assert_eq!(only(&stage).accept_wait.unwrap().sum, 3.0);
    let listeners = stage.listener_rows(0, 11 * SECOND, |_| true, |_| None);
    let l = &listeners[0];
    assert_eq!((l.address.as_str(), l.requests, l.workers), ("10.0.0.1:80", 2, 1));
    assert_eq!((l.concurrency, l.accept_wait.unwrap().count), (0.3, 1));
}

#[test]
fn a_side_that_was_guessed_wrong_is_mended() {
    let mut stage = stage();
    let mut open = event(what::OPENED, role::SERVER, 5, Life { t_open: 0, ..opened() });
    open.role = role::UNKNOWN;
    feed(&mut stage, &open, Some("web"));
    assert_eq!(only(&stage).role, Role::Client);
    stage.exchange(&record(&open), &mut mysql(Role::Server, 3 * SECOND, 4 * SECOND, None));
    let row = only(&stage);
    assert_eq!((row.role, row.preexisting, row.live, row.exchanges), (Role::Server, 1, 1, 1));
}

#[test]
fn told_one_by_one_only_where_somebody_listens() {
    let mut stage = stage();
    feed(&mut stage, &event(what::OPENED, role::CLIENT, 5, opened()), Some("app"));
    assert!(stage.take().is_empty());
    stage.telling = true;
    feed(&mut stage, &event(what::GONE, role::CLIENT, 5, opened()), Some("app"));
    let told = stage.take();
    assert_eq!(told.len(), 1);
    assert_eq!(
        (told[0].what, &*told[0].service, told[0].peer.as_str()),
        (what::GONE, "app", "10.0.0.2:3306")
    );
    for _ in 0..2 * MOST_TOLD {
        feed(&mut stage, &event(what::GONE, role::CLIENT, 5, opened()), Some("app"));
    }
    assert_eq!((stage.take().len(), stage.untold), (MOST_TOLD, MOST_TOLD as u64));
}
