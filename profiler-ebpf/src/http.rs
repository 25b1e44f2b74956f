//! HTTP/1: from framed messages to exchanges. A step takes one piece of an operation (a head, a body, a chunk line)
//! and moves the exchange on; RFC 9112 says where a message ends, and what it leaves open ends with the next request
//! or the connection.

use crate::classify::{self, Class};
use crate::conn::{Conn, Half, PIPELINE_DEPTH, clear, mark, state};
use crate::machine;
use crate::recognise;
use crate::record::{Counter, flag, proto};
use crate::scan::{self, event, head, phase};
use crate::world::{Op, World};

/// Replies in a row that may come before their request: more are a sign that a request was lost, and every reply since
/// is taken for the next one's.
const RACES: u8 = 8;

/// A request whose write is seen this long after its reply, ns, is not that reply's: the two threads of a client are
/// microseconds apart, a preempted one a few milliseconds.
const RACE_NS: u64 = 20_000_000;

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

/// The operation's bytes are in no buffer (sendfile, splice, io_uring). Heads come from memory nearly always; one that
/// does not hides the reply's status and its end, which the next request will show.
#[inline(always)]
fn unreadable<W: World>(c: &mut Conn, h: &mut Half, op: &mut Op, w: &mut W, request: bool) {
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

#[inline(always)]
fn begin_request<W: World>(c: &mut Conn, h: &Half, op: &Op, w: &mut W, before: u8) {
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

/// True when a message of this class shows that the exchange under way has ended, where nothing else did.
#[inline(always)]
fn overdue(c: &mut Conn, class: Class) -> bool {
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

#[inline(always)]
fn begin_response<W: World>(c: &mut Conn, h: &Half, op: &Op, w: &mut W) {
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
        && c.record.role == crate::record::role::CLIENT
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
fn request_head_end(c: &mut Conn, h: &mut Half, op: &mut Op) {
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

#[inline(always)]
fn response_head_end<W: World>(c: &mut Conn, h: &mut Half, op: &mut Op, w: &mut W) {
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

/// The boundaries of a reply are lost from here on. What its head has said stays; its last bytes may tell its end.
#[inline(always)]
pub(crate) fn lose_reply<W: World>(c: &mut Conn, op: &mut Op, w: &mut W) {
    let h: *mut Half = c.half(op.send != 0);
    // SAFETY: the half lies inside `c`; nothing below moves `c` or reaches this half by another way at the same time.
    let h = unsafe { &mut *h };
    keep_status(c, h);
    h.phase = phase::UNFRAMED;
    h.pre = 0;
    keep_end(h, op, w);
}

/// A reply whose head was lost in its middle has begun, with the status that its first line told.
#[inline(always)]
fn keep_status(c: &mut Conn, h: &Half) {
    let status = if h.left > 999 { 0 } else { h.left as u16 };
    let begun = (phase::LINE_START..=phase::END).contains(&h.phase) && h.t0 >= c.record.request.t_start;
    if c.state == state::REQUEST && begun && status >= 200 {
        c.state = state::RESPONSE;
        c.record.t_first = h.t0;
        c.record.status = status;
    }
}

/// Keeps the operation's last bytes, as many as the end of a body in chunks has ([`scan::is_last_chunk`]). They may lie
/// in two segments of an I/O vector: Node writes a chunk's line end and the last chunk so.
#[inline(always)]
fn keep_end<W: World>(h: &mut Half, op: &mut Op, w: &mut W) {
    let left = op.left();
    op.used = if left < scan::LAST_CHUNK { left } else { scan::LAST_CHUNK };
    keep_segment(h, op, w);
    keep_segment(h, op, w);
    if Op::fresh(&op.used) != 0 {
        h.pre = 0;
    }
}

/// Keeps what one segment has of the operation's last `used` bytes, and takes them off `used`.
#[inline(always)]
fn keep_segment<W: World>(h: &mut Half, op: &mut Op, w: &mut W) {
    let n = Op::fresh(&op.used);
    if n == 0 {
        return;
    }
    let got = w.fetch(op, op.len.wrapping_sub(n));
    op.got = if got < n { got } else { n };
    let got = Op::fresh(&op.got);
    let mut i = 0usize;
    while i < scan::LAST_CHUNK as usize {
        if i as u32 >= got {
            break;
        }
        h.pre = h.pre >> 8 | (w.window()[i] as u64) << 56;
        i += 1;
    }
    // From memory again: the loop has taught the verifier something about each number in it.
    op.used = Op::fresh(&op.used).wrapping_sub(Op::fresh(&op.got));
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
