//! What a MySQL reply says, from its first and last bytes: error, rows, status flags.
//!
//! The kernel keeps the first 64 and the last 64 bytes of a reply, and its length. A result
//! set's packets are numbered, so the first and the last one's numbers say how many there were, as long as so few bytes
//! cannot have held 256 more.

use profiler_ebpf::mysql::{command, from_end};
use profiler_ebpf::record::{REPLY_TAIL, Record};

use crate::exchange::MysqlError;

/// Server status flags (`SERVER_*` in include/mysql_com.h).
pub mod status {
    pub const IN_TRANSACTION: u16 = 0x0001;
    pub const MORE_RESULTS: u16 = 0x0008;
    pub const NO_GOOD_INDEX: u16 = 0x0010;
    pub const NO_INDEX: u16 = 0x0020;
    pub const NO_BACKSLASH_ESCAPES: u16 = 0x0200;
    pub const SLOW: u16 = 0x0800;
}

/// A command of which only the reply matters here.
const FETCH: u8 = 0x1c;
/// MariaDB's.
pub const BULK_EXECUTE: u8 = 0xfa;

/// The error number under which MariaDB reports how far a long statement has come.
const PROGRESS: [u8; 2] = [0xff, 0xff];

/// What could be read of a reply; what could not is absent.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Reply {
    pub error: Option<MysqlError>,
    pub rows_returned: Option<u64>,
    pub rows_affected: Option<u64>,
    /// The flags of all its packets.
    pub status: u16,
    /// Those that it ends with: the session's from now on.
    pub session: Option<u16>,
    /// PREPARE: the statement's number.
    pub statement: Option<u32>,
}

/// The last packet, when the kept bytes hold it whole.
enum Last {
    Error(MysqlError),
    /// EOF, or OK in its place, with its number.
    End {
        number: u8,
        status: u16,
        old_form: bool,
    },
    Unknown,
}

/// Reads a reply. `several` says that the request may have held more than one statement: the rows of the last are
/// then not those of all.
pub fn read(record: &Record, several: bool) -> Reply {
    let head = &record.reply_head[..record.reply_head_len as usize];
    let (Some(header), Some(payload)) = (head.get(..4), head.get(4..)) else { return Reply::default() };
    let first_len = u64::from(header[0]) | u64::from(header[1]) << 8 | u64::from(header[2]) << 16;
    let Some(kind) = payload.first() else { return Reply::default() };
    let alone = first_len + 4 == record.response_bytes;
    let asked = record.request.command;
    match *kind {
        _ if asked == FETCH => fetched(record, header[3], payload),
        0xff if payload.get(1..3) != Some(&PROGRESS) => Reply { error: error(payload), ..Reply::default() },
        0x00 if asked == command::PREPARE => {
            let statement = payload.get(1..5).and_then(|b| b.try_into().ok()).map(u32::from_le_bytes);
            Reply { statement, ..Reply::default() }
        }
        // Column count without columns (CLIENT_OPTIONAL_RESULTSET_METADATA): shorter than an OK can be.
        0x00 if first_len < 7 => Reply::default(),
        0x00 => {
            let mut rest = &payload[1..];
            let affected = lenenc(&mut rest);
            let _ = lenenc(&mut rest);
            let session = flags(rest);
            let flags = session.unwrap_or(0);
            if alone || flags & status::MORE_RESULTS == 0 {
                // PING and the handshake end with an OK as well, and affect nothing.
                let rows_affected = affected.filter(|_| is_statement(asked));
                let session = session.filter(|_| alone);
                return Reply { rows_affected, status: flags, session, ..Reply::default() };
            }
            // Several results: the last packet may be an error, and rows cannot be told apart.
            match last(record) {
                Last::Error(e) => Reply { error: Some(e), status: flags, ..Reply::default() },
                Last::End { status, .. } => {
                    Reply { status: flags | status, session: Some(status), ..Reply::default() }
                }
                Last::Unknown => Reply { status: flags, ..Reply::default() },
            }
        }
        0xfb => after_file(record, first_len),
        // MariaDB's progress reports and others: what counts is the last packet.
        0xfe | 0xff => match last(record) {
            Last::Error(e) => Reply { error: Some(e), ..Reply::default() },
            _ => Reply::default(),
        },
        _ => result_set(record, header[3], &payload[..payload.len().min(first_len as usize)], several),
    }
}

/// LOAD DATA LOCAL: the server asks for a file in a packet of `first_len` bytes and says with the next how it went.
fn after_file(record: &Record, first_len: u64) -> Reply {
    let answer = record.response_bytes.saturating_sub(4 + first_len + 4);
    let packet: Vec<u8> =
        (1..=REPLY_TAIL.min(answer as usize + 4) as u32).rev().map(|i| from_end(record, i)).collect();
    match packet.get(4) {
        _ if u64::from(packet[0]) != answer || packet[1..3] != [0, 0] => Reply::default(),
        Some(0xff) => Reply { error: error(&packet[4..]), ..Reply::default() },
        Some(0x00) => {
            let mut rest = &packet[5..];
            let (rows_affected, _) = (lenenc(&mut rest), lenenc(&mut rest));
            let session = flags(rest);
            Reply { rows_affected, status: session.unwrap_or(0), session, ..Reply::default() }
        }
        _ => Reply::default(),
    }
}

/// Commands whose OK counts rows.
fn is_statement(asked: u8) -> bool {
    matches!(asked, command::QUERY | command::EXECUTE | BULK_EXECUTE)
}

/// A result set whose first packet, the column count, has the number `first` and this payload.
fn result_set(record: &Record, first: u8, payload: &[u8], several: bool) -> Reply {
    match last(record) {
        Last::Error(e) => Reply { error: Some(e), ..Reply::default() },
        Last::End { number, status: flags, old_form } => {
            let whole = is_statement(record.request.command) && !several && flags & status::MORE_RESULTS == 0;
            let rows_returned =
                whole.then(|| rows(record, number.wrapping_sub(first), payload, old_form)).flatten();
            Reply { rows_returned, status: flags, session: Some(flags), ..Reply::default() }
        }
        Last::Unknown => Reply::default(),
    }
}

/// FETCH: rows and the last packet, nothing before them.
fn fetched(record: &Record, first: u8, payload: &[u8]) -> Reply {
    match last(record) {
        Last::End { number, status, .. } => {
            // A row has a header, a zero, its NULL bits.
            let rows = unambiguous(number.wrapping_sub(first), record.response_bytes.saturating_sub(9) / 6);
            Reply { rows_returned: rows, status, session: Some(status), ..Reply::default() }
        }
        Last::Error(e) => Reply { error: Some(e), ..Reply::default() },
        Last::Unknown if payload[0] == 0xff => Reply { error: error(payload), ..Reply::default() },
        Last::Unknown => Reply::default(),
    }
}

/// Rows by how many packets `follow` the column count, modulo 256. None when the bytes could have held 256 rows more.
fn rows(record: &Record, follow: u8, count: &[u8], old_form: bool) -> Option<u64> {
    let mut rest = count;
    let columns = lenenc(&mut rest)?;
    let described = match rest {
        // MariaDB says by one more byte whether the client has to be told of the columns again
        // (MARIADB_CLIENT_CACHE_METADATA).
        [] | [1] => columns,
        [0] => 0,
        _ => return None,
    };
    // Columns, the EOF behind them (old form only), rows, the last packet.
    let others = described + u64::from(old_form) + 1;
    let rows = u64::from(follow).wrapping_sub(others) as u8;
    // A column's definition takes at least 22 bytes with its header, a row a header and a byte for each column
    // (binary: a byte and a bit for each column).
    let binary = record.request.command != command::QUERY;
    let row = if binary { 4 + 1 + columns.div_ceil(8) } else { 4 + columns.max(1) };
    let known = 5 + described * 22 + 9;
    unambiguous(rows, record.response_bytes.saturating_sub(known) / row)
}

/// A number of rows modulo 256, where at most `most` rows fit into the reply's bytes.
fn unambiguous(rows: u8, most: u64) -> Option<u64> {
    let rows = u64::from(rows);
    (rows <= most && most < rows + 256).then_some(rows)
}

fn last(record: &Record) -> Last {
    let byte = |back: u32| from_end(record, back);
    let word = |back: u32| u16::from_le_bytes([byte(back), byte(back - 1)]);
    // EOF: 05 00 00 n fe warnings:2 status:2
    if byte(9) == 5 && byte(8) == 0 && byte(7) == 0 && byte(5) == 0xfe {
        return Last::End { number: byte(6), status: word(2), old_form: true };
    }
    for len in 7..=REPLY_TAIL as u32 - 4 {
        if u32::from(byte(len + 4)) != len || byte(len + 3) != 0 || byte(len + 2) != 0 {
            continue;
        }
        let payload: Vec<u8> = (0..len).map(|i| byte(len - i)).collect();
        if byte(len) == 0xff {
            if let Some(e) = error(&payload) {
                return Last::Error(e);
            }
        } else if byte(len) == 0xfe {
            let mut rest = &payload[1..];
            let (_, _) = (lenenc(&mut rest), lenenc(&mut rest));
            let Some(status) = flags(rest) else { continue };
            return Last::End { number: byte(len + 1), status, old_form: false };
        }
    }
    Last::Unknown
}

/// Status flags, where they are next.
fn flags(rest: &[u8]) -> Option<u16> {
    rest.first_chunk().map(|bytes| u16::from_le_bytes(*bytes))
}

/// An ERR packet's payload: ff, number, and (after the handshake) '#' and the state.
fn error(payload: &[u8]) -> Option<MysqlError> {
    let number = u16::from_le_bytes([*payload.get(1)?, *payload.get(2)?]);
    let sqlstate = match payload.get(3) {
        Some(b'#') => payload.get(4..9).and_then(|s| std::str::from_utf8(s).ok()).map(str::to_owned),
        _ => None,
    };
    (1000..u16::MAX).contains(&number).then_some(MysqlError { number, sqlstate })
}

/// A length-encoded integer; moves on behind it.
pub fn lenenc(bytes: &mut &[u8]) -> Option<u64> {
    let (first, rest) = bytes.split_first()?;
    let len = match *first {
        0xfc => 2,
        0xfd => 3,
        0xfe => 8,
        0xfb | 0xff => return None,
        small => {
            *bytes = rest;
            return Some(small.into());
        }
    };
    let value = rest.get(..len)?.iter().rev().fold(0u64, |n, b| n << 8 | u64::from(*b));
    *bytes = &rest[len..];
    Some(value)
}

#[cfg(test)]
mod tests;
