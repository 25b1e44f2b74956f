//! The exchange machine: drives a connection's protocol through one operation, and ends exchanges.
//!
//! The kernel half calls [`operation`] (or its parts, where the verifier wants smaller programs) for every read and
//! write, [`end`] when the connection is over, [`idle`] from the sweep. Everything here is a function of the state and
//! the bytes.

use crate::conn::{Conn, PIPELINE_DEPTH, mark, state};
use crate::recognise::{self, PATIENCE, recognise, reset};
use crate::record::{Counter, ERROR_CLOSED, Request, flag, proto, role};
use crate::scan::{self, phase};
use crate::world::{Op, World};
use crate::{http, life, mysql};

/// Steps that one operation may take; past it the boundaries are lost until the next request.
pub const MAX_STEPS: u32 = 32;
/// `AF_UNIX` of include/linux/socket.h.
const UNIX: u16 = 1;
/// A reply that looks finished is sent after this long without a byte, and after as long a pipeline whose replies were
/// lost counts as empty.
pub const SETTLE_NS: u64 = 300_000_000;

/// Works one whole operation through. `flags` of the operation are the caller's business (MSG_PEEK never comes here).
#[inline(always)]
pub fn operation<W: World>(c: &mut Conn, op: &mut Op, w: &mut W) {
    if !begin(c, op) {
        return;
    }
    let mut i = 0;
    while i < MAX_STEPS {
        if !step(c, op, w) {
            return;
        }
        i += 1;
    }
    lose_framing(c, op, w);
}

/// Before the first step: false when the operation is dealt with (nothing to see, or the fast path).
#[inline(always)]
pub fn begin(c: &mut Conn, op: &mut Op) -> bool {
    arrival(c, op);
    let turned = c.turn != op.send.wrapping_add(1);
    c.turn = op.send.wrapping_add(1);
    if c.record.proto == proto::IGNORED {
        if c.has(mark::LOST) && op.time.wrapping_sub(c.record.t_last) < SETTLE_NS {
            c.record.t_last = op.time;
            return false;
        }
        if c.has(mark::OPAQUE) {
            let is_client = c.record.role == role::CLIENT;
            c.life.hidden_sign_in(is_client, is_client == (op.send != 0), turned, op.time);
            return false;
        }
        if !turned {
            return false;
        }
        // We may have come in the middle of a long message, or what we saw was one: messages begin where the direction
        // turns. Every turn is looked at in the beginning, every 2^n-th after that.
        if c.misses >= PATIENCE {
            c.misses = c.misses.wrapping_add(1);
            if c.misses & c.misses.wrapping_sub(1) != 0 {
                return false;
            }
        }
        reset(c);
    }
    let send = op.send != 0;
    if c.state == state::RESPONSE && !c.from_client(send) && c.record.proto == proto::HTTP {
        // The middle of a body: bytes and time only.
        let n = op.len as u64;
        let h = c.half(send);
        if h.phase == phase::OPAQUE || (h.phase == phase::BODY && h.left > n) {
            h.left = h.left.wrapping_sub(n);
            c.record.response_bytes = c.record.response_bytes.wrapping_add(n);
            c.record.t_last = op.time;
            return false;
        }
    }
    true
}

/// When the operation's bytes had arrived.
#[inline(always)]
fn arrival(c: &mut Conn, op: &mut Op) {
    c.life.t_used = op.time;
    if op.send != 0 {
        if c.record.family == UNIX {
            // A Unix socket's data may be read before it is announced (unix_stream_sendmsg in net/unix/af_unix.c):
            // what was announced before our reply was that, not the next request.
            c.t_ready = 0;
            c.t_consumed = 0;
        }
        return;
    }
    // Data announces itself (sk_data_ready) before it is read: without a new arrival, it came with the last.
    let ready = if c.t_ready != 0 { c.t_ready } else { c.t_consumed };
    // The next data may announce itself between this read and its hook.
    op.ready = if ready > op.time { op.time } else { ready };
    c.t_consumed = op.ready;
    c.t_ready = 0;
}

/// One step. True when there is more to do.
#[inline(always)]
pub fn step<W: World>(c: &mut Conn, op: &mut Op, w: &mut W) -> bool {
    if c.record.proto == proto::HTTP {
        if http::is_unframed(c, op) {
            http::pass_over(c, op, w);
        } else {
            http::step(c, op, w);
        }
    } else if c.record.proto == proto::MYSQL {
        if mysql::is_framed(c, op) { mysql::replies(c, op, w) } else { mysql::step(c, op, w) }
    } else {
        recognise(c, op, w);
    }
    more(c, op)
}

/// After a step: true when the operation has more to give.
#[inline(always)]
pub fn more(c: &Conn, op: &Op) -> bool {
    op.off < op.len && c.record.proto != proto::IGNORED
}

/// Too many messages in one operation to follow: this direction is unframed until its next message shows. Counted where
/// exchanges are lost by it; a lone HTTP reply is not, its end shows in another way.
#[inline(always)]
pub fn lose_framing<W: World>(c: &mut Conn, op: &mut Op, w: &mut W) {
    let request = c.from_client(op.send != 0);
    let http = c.record.proto == proto::HTTP;
    let pipeline = c.waiting != 0 || !http && c.has(mark::FRAMED);
    if request || !http || pipeline {
        w.count(Counter::FramingLost);
    }
    if request {
        c.marks |= mark::LOST;
        c.half(op.send != 0).phase = phase::START;
    } else {
        if http {
            http::lose_reply(c, op, w);
        } else {
            c.half(op.send != 0).phase = phase::START;
        }
        if c.state == state::RESPONSE {
            c.record.response_bytes = c.record.response_bytes.wrapping_add(op.left() as u64);
            c.record.t_last = op.time;
        }
        forget(c, w);
        if pipeline {
            // Which reply comes next is not known: nothing is paired until all of them must have come.
            recognise::ignore(c, w);
            c.marks |= mark::LOST;
            c.record.t_last = op.time;
        }
    }
    c.half(op.send != 0).pre_len = 0;
    op.off = op.len;
}

/// The reply is complete: out with the exchange, on with the next in the pipeline.
#[inline(always)]
pub fn complete<W: World>(c: &mut Conn, w: &mut W) {
    let flags = c.record.flags;
    if flags & flag::RACED != 0 && c.record.request.pid == 0 {
        // Its request has not shown yet; a request that shows next is it.
        c.state = state::HELD;
        return;
    }
    if flags & (flag::EMITTED | flag::ORPHAN) == 0 {
        c.marks |= mark::SYNCED;
        send_record(c, w);
    }
    c.state = state::IDLE;
    next_waiting(c, w);
}

/// The request whose bytes come now; null when there is none that we keep.
#[inline(always)]
pub(crate) fn newest<W: World>(c: &mut Conn, w: &mut W) -> *mut Request {
    if c.has(mark::NEWEST_SKIPPED) {
        core::ptr::null_mut()
    } else if c.has(mark::NEWEST_WAITS) {
        w.waiting(c, c.oldest.wrapping_add(c.waiting).wrapping_sub(1))
    } else {
        &mut c.record.request
    }
}

#[inline(always)]
fn next_waiting<W: World>(c: &mut Conn, w: &mut W) -> bool {
    if c.waiting == 0 {
        return false;
    }
    let number = c.oldest;
    c.oldest = number.wrapping_add(1);
    c.waiting = c.waiting.wrapping_sub(1);
    if c.waiting == 0 {
        c.marks &= !mark::NEWEST_WAITS;
    }
    c.clear_reply();
    if !w.take_waiting(c, number) {
        // Cannot be, but if it is: its reply must not be taken for another's.
        c.clear_request();
        c.record.flags |= flag::ORPHAN;
    }
    c.state = state::REQUEST;
    true
}

/// Boundaries of replies were lost: one that has begun ends with the next request, those that wait for theirs are
/// dropped and counted.
#[inline(always)]
fn forget<W: World>(c: &mut Conn, w: &mut W) {
    if c.state == state::RESPONSE && c.waiting != 0 {
        complete(c, w);
    }
    let mut i = 0;
    while i <= PIPELINE_DEPTH {
        if c.state == state::REQUEST {
            w.count(Counter::HalfSeen);
            c.state = state::IDLE;
        }
        if !next_waiting(c, w) {
            break;
        }
        i += 1;
    }
    c.skipped = 0;
}

#[inline(always)]
pub fn send_record<W: World>(c: &mut Conn, w: &mut W) {
    // Without branches: this is inlined into loops, and the verifier follows every way through them.
    let truncated = (c.record.request.truncated & 1) as u16 * flag::TRUNCATED;
    let unreadable = (c.record.request.unreadable & 1) as u16 * flag::UNREADABLE;
    c.record.flags |= truncated | unreadable;
    w.emit(c);
    w.count(Counter::Emitted);
}

/// True when an end with this errno, 0 for none, would cut the exchange under way.
#[inline(always)]
pub fn is_cut(c: &mut Conn, errno: u8) -> bool {
    let http = c.record.proto == proto::HTTP;
    if !http && c.record.proto != proto::MYSQL {
        return false;
    }
    if c.state == state::REQUEST {
        return c.record.flags & flag::ORPHAN == 0 && !is_guess(c);
    }
    if c.state != state::RESPONSE || c.record.flags & (flag::EMITTED | flag::ORPHAN | flag::RACED) != 0 {
        return false;
    }
    if http {
        // A body that ends with the connection is cut by a reset.
        return errno != 0 || c.replies().phase < phase::OPAQUE;
    }
    // A reset after a whole MySQL reply is no part of it.
    !mysql::settled(c)
}

/// True when nothing but a guess says that what was asked is a request.
#[inline(always)]
fn is_guess(c: &Conn) -> bool {
    // The mark has another meaning for MySQL.
    let headed = c.record.proto == proto::HTTP && c.has(mark::HEADED);
    c.state == state::REQUEST && c.record.flags & flag::TENTATIVE != 0 && !headed
}

/// The connection is over, with an errno or (0) without. `time` in ns.
#[inline(always)]
pub fn end<W: World>(c: &mut Conn, w: &mut W, errno: u8, time: u64) {
    if c.is_begun_too_late() {
        c.life.marks |= life::mark::GONE;
    }
    let error = if errno != 0 { errno } else { ERROR_CLOSED };
    let known = c.record.proto == proto::HTTP || c.record.proto == proto::MYSQL;
    let guess = is_guess(c);
    let cut = is_cut(c, errno);
    if cut {
        c.record.error = error;
        c.life.marks |= life::mark::CUT;
    }
    if known {
        if c.state == state::RESPONSE {
            if c.record.flags & (flag::EMITTED | flag::ORPHAN | flag::RACED) == 0 {
                send_record(c, w);
            } else if c.record.flags & flag::RACED != 0 {
                w.count(Counter::HalfSeen);
            }
        } else if c.state == state::REQUEST {
            if cut {
                c.record.t_last = time;
                send_record(c, w);
            } else {
                w.count(Counter::HalfSeen);
            }
        } else if c.state == state::HELD {
            if c.record.request.pid == 0 { w.count(Counter::Unsolicited) } else { send_record(c, w) }
        }
    }
    let mut i = 0;
    while i < PIPELINE_DEPTH {
        if !next_waiting(c, w) {
            break;
        }
        if guess {
            w.count(Counter::HalfSeen);
        } else if known {
            c.record.error = error;
            c.record.t_last = time;
            send_record(c, w);
        }
        i += 1;
    }
    c.state = state::IDLE;
    // Nothing follows; should something, it is not the rest of what was cut.
    for h in &mut c.halves {
        h.phase = phase::START;
        h.pre_len = 0;
    }
}

/// True while only silence can end the exchange under way: the sweep is to look at it ([`idle`]).
#[inline(always)]
pub fn lingers(c: &Conn) -> bool {
    if c.state != state::RESPONSE || c.has(mark::HANDSHAKE) {
        return false;
    }
    let replies = &c.halves[(c.record.role == role::SERVER) as usize];
    c.record.proto == proto::MYSQL || c.record.proto == proto::HTTP && replies.phase == phase::UNFRAMED
}

/// The sweep's look at a connection on which nothing has happened for a while: a reply whose end only the next
/// command would show is sent. `time` in ns. True when it was.
#[inline(always)]
pub fn idle<W: World>(c: &mut Conn, w: &mut W, time: u64) -> bool {
    let quiet = time.wrapping_sub(c.record.t_last);
    if !lingers(c) || !(SETTLE_NS..=(1 << 62)).contains(&quiet) {
        return false;
    }
    if c.record.proto == proto::HTTP {
        let replies = c.replies();
        if !scan::is_last_chunk(replies) {
            return false;
        }
        replies.phase = phase::START;
        replies.pre_len = 0;
    } else if !mysql::settled(c) {
        return false;
    }
    complete(c, w);
    true
}
