//! HTTP/1: from framed messages to exchanges. A step takes one piece of an operation (a head, a body, a chunk line)
//! and moves the exchange on; RFC 9112 says where a message ends, and what it leaves open ends with the next request
//! or the connection.

mod request;
mod response;
mod unframed;

use crate::classify::{self, Class};
use crate::conn::{Conn, Half, mark, state};
use crate::machine;
use crate::recognise;
use crate::record::{Counter, flag};
use crate::scan::{self, event, head, phase};
use crate::world::{Op, World};
use request::{begin_request, overdue, request_head_end};
use response::{begin_response, response_head_end, unreadable};
use unframed::keep_end;
pub(crate) use unframed::lose_reply;

/// [`crate::record::Request::command`]: the methods that change how a reply ends.
pub mod method {
    pub const OTHER: u8 = 0;
    pub const HEAD: u8 = 1;
    pub const CONNECT: u8 = 2;
}

/// One step: at least one byte of the operation is used, or an exchange ended. False when the operation is done, as far
/// as can be said without a look.
#[inline(always)]
pub fn step<W: World>(c: &mut Conn, op: &mut Op, w: &mut W) -> bool {
    op.client = c.is_clients(Op::fresh(&op.send));
    op.event = event::NONE;
    // Arithmetic, not a choice: the verifier would follow each of the two through the scan.
    let h: *mut Half = &mut c.halves[Op::fresh(&op.send) as usize & 1];
    // SAFETY: the half lies inside `c`; nothing below moves `c` or reaches this half by another way at the same time.
    let h = unsafe { &mut *h };
    if h.phase == phase::UNFRAMED {
        keep_end(h, op, w);
        use_bytes(c, op, w, op.left(), false);
        return false;
    }
    advance(c, h, op, w);
    // One place for all ends, and through memory: the program would be too large with a copy for each.
    if Op::fresh(&op.event) == event::MESSAGE_END {
        let request = Op::fresh(&op.client) != 0;
        let h = if request { c.half(op.send != 0) } else { c.replies() };
        h.phase = phase::START;
        h.pre_len = 0;
        if request && c.state == state::HELD {
            // The reply was complete already.
            c.state = state::RESPONSE;
        } else if request {
            return true;
        }
        if c.state == state::RESPONSE {
            machine::complete(c, w);
        }
    }
    true
}

/// A head, a chunk's line or a trailer, as far as the window goes; and what of the body behind it is in the operation.
#[inline(always)]
fn advance<W: World>(c: &mut Conn, h: &mut Half, op: &mut Op, w: &mut W) {
    if h.phase < phase::BODY && !framing(c, h, op, w) {
        return;
    }
    let h: *mut Half = &mut c.halves[Op::fresh(&op.send) as usize & 1];
    // SAFETY: the same half as before, found anew so that the verifier sees one pointer for both directions.
    let h = unsafe { &mut *h };
    let request = Op::fresh(&op.client) != 0;
    let left = op.left();
    let now = Op::fresh(&h.phase);
    if now == phase::OPAQUE {
        use_bytes(c, op, w, left, request);
    } else if now == phase::BODY {
        let take = if h.left < left as u64 { h.left as u32 } else { left };
        use_bytes(c, op, w, take, request);
        h.left = h.left.wrapping_sub(take as u64);
        if h.left == 0 {
            if h.head & head::IN_CHUNK != 0 {
                h.phase = phase::CHUNK_SIZE;
                h.num = 0;
            } else {
                op.event = event::MESSAGE_END;
            }
        }
    }
}

/// Runs the byte machine. True when a body may follow in this operation.
#[inline(always)]
fn framing<W: World>(c: &mut Conn, h: &mut Half, op: &mut Op, w: &mut W) -> bool {
    let request = Op::fresh(&op.client) != 0;
    let got = w.fetch(op, op.off);
    if got == 0 {
        unreadable(c, h, op, w, request);
        return false;
    }
    if h.phase == phase::START && !start(c, h, op, w, got, request) {
        return false;
    }
    op.got = got;
    let h: *mut Half = &mut c.halves[Op::fresh(&op.send) as usize & 1];
    // SAFETY: the same half as before, found anew so that the verifier sees one pointer for both directions.
    let h = unsafe { &mut *h };
    scan::scan(h, w.window(), op);
    let used = Op::fresh(&op.used);
    let request = Op::fresh(&op.client) != 0;
    if request && h.phase < phase::CHUNK_SIZE {
        let r = machine::newest(c, w);
        if !r.is_null() {
            // SAFETY: `newest` returns memory of this connection that lives for the whole operation.
            unsafe { w.append_head(&mut *r, used) };
        }
    }
    use_bytes(c, op, w, used, request);
    let seen = Op::fresh(&op.event);
    if seen == event::HEAD_END {
        if request { request_head_end(c, h, op) } else { response_head_end(c, h, op, w) }
    } else if seen == event::CHUNK_SIZE {
        if h.num == 0 {
            h.phase = phase::TRAILER;
        } else {
            h.left = h.num.wrapping_add(2);
            h.head |= head::IN_CHUNK;
            h.phase = phase::BODY;
        }
    }
    // An end that was found is for the caller; a body without bytes here is for the next operation.
    Op::fresh(&op.event) != event::MESSAGE_END && op.left() != 0
}

/// Recognises the message that begins here. False when this operation has no more to give.
#[inline(always)]
fn start<W: World>(c: &mut Conn, h: &mut Half, op: &mut Op, w: &mut W, got: u32, request: bool) -> bool {
    if h.pre_len == 0 {
        let first = w.window()[0];
        if first == b'\r' || first == b'\n' {
            // Stray line ends between messages (RFC 9112, section 2.2).
            op.off = op.off.wrapping_add(1);
            return false;
        }
    }
    let before = h.pre_len;
    recognise::collect(h, op, w.window(), got, classify::LONGEST);
    let class = classify::http(h.pre, h.pre_len);
    if class as u8 == Class::More as u8 {
        // All of the window is in `pre`: it was shorter than what is needed to tell.
        op.off = op.off.wrapping_add(h.pre_len.wrapping_sub(before) as u32);
        return false;
    }
    if class as u8 == Class::Http2 as u8 && request {
        recognise::give_up(c, w, Counter::NotParsedHttp2);
        op.off = op.len;
        return false;
    }
    if overdue(c, class) {
        // This message shows that the one before it is over: that first, then this one again.
        recognise::rewind(h, before);
        op.client = 0;
        op.event = event::MESSAGE_END;
        c.state = state::RESPONSE;
        return false;
    }
    let wanted = if request { Class::HttpRequest } else { Class::HttpResponse };
    if class as u8 != wanted as u8 {
        h.pre_len = 0;
        if !request && c.record.flags & flag::TENTATIVE != 0 {
            recognise::demote(c, w);
            op.off = op.len;
        } else {
            if !request && c.state == state::REQUEST {
                // The reply's beginning may lie among these bytes.
                c.missed = 1;
            }
            use_bytes(c, op, w, op.left(), request);
        }
        return false;
    }
    h.head = 0;
    h.length = 0;
    h.kind = 0;
    h.num = 0;
    h.left = 0;
    if request {
        begin_request(c, h, op, w, before);
        h.phase = phase::LINE;
    } else {
        begin_response(c, h, op, w);
        h.phase = phase::VERSION;
    }
    // The bytes of it that came in earlier operations.
    account(c, w, op.time, before as u32, request);
    true
}

#[inline(always)]
fn use_bytes<W: World>(c: &mut Conn, op: &mut Op, w: &mut W, n: u32, request: bool) {
    op.off = op.off.wrapping_add(n);
    account(c, w, op.time, n, request);
}

#[inline(always)]
fn account<W: World>(c: &mut Conn, w: &mut W, time: u64, n: u32, request: bool) {
    if !request {
        if c.state == state::REQUEST || c.state == state::RESPONSE {
            c.record.response_bytes = c.record.response_bytes.wrapping_add(n as u64);
            c.record.t_last = time;
        }
        return;
    }
    if c.state == state::IDLE {
        return;
    }
    let current = !c.has(mark::NEWEST_WAITS);
    let r = machine::newest(c, w);
    if r.is_null() {
        return;
    }
    // SAFETY: `newest` returns memory of this connection that lives for the whole operation.
    let r = unsafe { &mut *r };
    r.bytes = r.bytes.wrapping_add(n as u64);
    if !current || c.state == state::REQUEST {
        r.t_end = time;
    }
}
