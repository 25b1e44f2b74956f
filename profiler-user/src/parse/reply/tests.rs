//! Replies as servers send them, and what is read from their two ends.

use profiler_ebpf::mysql::command::{EXECUTE, PREPARE, QUERY};
use profiler_ebpf::record::COMMAND_HANDSHAKE;

use super::*;

/// What a reply of these bytes says.
fn reply(command: u8, bytes: &[u8]) -> Reply {
    read(&record(command, bytes), false)
}

fn record(command: u8, bytes: &[u8]) -> Record {
    // SAFETY: plain numbers, zero is valid for each.
    let mut r: Record = unsafe { std::mem::zeroed() };
    r.request.command = command;
    r.response_bytes = bytes.len() as u64;
    let kept = bytes.len().min(r.reply_head.len());
    r.reply_head[..kept].copy_from_slice(&bytes[..kept]);
    r.reply_head_len = kept as u8;
    for (i, b) in bytes.iter().enumerate() {
        r.reply_tail[i % REPLY_TAIL] = *b;
    }
    r
}

/// The same packets, numbered from `first` on.
fn renumber(mut bytes: Vec<u8>, first: u8) -> Vec<u8> {
    let (mut at, mut number) = (0, first);
    while at < bytes.len() {
        bytes[at + 3] = number;
        number = number.wrapping_add(1);
        at += 4 + usize::from(bytes[at]);
    }
    bytes
}

fn packet(number: u8, payload: &[u8]) -> Vec<u8> {
    let mut p = (payload.len() as u32).to_le_bytes().to_vec();
    p[3] = number;
    p.extend(payload);
    p
}

fn rows_of(n: usize, columns: usize, old_form: bool, end_status: u16) -> Vec<u8> {
    let mut number = 0u8;
    let mut out = Vec::new();
    let mut add = |payload: &[u8]| {
        number = number.wrapping_add(1);
        out.extend(packet(number, payload));
    };
    add(&[columns as u8]);
    for _ in 0..columns {
        add(b"\x03def\x04test\x01t\x01t\x01a\x01a\x0c\x3f\0\x0b\0\0\0\x08\0\0\0\0\0");
    }
    let [lo, hi] = end_status.to_le_bytes();
    if old_form {
        add(&[0xfe, 0, 0, lo, hi]);
    }
    for _ in 0..n {
        add(&b"\x03abc".repeat(columns));
    }
    if old_form {
        add(&[0xfe, 0, 0, lo, hi])
    } else {
        add(&[0xfe, 0, 0, lo, hi, 0, 0])
    }
    out
}

#[test]
fn rows_are_known_while_numbers_cannot_have_come_round() {
    for old in [true, false] {
        for n in [0, 1, 2, 7, 100] {
            assert_eq!(reply(QUERY, &rows_of(n, 2, old, 2)).rows_returned, Some(n as u64), "{n} {old}");
        }
        assert_eq!(reply(QUERY, &rows_of(1000, 2, old, 2)).rows_returned, None);
    }
}

#[test]
fn status_flags() {
    let r = reply(QUERY, &rows_of(3, 1, true, status::NO_INDEX | status::SLOW));
    assert_eq!(r.status, status::NO_INDEX | status::SLOW);
}

#[test]
fn the_sessions_flags_are_those_of_the_end() {
    let ok = |flags: u16| packet(1, &[0, 0, 0, flags.to_le_bytes()[0], flags.to_le_bytes()[1], 0, 0]);
    let literal = status::NO_BACKSLASH_ESCAPES | 2;
    assert_eq!(reply(QUERY, &ok(literal)).session, Some(literal));
    for old in [true, false] {
        assert_eq!(reply(QUERY, &rows_of(3, 1, old, literal)).session, Some(literal));
        let both = [ok(2 | status::MORE_RESULTS), renumber(rows_of(1, 1, old, literal), 2)].concat();
        assert_eq!(reply(QUERY, &both).session, Some(literal));
    }
    // The last of several OKs is not told from what else could stand there; nor is an error's session.
    assert_eq!(
        reply(QUERY, &[ok(2 | status::MORE_RESULTS), renumber(ok(literal), 2)].concat()).session,
        None
    );
    assert_eq!(reply(QUERY, &[ok(2), renumber(ok(literal), 2)].concat()).session, None, "two replies in one");
    assert_eq!(reply(QUERY, &packet(1, b"\xff\x28\x04#42000You have an error")).session, None);
    assert_eq!(reply(QUERY, &packet(1, &[0, 0, 0])).session, None, "cut");
}

#[test]
fn affected_rows() {
    let r = reply(QUERY, &packet(1, &[0, 0xfc, 0x34, 0x12, 0, 0x22, 0, 0, 0]));
    assert_eq!((r.rows_affected, r.status), (Some(0x1234), 0x22));
}

#[test]
fn errors_first_and_after_rows() {
    let err = b"\xff\x28\x04#42000You have an error";
    let want = MysqlError { number: 1064, sqlstate: Some("42000".into()) };
    assert_eq!(reply(QUERY, &packet(1, err)).error, Some(want.clone()));
    let mut rows = rows_of(10, 1, true, 2);
    rows.truncate(rows.len() - 9);
    rows.extend(packet(13, err));
    assert_eq!(reply(EXECUTE, &rows).error, Some(want));
    let refused = packet(0, b"\xff\x10\x04Too many connections");
    assert_eq!(reply(0xf0, &refused).error, Some(MysqlError { number: 1040, sqlstate: None }));
}

#[test]
fn a_prepared_statement_has_a_number() {
    let r = reply(PREPARE, &packet(1, &[0, 7, 0, 0, 0, 1, 0, 1, 0, 0, 0, 0]));
    assert_eq!(r.statement, Some(7));
}

#[test]
fn rows_after_a_request_of_several_packets() {
    // A request of more than 16 MiB: its packets have the numbers 0 and 1, the reply goes on with 2.
    assert_eq!(reply(QUERY, &renumber(rows_of(1, 1, true, 2), 2)).rows_returned, Some(1));
}

#[test]
fn rows_of_several_statements_are_not_known() {
    let mut both = rows_of(1, 1, true, 2 | status::MORE_RESULTS);
    both.extend(rows_of(1, 1, true, 2));
    let both = renumber(both, 1);
    assert_eq!(read(&record(QUERY, &both), true).rows_returned, None);
}

#[test]
fn only_statements_count_rows() {
    let ok = packet(1, &[0, 0, 0, 2, 0, 0, 0]);
    assert_eq!(reply(QUERY, &ok).rows_affected, Some(0));
    for other in [COMMAND_HANDSHAKE, 0x0e, 0x02, 0x1a] {
        assert_eq!(reply(other, &ok).rows_affected, None, "{other}");
    }
    // FIELD_LIST: columns without a count before them.
    assert_eq!(reply(0x04, &rows_of(3, 1, true, 2)).rows_returned, None);
}

#[test]
fn a_fetch_has_rows_alone() {
    let mut rows = packet(1, &[0, 0, 3, b'a', b'b', b'c']);
    rows.extend(packet(2, &[0, 0, 3, b'a', b'b', b'c']));
    rows.extend(packet(3, &[0xfe, 0, 0, 0x40, 0]));
    let r = reply(FETCH, &rows);
    assert_eq!((r.rows_returned, r.rows_affected), (Some(2), None));
}

#[test]
fn a_file_is_asked_for_and_then_judged() {
    let ask = packet(1, b"\xfb/tmp/numbers.csv");
    let with = |payload: &[u8]| reply(QUERY, &[ask.clone(), packet(9, payload)].concat());
    let loaded = with(b"\0\x0c\0\x02\0\0\0\x2eRecords: 12  Deleted: 0  Skipped: 0  Warnings: 0");
    assert_eq!((loaded.rows_affected, loaded.status), (Some(12), 2));
    assert_eq!(with(b"\xff\x7a\x04#42S02no table").error.map(|e| e.number), Some(1146));
    assert_eq!(reply(QUERY, &ask), Reply::default(), "cut");
    assert_eq!(with(&[0; 200]), Reply::default(), "longer than what is kept");
}

#[test]
fn progress_is_no_error() {
    let mut bytes = packet(1, b"\xff\xff\xff\x01\x01\x03\0\0\0\x05state");
    bytes.extend(packet(2, &[0, 0, 0, 2, 0, 0, 0]));
    assert_eq!(reply(QUERY, &bytes).error, None);
}

#[test]
fn columns_that_the_client_has_cached_are_not_counted() {
    // As libmariadb gets it: column count 2, "no columns follow", EOF, two rows, EOF.
    let end = [0xfe, 0, 0, 2, 0];
    let row = [0, 0, 1, 0, 0, 0, 2, 0, 0, 0];
    let payloads: [&[u8]; 5] = [&[2, 0], &end, &row, &row, &end];
    let mut bytes: Vec<u8> =
        (1..).zip(payloads).flat_map(|(number, payload)| packet(number, payload)).collect();
    assert_eq!(reply(EXECUTE, &bytes).rows_returned, Some(2));
    // MySQL puts that byte before the count.
    bytes[4..6].copy_from_slice(&[0, 2]);
    assert_eq!(reply(EXECUTE, &bytes), Reply::default());
}

#[test]
fn any_bytes_are_survived() {
    for len in 0..80 {
        for fill in [0u8, 5, 0xfb, 0xfc, 0xfe, 0xff] {
            for command in [QUERY, EXECUTE, FETCH, PREPARE] {
                reply(command, &vec![fill; len]);
            }
        }
    }
}
