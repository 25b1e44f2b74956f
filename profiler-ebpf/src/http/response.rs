//! The response's part of an exchange: which request it answers, and what its head says of its body.

use super::unframed::keep_status;
use super::{method, use_bytes};
use crate::conn::{Conn, Half, mark, state};
use crate::machine;
use crate::record::{Counter, flag, proto, role};
use crate::scan::{self, event, head, phase};
use crate::world::{Op, World};

/// Replies in a row that may come before their request: more are a sign that a request was lost, and every reply since
/// is taken for the next one's.
const RACES: u8 = 8;

#[inline(always)]
pub(super) fn begin_response<W: World>(c: &mut Conn, h: &Half, op: &Op, w: &mut W) {
    // Bytes of the client that were no request: it may be these that are answered.
    let mut unrecognised = c.misses != 0;
    c.missed = 0;
    if c.state == state::REQUEST && c.record.flags & flag::TENTATIVE != 0 && !c.has(mark::HEADED) {
        // What looked like a request was none: we came in the middle of one.
        unrecognised = true;
        c.state = state::IDLE;
        c.half(op.send == 0).phase = phase::START;
        c.half(op.send == 0).pre_len = 0;
    } else if c.state == state::HELD {
        // Two replies without a request between them.
        w.count(Counter::HalfSeen);
        c.state = state::IDLE;
    }
    c.record.flags &= !flag::TENTATIVE;
    if c.state != state::IDLE {
        return;
    }
    // No request waits for this reply: it was answered past the pipeline's depth, or its write is still to be seen
    // (another thread reads), or it was sent before we came.
    c.clear_request();
    c.clear_reply();
    c.state = state::RESPONSE;
    c.record.t_first = h.t0;
    if c.skipped > 0 {
        c.skipped = c.skipped.wrapping_sub(1);
        c.record.flags |= flag::ORPHAN | flag::EMITTED;
    } else if c.has(mark::SYNCED)
        && !c.has(mark::LOST)
        && c.record.role == role::CLIENT
        && c.raced < RACES
        && !unrecognised
    {
        c.raced = c.raced.wrapping_add(1);
        c.record.flags |= flag::RACED;
    } else {
        c.record.flags |= flag::ORPHAN;
        w.count(Counter::HalfSeen);
    }
}

#[inline(always)]
pub(super) fn response_head_end<W: World>(c: &mut Conn, h: &mut Half, op: &mut Op, w: &mut W) {
    let status = if h.left > 999 { 0 } else { h.left as u16 };
    if (100..200).contains(&status) && status != 101 {
        h.phase = phase::START;
        h.pre_len = 0;
        return;
    }
    if c.state == state::REQUEST {
        c.state = state::RESPONSE;
        c.record.t_first = h.t0;
    }
    c.record.status = status;
    let command = c.record.request.command;
    let success = (200..300).contains(&status);
    if status == 101 || (command == method::CONNECT && success) {
        stream(c, w);
        c.record.proto = proto::IGNORED;
        c.marks |= mark::OPAQUE;
        c.state = state::IDLE;
        op.off = op.len;
        return;
    }
    let empty = command == method::HEAD || status == 204 || status == 304;
    let chunked = h.head & head::CHUNKED != 0;
    let counted = h.head & head::LENGTH != 0;
    if empty || !chunked && counted && h.length == 0 {
        op.event = event::MESSAGE_END;
        return;
    }
    if scan::is_stream(h) {
        stream(c, w);
    }
    if chunked {
        h.phase = phase::CHUNK_SIZE;
        h.num = 0;
    } else if counted {
        h.left = h.length;
        h.phase = phase::BODY;
    } else {
        h.phase = phase::OPAQUE;
    }
}

/// Sends the record now: it will last, and is no duration.
#[inline(always)]
fn stream<W: World>(c: &mut Conn, w: &mut W) {
    if c.record.flags & flag::RACED != 0 && c.record.request.pid == 0 {
        w.count(Counter::HalfSeen);
        c.record.flags = flag::ORPHAN;
    } else if c.record.flags & (flag::EMITTED | flag::ORPHAN) == 0 {
        c.record.flags |= flag::STREAM;
        machine::send_record(c, w);
        c.record.flags |= flag::EMITTED;
    }
}

/// The operation's bytes are in no buffer (sendfile, splice, io_uring). Heads come from memory nearly always; one that
/// does not hides the reply's status and its end, which the next request will show.
#[inline(always)]
pub(super) fn unreadable<W: World>(c: &mut Conn, h: &mut Half, op: &mut Op, w: &mut W, request: bool) {
    if !request {
        keep_status(c, h);
        if c.state == state::REQUEST {
            c.state = state::RESPONSE;
            c.record.t_first = op.time;
        }
        if c.state == state::RESPONSE {
            c.record.flags |= flag::UNREADABLE;
            h.phase = phase::OPAQUE;
            w.count(Counter::HeadUnreadable);
        }
    }
    h.pre_len = 0;
    use_bytes(c, op, w, op.left(), request);
}
