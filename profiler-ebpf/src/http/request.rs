//! The request's part of an exchange: where one begins, what its head says of its body, and which reply it shows to be over.

use super::method;
use crate::classify::Class;
use crate::conn::{Conn, Half, PIPELINE_DEPTH, clear, mark, state};
use crate::machine;
use crate::record::{Counter, flag};
use crate::scan::{self, event, head, phase};
use crate::world::{Op, World};

/// A request whose write is seen this long after its reply, ns, is not that reply's: the two threads of a client are
/// microseconds apart, a preempted one a few milliseconds.
const RACE_NS: u64 = 20_000_000;

#[inline(always)]
pub(super) fn begin_request<W: World>(c: &mut Conn, h: &Half, op: &Op, w: &mut W, before: u8) {
    c.marks &= !(mark::NEWEST_WAITS | mark::NEWEST_SKIPPED);
    let mut raced = c.record.flags & flag::RACED != 0 && c.record.request.pid == 0;
    if raced && h.t0.wrapping_sub(c.record.t_first) > RACE_NS && h.t0 > c.record.t_first {
        // Too late to be what that reply answers: its request was never recognised.
        w.count(Counter::HalfSeen);
        c.record.flags = flag::ORPHAN;
        raced = false;
        if c.state == state::HELD {
            c.state = state::IDLE;
        }
    }
    if c.missed != 0 && c.state == state::REQUEST && c.waiting == 0 {
        // The client asks again: the reply before went by unseen, and must not be looked for in this one's.
        w.count(Counter::HalfSeen);
        c.state = state::IDLE;
    }
    c.missed = 0;
    if c.state == state::HELD || c.state == state::RESPONSE && raced {
        // The reply that came before it is its own.
    } else if c.state == state::IDLE && c.skipped == 0 {
        c.clear_request();
        c.clear_reply();
        c.state = state::REQUEST;
        c.raced = 0;
        c.marks &= !mark::LOST;
        let answer = c.half(op.send == 0);
        if answer.phase >= phase::OPAQUE {
            answer.phase = phase::START;
            answer.pre_len = 0;
        }
    } else {
        let number = c.oldest.wrapping_add(c.waiting);
        let mut why = Counter::PipelineTooDeep;
        let r = if c.skipped == 0 && c.waiting < PIPELINE_DEPTH && !c.has(mark::LOST) {
            why = Counter::WaitingTableFull;
            w.push_waiting(c, number)
        } else {
            core::ptr::null_mut()
        };
        if r.is_null() {
            if !c.has(mark::LOST) {
                c.skipped = c.skipped.wrapping_add(1);
            }
            c.marks |= mark::NEWEST_SKIPPED;
            w.count(why);
            return;
        }
        c.waiting = c.waiting.wrapping_add(1);
        c.marks |= mark::NEWEST_WAITS;
        // SAFETY: just returned as valid by the world.
        clear(unsafe { &mut *r });
    }
    let raced = c.record.flags & flag::RACED != 0 && !c.has(mark::NEWEST_WAITS);
    let r = machine::newest(c, w);
    if r.is_null() {
        return;
    }
    // SAFETY: `newest` returns memory of this connection that lives for the whole operation.
    let r = unsafe { &mut *r };
    r.t_start = if raced { 0 } else { h.t0 };
    r.t_arrive = if op.send != 0 { 0 } else { h.ready0 };
    r.pid = op.pid;
    r.tid = op.tid;
    r.command = if h.pre as u32 == u32::from_le_bytes(*b"HEAD") && h.pre >> 32 & 0xff == b' ' as u64 {
        method::HEAD
    } else if h.pre == u64::from_le_bytes(*b"CONNECT ") {
        method::CONNECT
    } else {
        method::OTHER
    };
    if before > 0 {
        w.start_head(r, h.pre, before as u32);
    }
}

#[inline(always)]
pub(super) fn request_head_end(c: &mut Conn, h: &mut Half, op: &mut Op) {
    if scan::is_http1(h) {
        c.marks |= mark::HEADED;
    }
    if h.head & head::CHUNKED != 0 {
        h.phase = phase::CHUNK_SIZE;
        h.num = 0;
    } else if h.head & head::LENGTH != 0 && h.length > 0 {
        h.left = h.length;
        h.phase = phase::BODY;
    } else {
        op.event = event::MESSAGE_END;
    }
}

/// True when a message of this class shows that the exchange under way has ended, where nothing else did.
#[inline(always)]
pub(super) fn overdue(c: &mut Conn, class: Class) -> bool {
    let seen = c.record.request.pid != 0;
    if c.state == state::HELD {
        // The rest of a raced request never came.
        return seen;
    }
    if c.state != state::RESPONSE || class as u8 != Class::HttpRequest as u8 {
        return false;
    }
    let flags = c.record.flags;
    if flags & flag::RACED != 0 && !seen {
        return false;
    }
    // A reply whose request we did not see may have been HEAD's: no body, whatever its head says.
    c.replies().phase >= phase::OPAQUE || flags & (flag::ORPHAN | flag::EMITTED) == flag::ORPHAN
}
