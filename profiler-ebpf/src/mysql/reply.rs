//! Bytes of MySQL replies: counted, with their beginning and end kept; and server packets that answer nothing.

use super::settled::{TAIL, first_packet};
use super::{MAX_PAYLOAD, command, open_unread, phase};
use crate::conn::{Conn, Half, mark, state};
use crate::machine;
use crate::recognise;
use crate::record::{Counter, REPLY_HEAD, REPLY_TAIL, Record, flag, proto};
use crate::world::{Op, WINDOW, World};

/// Bytes of a reply: as many as can be seen at a time while its head is not full, then the last ones.
#[inline(always)]
pub(super) fn reply<W: World>(c: &mut Conn, h: &mut Half, op: &mut Op, w: &mut W) {
    let left = op.left();
    if h.left > 0 {
        // The rest of a packet that answers nothing.
        let take = if h.left < left as u64 { h.left as u32 } else { left };
        h.left = h.left.wrapping_sub(take as u64);
        op.off = op.off.wrapping_add(take);
        return;
    }
    let quiet = op.time.wrapping_sub(c.record.t_last) >= machine::SETTLE_NS;
    if c.state == state::RESPONSE && !quiet && c.record.reply_head_len as usize == REPLY_HEAD && left > TAIL {
        let skip = left.wrapping_sub(TAIL);
        c.record.response_bytes = c.record.response_bytes.wrapping_add(skip as u64);
        op.off = op.off.wrapping_add(skip);
    }
    drop_report(c, h);
    let got = w.fetch(op, op.off);
    let got = report_alone(&c.record, h, w.window(), got);
    if c.state == state::RESPONSE {
        if quiet && got >= 5 && is_farewell(w.window(), left) {
            machine::complete(c, w);
        } else {
            take(c, op, w, got);
            return;
        }
    }
    if c.state == state::IDLE {
        if got == 0 || c.half(op.send == 0).phase != phase::PAYLOAD {
            nobody_asked(c, h, op, w, got);
            return;
        }
        open_unread(c, op);
    }
    if c.record.reply_head_len == 0 {
        c.record.t_first = op.time;
    }
    take(c, op, w, got);
    if Op::fresh(&op.got) > 0 {
        if c.record.reply_head_len < 5 {
            // Read byte by byte.
            return;
        }
        let number = c.record.reply_head[3];
        if number != 1 && c.record.flags & flag::TENTATIVE != 0 {
            recognise::demote(c, w);
            op.off = op.len;
            return;
        }
        if number > 1 && c.half(op.send == 0).num == 0 {
            // The rest of the reply before it: this command was sent in the middle of that.
            w.count(Counter::HalfSeen);
            recognise::ignore(c, w);
            c.state = state::IDLE;
            op.off = op.len;
            return;
        }
        if number == 0 {
            // A farewell that crossed the command on the wire answers nothing.
            w.count(Counter::Unsolicited);
            let head = &c.record.reply_head;
            if head[4] == 0xff && c.record.reply_head_len >= 7 {
                c.life.farewell = u16::from_le_bytes([head[5], head[6]]);
            }
            let len = first_packet(&c.record);
            h.left = len.saturating_sub(c.record.response_bytes);
            c.record.reply_head_len = 0;
            c.record.response_bytes = 0;
            c.record.t_first = 0;
            return;
        }
    } else {
        c.record.flags |= flag::UNREADABLE;
        w.count(Counter::HeadUnreadable);
    }
    c.record.flags &= !flag::TENTATIVE;
    c.state = state::RESPONSE;
    let asked = c.record.request.command;
    if (asked == command::BINLOG_DUMP || asked == command::BINLOG_DUMP_GTID) && c.record.reply_head[4] != 0xff
    {
        c.record.flags |= flag::STREAM;
        machine::send_record(c, w);
        c.record.flags |= flag::EMITTED;
        c.record.proto = proto::IGNORED;
        c.marks |= mark::OPAQUE;
    }
}

/// A report of a long command's progress (MariaDB, `CLIENT_PROGRESS`; net_send_progress_packet() in sql/protocol.cc of
/// the server): an ERR packet of error 65535, one every few seconds, none of which ends anything.
const REPORT: u32 = 0xff_ffff;

/// What a packet says where a report has its error.
#[inline(always)]
fn says(packet: &[u8]) -> u32 {
    packet[4] as u32 | (packet[5] as u32) << 8 | (packet[6] as u32) << 16
}

/// Bytes to take now: of a report not more than itself.
#[inline(always)]
fn report_alone(r: &Record, h: &Half, b: &[u8; WINDOW], got: u32) -> u32 {
    let len = b[0] as u32 | (b[1] as u32) << 8 | (b[2] as u32) << 16;
    let come = r.response_bytes.wrapping_sub(h.length);
    let rest = if r.reply_head_len == 0 && says(b) == REPORT && got > 7 {
        len.wrapping_add(4)
    } else if r.reply_head_len >= 7 && says(&r.reply_head) == REPORT && come < first_packet(r) {
        first_packet(r).wrapping_sub(come) as u32
    } else {
        got
    };
    if rest < got { rest } else { got }
}

/// A report that is whole is no part of what the reply will be: its bytes are counted, and the head begins anew.
#[inline(always)]
fn drop_report(c: &mut Conn, h: &mut Half) {
    let r = &mut c.record;
    if c.state == state::RESPONSE
        && r.reply_head_len >= 7
        && says(&r.reply_head) == REPORT
        && r.response_bytes.wrapping_sub(h.length) == first_packet(r)
    {
        r.reply_head_len = 0;
        h.length = r.response_bytes;
    }
}

/// True for an ERR packet with number 0 that is all of the operation: no reply begins, or goes on, like this.
#[inline(always)]
fn is_farewell(b: &[u8; WINDOW], left: u32) -> bool {
    let len = b[0] as u32 | (b[1] as u32) << 8 | (b[2] as u32) << 16;
    len.wrapping_add(4) == left && b[3] == 0 && b[4] == 0xff
}

/// Server bytes between exchanges: a farewell error, or the rest of what was under way when we came.
#[inline(always)]
fn nobody_asked<W: World>(c: &mut Conn, h: &mut Half, op: &mut Op, w: &mut W, got: u32) {
    if got == 0 {
        op.off = op.len;
        return;
    }
    let before = h.pre_len;
    recognise::gather(h, w.window(), got, 4);
    op.off = op.off.wrapping_add(h.pre_len.wrapping_sub(before) as u32);
    if h.pre_len < 4 {
        return;
    }
    h.pre_len = 0;
    if h.pre >> 24 & 0xff == 0 {
        w.count(Counter::Unsolicited);
        let b = w.window();
        if before == 0 && got >= 7 && b[4] == 0xff {
            c.life.farewell = u16::from_le_bytes([b[5], b[6]]);
        }
        h.left = h.pre & MAX_PAYLOAD;
        return;
    }
    op.off = op.len;
    if h.num == 0 {
        // Once, until the next command.
        h.num = 1;
        w.count(Counter::HalfSeen);
    }
}

/// Counts the window's bytes as the reply's, and keeps its first and last ones. All of the operation when there is
/// nothing to see.
#[inline(always)]
pub(super) fn take<W: World>(c: &mut Conn, op: &mut Op, w: &mut W, got: u32) {
    op.got = got;
    keep(c, w.window(), got);
    // From memory again, here and below: after a loop the verifier knows a little more about each number in it, and
    // would follow every such case.
    let got = Op::fresh(&op.got);
    let from = got.saturating_sub(TAIL) as usize;
    let base = c.record.response_bytes;
    let mut i = 0usize;
    while i < REPLY_TAIL {
        if i as u32 >= got {
            break;
        }
        let byte = w.window()[from.wrapping_add(i) & (WINDOW - 1)];
        c.record.reply_tail[base.wrapping_add((from + i) as u64) as usize & (REPLY_TAIL - 1)] = byte;
        i += 1;
    }
    let got = Op::fresh(&op.got);
    let left = Op::fresh(&op.len).wrapping_sub(op.off);
    let used = if got == 0 || got > left { left } else { got };
    c.record.response_bytes = c.record.response_bytes.wrapping_add(used as u64);
    c.record.t_last = op.time;
    op.off = op.off.wrapping_add(used);
}

#[inline(always)]
pub(super) fn keep(c: &mut Conn, window: &[u8; WINDOW], n: u32) {
    let start = c.record.reply_head_len as u32;
    let room = (REPLY_HEAD as u32).saturating_sub(start);
    let n = if n < room { n } else { room };
    let mut i = 0usize;
    while i < REPLY_HEAD {
        if i as u32 >= n {
            break;
        }
        c.record.reply_head[start.wrapping_add(i as u32) as usize & (REPLY_HEAD - 1)] = window[i];
        i += 1;
    }
    c.record.reply_head_len = start.wrapping_add(n) as u8;
}
