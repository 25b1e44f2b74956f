//! Commands that do not wait for the reply before them (MariaDB's connectors send so). In come their replies, which are
//! framed packet by packet here: one begins where the packets' numbers begin again.

use super::reply::take;
use super::settled::TAIL;
use super::{MAX_PAYLOAD, phase};
use crate::conn::{Conn, Half, PIPELINE_DEPTH, clear, mark, state};
use crate::machine;
use crate::recognise;
use crate::record::{Counter, REPLY_HEAD, REPLY_TAIL, flag};
use crate::world::{Op, World};

/// True when an operation's bytes are replies to commands that wait behind one another.
#[inline(always)]
pub fn is_framed(c: &Conn, op: &Op) -> bool {
    c.has(mark::FRAMED) && c.is_clients(op.send) == 0
}

/// A command comes before the reply to the one before it: it waits, or it is skipped, and so will be its reply.
#[inline(always)]
pub(super) fn wait<W: World>(c: &mut Conn, w: &mut W) {
    if !c.has(mark::FRAMED) {
        // Nothing of the first one's reply has come.
        c.marks |= mark::FRAMED;
        let replies = c.replies();
        replies.hash = 0;
        replies.kind = 1;
        replies.pre_len = 0;
    }
    c.marks &= !(mark::NEWEST_WAITS | mark::NEWEST_SKIPPED);
    let mut why = Counter::PipelineTooDeep;
    if c.skipped == 0 && c.waiting < PIPELINE_DEPTH {
        why = Counter::WaitingTableFull;
        let number = c.oldest.wrapping_add(c.waiting);
        let r = w.push_waiting(c, number);
        if !r.is_null() {
            // SAFETY: just returned as valid by the world.
            clear(unsafe { &mut *r });
            c.waiting = c.waiting.wrapping_add(1);
            c.marks |= mark::NEWEST_WAITS;
            return;
        }
    }
    c.skipped = c.skipped.wrapping_add(1);
    c.marks |= mark::NEWEST_SKIPPED;
    w.count(why);
}

/// One step of framed replies: a packet, or as much of it as can be seen at a time. [`Half::hash`] holds the bytes of
/// the packet that are still to come, [`Half::kind`] its number and, above it, its length. Bytes that cannot be read take no step further, so that
/// the caller gives the boundaries up when the operation has had all its steps: rare, and one place less for that.
#[inline(always)]
pub fn replies<W: World>(c: &mut Conn, op: &mut Op, w: &mut W) {
    let h: *mut Half = c.half(op.send != 0);
    // SAFETY: the half lies inside `c`; nothing below moves `c` or reaches this half by another way at the same time.
    let h = unsafe { &mut *h };
    if h.hash == 0 && !header(c, h, op, w) {
        return;
    }
    payload(c, h, op, w);
}

/// 1 when a packet of this number begins a reply: after 255 comes 0 and then 1 in the middle of one, unless the packet
/// `before` was its last: EOF, OK in its place or ERR. No row begins like those. Without branches, for the verifier.
#[inline(always)]
fn begins(c: &Conn, before: u32, number: u8) -> u8 {
    let r = &c.record;
    let len = before >> 8;
    let first = r.reply_tail[r.response_bytes.wrapping_sub(len as u64) as usize & (REPLY_TAIL - 1)];
    let last = (len <= TAIL) as u8 & (first >= 0xfe) as u8;
    (number == 1) as u8 & ((before & 0xff != 0) as u8 | last | (c.state != state::RESPONSE) as u8)
}

/// A packet's four bytes of header, once they are there. False when there is no payload of it to look at.
#[inline(always)]
fn header<W: World>(c: &mut Conn, h: &mut Half, op: &mut Op, w: &mut W) -> bool {
    let got = w.fetch(op, op.off);
    if got == 0 {
        return false;
    }
    let before = h.pre_len;
    recognise::collect(h, op, w.window(), got, 4);
    if h.pre_len < 4 {
        op.off = op.off.wrapping_add(h.pre_len.wrapping_sub(before) as u32);
        return false;
    }
    let number = (h.pre >> 24) as u8;
    op.event = begins(c, h.kind, number);
    let first = Op::fresh(&op.event) != 0;
    if first && c.state == state::RESPONSE {
        // The reply before it is over: that first, then this one again.
        recognise::rewind(h, before);
        h.phase = phase::HEADER;
        machine::complete(c, w);
        return false;
    }
    op.off = op.off.wrapping_add(4u32.wrapping_sub(before as u32));
    h.pre_len = 0;
    h.hash = h.pre & MAX_PAYLOAD;
    h.kind = (h.pre >> 24) as u32 & 0xff | (h.pre as u32) << 8;
    if c.state == state::IDLE && first && c.skipped != 0 {
        // The reply to a command that was skipped.
        c.skipped = c.skipped.wrapping_sub(1);
        c.clear_request();
        c.clear_reply();
        c.record.flags = flag::ORPHAN | flag::EMITTED;
        c.state = state::RESPONSE;
    } else if c.state == state::REQUEST && first {
        c.record.t_first = h.t0;
        c.record.flags &= !flag::TENTATIVE;
        c.state = state::RESPONSE;
        let replies = c.replies();
        replies.length = 0;
        replies.num = 0;
    } else if c.record.flags & flag::TENTATIVE != 0 && number != 1 {
        // What looked like commands were none.
        recognise::demote(c, w);
        op.off = op.len;
        return false;
    } else if c.state != state::RESPONSE {
        // A farewell, or what nobody asked for.
        w.count(Counter::Unsolicited);
        return true;
    }
    if c.state == state::RESPONSE {
        push(c, h.pre as u32);
        c.record.t_last = op.time;
    }
    true
}

/// The rest of a packet.
#[inline(always)]
fn payload<W: World>(c: &mut Conn, h: &mut Half, op: &mut Op, w: &mut W) {
    let left = op.left();
    let mut n = if h.hash < left as u64 { h.hash as u32 } else { left };
    if n == 0 {
        return;
    }
    if c.state != state::RESPONSE {
        h.hash = h.hash.wrapping_sub(n as u64);
        op.off = op.off.wrapping_add(n);
        return;
    }
    if c.record.reply_head_len as usize == REPLY_HEAD && n > TAIL {
        n = n.wrapping_sub(TAIL);
        h.hash = h.hash.wrapping_sub(n as u64);
        op.off = op.off.wrapping_add(n);
        c.record.response_bytes = c.record.response_bytes.wrapping_add(n as u64);
        c.record.t_last = op.time;
        n = TAIL;
    }
    let got = w.fetch(op, op.off);
    let seen = if got < n { got } else { n };
    if seen == 0 {
        return;
    }
    let off = op.off;
    take(c, op, w, seen);
    h.hash = h.hash.wrapping_sub(op.off.wrapping_sub(off) as u64);
}

/// A header's bytes are the reply's. Without branches: the verifier would follow each of them through the payload.
#[inline(always)]
fn push(c: &mut Conn, header: u32) {
    let r = &mut c.record;
    let mut i = 0u32;
    while i < 4 {
        let byte = (header >> (i * 8)) as u8;
        // All ones while there is room in the head.
        let room = ((r.reply_head_len as u32).wrapping_sub(REPLY_HEAD as u32) as i32 >> 31) as u8;
        let at = (r.reply_head_len | !room) as usize & (REPLY_HEAD - 1);
        r.reply_head[at] = byte & room | r.reply_head[at] & !room;
        r.reply_head_len = r.reply_head_len.wrapping_add(room & 1);
        r.reply_tail[r.response_bytes as usize & (REPLY_TAIL - 1)] = byte;
        r.response_bytes = r.response_bytes.wrapping_add(1);
        i += 1;
    }
}
