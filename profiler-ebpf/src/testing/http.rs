//! HTTP: where messages begin and end, one fact each.

use std::format;

use super::wire::{BOTH, End, Wire, statuses};
use crate::record::{Counter, flag, proto, role};

const GET: &str = "GET /a?b=c HTTP/1.1\r\nHost: x\r\n\r\n";
const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi";

#[test]
fn a_get_and_its_reply_are_one_exchange_at_both_ends() {
    for end in BOTH {
        let mut wire = Wire::new(end);
        wire.ask(GET).answer(OK);
        let sent = wire.one();
        assert_eq!(sent.record.status, 200);
        assert_eq!(sent.record.proto, proto::HTTP);
        assert_eq!(sent.record.role, if end == End::Server { role::SERVER } else { role::CLIENT });
        assert_eq!(sent.head, GET.as_bytes());
        assert_eq!(sent.record.request.bytes, GET.len() as u64);
        assert_eq!(sent.record.response_bytes, OK.len() as u64);
        assert_eq!(sent.record.error, 0);
        assert_eq!(sent.record.flags, 0);
        assert_eq!((sent.record.request.pid, sent.record.request.tid), (100, 101));
        assert_eq!(wire.counted(Counter::Emitted), 1);
        wire.close().none();
    }
}

#[test]
fn every_method_is_a_request() {
    for method in [
        "GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH", "PROPFIND",
        "M-SEARCH", "CCM_POST",
    ] {
        let mut wire = Wire::new(End::Server);
        let request = format!("{method} /x HTTP/1.1\r\nHost: x\r\n\r\n");
        wire.ask(&request).answer("HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n");
        let sent = wire.one();
        assert_eq!((sent.record.status, sent.head), (404, request.into_bytes()), "{method}");
    }
}

#[test]
fn clocks_stand_for_first_and_last_bytes() {
    let mut wire = Wire::new(End::Server);
    let start = wire.time;
    wire.ask("POST / HTTP/1.1\r\nContent-Le").ask("ngth: 3\r\n\r\nab").ask("c");
    wire.wait(500_000).answer("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n").answer("ab").answer("cd");
    let r = wire.one().record;
    assert_eq!(r.request.t_arrive, start + 500);
    assert_eq!(r.request.t_start, start + 1000);
    assert_eq!(r.request.t_end, start + 3000);
    assert_eq!(r.t_first, start + 504_000);
    assert_eq!(r.t_last, start + 506_000);
}

#[test]
fn arrival_is_that_of_the_last_announced_data() {
    let mut wire = Wire::new(End::Server);
    wire.ask(GET).answer(OK).wait(1_000_000);
    wire.conn.t_ready = wire.time - 10_000;
    wire.ask(GET).answer(OK);
    let records = wire.take();
    assert_eq!(records[1].record.request.t_arrive, wire.time - 2000 - 10_000);
    assert!(records[1].record.request.t_arrive > records[0].record.t_last);
}

#[test]
fn keep_alive_gives_one_record_per_exchange() {
    for end in BOTH {
        let mut wire = Wire::new(end);
        for status in [200, 301, 404, 500] {
            wire.ask(GET).answer(format!("HTTP/1.1 {status} X\r\nContent-Length: 0\r\n\r\n"));
        }
        assert_eq!(statuses(&wire.take()), [200, 301, 404, 500]);
        assert_eq!(wire.conn.waiting, 0);
    }
}

#[test]
fn interim_replies_are_not_the_reply() {
    for end in BOTH {
        let mut wire = Wire::new(end);
        wire.ask("PUT / HTTP/1.1\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n");
        wire.answer("HTTP/1.1 100 Continue\r\n\r\n").ask("ab");
        wire.answer("HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\nHTTP/1.1 201 Created\r\nContent-Length: 0\r\n\r\n");
        let sent = wire.one();
        assert_eq!(sent.record.status, 201);
        assert_eq!(sent.record.t_first, sent.record.t_last);
        assert_eq!(sent.record.request.t_end, wire.time - 1000);
    }
}

#[test]
fn a_head_request_has_a_reply_without_a_body() {
    let mut wire = Wire::new(End::Client);
    wire.ask("HEAD / HTTP/1.1\r\n\r\n").answer("HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n");
    assert_eq!(wire.one().record.status, 200);
    wire.ask(GET).answer(OK);
    assert_eq!(wire.one().record.status, 200);
}

#[test]
fn replies_204_and_304_have_no_body() {
    for status in [204, 304] {
        let mut wire = Wire::new(End::Server);
        wire.ask(GET).answer(format!("HTTP/1.1 {status} X\r\nContent-Length: 1000\r\n\r\n"));
        assert_eq!(wire.one().record.status, status);
        wire.ask(GET).answer(OK);
        assert_eq!(wire.one().record.status, 200);
    }
}

#[test]
fn chunks_end_with_the_empty_one_and_its_trailers() {
    let body = "a\r\n0123456789\r\nF;name=\"v\"\r\n0123456789abcde\r\n0001\r\nx\r\n0\r\nExpires: never\r\nX: GET / HTTP/1.1\r\n\r\n";
    for end in BOTH {
        let mut wire = Wire::new(end);
        wire.ask(format!("POST / HTTP/1.1\r\ntransfer-encoding: gzip, Chunked\r\n\r\n{body}"));
        wire.answer("HTTP/1.1 200 OK\r\nTRANSFER-ENCODING:chunked\r\n\r\n").none();
        wire.answer(&body[..body.len() - 1]).none();
        wire.answer(&body[body.len() - 1..]);
        let r = wire.one().record;
        assert_eq!(r.request.bytes as usize, 53 + body.len());
        assert_eq!(r.response_bytes as usize, 46 + body.len());
        wire.ask(GET).answer(OK);
        assert_eq!(wire.one().record.request.bytes as usize, GET.len());
    }
}

#[test]
fn a_reply_without_length_ends_with_the_connection() {
    for end in BOTH {
        let mut wire = Wire::new(end);
        wire.ask("GET / HTTP/1.0\r\n\r\n").answer("HTTP/1.0 200 OK\r\n\r\nsome").answer("thing").none();
        wire.close();
        let r = wire.one().record;
        assert_eq!((r.status, r.error, r.response_bytes), (200, 0, 28));
        wire.close().none();
    }
}

#[test]
fn a_server_that_reads_byte_by_byte_is_seen() {
    for end in BOTH {
        let mut wire = Wire::new(end);
        for _ in 0..3 {
            wire.ask_by(1, GET).answer_by(1, OK);
            let sent = wire.one();
            assert_eq!((sent.record.status, &sent.head[..]), (200, GET.as_bytes()));
            assert_eq!(sent.record.response_bytes, OK.len() as u64);
        }
    }
}

#[test]
fn bodies_may_take_many_reads_and_many_writes() {
    let mut wire = Wire::new(End::Server);
    let body = std::vec![b'x'; 1_000_000];
    wire.ask("POST / HTTP/1.1\r\nContent-Length: 1000000\r\n\r\n").ask_by(65_536, &body);
    wire.answer("HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n").answer_by(4096, &body);
    let r = wire.one().record;
    assert_eq!((r.request.bytes, r.response_bytes), (1_000_044, 1_000_044));
}

#[test]
fn a_body_sent_from_a_file_is_counted_unread() {
    let mut wire = Wire::new(End::Server);
    for _ in 0..2 {
        wire.ask(GET).answer("HTTP/1.1 200 OK\r\nContent-Length: 300000\r\n\r\n");
        wire.answer_by_sendfile(200_000).answer_by_sendfile(100_000);
        let r = wire.one().record;
        assert_eq!((r.status, r.response_bytes), (200, 300_043));
    }
}

#[test]
fn an_early_reply_does_not_wait_for_the_upload() {
    for end in BOTH {
        let mut wire = Wire::new(end);
        wire.ask("POST / HTTP/1.1\r\nContent-Length: 10\r\n\r\nabcd");
        wire.answer("HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\n\r\n");
        let r = wire.one().record;
        assert_eq!(r.status, 413);
        assert!(r.request.t_end <= r.t_last);
        wire.ask("efghij").none();
        wire.ask(GET).answer(OK);
        assert_eq!(wire.one().head, GET.as_bytes());
    }
}

#[test]
fn bodies_that_look_like_messages_are_bodies() {
    for end in BOTH {
        let mut wire = Wire::new(end);
        let body = "GET /fake HTTP/1.1\r\n\r\n";
        wire.ask("POST /real HTTP/1.1\r\nContent-Length: 22\r\n\r\n").ask(body);
        wire.answer("HTTP/1.1 200 OK\r\nContent-Length: 38\r\n\r\n")
            .answer("HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n");
        let sent = wire.one();
        assert_eq!(sent.record.status, 200);
        assert!(sent.head.starts_with(b"POST /real"));
        wire.close().none();
    }
}

#[test]
fn stray_line_ends_between_requests_are_skipped() {
    let mut wire = Wire::new(End::Server);
    wire.ask(format!("{GET}\r\n")).answer(OK).ask(format!("\r\n\n{GET}")).answer(OK);
    let records = wire.take();
    assert_eq!(statuses(&records), [200, 200]);
    assert_eq!(records[1].head, GET.as_bytes());
}

#[test]
fn lines_may_end_without_a_carriage_return() {
    let mut wire = Wire::new(End::Server);
    wire.ask("GET / HTTP/1.1\nHost: x\n\n").answer("HTTP/1.1 200 OK\nContent-Length: 1\n\nx");
    assert_eq!(wire.one().record.status, 200);
}

#[test]
fn a_head_longer_than_is_kept_is_cut_and_says_so() {
    let mut wire = Wire::new(End::Server);
    let request = format!("GET /{} HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc", "x".repeat(5000));
    wire.ask(&request).answer(OK);
    let sent = wire.one();
    assert_eq!(sent.head, request.as_bytes()[..512]);
    assert_eq!(sent.record.flags, flag::TRUNCATED);
    assert_eq!(sent.record.request.bytes as usize, request.len());
    wire.ask(GET).answer(OK);
    assert_eq!(wire.one().record.flags, 0);
}

#[test]
fn a_reply_head_that_cannot_be_read_has_no_status() {
    let mut wire = Wire::new(End::Server);
    wire.ask(GET).answer_by_sendfile(5000).none();
    wire.ask(GET);
    let r = wire.one().record;
    assert_eq!((r.status, r.response_bytes), (0, 5000));
    assert_ne!(r.flags & flag::UNREADABLE, 0);
    wire.answer(OK);
    assert_eq!(wire.one().record.status, 200);
}
