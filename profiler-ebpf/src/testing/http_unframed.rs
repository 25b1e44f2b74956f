//! HTTP: replies whose boundaries are lost, because one call moved more of their pieces than are followed.

use std::format;
use std::string::String;

use super::wire::{BOTH, End, Wire, statuses};
use super::world::Memory;
use crate::machine::SETTLE_NS;
use crate::record::{Counter, ERROR_CLOSED};

const GET: &str = "GET /many HTTP/1.1\r\nHost: x\r\n\r\n";
const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi";
const HEAD: &str = "HTTP/1.1 201 Created\r\nTransfer-Encoding: chunked\r\n\r\n";

fn chunks(n: usize) -> String {
    "3\r\nabc\r\n".repeat(n)
}

#[test]
fn its_end_shows_in_its_last_bytes_once_it_is_quiet() {
    for end in BOTH {
        let reply = format!("{HEAD}{}0\r\n\r\n", chunks(500));
        let mut wire = Wire::new(end);
        wire.ask(GET).answer(&reply);
        let last = wire.time;
        assert_eq!(wire.counted(Counter::FramingLost), 0, "nothing is lost");
        wire.wait(SETTLE_NS - 1).sweep().none();
        wire.wait(1).sweep();
        let r = wire.one().record;
        assert_eq!((r.status, r.error, r.response_bytes as usize, r.t_last), (201, 0, reply.len(), last));
        wire.sweep().none().ask(GET).answer(OK);
        assert_eq!(wire.one().record.status, 200);
        wire.close().none();
        assert_eq!(wire.counted(Counter::HalfSeen), 0);
    }
}

#[test]
fn its_end_may_come_in_pieces_of_calls_and_of_vectors() {
    for end in BOTH {
        for cut in 1..8 {
            let mut wire = Wire::new(end);
            wire.ask(GET).answer(format!("{HEAD}{}3\r\nab", chunks(500)));
            wire.answer_by(cut, "c\r\n0\r\n\r\n").wait(SETTLE_NS).sweep();
            assert_eq!(wire.one().record.status, 201, "calls of {cut}");
        }
        // As Node writes: each chunk's size, data and line end a segment, then the last chunk.
        let (body, last) = (chunks(500), "0\r\n\r\n");
        let mut segments = std::vec![HEAD.len()];
        segments.extend([3, 3, 2].repeat(500));
        segments.push(last.len());
        let mut wire = Wire::new(end);
        wire.ask(GET).operation(false, format!("{HEAD}{body}{last}").as_bytes(), Memory::Segments(segments));
        wire.wait(SETTLE_NS).sweep();
        assert_eq!(wire.one().record.status, 201);
    }
}

#[test]
fn one_that_only_pauses_goes_on() {
    let mut wire = Wire::new(End::Client);
    wire.ask(GET).answer(format!("{HEAD}{}", chunks(500))).wait(SETTLE_NS).sweep().none();
    wire.answer("7\r\n\r\n0\r\n\r\n\r\n").wait(SETTLE_NS).sweep().none();
    wire.answer("0\r\n\r\n").wait(SETTLE_NS).sweep();
    assert_eq!(wire.one().record.t_last, wire.time - SETTLE_NS);
}

#[test]
fn the_next_request_ends_it_before_it_is_quiet() {
    for end in BOTH {
        let mut wire = Wire::new(end);
        wire.ask(GET).answer(format!("{HEAD}{}0\r\n\r\n", chunks(500))).ask(GET).answer(OK);
        assert_eq!(statuses(&wire.take()), [201, 200]);
    }
}

#[test]
fn a_close_ends_it_as_it_is() {
    let mut wire = Wire::new(End::Client);
    wire.ask(GET).answer(format!("{HEAD}{}", chunks(500))).close();
    let r = wire.one().record;
    assert_eq!((r.status, r.error), (201, 0));
    let mut wire = Wire::new(End::Client);
    wire.ask(GET).answer(format!("{HEAD}{}", chunks(500))).fail(104);
    assert_eq!(wire.one().record.error, 104);
}

#[test]
fn a_head_of_too_many_pieces_keeps_its_status() {
    let cookies = "Set-Cookie: a=b\r\n".repeat(2000);
    let head = format!("HTTP/1.1 404 Not Found\r\n{cookies}Transfer-Encoding: chunked\r\n\r\n");
    for end in BOTH {
        let mut wire = Wire::new(end);
        wire.ask(GET).answer(format!("{head}3\r\nabc\r\n0\r\n\r\n")).wait(SETTLE_NS).sweep();
        let r = wire.one().record;
        assert_eq!((r.status, r.error), (404, 0));
        // Cut before its end: begun, with the status, and an error is for the connection to tell.
        let mut wire = Wire::new(end);
        wire.ask(GET).answer(&head[..20_000]).wait(SETTLE_NS).sweep().none().fail(ERROR_CLOSED);
        let r = wire.one().record;
        assert_eq!((r.status, r.error), (404, ERROR_CLOSED));
    }
}
