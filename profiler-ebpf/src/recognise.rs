//! Which protocol a connection speaks: its messages' first bytes are collected and judged, a guess that the reply does
//! not bear out is taken back, and what is nothing of ours is looked at less and less.

use crate::classify::{self, Class};
use crate::conn::{Conn, Half, mark, state};
use crate::life;
use crate::mysql;
use crate::record::{Counter, flag, proto, role};
use crate::scan::phase;
use crate::world::{Op, WINDOW, World};

/// Turns of direction that are looked at before a connection counts as another protocol's.
pub(crate) const PATIENCE: u32 = 8;

/// [`Half::phase`] before the protocol is known: within what a proxy says of its client, at the first bytes otherwise.
mod preamble {
    /// In the line of version 1.
    pub(super) const LINE: u8 = 32;
    /// In the second 8 bytes of version 2, of which the last two are the length of what follows.
    pub(super) const HEADER: u8 = 33;
    /// In the addresses of version 2.
    pub(super) const ADDRESSES: u8 = 34;
}

/// Collects the first bytes of a message, and when they came.
#[inline(always)]
pub fn collect(h: &mut Half, op: &Op, window: &[u8; WINDOW], got: u32, want: u8) {
    if h.pre_len == 0 {
        h.t0 = op.time;
        h.ready0 = op.ready;
    }
    gather(h, window, got, want);
}

/// Collects bytes until there are `want` (8 at the most).
#[inline(always)]
pub fn gather(h: &mut Half, window: &[u8; WINDOW], got: u32, want: u8) {
    if h.pre_len == 0 {
        h.pre = 0;
    }
    // All at once: verifiers before Linux 6.8 do not follow a loop whose end depends on two numbers.
    let wanted = want.saturating_sub(h.pre_len) as u32;
    let n = if got < wanted { got } else { wanted } & 15;
    let first = u64::from_le_bytes([
        window[0], window[1], window[2], window[3], window[4], window[5], window[6], window[7],
    ]);
    // In two steps: a shift by all 64 bits is none.
    let fresh = first & !((u64::MAX << (n * 4)) << (n * 4));
    h.pre |= fresh << ((h.pre_len as u32 & 7) * 8);
    h.pre_len = h.pre_len.wrapping_add(n as u8);
}

/// A connection of unknown protocol: do these bytes tell?
#[inline(always)]
pub fn recognise<W: World>(c: &mut Conn, op: &mut Op, w: &mut W) {
    let send = op.send != 0;
    let h: *mut Half = c.half(send);
    // SAFETY: the half lies inside `c`; nothing below moves `c` or reaches this half by another way at the same time.
    let h = unsafe { &mut *h };
    let got = w.fetch(op, op.off);
    if h.phase >= preamble::LINE && got != 0 {
        skip_preamble(h, op, w.window(), got);
        return;
    }
    let before = h.pre_len;
    let mut class = if got == 0 {
        Class::Other
    } else {
        collect(h, op, w.window(), got, classify::LONGEST);
        classify::any(h.pre, h.pre_len, (before as u32).wrapping_add(op.left()))
    };
    let sender = if send { role::CLIENT } else { role::SERVER };
    let receiver = if send { role::SERVER } else { role::CLIENT };
    let from_client = class as u8 == Class::HttpRequest as u8 || class as u8 == Class::MysqlCommand as u8;
    let ours = if from_client { sender } else { receiver };
    let message = from_client
        || class as u8 == Class::HttpResponse as u8
        || class as u8 == Class::MysqlGreeting as u8
        || class as u8 == Class::MysqlRefusal as u8;
    if message && c.record.role != role::UNKNOWN && c.record.role != ours {
        // The handshake, or a whole exchange, has told which end we are.
        class = Class::Other;
    }
    if c.misses != 0
        && (class as u8 == Class::MysqlGreeting as u8 || class as u8 == Class::MysqlRefusal as u8)
    {
        // A greeting is the first word of a connection; later it is another protocol's binary message.
        class = Class::Other;
    }
    match class {
        Class::More => op.off = op.off.wrapping_add((h.pre_len.wrapping_sub(before)) as u32),
        Class::HttpRequest | Class::HttpResponse => {
            c.record.proto = proto::HTTP;
            c.record.role = ours;
            c.record.flags = flag::TENTATIVE;
            c.state = state::IDLE;
            h.phase = phase::START;
            rewind(h, before);
        }
        Class::MysqlGreeting | Class::MysqlRefusal => {
            c.record.proto = proto::MYSQL;
            c.record.role = ours;
            c.record.flags = 0;
            mysql::greet(c, h, op);
            rewind(h, before);
        }
        Class::MysqlCommand => {
            c.record.proto = proto::MYSQL;
            c.record.role = ours;
            c.record.flags = flag::TENTATIVE;
            c.state = state::IDLE;
            h.phase = mysql::phase::HEADER;
            h.head = 0;
            rewind(h, before);
            let replies = c.replies();
            replies.left = 0;
            replies.pre_len = 0;
        }
        Class::Tls => {
            give_up(c, w, Counter::NotParsedTls);
            op.off = op.len;
        }
        Class::Http2 => {
            give_up(c, w, Counter::NotParsedHttp2);
            op.off = op.len;
        }
        Class::ProxyLine | Class::ProxyHeader => {
            let line = class as u8 == Class::ProxyLine as u8;
            h.phase = if line { preamble::LINE } else { preamble::HEADER };
            op.off = op.off.wrapping_add((h.pre_len.wrapping_sub(before)) as u32);
            h.pre_len = 0;
        }
        Class::Other => miss(c, h, op, w),
    }
}

/// The bytes of a proxy's preamble are nobody's: neither a request nor part of one.
#[inline(always)]
fn skip_preamble(h: &mut Half, op: &mut Op, window: &[u8; WINDOW], got: u32) {
    op.used = got;
    if h.phase == preamble::LINE {
        let mut i = 0usize;
        while i < WINDOW {
            if i as u32 >= got {
                break;
            }
            i += 1;
            if window[i - 1] == b'\n' {
                h.phase = phase::START;
                op.used = i as u32;
                break;
            }
        }
    } else if h.phase == preamble::HEADER {
        let before = h.pre_len;
        gather(h, window, got, 8);
        op.used = h.pre_len.wrapping_sub(before) as u32;
        if h.pre_len == 8 {
            h.left = h.pre >> 40 & 0xff00 | h.pre >> 56;
            h.pre_len = 0;
            h.phase = if h.left == 0 { phase::START } else { preamble::ADDRESSES };
        }
    } else {
        let left = op.left();
        op.used = if h.left < left as u64 { h.left as u32 } else { left };
        h.left = h.left.wrapping_sub(op.used as u64);
        if h.left == 0 {
            h.phase = phase::START;
        }
    }
    op.off = op.off.wrapping_add(Op::fresh(&op.used));
}

/// Forgets the bytes that this operation gave to `pre`: the protocol's own step collects them again.
#[inline(always)]
pub fn rewind(h: &mut Half, before: u8) {
    h.pre_len = before;
    h.pre &= if before == 0 { 0 } else { u64::MAX >> (((8 - (before as u32 & 7)) * 8) & 63) };
}

#[inline(always)]
fn miss<W: World>(c: &mut Conn, h: &mut Half, op: &mut Op, w: &mut W) {
    h.pre_len = 0;
    op.off = op.len;
    ignore(c, w);
}

/// Not looked at until the direction turns.
#[inline(always)]
pub(crate) fn ignore<W: World>(c: &mut Conn, w: &mut W) {
    c.record.proto = proto::IGNORED;
    if c.misses < PATIENCE {
        c.misses = c.misses.wrapping_add(1);
        if c.misses == PATIENCE {
            w.count(Counter::NotParsedOther);
        }
    }
}

/// The reply did not bear the guess out.
#[inline(always)]
pub fn demote<W: World>(c: &mut Conn, w: &mut W) {
    w.count(Counter::Demoted);
    ignore(c, w);
    c.state = state::IDLE;
    if c.waiting != 0 {
        // Too much was believed already.
        c.marks |= mark::OPAQUE;
    }
}

/// This connection is nothing that we read: encrypted, compressed, upgraded.
#[inline(always)]
pub fn give_up<W: World>(c: &mut Conn, w: &mut W, why: Counter) {
    w.count(why);
    c.record.proto = proto::IGNORED;
    c.marks |= mark::OPAQUE;
    c.life.marks |= match why {
        Counter::NotParsedTls => life::mark::TLS,
        Counter::NotParsedHttp2 => life::mark::HTTP2,
        _ => 0,
    };
    c.state = state::IDLE;
}

#[inline(always)]
pub(crate) fn reset(c: &mut Conn) {
    c.record.proto = proto::UNKNOWN;
    c.state = state::IDLE;
    c.record.flags = 0;
    if !c.has(mark::SYNCED) {
        c.record.role = role::UNKNOWN;
    }
    c.halves[0].pre_len = 0;
    c.halves[1].pre_len = 0;
    c.halves[0].phase = phase::START;
    c.halves[1].phase = phase::START;
    c.skipped = 0;
    c.marks &= !(mark::NEWEST_WAITS | mark::NEWEST_SKIPPED | mark::HEADED | mark::LOST);
}
