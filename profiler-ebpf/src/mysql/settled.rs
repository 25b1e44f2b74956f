//! Has a MySQL reply ended? Replies are not framed, so their first and last bytes must tell.

use super::{capability, command};
use crate::conn::Conn;
use crate::record::{REPLY_TAIL, Record, role};

pub(super) const TAIL: u32 = REPLY_TAIL as u32;

/// Byte `back` from the end of the reply, 1 being the last; anything when there is none.
#[inline(always)]
fn tail(r: &Record, back: u32) -> u32 {
    r.reply_tail[r.response_bytes.wrapping_sub(back as u64) as usize & (REPLY_TAIL - 1)] as u32
}

/// The same, 0 when it is not kept: for user space.
pub fn from_end(r: &Record, back: u32) -> u8 {
    if back as u64 > r.response_bytes || back > TAIL { 0 } else { tail(r, back) as u8 }
}

/// 1 when the reply has fewer bytes than `n`.
#[inline(always)]
fn missing(r: &Record, n: u32) -> u32 {
    (r.response_bytes.wrapping_sub(n as u64) >> 63) as u32
}

/// Length of the reply's first packet, header and all.
#[inline(always)]
pub(super) fn first_packet(r: &Record) -> u64 {
    (r.reply_head[0] as u64 | (r.reply_head[1] as u64) << 8 | (r.reply_head[2] as u64) << 16) + 4
}

/// Set in a status when more results follow (`SERVER_MORE_RESULTS_EXISTS`).
const MORE_RESULTS: u32 = 8;

/// True when the reply's last bytes are a packet that can end one.
#[inline(always)]
pub fn settled(c: &Conn) -> bool {
    let r = &c.record;
    if r.reply_head_len < 5 {
        return false;
    }
    let base = c.halves[(r.role == role::SERVER) as usize].length;
    let command = r.request.command;
    let first = r.reply_head[4];
    if first_packet(r) == r.response_bytes.wrapping_sub(base) {
        return alone(r, command, first);
    }
    let at = |back: u32| tail(r, back);
    // EOF: 05 00 00 n fe warnings:2 status:2
    if (at(9) ^ 5) | at(8) | at(7) | (at(5) ^ 0xfe) | missing(r, 9) == 0 {
        if command == command::PREPARE {
            return at(6) == definitions(r) as u32;
        }
        // The one behind the columns: count, columns, EOF. Rows push the number, or at least the size, past it.
        let behind = at(6) ^ (first as u32 + 2) & 0xff;
        let large = r.response_bytes > 16 + first as u64 * 512;
        return at(2) & MORE_RESULTS == 0 && (behind != 0 || large);
    }
    if command == command::PREPARE {
        return prepared(r);
    }
    // OK in EOF's place: at least 07 00 00 n fe 00 00 status:2 warnings:2, longer with session state; or ERR (where
    // the status would be is '#'). Without a branch, for the verifier's sake: every difference is collected, and one
    // length without any is enough.
    let mut found = 0u32;
    let mut len = 7u32;
    while len <= TAIL - 4 {
        let header = (at(len + 4) ^ len) | at(len + 3) | at(len + 2);
        // 0xfe and 0xff differ in one bit.
        let kind = (at(len) | 1) ^ 0xff;
        let more = at(len - 3) & MORE_RESULTS;
        let report = ((at(len - 1) & at(len - 2)) ^ 0xff).wrapping_sub(1) >> 31;
        found |= (header | report | kind | more | missing(r, len + 4)).wrapping_sub(1) >> 31;
        len += 1;
    }
    // The last of several results may be a plain OK. In the rows of a text result 0 is an empty string, so all of it
    // must look like one: a status of its low bits, few warnings.
    let plain =
        (at(11) ^ 7) | at(10) | at(9) | at(7) | at(4) & MORE_RESULTS | at(3) & 0xb0 | at(1) | missing(r, 11);
    found != 0 || command == command::QUERY && plain == 0
}

/// Is the reply's only packet all of it? OK, ERR, EOF are, and what STATISTICS says.
#[inline(always)]
fn alone(r: &Record, command: u8, first: u8) -> bool {
    if first == 0xff || command == command::STATISTICS {
        // Not a report of progress: those have the error 65535.
        return first != 0xff || r.reply_head[5] & r.reply_head[6] != 0xff;
    }
    if first == 0xfe {
        // For CHANGE_USER the wish for another password.
        return command != command::CHANGE_USER;
    }
    if command == command::PREPARE {
        return first == 0 && definitions(r) == 1;
    }
    // Affected rows and the last id, a byte each as a rule, then the status.
    let short = r.reply_head[5] < 0xfb && r.reply_head[6] < 0xfb;
    first == 0 && !(short && r.reply_head[7] as u32 & MORE_RESULTS != 0)
}

/// Number of the packet that ends the reply to PREPARE: OK, then parameters and columns, an EOF behind each.
#[inline(always)]
fn definitions(r: &Record) -> u8 {
    let group = |low: u8, high: u8| if low | high == 0 { 0 } else { low.wrapping_add(1) };
    group(r.reply_head[9], r.reply_head[10])
        .wrapping_add(group(r.reply_head[11], r.reply_head[12]))
        .wrapping_add(1)
}

/// Without EOF packets the reply to PREPARE ends with its last definition: 0c, 10 bytes of facts, 00 00. Whether it is
/// the last says its number, when it is short enough to be kept whole.
#[inline(always)]
fn prepared(r: &Record) -> bool {
    if r.caps != 0 && r.caps & capability::DEPRECATE_EOF == 0 {
        return false;
    }
    let at = |back: u32| tail(r, back);
    let number = (r.reply_head[9].wrapping_add(r.reply_head[11]).wrapping_add(1)) as u32;
    let mut earlier = 0u32;
    let mut len = 20u32;
    while len <= TAIL - 4 {
        let other =
            (at(len + 4) ^ len) | at(len + 3) | at(len + 2) | (at(len) ^ 3) | (at(len - 1) ^ b'd' as u32);
        let this = other.wrapping_sub(1) >> 31;
        earlier |= this & (at(len + 1) ^ number).min(1);
        len += 1;
    }
    (at(13) ^ 0x0c) | at(2) | at(1) | earlier | missing(r, 36) == 0
}
