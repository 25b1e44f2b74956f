//! MySQL: handshakes, and connections that leave what can be read.

use super::packets::{CAPS, err, greeting, ok, packet, query, sign_in};
use super::wire::{BOTH, End, Wire};
use crate::mysql::capability;
use crate::record::{COMMAND_HANDSHAKE, Counter, ERROR_CLOSED, proto, role};

const QUIT: [u8; 5] = [1, 0, 0, 0, 1];

#[test]
fn a_handshake_is_an_exchange_from_greeting_to_verdict() {
    for end in BOTH {
        for size in [1, 4, 5, 7, 1000] {
            for joined in [false, true] {
                let mut wire = if joined { Wire::joined(end) } else { Wire::new(end) };
                let start = wire.time;
                wire.answer_by(size, greeting()).ask_by(size, sign_in(CAPS)).answer_by(size, ok(2, 2));
                let sent = wire.one();
                let r = &sent.record;
                assert_eq!((r.proto, r.request.command), (proto::MYSQL, COMMAND_HANDSHAKE), "{size}");
                assert_eq!(r.role, if end == End::Server { role::SERVER } else { role::CLIENT });
                assert_eq!((r.caps, &sent.head[..]), (CAPS, &sign_in(CAPS)[4..]));
                assert_eq!((r.request.t_start, r.t_first, r.t_last), (start + 1000, start + 1000, wire.time));
                assert_eq!(r.request.bytes as usize, sign_in(CAPS).len());
                assert_eq!(r.response_bytes as usize, greeting().len() + 11);
                assert_eq!(r.reply_head[..r.reply_head_len as usize], ok(2, 2));
                wire.ask_by(size, query("SELECT 1")).answer_by(size, ok(1, 2)).ask(QUIT);
                assert_eq!(wire.one().head, b"\x03SELECT 1");
            }
        }
    }
}

#[test]
fn headers_and_payloads_may_be_read_apart() {
    let mut wire = Wire::new(End::Client);
    let (hello, verdict) = (greeting(), ok(2, 2));
    wire.answer(&hello[..4])
        .answer(&hello[4..])
        .ask(sign_in(CAPS))
        .answer(&verdict[..4])
        .answer(&verdict[4..]);
    assert_eq!(wire.one().record.request.command, COMMAND_HANDSHAKE);
}

#[test]
fn passwords_may_take_several_turns() {
    let switch = packet(2, b"\xfecaching_sha2_password\0abcdefghijklmnopqrst\0");
    let warm = [packet(2, &[1, 3]), ok(3, 2)];
    for end in BOTH {
        let mut wire = Wire::new(end);
        wire.answer(greeting())
            .ask(sign_in(CAPS))
            .answer(switch.clone())
            .ask(packet(3, &[7; 32]))
            .answer(ok(4, 2));
        assert_eq!(wire.one().record.reply_head[3], 4);
        for together in [false, true] {
            let mut wire = Wire::new(end);
            wire.answer(greeting()).ask(sign_in(CAPS));
            if together {
                wire.answer(warm.concat());
            } else {
                wire.answer(&warm[0]).answer(&warm[1]);
            }
            assert_eq!(wire.one().record.reply_head[3], 3);
        }
        let mut wire = Wire::new(end);
        wire.answer(greeting()).ask(sign_in(CAPS)).answer(packet(2, &[1, 4])).ask(packet(3, &[2]));
        wire.answer(packet(4, &[1; 456])).ask(packet(5, &[9; 256])).none().answer(ok(6, 2));
        assert_eq!(wire.one().record.reply_head[3], 6);
        wire.ask(query("SELECT 1")).answer(ok(1, 2)).ask(QUIT);
        assert_eq!(wire.one().record.request.command, 3);
    }
}

#[test]
fn a_refused_login_is_an_exchange_with_its_error() {
    for end in BOTH {
        let refusal = err(2, 1045, "Access denied for user 'me'@'localhost' (using password: YES)");
        let mut wire = Wire::new(end);
        wire.answer(greeting()).ask(sign_in(CAPS)).answer(&refusal);
        let r = wire.one().record;
        assert_eq!((r.request.command, r.error), (COMMAND_HANDSHAKE, 0));
        assert_eq!(r.reply_head[..7], refusal[..7]);
        wire.close().none();
    }
}

#[test]
fn a_refusal_in_place_of_a_greeting_is_one_too() {
    let refusal = packet(0, b"\xff\x10\x04Too many connections");
    for end in BOTH {
        for size in [1, 4, 1000] {
            let mut wire = Wire::new(end);
            wire.answer_by(size, &refusal);
            let r = wire.one().record;
            assert_eq!((r.request.command, &r.reply_head[..7]), (COMMAND_HANDSHAKE, &refusal[..7]));
            assert_eq!(r.reply_head[..r.reply_head_len as usize], refusal);
            wire.close().none();
        }
    }
}

#[test]
fn a_connection_that_dies_in_its_handshake_is_an_error() {
    let mut wire = Wire::new(End::Client);
    wire.answer(greeting()).ask(sign_in(CAPS)).close();
    let r = wire.one().record;
    assert_eq!((r.request.command, r.error), (COMMAND_HANDSHAKE, ERROR_CLOSED));
}

#[test]
fn a_wish_for_tls_ends_the_reading() {
    for end in BOTH {
        for size in [1, 4, 1000] {
            let mut wire = Wire::new(end);
            let wish = packet(1, &[&(CAPS | capability::SSL).to_le_bytes()[..], &[0; 28]].concat());
            wire.answer(greeting())
                .ask_by(size, wish)
                .ask(b"\x16\x03\x01\x02\0\x01")
                .answer(b"\x16\x03\x03")
                .close()
                .none();
            assert_eq!(wire.counted(Counter::NotParsedTls), 1);
        }
    }
}

#[test]
fn compression_ends_the_reading_behind_the_handshake() {
    for caps in [CAPS | capability::COMPRESS, CAPS | capability::ZSTD] {
        for end in BOTH {
            let mut wire = Wire::new(end);
            wire.answer(greeting()).ask(sign_in(caps)).answer(ok(2, 2));
            assert_eq!(wire.one().record.caps, caps);
            wire.ask(b"\x1f\0\0\0\0\0\0\x1b\0\0\0\x03SET")
                .answer(b"\x0b\0\0\0\0\0\0\x07\0\0\x01")
                .close()
                .none();
            assert_eq!(wire.counted(Counter::NotParsedMysqlCompressed), 1);
        }
    }
}

#[test]
fn the_server_cannot_be_the_end_that_connected() {
    let mut wire = Wire::new(End::Client);
    // We have connected, and send what looks like a greeting.
    wire.ask(greeting()).answer(sign_in(CAPS)).close().none();
}
