//! The stage as a whole: events and exchanges in, rows out.

use std::net::Ipv4Addr;

use profiler_ebpf::conn::state;
use profiler_ebpf::life::end;
use profiler_ebpf::record::{kind, proto};

use super::snapshot::{Listening, Open, Snapshot};
use super::*;
use crate::aggregate::MAX_ROWS;

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
    stage.rows(0, |_| true)
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
    assert!(stage.rows(0, |protocol| protocol == "mysql").is_empty(), "nothing says that it is MySQL");
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
fn a_server_that_was_there_before_is_found_by_its_listener() {
    let mut stage = stage();
    let own: std::net::SocketAddr = (Ipv4Addr::new(10, 0, 0, 1), 80).into();
    let peer: std::net::SocketAddr = (Ipv4Addr::new(10, 0, 0, 2), 5).into();
    let any = Address::Inet((Ipv4Addr::UNSPECIFIED, 80).into());
    let snapshot = Snapshot {
        open: vec![Open::tcp(NETNS, own, peer, 9)],
        listening: vec![Listening { address: any, netns: NETNS, backlog: 2, pid: Some(42), inode: 8 }],
    };
    stage.stood(&snapshot, |_, _| Some("web".into()));
    stage.name_listeners(|pid, _| Some(format!("of {pid}").into()));
    let row = only(&stage);
    assert_eq!((row.role, row.peer.as_str(), row.preexisting, row.live), (Role::Server, "10.0.0.2", 1, 1));
    let listeners = stage.listener_rows(0, 2 * SECOND, |_| true, |_| None);
    assert_eq!((listeners[0].service.as_str(), listeners[0].backlog), ("of 42", 2));
    // Its first use is not another connection, and its role was not known to the kernel half.
    let stood = Life { t_open: 0, pid: 42, ..Life::default() };
    let mut first = event(what::OPENED, role::SERVER, 5, stood);
    first.role = role::UNKNOWN;
    feed(&mut stage, &first, Some("web"));
    let row = only(&stage);
    assert_eq!((row.role, row.preexisting, row.live, row.peak), (Role::Server, 1, 1, 1));
    feed(&mut stage, &event(what::CLOSED, role::SERVER, 5, stood), Some("web"));
    assert_eq!((only(&stage).live, only(&stage).closed), (0, 1));
}

#[test]
fn a_connection_of_the_snapshot_stays_its_processs_when_the_kernel_uses_it() {
    let mut stage = stage();
    let (own, peer) = ((Ipv4Addr::new(10, 0, 0, 1), 5), (Ipv4Addr::new(10, 0, 0, 2), 3_306));
    let open = vec![Open::tcp(NETNS, own.into(), peer.into(), 9)];
    stage.stood(&Snapshot { open, listening: Vec::new() }, |_, _| Some("nbd-client".into()));
    let stood = Life { t_open: 0, pid: 7, ..Life::default() };
    for number in [5, 6] {
        feed(&mut stage, &event(what::OPENED, role::CLIENT, number, stood), Some(KERNEL));
    }
    let mut rows: Vec<_> = all(&stage).into_iter().map(|row| (row.service, row.preexisting)).collect();
    rows.sort();
    assert_eq!(rows, [("kernel".to_owned(), 1), ("nbd-client".to_owned(), 1)]);
}

#[test]
fn one_of_the_snapshot_that_nobody_uses_still_ends() {
    let mut stage = stage();
    let (own, peer) = ((Ipv4Addr::new(10, 0, 0, 1), 5), (Ipv4Addr::new(10, 0, 0, 2), 3_306));
    let other = (Ipv4Addr::new(10, 0, 0, 1), 6);
    let open = [own, other].map(|own| Open::tcp(NETNS, own.into(), peer.into(), 9));
    let snapshot = Snapshot { open: open.to_vec(), listening: Vec::new() };
    stage.stood(&snapshot, |_, _| Some("app".into()));
    let life = Life { end: end::PEERS, ..Life::default() };
    feed(&mut stage, &event(what::CLOSED, role::CLIENT, 5, life), None);
    let row = only(&stage);
    assert_eq!((row.preexisting, row.live, row.closed, row.closed_by.peer), (2, 1, 1, 1));
    // The other one was gone before the hooks spoke.
    stage.left(&standing::Left::default());
    let row = only(&stage);
    assert_eq!((row.preexisting, row.live, row.time_wait), (1, 0, Some(0)));
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
fn a_session_that_stays_in_its_transaction() {
    let mut stage = stage();
    let open = event(what::OPENED, role::CLIENT, 5, opened());
    feed(&mut stage, &open, Some("app"));
    let record = record(&open);
    stage.exchange(&record, &mut mysql(Role::Client, 2 * SECOND, 3 * SECOND, Some(true)));
    // SAFETY: plain numbers.
    let mut conn: Conn = unsafe { std::mem::zeroed() };
    (conn.record, conn.life) = (record, open.life);
    (conn.record.proto, conn.state) = (proto::MYSQL, state::IDLE);
    let survey = |stage: &mut Connections, now: u64| {
        stage.survey();
        stage.see(&conn, &UnderWay::default(), now * SECOND);
        stage.surveyed(now * SECOND);
    };
    survey(&mut stage, 10);
    let row = only(&stage);
    assert_eq!((row.open_transactions, row.longest_open_transaction), (1, Some(7.0)));
    assert_eq!((row.busy_seconds, row.idle_seconds), (0.0, 8.0));
    // It goes on without a word about it in an error, then it ends.
    stage.exchange(&record, &mut mysql(Role::Client, 12 * SECOND, 13 * SECOND, None));
    survey(&mut stage, 14);
    assert_eq!((only(&stage).open_transactions, only(&stage).longest_open_transaction), (1, Some(9.0)));
    stage.exchange(&record, &mut mysql(Role::Client, 15 * SECOND, 16 * SECOND, Some(false)));
    survey(&mut stage, 30);
    assert_eq!((only(&stage).open_transactions, only(&stage).longest_open_transaction), (0, Some(9.0)));
}

/// A request of the process 42, read by its thread 43.
fn request(start: u64, last: u64) -> Exchange {
    let call = HttpCall {
        method: "POST".into(),
        path: "/orders".into(),
        route: "/orders".into(),
        route_source: crate::report::RouteSource::Template,
        status: Some(200),
    };
    Exchange { call: Call::Http(call), ..mysql(Role::Server, start, last, None) }
}

/// The reply's end shows after the response's: nothing follows it.
#[test]
fn the_request_that_left_a_transaction_open() {
    let mut stage = stage();
    let (open, served) =
        (event(what::OPENED, role::CLIENT, 5, opened()), event(what::OPENED, role::SERVER, 6, opened()));
    feed(&mut stage, &open, Some("app"));
    feed(&mut stage, &served, Some("app"));
    let (session, http) = (record(&open), record(&served));
    stage.exchange(&session, &mut mysql(Role::Client, 2 * SECOND, 2 * SECOND, Some(false)));
    stage.exchange(&http, &mut request(3 * SECOND, 5 * SECOND));
    stage.exchange(&session, &mut mysql(Role::Client, 3 * SECOND, 4 * SECOND, Some(true)));
    // SAFETY: plain numbers.
    let mut conn: Conn = unsafe { std::mem::zeroed() };
    (conn.record, conn.life, conn.state) = (session, open.life, state::IDLE);
    conn.record.proto = proto::MYSQL;
    // SAFETY: plain numbers.
    let mut next: Conn = unsafe { std::mem::zeroed() };
    (next.record, next.life, next.state) = (http, served.life, state::REQUEST);
    next.record.proto = proto::HTTP;
    (next.record.request.pid, next.record.request.tid) = (42, 43);
    next.record.request.t_start = 6 * SECOND;
    let Call::Http(call) = request(0, 0).call else { panic!() };
    let survey_with = |stage: &mut Connections, now: u64, other: Option<&Conn>| {
        stage.survey();
        other.into_iter().for_each(|other| stage.see(other, &UnderWay::default(), now * SECOND));
        stage.see(&conn, &UnderWay::default(), now * SECOND);
        let wanted = stage.wants_call(&next).then(|| call.clone());
        stage.see(&next, &UnderWay { call: wanted, patience: None }, now * SECOND);
        stage.surveyed(now * SECOND);
        let row = all(stage).into_iter().find(|row| row.role == Role::Client).unwrap();
        (row.longest_open_transaction, row.open_transaction_route, row.open_transaction_after_response)
    };
    let survey = |stage: &mut Connections, now: u64| survey_with(stage, now, None);
    assert_eq!(survey(&mut stage, 8), (Some(4.0), None, None), "what is under way is not known yet");
    let route = || Some("POST /orders".to_owned());
    assert_eq!(survey(&mut stage, 9), (Some(5.0), route(), Some(4.0)));
    // The next request goes on in it, and is under way when it idles again.
    stage.exchange(&session, &mut mysql(Role::Client, 10 * SECOND, 11 * SECOND, Some(true)));
    assert_eq!(survey(&mut stage, 12), (Some(6.0), route(), Some(5.0)), "up to the next command");
    survey(&mut stage, 18);
    assert_eq!(survey(&mut stage, 19), (Some(8.0), route(), Some(0.0)));
    // Where threads say nothing it is the only one, as long as there are none that nobody sees.
    stage.requests_move(42);
    assert_eq!(survey(&mut stage, 20), (Some(9.0), route(), Some(0.0)));
    let encrypted = event(what::OPENED, role::SERVER, 7, opened());
    feed(&mut stage, &encrypted, Some("app"));
    // SAFETY: plain numbers.
    let mut other: Conn = unsafe { std::mem::zeroed() };
    (other.record, other.life) = (record(&encrypted), encrypted.life);
    assert_eq!(
        survey_with(&mut stage, 21, Some(&other)),
        (Some(10.0), route(), Some(0.0)),
        "nothing has come"
    );
    (other.record.proto, other.life.marks) = (proto::IGNORED, mark::OPENED | mark::TLS);
    assert_eq!(survey_with(&mut stage, 22, Some(&other)), (Some(11.0), None, None));
    feed(&mut stage, &event(what::CLOSED, role::CLIENT, 5, opened()), None);
    stage.exited(42);
    assert_eq!(survey(&mut stage, 23), (Some(11.0), None, None));
}

#[test]
fn requests_that_wait_are_seen_while_they_do() {
    let mut stage = stage();
    let (client, server) =
        (event(what::OPENED, role::CLIENT, 5, opened()), event(what::OPENED, role::SERVER, 6, opened()));
    feed(&mut stage, &client, Some("app"));
    feed(&mut stage, &server, Some("web"));
    stage.survey();
    for event in [&client, &server] {
        // SAFETY: plain numbers.
        let mut conn: Conn = unsafe { std::mem::zeroed() };
        (conn.record, conn.life) = (record(event), event.life);
        (conn.record.proto, conn.state) = (proto::HTTP, state::REQUEST);
        conn.record.request.t_start = 4 * SECOND;
        stage.see(&conn, &UnderWay::default(), 10 * SECOND);
    }
    // And one that nobody has accepted yet.
    // SAFETY: plain numbers.
    let mut waits: Conn = unsafe { std::mem::zeroed() };
    waits.record = record(&event(what::OPENED, role::SERVER, 7, Life::default()));
    waits.t_ready = 3 * SECOND;
    stage.see(&waits, &UnderWay::default(), 10 * SECOND);
    stage.surveyed(10 * SECOND);
    let rows = all(&stage);
    let row = rows.iter().find(|row| row.service == "app").unwrap();
    assert_eq!((row.waiting, row.oldest_waiting), (1, Some(6.0)));
    assert_eq!(rows.iter().find(|row| row.service == "web").unwrap().waiting, 0);
    let listeners = stage.listener_rows(0, 10 * SECOND, |_| true, |_| None);
    let l = &listeners[0];
    assert_eq!((l.in_flight, l.peak_in_flight, l.unread, l.oldest_waiting), (2, 2, 1, Some(7.0)));
    assert_eq!((l.silent, l.longest_silence, l.requests), (Some(9.0), 7.0, 0));
}

#[test]
fn requests_that_say_that_they_wait_do_not_count_as_waiting() {
    let mut stage = stage();
    let event = event(what::OPENED, role::CLIENT, 5, opened());
    feed(&mut stage, &event, Some("app"));
    // SAFETY: plain numbers.
    let mut conn: Conn = unsafe { std::mem::zeroed() };
    (conn.record, conn.life) = (record(&event), event.life);
    (conn.record.proto, conn.state) = (proto::HTTP, state::REQUEST);
    conn.record.request.t_start = 4 * SECOND;
    assert!(!stage.wants_patience(&conn, 4 * SECOND + LONG_NS - 1), "not asked for at once");
    for (patience, now, expected) in [
        (None, 10, (1, Some(6.0))),
        (Some(Patience::Endless), 100, (0, None)),
        (Some(Patience::UpTo(60.0)), 10, (0, None)),
        (Some(Patience::UpTo(60.0)), 100, (1, Some(96.0))),
    ] {
        assert!(stage.wants_patience(&conn, now * SECOND));
        stage.survey();
        stage.see(&conn, &UnderWay { call: None, patience }, now * SECOND);
        stage.surveyed(now * SECOND);
        let row = only(&stage);
        assert_eq!((row.waiting, row.oldest_waiting), expected, "{patience:?}");
    }
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
fn connections_whose_end_was_not_heard_do_not_stay() {
    let mut stage = stage();
    feed(&mut stage, &event(what::OPENED, role::CLIENT, 5, opened()), Some("app"));
    for now in 1..100 {
        stage.survey();
        stage.surveyed(now * SECOND);
    }
    assert_eq!((only(&stage).live, stage.table.len()), (0, 0));
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

#[test]
fn the_ends_of_a_unix_connection_that_was_there_before_are_told_apart_by_their_number() {
    let mut stage = stage();
    let name: Arc<str> = "unix:/run/x".into();
    let address = Address::Unix(name.clone());
    let listens = Listening { address: address.clone(), netns: NETNS, backlog: 0, pid: Some(42), inode: 8 };
    let open = vec![Open::unix(NETNS, address, 9)];
    stage.stood(&Snapshot { open, listening: vec![listens] }, |_, _| Some("web".into()));
    let stood = Life { t_open: 0, pid: 42, ..Life::default() };
    for (inode, sk) in [(9_u64, 5), (10, 6)] {
        let mut first = event(what::OPENED, role::UNKNOWN, sk, stood);
        (first.family, first.laddr, first.raddr) = (libc::AF_UNIX as u16, [0; 16], [0; 16]);
        first.laddr[..8].copy_from_slice(&inode.to_ne_bytes());
        let subject = stage.subject_of(&first, &name);
        stage.event(&first, &subject, Some("web".into()));
    }
    let mut rows: Vec<_> = all(&stage).into_iter().map(|r| (r.role, r.peer, r.preexisting, r.live)).collect();
    rows.sort();
    let path = || "unix:/run/x".to_owned();
    assert_eq!(rows, [(Role::Server, path(), 1, 1), (Role::Client, path(), 1, 1)]);
}

#[test]
fn a_unix_socket_with_a_name_that_nobody_listens_on_may_be_of_either_end() {
    let mut stage = stage();
    let name: Arc<str> = "unix:/run/client-7".into();
    let open = vec![Open::unix(NETNS, Address::Unix(name.clone()), 9)];
    stage.stood(&Snapshot { open, listening: Vec::new() }, |_, _| Some("app".into()));
    assert!(all(&stage).is_empty());
    let stood = Life { t_open: 0, pid: 42, ..Life::default() };
    let mut first = event(what::OPENED, role::CLIENT, 5, stood);
    (first.family, first.laddr, first.raddr) = (libc::AF_UNIX as u16, [0; 16], [0; 16]);
    first.laddr[..8].copy_from_slice(&9_u64.to_ne_bytes());
    let subject = stage.subject_of(&first, &name);
    stage.event(&first, &subject, Some("app".into()));
    let row = only(&stage);
    assert_eq!((row.role, row.preexisting), (Role::Client, 1), "its first use tells");
}
