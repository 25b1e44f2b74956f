//! MySQL: commands and their replies, one fact each.

use std::vec;
use std::vec::Vec;

use super::packets::{command, end, eof, err, ok, packet, prepared, query, rows};
use super::wire::{BOTH, End, Wire};
use super::world::Sent;
use crate::conn::mark;
use crate::machine::SETTLE_NS;
use crate::record::{Counter, ERROR_CLOSED, REPLY_TAIL, flag, proto, role};

const QUIT: [u8; 5] = [1, 0, 0, 0, 1];

/// A connection that is past its handshake.
fn ready(end: End) -> Wire {
    let mut wire = Wire::new(end);
    wire.ask(query("SET NAMES utf8")).answer(ok(1, 2)).wait(SETTLE_NS).sweep();
    let sent = wire.one();
    assert_eq!(sent.record.proto, proto::MYSQL);
    assert_eq!(sent.record.role, if end == End::Server { role::SERVER } else { role::CLIENT });
    wire
}

/// The last bytes of the reply.
fn tail(sent: &Sent, n: u64) -> Vec<u8> {
    let bytes = sent.record.response_bytes;
    (bytes - n..bytes).map(|at| sent.record.reply_tail[at as usize % REPLY_TAIL]).collect()
}

fn reply_head(sent: &Sent) -> &[u8] {
    &sent.record.reply_head[..sent.record.reply_head_len as usize]
}

/// Asks, answers, says goodbye.
#[track_caller]
fn exchange(wire: &mut Wire, ask: &[u8], answer: &[u8]) -> Sent {
    wire.ask(ask).answer(answer).ask(QUIT);
    let sent = wire.one();
    assert_eq!(sent.record.request.bytes, ask.len() as u64);
    assert_eq!(sent.record.response_bytes, answer.len() as u64);
    assert_eq!((sent.record.error, sent.record.status), (0, 0));
    sent
}

#[test]
fn a_query_and_its_reply_are_one_exchange() {
    for end in BOTH {
        let mut wire = ready(end);
        let start = wire.time;
        let reply = rows(1, &["x", "y"], false, |n| eof(n, 2));
        let sent = exchange(&mut wire, &query("SELECT a FROM t"), &reply);
        assert_eq!((sent.record.request.command, &sent.head[..]), (3, &b"\x03SELECT a FROM t"[..]));
        assert_eq!((sent.record.request.t_start, sent.record.t_first), (start + 1000, start + 2000));
        assert_eq!(reply_head(&sent), &reply[..64.min(reply.len())]);
        assert_eq!(tail(&sent, 32), reply[reply.len() - 32..]);
        wire.close().none();
    }
}

#[test]
fn query_attributes_stand_before_the_text() {
    let mut wire = ready(End::Client);
    let sent = exchange(&mut wire, &command(3, b"\0\x01SELECT 1"), &ok(1, 2));
    assert_eq!(sent.head, b"\x03\0\x01SELECT 1");
}

#[test]
fn other_commands_are_exchanges_by_name() {
    let statistics = packet(1, b"Uptime: 5  Threads: 2  Questions: 1");
    for (code, text, reply) in [
        (0x02u8, &b"shop"[..], ok(1, 2)),
        (0x0e, b"", ok(1, 2)),
        (0x09, b"", statistics),
        (0x17, b"\x01\0\0\0\0\x01\0\0\0", rows(1, &["x"], false, |n| eof(n, 2))),
        (0x1a, b"\x01\0\0\0", ok(1, 2)),
        (0x1b, b"\0\0", eof(1, 2)),
        (0x1f, b"", ok(1, 2)),
    ] {
        for end in BOTH {
            let mut wire = ready(end);
            assert_eq!(exchange(&mut wire, &command(code, text), &reply).record.request.command, code);
        }
    }
}

#[test]
fn a_header_may_be_read_apart_from_its_payload() {
    for end in BOTH {
        let mut wire = ready(end);
        let start = wire.time;
        let (ask, answer) = (query("SELECT 1"), rows(1, &["1"], true, |n| super::packets::end(n, 2)));
        wire.ask(&ask[..4]).ask(&ask[4..]).answer(&answer[..4]).answer(&answer[4..]);
        wire.wait(SETTLE_NS).sweep();
        let r = wire.one().record;
        assert_eq!((r.request.t_start, r.request.t_end), (start + 1000, start + 2000));
        assert_eq!((r.t_first, r.t_last), (start + 3000, start + 4000));
        if end == End::Server {
            // The arrival belongs to the header, and to this exchange.
            assert_eq!(r.request.t_arrive, start + 500);
        }
    }
}

#[test]
fn everything_may_come_byte_by_byte() {
    for end in BOTH {
        for joined in [false, true] {
            let mut wire = if joined { Wire::joined(end) } else { Wire::new(end) };
            for _ in 0..2 {
                let (ask, answer) =
                    (query("SELECT 'abcdefgh'"), rows(1, &["abcdefgh"], false, |n| eof(n, 2)));
                wire.ask_by(1, &ask).answer_by(1, &answer);
                wire.wait(SETTLE_NS).sweep();
                let sent = wire.one();
                assert_eq!((sent.record.request.command, &sent.head[..]), (3, &ask[4..]));
                assert_eq!(sent.record.request.bytes as usize, ask.len());
                assert_eq!(reply_head(&sent), &answer[..answer.len().min(64)]);
                assert_eq!(tail(&sent, 20), answer[answer.len() - 20..]);
            }
        }
    }
}

#[test]
fn commands_without_a_reply_may_stand_before_the_next_in_one_write() {
    for end in BOTH {
        let mut wire = ready(end);
        wire.ask(query("SELECT 1")).answer(ok(1, 2));
        let long = command(0x18, &[b"\x01\0\0\0\0\0".to_vec(), vec![b'z'; 3000]].concat());
        let together = [command(0x19, b"\x01\0\0\0"), long, query("SELECT 2")].concat();
        wire.ask(&together).answer(ok(1, 2)).ask(QUIT);
        let records = wire.take();
        assert_eq!(records.len(), 2);
        assert_eq!((&records[1].head[..], records[1].record.request.bytes), (&b"\x03SELECT 2"[..], 13));
    }
}

#[test]
fn a_prepare_is_settled_when_its_definitions_are_whole() {
    for deprecate_eof in [false, true] {
        for (parameters, columns) in [(0, 0), (2, 0), (0, 3), (2, 3)] {
            let mut wire = ready(End::Client);
            let answer = prepared(parameters, columns, deprecate_eof);
            wire.ask(command(0x16, b"SELECT ?")).answer(&answer[..16]);
            wire.wait(SETTLE_NS).sweep();
            if parameters + columns > 0 {
                wire.none().answer(&answer[16..]).wait(SETTLE_NS).sweep();
            }
            let sent = wire.one();
            assert_eq!(
                (sent.record.request.command, sent.record.response_bytes as usize),
                (0x16, answer.len())
            );
            assert_eq!(&sent.record.reply_head[5..9], &[1, 0, 0, 0]);
            wire.ask(command(0x17, b"\x01\0\0\0\0\x01\0\0\0")).answer(ok(1, 2)).ask(QUIT);
            assert_eq!(wire.one().record.request.command, 0x17);
        }
    }
}

#[test]
fn several_results_are_one_reply() {
    for end in BOTH {
        let mut wire = ready(end);
        let first = rows(1, &["1"], false, |n| eof(n, 0x0a));
        let second = rows(6, &["2"], false, |n| eof(n, 0x0a));
        wire.ask(query("CALL p()")).answer(&first).wait(SETTLE_NS).sweep().none();
        wire.answer(&second).wait(SETTLE_NS).sweep().none();
        wire.answer(ok(11, 2)).wait(SETTLE_NS).sweep();
        let r = wire.one().record;
        assert_eq!(r.response_bytes as usize, first.len() + second.len() + 11);
    }
}

#[test]
fn an_ok_that_announces_more_is_not_the_end() {
    let mut wire = ready(End::Client);
    wire.ask(query("DO 1; DO 2")).answer(ok(1, 0x0a)).wait(SETTLE_NS).sweep().none();
    wire.answer(ok(2, 2)).wait(SETTLE_NS).sweep();
    assert_eq!(wire.one().record.response_bytes, 22);
}

#[test]
fn rows_that_are_still_to_come_are_waited_for() {
    for deprecate_eof in [false, true] {
        let last = |n| if deprecate_eof { end(n, 2) } else { eof(n, 2) };
        let answer = rows(1, &["slow", "slower", "slowest"], deprecate_eof, last);
        for cut in 5..answer.len() {
            let mut wire = ready(End::Client);
            wire.ask(query("SELECT SLEEP(1) FROM t")).answer(&answer[..cut]);
            wire.wait(10_000_000_000).sweep().none();
            wire.answer(&answer[cut..]).sweep().none();
            wire.wait(SETTLE_NS).sweep();
            let r = wire.one().record;
            assert_eq!(r.t_last + SETTLE_NS, wire.time);
            assert_eq!(r.response_bytes as usize, answer.len());
        }
    }
}

#[test]
fn files_of_load_data_belong_to_the_command() {
    for end in BOTH {
        let mut wire = ready(end);
        let ask = query("LOAD DATA LOCAL INFILE 'f' INTO TABLE t");
        wire.ask(&ask).answer(packet(1, b"\xfbf")).wait(SETTLE_NS).sweep().none();
        let file = [packet(2, &vec![b'x'; 20_000]), packet(3, b"")].concat();
        wire.ask_by(16_384, &file).answer(err(4, 1062, "Duplicate entry")).wait(SETTLE_NS).sweep();
        let sent = wire.one();
        assert_eq!(sent.record.request.bytes as usize, ask.len() + file.len());
        assert_eq!(sent.head, ask[4..]);
        // What counts is what the server said in the end.
        assert_eq!(reply_head(&sent), err(4, 1062, "Duplicate entry"));
    }
}

#[test]
fn files_of_more_packets_than_have_numbers_too() {
    for end in BOTH {
        let mut wire = ready(end);
        let ask = query("LOAD DATA LOCAL INFILE 'f' INTO TABLE t");
        wire.ask(&ask).answer(packet(1, b"\xfbf"));
        let mut file = Vec::new();
        for n in 2..602 {
            file.extend(packet(n as u8, &[3; 3000]));
        }
        file.extend(packet(602u16 as u8, b""));
        wire.ask_by(16_384, &file)
            .answer(ok(603u16 as u8, 2))
            .ask(query("COMMIT"))
            .answer(ok(1, 2))
            .ask(QUIT);
        let records = wire.take();
        assert_eq!(records.len(), 2);
        assert_eq!(records[0].record.request.bytes as usize, ask.len() + file.len());
        assert_eq!(reply_head(&records[0]), ok(603u16 as u8, 2));
        assert_eq!((&records[1].head[..], records[1].record.error), (&b"\x03COMMIT"[..], 0));
    }
}

#[test]
fn reports_of_progress_end_nothing() {
    let report = |n: u8| packet(n, b"\xff\xff\xff\x01\x01\x02\x10\x27\0\x11copy to tmp table");
    for end in BOTH {
        for size in [1, 4, 20, 1000] {
            let mut wire = ready(end);
            let last = packet(4, b"\0\x05\0\x02\0\0\0Records: 5  Duplicates: 0");
            wire.ask(query("ALTER TABLE t ADD COLUMN c INT")).wait(1_000_000);
            wire.answer_by(size, report(1)).wait(2 * SETTLE_NS).sweep().none();
            // Two at once, and another with the end.
            wire.answer_by(size, report(2)).wait(2 * SETTLE_NS).sweep().none();
            wire.answer_by(size, [report(3), last.clone()].concat());
            let ended = wire.time;
            wire.wait(SETTLE_NS).sweep();
            let sent = wire.one();
            assert_eq!((sent.record.t_last, sent.record.error), (ended, 0));
            assert_eq!(reply_head(&sent), last);
            assert_eq!(sent.record.response_bytes as usize, report(1).len() * 3 + last.len());
        }
    }
}

#[test]
fn statements_of_more_than_one_packet_are_one_command() {
    for len in [0xff_fffe, 0xff_ffff, 0x100_0000, 0x1ff_fffe, 0x200_0001] {
        let ask = command(3, &[b"INSERT INTO t VALUES ('".to_vec(), vec![b'x'; len - 24]].concat());
        for size in [65_536, 1 << 20, 1 << 30] {
            let mut wire = ready(End::Server);
            wire.ask_by(size, &ask).answer(ok(1, 2)).ask(QUIT);
            let sent = wire.one();
            assert_eq!(sent.record.request.bytes as usize, ask.len());
            assert_eq!(sent.head, ask[4..516]);
            assert_eq!(sent.record.flags, flag::TRUNCATED);
            assert_eq!(wire.counted(Counter::PipelineTooDeep), 0);
        }
    }
}

#[test]
fn an_error_after_rows_ends_the_reply() {
    let mut wire = ready(End::Client);
    let answer = rows(1, &["1", "2"], false, |n| err(n, 1317, "Query execution was interrupted"));
    wire.ask(query("SELECT a FROM t")).answer(&answer).wait(SETTLE_NS).sweep();
    let sent = wire.one();
    let error = err(7, 1317, "Query execution was interrupted");
    assert_eq!(tail(&sent, error.len() as u64)[4..], error[4..]);
}

#[test]
fn a_farewell_is_no_reply() {
    let farewell = err(0, 4031, "The client was disconnected by the server because of inactivity.");
    for end in BOTH {
        for size in [1, 4, 1000] {
            let mut wire = ready(end);
            wire.wait(1_000_000_000).answer_by(size, &farewell).close().none();
            assert_eq!(wire.counted(Counter::Unsolicited), 1);
        }
        // Before the sweep has looked.
        let mut wire = ready(end);
        wire.ask(query("SELECT 1")).answer(ok(1, 2)).wait(1_000_000_000).answer(&farewell).close();
        let r = wire.one().record;
        assert_eq!((r.response_bytes, r.error), (11, 0));
        assert_eq!(wire.counted(Counter::Unsolicited), 1);
        // It crosses a command.
        let mut wire = ready(end);
        wire.ask(query("SELECT 1")).answer(&farewell).none().fail(104);
        let r = wire.one().record;
        assert_eq!((r.response_bytes, r.error, r.t_first), (0, 104, 0));
        assert_eq!(wire.counted(Counter::Unsolicited), 1);
    }
}

#[test]
fn a_binlog_dump_is_a_stream() {
    for end in BOTH {
        for size in [4, 1000] {
            let mut wire = ready(end);
            wire.ask(command(0x12, b"\x04\0\0\0\0\0\x01\0\0\0log.1"));
            wire.answer_by(size, packet(1, &[vec![0], vec![7; 40]].concat()));
            let r = wire.one().record;
            assert_eq!((r.flags, r.request.command), (flag::STREAM, 0x12));
            assert!(wire.conn.has(mark::OPAQUE));
            wire.answer(packet(2, &[0; 100])).close().none();
        }
        let mut wire = ready(end);
        wire.ask(command(0x12, b"\x04\0\0\0\0\0\x01\0\0\0log.1")).answer(err(1, 1236, "no")).ask(QUIT);
        assert_eq!(wire.one().record.flags, 0);
    }
}

#[test]
fn changing_the_user_may_take_several_turns() {
    let mut wire = ready(End::Client);
    let ask = command(0x11, b"me\0\x14aaaaaaaaaaaaaaaaaaaashop\0\x2d\0mysql_native_password\0");
    wire.ask(&ask).answer(packet(1, b"\xfecaching_sha2_password\0abcdefghijklmnopqrst\0"));
    wire.wait(SETTLE_NS).sweep().none();
    wire.ask(packet(2, &[7; 32])).answer(err(3, 1045, "Access denied")).ask(QUIT);
    let sent = wire.one();
    assert_eq!((sent.record.request.command, reply_head(&sent)), (0x11, &err(3, 1045, "Access denied")[..]));
}

#[test]
fn a_close_in_the_middle_of_a_reply_is_an_error() {
    let answer = rows(1, &["1", "2"], false, |n| eof(n, 2));
    for cut in 0..answer.len() {
        let mut wire = ready(End::Client);
        wire.ask(query("SELECT a FROM t")).answer(&answer[..cut]).close();
        let r = wire.one().record;
        assert_eq!((r.error, r.response_bytes as usize), (ERROR_CLOSED, cut), "{cut}");
    }
    let mut wire = ready(End::Client);
    wire.ask(query("SELECT a FROM t")).answer(&answer).close();
    assert_eq!(wire.one().record.error, 0);
}

#[test]
fn joined_in_a_reply_nothing_is_invented_and_the_next_is_seen() {
    let answer = rows(1, &["abcdefgh"; 2000], false, |n| eof(n, 2));
    for end in BOTH {
        for size in [7, 100, 4096, 1 << 20] {
            let mut wire = Wire::joined(end);
            wire.answer_by(size, &answer[2000..]).none();
            wire.ask(query("SELECT 1")).answer(ok(1, 2)).ask(QUIT);
            let sent = wire.one();
            assert_eq!(
                (&sent.head[..], sent.record.role == role::SERVER),
                (&b"\x03SELECT 1"[..], end == End::Server)
            );
            assert_eq!(sent.record.response_bytes, 11);
        }
    }
}

#[test]
fn joined_in_a_command_the_next_is_seen() {
    let ask = query(&"SELECT 'abcdefgh' ".repeat(1000));
    for end in BOTH {
        let mut wire = Wire::joined(end);
        wire.ask_by(4096, &ask[5000..]).answer(ok(1, 2)).none();
        wire.ask(command(0x19, b"\x01\0\0\0")).ask(query("SELECT 1")).answer(ok(1, 2)).ask(QUIT);
        assert_eq!(wire.one().head, b"\x03SELECT 1");
    }
}

#[test]
fn what_only_looks_like_a_command_is_never_reported() {
    for end in BOTH {
        let mut wire = Wire::joined(end);
        for _ in 0..30 {
            wire.ask(packet(0, b"\x03hello")).answer(packet(0, b"world"));
        }
        wire.ask(packet(0, b"\x03hello")).close().none();
    }
}
