//! Lives of connections: what TCP's states, exchanges and their ends leave in them.

use super::packets::{CAPS, command, err, greeting, ok, packet, query, sign_in};
use super::wire::{BOTH, End, Wire};
use crate::life::{Event, Life, end, mark, tcp, what};
use crate::mysql::capability;
use crate::record::{kind, proto};

const QUIT: [u8; 5] = [1, 0, 0, 0, 1];
const GET: &str = "GET / HTTP/1.1\r\nHost: x\r\n\r\n";
const REPLY: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

fn ended(states: &[(u8, u8)]) -> Life {
    let mut life = Life { t_open: 100, t_used: 300, ..Life::default() };
    for (n, (state, error)) in states.iter().enumerate() {
        life.state(*state, *error, 1000 + n as u64);
    }
    life
}

/// States with their errors, what ended it, its error.
type Case = (&'static [(u8, u8)], u8, u8);

#[test]
fn what_ends_a_connection_first_has_ended_it() {
    let cases: &[Case] = &[
        (&[(tcp::FIN_WAIT1, 0), (tcp::CLOSE, 0)], end::OURS, 0),
        (&[(tcp::CLOSE_WAIT, 0), (tcp::CLOSE, 0)], end::PEERS, 0),
        // The answer to what was written after the peer's FIN.
        (&[(tcp::CLOSE_WAIT, 0), (tcp::CLOSE, 32)], end::PEERS, 32),
        (&[(tcp::FIN_WAIT1, 0), (tcp::CLOSE, 104)], end::OURS, 104),
        (&[(tcp::CLOSE, 104)], end::RESET, 104),
        (&[(tcp::CLOSE, 110)], end::TIMEOUT, 110),
        (&[(tcp::CLOSE, 113)], end::ERROR, 113),
        (&[(tcp::CLOSE, 0)], end::ABORTED, 0),
        (&[(tcp::ESTABLISHED, 0)], end::NONE, 0),
    ];
    for &(states, how, error) in cases {
        let life = ended(states);
        assert_eq!((life.end, life.error), (how, error), "{states:?}");
        if how != end::NONE {
            assert_eq!((life.t_end, life.idle), (1000, 700));
            assert_eq!(life.t_closed, 1000 + states.len() as u64 - 1);
        }
    }
}

#[test]
fn idle_is_the_time_since_the_last_use_or_the_begin() {
    let mut life = Life { t_open: 100, ..Life::default() };
    life.state(tcp::CLOSE_WAIT, 0, 150);
    assert_eq!(life.idle, 50);
    let mut unknown = Life::default();
    unknown.state(tcp::CLOSE_WAIT, 0, 150);
    assert_eq!(unknown.idle, 0);
}

#[test]
fn exchanges_are_counted_and_timed_a_sign_in_is_none() {
    for end in BOTH {
        let mut wire = Wire::new(end);
        wire.answer(greeting()).ask(sign_in(CAPS)).answer(ok(2, 2));
        let life = wire.conn.life;
        assert_eq!((life.exchanges, life.busy, life.marks & mark::MYSQL), (0, 0, mark::MYSQL));
        assert!(life.t_greeted != 0 && life.t_ready == wire.time, "{life:?}");
        wire.ask(query("SELECT 1")).wait(50).answer(ok(1, 2)).wait(9000);
        wire.ask(query("SELECT 2")).answer(ok(1, 2)).ask(QUIT).close();
        let life = wire.conn.life;
        assert_eq!((life.exchanges, life.busy, life.marks & mark::CUT), (2, 2050, 0), "{end:?}");
        assert_eq!(life.t_used, wire.time - 1000);
    }
}

#[test]
fn pipelined_requests_are_not_busy_twice() {
    let mut wire = Wire::new(End::Server);
    wire.ask(GET.repeat(3)).answer(REPLY).answer(REPLY).answer(REPLY);
    assert_eq!((wire.conn.life.exchanges, wire.conn.life.busy), (3, 3000));
}

#[test]
fn an_end_within_an_exchange_is_a_cut() {
    for end in BOTH {
        for (answer, cut) in [(&REPLY[..20], mark::CUT), (REPLY, 0), ("", mark::CUT)] {
            let mut wire = Wire::new(end);
            wire.ask(GET).answer(REPLY).ask(GET).answer(answer).fail(104);
            assert_eq!(wire.conn.life.marks & mark::CUT, cut, "{answer:?}");
        }
    }
}

#[test]
fn a_farewell_leaves_its_number() {
    let farewell = err(0, 4031, "The client was disconnected by the server because of inactivity.");
    for end in BOTH {
        let mut wire = Wire::new(end);
        wire.answer(greeting()).ask(sign_in(CAPS)).answer(ok(2, 2)).wait(1_000_000_000).answer(&farewell);
        assert_eq!(wire.conn.life.farewell, 4031);
        // It is read behind a command that crossed it.
        let mut wire = Wire::new(end);
        wire.answer(greeting()).ask(sign_in(CAPS)).answer(ok(2, 2)).ask(query("SELECT 1")).answer(&farewell);
        assert_eq!(wire.conn.life.farewell, 4031);
    }
}

#[test]
fn a_command_after_the_servers_end_is_too_late_a_goodbye_and_a_ping_are_not() {
    for (last, gone) in [(query("SELECT 2"), mark::GONE), (QUIT.to_vec(), 0), (command(0x0e, b""), 0)] {
        let mut wire = Wire::new(End::Client);
        wire.answer(greeting()).ask(sign_in(CAPS)).answer(ok(2, 2)).ask(query("SELECT 1")).answer(ok(1, 2));
        let time = wire.time + 500;
        wire.conn.life.state(tcp::CLOSE_WAIT, 0, time);
        wire.ask(last);
        assert_eq!(wire.conn.is_begun_too_late(), gone != 0);
        wire.fail(32);
        assert_eq!(wire.conn.life.marks & mark::GONE, gone);
    }
    // Our own end, and a server's answer to a client that has no more to ask.
    for (end, state) in [(End::Client, tcp::FIN_WAIT1), (End::Server, tcp::CLOSE_WAIT)] {
        let mut wire = Wire::new(end);
        let time = wire.time;
        wire.conn.life.state(state, 0, time);
        wire.ask(GET).answer(&REPLY[..10]).fail(104);
        assert_eq!(wire.conn.life.marks & mark::GONE, 0);
    }
}

/// The server has said all and closed. A client that closes without reading it drops it itself; one that has read what
/// there is was cut off, and so was one that is reset.
#[test]
fn a_response_that_the_client_drops_is_not_cut_by_the_server() {
    let half = &REPLY[..REPLY.len() - 1];
    for (old, error, answer, end) in [
        (tcp::CLOSE_WAIT, 0, half, end::ABORTED),
        (tcp::CLOSE_WAIT, 0, "", end::ABORTED),
        (tcp::LAST_ACK, 0, half, end::PEERS),
        (tcp::CLOSE_WAIT, 32, half, end::PEERS),
        (tcp::CLOSE_WAIT, 0, REPLY, end::PEERS),
    ] {
        let mut wire = Wire::new(End::Client);
        wire.ask(GET).answer(answer);
        let time = wire.time + 500;
        wire.conn.life.state(tcp::CLOSE_WAIT, 0, time);
        wire.conn.drops(old, error);
        wire.conn.life.state(tcp::CLOSE, error, time);
        assert_eq!(wire.conn.life.end, end, "{old} {error} {answer:?}");
    }
    // A worker that closes with an upload unread, which its client has given up.
    let mut wire = Wire::new(End::Server);
    wire.ask(GET);
    let time = wire.time + 500;
    wire.conn.life.state(tcp::CLOSE_WAIT, 0, time);
    wire.conn.drops(tcp::CLOSE_WAIT, 0);
    assert_eq!(wire.conn.life.end, end::PEERS);
    // It was asked too late: nothing of the answer can be there.
    let mut wire = Wire::new(End::Client);
    wire.ask(GET).answer(REPLY);
    let time = wire.time + 500;
    wire.conn.life.state(tcp::CLOSE_WAIT, 0, time);
    wire.ask(GET);
    wire.conn.drops(tcp::CLOSE_WAIT, 0);
    assert_eq!((wire.conn.life.end, wire.conn.is_begun_too_late()), (end::PEERS, true));
}

/// Encrypted bytes of some length.
const SECRET: [u8; 40] = [0x17; 40];

#[test]
fn a_sign_in_within_tls_ends_with_the_servers_ok() {
    let hello = || {
        let mut wire = Wire::new(End::Client);
        let mut request = (CAPS | capability::SSL).to_le_bytes().to_vec();
        request.extend([0; 28]);
        wire.answer(greeting()).ask(packet(1, &request)).ask([0x16; 300]).answer([0x16; 900]).answer(SECRET);
        wire
    };
    // TLS 1.3: finished, password; tickets, OK.
    let mut wire = hello();
    wire.ask([0x14; 80]).ask(SECRET).answer(SECRET).answer(SECRET);
    let ready = wire.time;
    wire.ask(SECRET).answer(SECRET).ask(SECRET).answer(SECRET);
    let life = wire.conn.life;
    assert_eq!(life.marks & (mark::TLS | mark::MYSQL), mark::TLS | mark::MYSQL);
    assert_eq!((life.t_ready, life.exchanges), (ready, 0));
    // TLS 1.2: keys; finished; password; OK.
    let mut wire = hello();
    wire.ask([0x16; 120]).answer(SECRET).ask(SECRET).answer(SECRET);
    let ready = wire.time;
    wire.ask(SECRET).answer(SECRET).ask(SECRET).answer(SECRET);
    assert_eq!(wire.conn.life.t_ready, ready);
}

#[test]
fn an_event_says_who_and_what() {
    let mut wire = Wire::new(End::Client);
    wire.answer(greeting());
    wire.conn.record.rport = 3306;
    // SAFETY: plain numbers, of which all zeros are some.
    let mut event: Event = unsafe { core::mem::zeroed() };
    // SAFETY: a place of its own.
    unsafe { wire.conn.event(what::OPENED, 77, &raw mut event) };
    assert_eq!((event.kind, event.what, event.time, event.rport), (kind::CONNECTION, what::OPENED, 77, 3306));
    assert_eq!((event.proto, event.sk, event.life), (proto::MYSQL, wire.conn.record.sk, wire.conn.life));
}
