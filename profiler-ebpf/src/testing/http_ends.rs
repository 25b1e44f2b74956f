//! HTTP: exchanges that do not end well, connections that stop being HTTP or never were, and those we join late.

use std::format;

use super::wire::{BOTH, End, Wire, statuses};
use crate::conn::mark;
use crate::record::{Counter, ERROR_CLOSED, flag, proto, role};

const GET: &str = "GET / HTTP/1.1\r\nHost: x\r\n\r\n";
const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi";
const ECONNRESET: u8 = 104;

#[test]
fn another_protocols_messages_behind_one_another_are_nothing() {
    for end in BOTH {
        let mut wire = Wire::new(end);
        for _ in 0..3 {
            wire.ask("INVITE sip:a@b SIP/2.0\r\nVia: x\r\n\r\n");
        }
        wire.close().none();
        assert_eq!(wire.counted(Counter::HalfSeen), 3);
    }
}

#[test]
fn replies_that_come_after_lost_ones_are_nobodys() {
    let answer = |status: u16| format!("HTTP/1.1 {status} X\r\nContent-Length: 0\r\n\r\n");
    for end in BOTH {
        let mut wire = Wire::new(end);
        let long =
            format!("HTTP/1.1 201 A\r\nTransfer-Encoding: chunked\r\n\r\n{}", "1\r\nx\r\n".repeat(200));
        wire.ask(GET.repeat(3)).answer(&long).ask(GET).answer("0\r\n\r\n");
        for status in [402, 403, 404] {
            wire.answer(answer(status));
        }
        let lost = wire.take();
        assert!(lost.iter().all(|sent| sent.record.status == 201), "{:?}", statuses(&lost));
        wire.wait(crate::machine::SETTLE_NS).ask(GET).answer(answer(405));
        assert_eq!(wire.one().record.status, 405);
    }
}

#[test]
fn a_body_where_none_may_be_costs_one_exchange_and_shifts_none() {
    // Some servers send the body of a reply to HEAD; the client reads its rest together with the next reply.
    for end in BOTH {
        let mut wire = Wire::new(end);
        let head = "HTTP/1.1 200 OK\r\nContent-Length: 4000\r\n\r\n";
        wire.ask("HEAD /big HTTP/1.1\r\n\r\n").answer(head).answer("x".repeat(2000));
        wire.ask(GET).answer("x".repeat(2000) + "HTTP/1.1 413 X\r\nContent-Length: 0\r\n\r\n");
        wire.ask("DELETE /b HTTP/1.1\r\n\r\n").answer("HTTP/1.1 204 No Content\r\n\r\n");
        wire.ask(GET).answer(OK);
        let records = wire.take();
        assert_eq!(statuses(&records), [200, 204, 200]);
        assert!(records[1].head.starts_with(b"DELETE /b"));
        assert_eq!(wire.counted(Counter::HalfSeen), 1);
    }
}

#[test]
fn a_head_that_is_lost_in_its_middle_keeps_its_status() {
    for end in BOTH {
        let mut wire = Wire::new(end);
        wire.ask(GET).answer("HTTP/1.1 503 Busy\r\nContent-Le").answer_by_sendfile(100).ask(GET);
        let r = wire.one().record;
        assert_eq!((r.status, r.response_bytes), (503, 129));
    }
}

#[test]
fn a_reset_before_any_reply_is_an_error_without_a_status() {
    for end in BOTH {
        let mut wire = Wire::new(end);
        wire.ask(GET).fail(ECONNRESET);
        let r = wire.one().record;
        assert_eq!((r.status, r.error, r.t_first, r.t_last), (0, ECONNRESET, 0, wire.time));
        wire.close().none();
    }
}

#[test]
fn a_close_after_an_interim_reply_has_no_status() {
    let mut wire = Wire::new(End::Client);
    wire.ask(GET).answer("HTTP/1.1 100 Continue\r\n\r\n").close();
    let r = wire.one().record;
    assert_eq!((r.status, r.error), (0, ERROR_CLOSED));
}

#[test]
fn a_close_in_the_middle_of_a_body_is_an_error_with_the_status() {
    for (errno, error) in [(0, ERROR_CLOSED), (ECONNRESET, ECONNRESET)] {
        for end in BOTH {
            let mut wire = Wire::new(end);
            wire.ask(GET).answer(&OK[..OK.len() - 1]).fail(errno);
            let r = wire.one().record;
            assert_eq!((r.status, r.error), (200, error));
            assert_eq!(r.t_last, wire.time - 1000);
        }
    }
}

#[test]
fn a_close_in_the_middle_of_a_head_has_no_status() {
    let mut wire = Wire::new(End::Client);
    wire.ask(GET).answer("HTTP/1.1 200 OK\r\nContent-Le").close();
    let r = wire.one().record;
    assert_eq!((r.status, r.error), (0, ERROR_CLOSED));
}

#[test]
fn a_close_between_exchanges_is_nothing() {
    for end in BOTH {
        Wire::new(end).ask(GET).answer(OK).close().world.records.truncate(1);
        let mut wire = Wire::new(end);
        wire.ask(GET).answer(OK);
        wire.one();
        wire.fail(ECONNRESET).none();
        assert_eq!(wire.counted(Counter::HalfSeen), 0);
    }
}

#[test]
fn an_upgrade_is_a_stream_and_the_rest_is_not_looked_at() {
    for end in BOTH {
        let mut wire = Wire::new(end);
        wire.ask("GET /ws HTTP/1.1\r\nUpgrade: websocket\r\n\r\n");
        wire.answer("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n\x01\x02");
        let r = wire.one().record;
        assert_eq!((r.status, r.flags & flag::STREAM), (101, flag::STREAM));
        assert!(wire.conn.has(mark::OPAQUE));
        wire.ask(GET).answer(OK).close().none();
        assert_eq!(wire.counted(Counter::Emitted), 1);
    }
}

#[test]
fn a_tunnel_is_a_stream_and_a_refused_one_a_reply() {
    let mut wire = Wire::new(End::Client);
    let connect = "CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n";
    wire.ask(connect).answer("HTTP/1.1 407 No\r\nContent-Length: 0\r\n\r\n");
    let r = wire.one().record;
    assert_eq!((r.status, r.flags), (407, 0));
    wire.ask(connect).answer("HTTP/1.1 200 Connection established\r\n\r\n");
    let r = wire.one().record;
    assert_eq!((r.status, r.flags & flag::STREAM), (200, flag::STREAM));
    wire.ask("\x16\x03\x01").answer("\x16\x03\x03").close().none();
}

#[test]
fn event_streams_and_line_delimited_json_are_streams() {
    for kind in
        ["text/event-stream", "Text/Event-Stream; charset=utf-8", "application/x-ndjson", "application/jsonl"]
    {
        for end in BOTH {
            let mut wire = Wire::new(end);
            let head =
                std::format!("HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nTransfer-Encoding: chunked\r\n\r\n");
            wire.ask(GET).answer(head);
            let r = wire.one().record;
            assert_eq!((r.status, r.flags & flag::STREAM), (200, flag::STREAM), "{kind}");
            wire.answer("8\r\ndata: 1\n\r\n").answer("8\r\ndata: 2\n\r\n").none();
            wire.answer("0\r\n\r\n").none();
            wire.ask(GET).answer(OK);
            assert_eq!(wire.one().record.flags, 0);
        }
    }
}

#[test]
fn a_reply_of_json_is_no_stream() {
    let mut wire = Wire::new(End::Server);
    wire.ask(GET).answer("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}");
    assert_eq!(wire.one().record.flags, 0);
    wire.ask("HEAD / HTTP/1.1\r\n\r\n").answer("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n");
    assert_eq!(wire.one().record.flags, 0);
}

#[test]
fn the_http2_preface_is_recognised_whole_and_in_pieces() {
    let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
    for size in [1, 3, 5, 24, 100] {
        for end in BOTH {
            let mut wire = Wire::new(end);
            wire.answer(b"\0\0\x06\x04\0\0\0\0\0\0\x03\0\0\0\x64").ask_by(size, preface);
            wire.answer("HTTP/1.1 200 OK\r\n\r\n").close().none();
            assert_eq!(wire.counted(Counter::NotParsedHttp2), 1, "{size}");
        }
    }
}

#[test]
fn tls_is_recognised_and_counted_once() {
    for size in [1, 4, 5, 1000] {
        let mut wire = Wire::new(End::Client);
        let mut hello = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03".to_vec();
        hello.extend([7; 300]);
        wire.ask_by(size, &hello).answer(b"\x16\x03\x03\0\x7a\x02").ask(GET).answer(OK).close().none();
        assert_eq!(wire.counted(Counter::NotParsedTls), 1, "{size}");
    }
}

#[test]
fn a_reply_seen_before_its_request_is_paired_and_marked() {
    for split in [OK.len(), 10] {
        let mut wire = Wire::new(End::Client);
        wire.ask(GET).answer(OK);
        wire.one();
        // The reply as a whole, or its beginning, is read before the write of the request has returned.
        wire.answer(&OK[..split]).ask(GET).answer(&OK[split..]);
        let sent = wire.one();
        assert_eq!((sent.record.status, sent.record.request.t_start), (200, 0));
        assert_eq!(sent.head, GET.as_bytes());
        assert_eq!(sent.record.flags & flag::RACED, flag::RACED);
        wire.ask(GET).answer(OK);
        let sent = wire.one();
        assert_eq!((sent.record.flags, sent.record.request.t_start), (0, wire.time - 1000));
    }
}

#[test]
fn a_raced_request_with_a_body_is_seen_whole() {
    let mut wire = Wire::new(End::Client);
    let post = "POST / HTTP/1.1\r\nContent-Length: 4\r\n\r\n";
    wire.ask(GET).answer(OK);
    wire.one();
    wire.answer(OK).ask(post).ask("ab").none().ask("cd");
    let sent = wire.one();
    assert_eq!((sent.head, sent.record.request.bytes), (post.as_bytes().to_vec(), post.len() as u64 + 4));
    wire.ask(GET).answer(OK);
    assert_eq!(wire.one().record.flags, 0);
}

#[test]
fn a_lost_request_does_not_shift_the_replies_for_ever() {
    let mut wire = Wire::new(End::Client);
    wire.ask(GET).answer(OK);
    // Sent in a way that we do not see.
    wire.answer(OK);
    for _ in 0..20 {
        wire.ask(GET).answer(OK);
    }
    wire.take();
    wire.ask("GET /last HTTP/1.1\r\n\r\n").answer("HTTP/1.1 202 OK\r\nContent-Length: 0\r\n\r\n");
    let sent = wire.one();
    assert_eq!((sent.record.status, sent.record.flags), (202, 0));
    assert!(sent.head.starts_with(b"GET /last"));
}

#[test]
fn a_reply_that_nobody_asked_for_is_counted_not_reported() {
    let mut wire = Wire::new(End::Server);
    wire.ask(GET).answer(OK);
    wire.one();
    wire.wait(5_000_000_000).answer("HTTP/1.1 408 Timeout\r\nContent-Length: 0\r\n\r\n").close().none();
    assert_eq!(wire.counted(Counter::HalfSeen), 1);
}

#[test]
fn joined_between_request_and_reply_the_exchange_is_dropped_and_counted() {
    for end in BOTH {
        // The request may have been HEAD: whether a body follows is not known.
        for rest in ["hi", ""] {
            let mut wire = Wire::joined(end);
            wire.answer("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n").answer(rest).none();
            assert_eq!(wire.counted(Counter::HalfSeen), 1);
            wire.ask(GET).answer("HTTP/1.1 404 No\r\nContent-Length: 0\r\n\r\n");
            let sent = wire.one();
            assert_eq!((sent.record.status, &sent.head[..]), (404, GET.as_bytes()));
            assert_eq!(sent.record.role, if end == End::Server { role::SERVER } else { role::CLIENT });
        }
    }
}

#[test]
fn joined_in_a_long_body_the_next_exchange_is_seen() {
    for end in BOTH {
        for pieces in [1, 3, 20, 1000] {
            let mut wire = Wire::joined(end);
            for _ in 0..pieces {
                wire.answer("x".repeat(1000));
            }
            wire.none();
            wire.ask(GET).answer(OK);
            assert_eq!(wire.one().record.status, 200, "{pieces}");
            let mut wire = Wire::joined(end);
            for _ in 0..pieces {
                wire.ask("POST me a letter, please\r\n");
            }
            wire.answer(OK).none().ask(GET).answer(OK);
            assert_eq!(wire.one().head, GET.as_bytes(), "{pieces}");
        }
    }
}

#[test]
fn other_protocols_are_never_reported() {
    let redis =
        [("*1\r\n$4\r\nPING\r\n", "+PONG\r\n"), ("SET a b\r\n", "+OK\r\n"), ("GET a\r\n", "$1\r\nb\r\n")];
    let smtp = [
        ("EHLO me\r\n", "250-you\r\n250 OK\r\n"),
        ("MAIL FROM:<a@b>\r\n", "250 OK\r\n"),
        ("QUIT\r\n", "221 Bye\r\n"),
    ];
    let memcached = [
        ("get a\r\n", "END\r\n"),
        ("set a 0 0 1\r\nb\r\n", "STORED\r\n"),
        ("\u{80}\0\0\u{1}\0\0\0\0", "\u{81}\0\0\0\0\0\0\0"),
    ];
    let postgres = [
        ("\0\0\0\x08\x04\u{d2}\x16\x2f", "N"),
        ("\0\0\0\x2a\0\x03\0\0user\0me\0", "R\0\0\0\x08\0\0\0\0"),
        ("Q\0\0\0\rSELECT 1\0", "T\0\0\0\x21\0\x01"),
    ];
    for talk in [redis, smtp, memcached, postgres] {
        for end in BOTH {
            for joined in [false, true] {
                let mut wire = if joined { Wire::joined(end) } else { Wire::new(end) };
                for _ in 0..20 {
                    for (ask, answer) in talk {
                        wire.ask(ask).answer(answer);
                    }
                }
                wire.ask(talk[1].0).close().none();
                assert_eq!(wire.counted(Counter::NotParsedOther), 1, "{talk:?}");
                assert_eq!(wire.counted(Counter::Emitted), 0);
            }
        }
    }
}

#[test]
fn what_was_not_recognised_is_looked_at_less_and_less_but_again() {
    let mut wire = Wire::new(End::Server);
    for _ in 0..1000 {
        wire.ask("hello\r\n").answer("world\r\n");
    }
    assert!(wire.world.fetches < 100, "{}", wire.world.fetches);
    for _ in 0..1100 {
        wire.ask(GET).answer(OK);
    }
    assert!(!wire.take().is_empty());
    assert_eq!(wire.conn.record.proto, proto::HTTP);
}

#[test]
fn an_end_that_is_known_cannot_be_the_other() {
    let mut wire = Wire::new(End::Server);
    // An accepted connection on which we send what looks like a request.
    wire.answer(GET).ask(OK).close().none();
}

#[test]
fn a_message_that_looks_like_a_greeting_is_none_where_the_client_spoke_first() {
    // MongoDB: a length of 100 and a request number that together look like a MySQL greeting.
    let message = std::format!("d\0\0\0\n0\0\0{}", "x".repeat(92));
    for end in BOTH {
        let mut wire = Wire::new(end);
        for _ in 0..20 {
            wire.ask(&message).answer(&message);
        }
        wire.close().none();
    }
}
