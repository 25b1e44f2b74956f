//! MySQL packets, made by hand.

use std::vec::Vec;

use crate::mysql::capability;

/// What a plain client asks for.
pub(super) const CAPS: u32 =
    (0x010f_a285 & !capability::COMPRESS & !capability::SSL) | capability::DEPRECATE_EOF;

/// A payload, cut into packets from `number` on (one of exactly 2^24 - 1 bytes goes on in an empty one).
pub(super) fn packet(number: u8, payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut number = number;
    let mut rest = payload;
    loop {
        let n = rest.len().min(0xff_ffff);
        out.extend([n as u8, (n >> 8) as u8, (n >> 16) as u8, number]);
        out.extend(&rest[..n]);
        rest = &rest[n..];
        number = number.wrapping_add(1);
        if n < 0xff_ffff {
            return out;
        }
    }
}

pub(super) fn command(code: u8, text: &[u8]) -> Vec<u8> {
    packet(0, &[&[code], text].concat())
}

pub(super) fn query(sql: &str) -> Vec<u8> {
    command(0x03, sql.as_bytes())
}

pub(super) fn greeting() -> Vec<u8> {
    let mut payload =
        b"\x0a8.0.36\0\x07\0\0\0abcdefgh\0\xff\xff\xff\x02\0\xff\xdf\x15\0\0\0\0\0\0\0\0\0\0".to_vec();
    payload.extend(b"ijklmnopqrst\0caching_sha2_password\0");
    packet(0, &payload)
}

/// The client's answer to the greeting.
pub(super) fn sign_in(caps: u32) -> Vec<u8> {
    let mut payload = caps.to_le_bytes().to_vec();
    payload.extend(b"\0\0\0\x01\x2d");
    payload.extend([0; 23]);
    payload.extend(b"me\0\x14aaaaaaaaaaaaaaaaaaaashop\0mysql_native_password\0");
    packet(1, &payload)
}

pub(super) fn ok(number: u8, status: u16) -> Vec<u8> {
    let s = status.to_le_bytes();
    packet(number, &[0, 1, 0, s[0], s[1], 0, 0])
}

pub(super) fn err(number: u8, code: u16, message: &str) -> Vec<u8> {
    packet(number, &[&[0xff], &code.to_le_bytes()[..], b"#42000", message.as_bytes()].concat())
}

pub(super) fn eof(number: u8, status: u16) -> Vec<u8> {
    let s = status.to_le_bytes();
    packet(number, &[0xfe, 0, 0, s[0], s[1]])
}

/// EOF's successor (`CLIENT_DEPRECATE_EOF`).
pub(super) fn end(number: u8, status: u16) -> Vec<u8> {
    let s = status.to_le_bytes();
    packet(number, &[0xfe, 0, 0, s[0], s[1], 0, 0])
}

pub(super) fn column(number: u8) -> Vec<u8> {
    packet(number, b"\x03def\x04shop\x01t\x01t\x01a\x01a\x0c\x2d\0\x0b\0\0\0\x03\x03\x50\0\0\0")
}

/// A result set of one column; `last` is what comes after the rows.
pub(super) fn rows(number: u8, rows: &[&str], deprecate_eof: bool, last: impl Fn(u8) -> Vec<u8>) -> Vec<u8> {
    let mut n = number;
    let mut next = || {
        n = n.wrapping_add(1);
        n.wrapping_sub(1)
    };
    let mut out = packet(next(), &[1]);
    out.extend(column(next()));
    if !deprecate_eof {
        out.extend(eof(next(), 2));
    }
    for row in rows {
        let mut payload = Vec::new();
        match row.len() {
            n if n < 251 => payload.push(n as u8),
            n => payload.extend([0xfc, n as u8, (n >> 8) as u8]),
        }
        payload.extend(row.as_bytes());
        out.extend(packet(next(), &payload));
    }
    out.extend(last(next()));
    out
}

/// The reply to a PREPARE with so many parameters and columns.
pub(super) fn prepared(parameters: u8, columns: u8, deprecate_eof: bool) -> Vec<u8> {
    let mut out = packet(1, &[0, 1, 0, 0, 0, columns, 0, parameters, 0, 0, 0, 0]);
    let mut number = 2;
    for count in [parameters, columns] {
        for _ in 0..count {
            out.extend(column(number));
            number += 1;
        }
        if count > 0 && !deprecate_eof {
            out.extend(eof(number, 2));
            number += 1;
        }
    }
    out
}
