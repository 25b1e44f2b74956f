//! Sessions that idle in an open transaction, and the requests that left them so.

use super::*;
use crate::exchange::HttpCall;

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

/// A session whose transaction a request has left open, as the table has it, and the request's connection.
fn left_open() -> (Connections, Conn, Event) {
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
    (stage, conn, served)
}

/// The reply's end shows after the response's: nothing follows it.
#[test]
fn the_request_that_left_a_transaction_open() {
    let (mut stage, conn, served) = left_open();
    let (session, http) = (conn.record, record(&served));
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

/// Nor are the requests of that time known: who left it so before says nothing of it.
#[test]
fn a_transaction_left_open_by_a_command_whose_begin_is_not_known() {
    let (mut stage, conn, served) = left_open();
    let (session, http) = (conn.record, record(&served));
    let survey = |stage: &mut Connections, now: u64| {
        stage.survey();
        stage.see(&conn, &UnderWay::default(), now * SECOND);
        stage.surveyed(now * SECOND);
        let row = all(stage).into_iter().find(|row| row.role == Role::Client).unwrap();
        (row.longest_open_transaction, row.open_transaction_route)
    };
    survey(&mut stage, 8);
    assert_eq!(survey(&mut stage, 9), (Some(5.0), Some("POST /orders".to_owned())));
    let without_begin = |mut exchange: Exchange| {
        exchange.times.start = None;
        exchange
    };
    stage.exchange(&session, &mut without_begin(mysql(Role::Client, 0, 10 * SECOND, Some(true))));
    stage.exchange(&http, &mut without_begin(request(0, 11 * SECOND)));
    assert_eq!(survey(&mut stage, 30), (Some(20.0), None));
}
