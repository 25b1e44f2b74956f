//! What an end means to a client: a request that crossed it, a ping that met it.

use super::*;
use crate::exchange::HttpCall;
use crate::report::RouteSource;

/// The connection of a client that ends as `life` says, after these exchanges. What is told of it is what its row says.
fn ended_after(exchanges: Vec<Exchange>, life: Life) -> ConnectionRow {
    let mut stage = stage();
    let open = event(what::OPENED, role::CLIENT, 5, opened());
    feed(&mut stage, &open, Some("app"));
    for mut exchange in exchanges {
        stage.exchange(&record(&open), &mut exchange);
    }
    let mut closed = event(what::CLOSED, role::CLIENT, 5, life);
    closed.proto = proto::HTTP;
    stage.telling = true;
    feed(&mut stage, &closed, Some("app"));
    let row = only(&stage);
    let told = stage.take();
    assert_eq!(u64::from(told[0].life.marks & mark::CUT != 0), row.cut);
    assert_eq!(u64::from(told[0].life.marks & mark::GONE != 0), row.gone);
    row
}

/// A request that crossed the server's FIN: on a connection that was idle before, and within a round trip (here 1 ms).
#[test]
fn a_keep_alive_race_is_no_cut() {
    const MS: u64 = 1_000_000;
    let call = HttpCall {
        method: "GET".into(),
        path: "/".into(),
        route: "/".into(),
        route_source: RouteSource::Template,
        status: None,
    };
    let http = |start: u64, answer: Option<u64>| {
        let last = answer.unwrap_or(start);
        let mut exchange = requests::exchange(Role::Client, 43, start, last, Call::Http(call.clone()));
        exchange.times.first = answer;
        exchange.transport_error = answer.is_none().then(|| "closed".into());
        exchange
    };
    let (first, second) = (3 * SECOND, 8 * SECOND);
    let answered = || http(first, Some(first + MS));
    let half = || Exchange { transport_error: Some("closed".into()), ..http(second, Some(second)) };
    for (what, exchanges, end, after, gone) in [
        ("a FIN", vec![answered(), http(second, None)], end::PEERS, MS / 2, 1),
        ("a reset", vec![answered(), http(second, None)], end::RESET, MS / 2, 1),
        ("later than a round trip", vec![answered(), http(second, None)], end::PEERS, 2 * MS, 0),
        ("our own", vec![answered(), http(second, None)], end::OURS, MS / 2, 0),
        ("a new connection", vec![http(second, None)], end::PEERS, MS / 2, 0),
        ("busy just before", vec![answered(), http(first + 2 * MS, None)], end::PEERS, 0, 0),
        ("part of an answer", vec![answered(), half()], end::PEERS, MS / 2, 0),
    ] {
        let start = exchanges.last().and_then(|exchange| exchange.times.start).unwrap();
        let life = Life {
            t_connect: 2 * SECOND - MS,
            marks: mark::OPENED | mark::CUT,
            t_end: start + after,
            end,
            ..opened()
        };
        let row = ended_after(exchanges.clone(), life);
        assert_eq!((row.gone, row.cut), (gone, 1 - gone), "{what}");
        if gone == 1 {
            assert_eq!(row.gone_idle.map(|idle| idle.max), Some(4.999), "{what}");
        }
        // How long a round trip takes is not known.
        let row = ended_after(exchanges, Life { t_connect: 0, t_open: 0, ..life });
        assert_eq!((row.gone, row.cut), (0, 1), "{what}");
    }
}

/// A pool that pings first.
#[test]
fn a_ping_that_is_not_answered_has_lost_nothing() {
    for (command, end, cut) in [
        ("ping", end::PEERS, 0),
        ("reset_connection", end::RESET, 0),
        ("ping", end::TIMEOUT, 1),
        ("query", end::PEERS, 1),
    ] {
        let mut asked = mysql(Role::Client, 3 * SECOND, 4 * SECOND, None);
        asked.transport_error = Some("closed".into());
        asked.times.first = None;
        if let Call::Mysql(call) = &mut asked.call {
            call.command = command;
        }
        let life = Life { marks: mark::OPENED | mark::CUT, end, t_end: 3 * SECOND, ..opened() };
        assert_eq!(ended_after(vec![asked], life).cut, cut, "{command}");
    }
}
