//! A response whose boundaries were lost in one huge operation: its last bytes are kept, and may tell its end.

use crate::conn::{Conn, Half, state};
use crate::scan::{self, phase};
use crate::world::{Op, World};

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
pub(super) fn keep_status(c: &mut Conn, h: &Half) {
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
pub(super) fn keep_end<W: World>(h: &mut Half, op: &mut Op, w: &mut W) {
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
