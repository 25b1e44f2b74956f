//! What a proxy says of its client before the client's own bytes (PROXY protocol): skipped, in any number of pieces.

use std::string::String;
use std::vec::Vec;

use super::packets::{CAPS, greeting, ok, query, sign_in};
use super::wire::{BOTH, Wire};
use crate::record::{COMMAND_HANDSHAKE, Counter};

const GET: &str = "GET /a HTTP/1.1\r\nHost: x\r\n\r\n";
const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi";

/// Every form that there is: version 1 with addresses and without, version 2 with addresses and without.
fn preambles() -> [Vec<u8>; 4] {
    let signature = b"\r\n\r\n\0\r\nQUIT\n";
    let addresses = [192, 168, 0, 10, 10, 0, 0, 1, 0xd4, 0x31, 0x0a, 0x50];
    [
        b"PROXY TCP4 192.168.0.10 10.0.0.1 54321 8080\r\n".to_vec(),
        b"PROXY UNKNOWN\r\n".to_vec(),
        [&signature[..], &[0x21, 0x11, 0, 12], &addresses].concat(),
        [&signature[..], &[0x20, 0, 0, 0]].concat(),
    ]
}

#[test]
fn the_request_behind_it_is_seen_whole() {
    for preamble in preambles() {
        for end in BOTH {
            for joined in [false, true] {
                for size in [1, 3, 8, 16, 1000] {
                    let mut wire = if joined { Wire::joined(end) } else { Wire::new(end) };
                    wire.ask_by(size, [&preamble[..], GET.as_bytes()].concat()).answer(OK);
                    let sent = wire.one();
                    let what = (String::from_utf8_lossy(&preamble).into_owned(), end, joined, size);
                    assert_eq!((sent.record.status, sent.head), (200, GET.as_bytes().to_vec()), "{what:?}");
                    assert_eq!(sent.record.request.bytes as usize, GET.len(), "{what:?}");
                    wire.ask(GET).answer(OK);
                    assert_eq!(wire.one().record.status, 200);
                    assert_eq!(wire.counted(Counter::HalfSeen) + wire.counted(Counter::Demoted), 0);
                }
            }
        }
    }
}

#[test]
fn a_database_may_stand_behind_it() {
    for preamble in preambles() {
        for end in BOTH {
            let mut wire = Wire::new(end);
            wire.ask(&preamble).answer(greeting()).ask(sign_in(CAPS)).answer(ok(2, 2));
            assert_eq!(wire.one().record.request.command, COMMAND_HANDSHAKE);
            wire.ask(query("SELECT 1")).answer(ok(1, 2)).ask(query("SELECT 2"));
            assert_eq!(wire.one().head, b"\x03SELECT 1");
        }
    }
}
