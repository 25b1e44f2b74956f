//! MySQL's protocol: packets of commands are framed, replies are not (a result set may be gigabytes). A reply ends
//! with the next command, with the connection, or, when its last bytes look final, with the sweep. Only where commands
//! wait behind one another replies are framed too (`mysql/pipeline.rs`).
//!
//! Packet: length in 3 bytes, sequence number in 1, payload. A command's packet has number 0 and its first payload
//! byte is the command; a payload of 2^24 - 1 bytes goes on in the next packet.
//! (MySQL Internals, "Client/Server Protocol"; MariaDB knowledge base, "0-packet".)

use crate::conn::{Conn, Half, clear, mark, state};
use crate::life;
use crate::machine;
use crate::recognise;
use crate::record::{COMMAND_HANDSHAKE, Counter, Request, flag, proto};
use crate::world::{Op, World};

mod pipeline;
mod reply;
mod settled;

pub use pipeline::{is_framed, replies};
pub use settled::{from_end, settled};

/// [`Half::phase`] of a MySQL direction.
pub mod phase {
    /// Collecting a packet's header.
    pub const HEADER: u8 = 0;
    /// The header is read, the payload's first byte is not.
    pub const PAYLOAD: u8 = 1;
    /// In a payload, whose beginning is kept as a head.
    pub const COMMAND: u8 = 2;
    /// In a payload that does not matter.
    pub const SKIP: u8 = 3;
}

/// Commands of the protocol that the machine treats apart.
pub mod command {
    pub const QUIT: u8 = 0x01;
    pub const QUERY: u8 = 0x03;
    pub const STATISTICS: u8 = 0x09;
    pub const PING: u8 = 0x0e;
    pub const CHANGE_USER: u8 = 0x11;
    pub const BINLOG_DUMP: u8 = 0x12;
    pub const PREPARE: u8 = 0x16;
    pub const EXECUTE: u8 = 0x17;
    pub const SEND_LONG_DATA: u8 = 0x18;
    pub const CLOSE: u8 = 0x19;
    pub const BINLOG_DUMP_GTID: u8 = 0x1e;
    pub const RESET_CONNECTION: u8 = 0x1f;
    /// None of the protocol's: a command that was answered before it was read.
    pub const UNREAD: u8 = 0xff;
}

/// Capability bits (`CLIENT_*` in mysql_com.h).
pub mod capability {
    pub const COMPRESS: u32 = 1 << 5;
    pub const SSL: u32 = 1 << 11;
    pub const DEPRECATE_EOF: u32 = 1 << 24;
    pub const ZSTD: u32 = 1 << 26;
    pub const QUERY_ATTRIBUTES: u32 = 1 << 27;
}

const MAX_PAYLOAD: u64 = 0xff_ffff;

/// [`Half::head`] of a MySQL direction: what is known of the packet under way.
mod packet {
    /// It goes on in the next one.
    pub(super) const CONTINUES: u8 = 1;
    /// The server's verdict on the handshake.
    pub(super) const VERDICT: u8 = 2;
    /// It belongs to the exchange under way.
    pub(super) const OURS: u8 = 4;
    /// It is the command's text.
    pub(super) const TEXT: u8 = 8;
}

/// The server's first packet, greeting or refusal, was recognised.
#[inline(always)]
pub fn greet(c: &mut Conn, h: &mut Half, op: &Op) {
    c.clear_request();
    c.clear_reply();
    c.marks |= mark::HANDSHAKE | mark::SYNCED;
    c.state = state::RESPONSE;
    c.record.caps = 0;
    c.record.t_first = h.t0;
    c.life.marks |= life::mark::MYSQL;
    c.life.t_greeted = h.t0;
    let r = &mut c.record.request;
    r.command = COMMAND_HANDSHAKE;
    r.t_start = h.t0;
    r.t_end = h.t0;
    r.pid = op.pid;
    r.tid = op.tid;
    h.phase = phase::HEADER;
    h.head = 0;
}

/// One step: at least one byte of the operation is used.
#[inline(always)]
pub fn step<W: World>(c: &mut Conn, op: &mut Op, w: &mut W) {
    let send = op.send != 0;
    let client = c.from_client(send);
    let h: *mut Half = c.half(send);
    // SAFETY: the half lies inside `c`; nothing below moves `c` or reaches this half by another way at the same time.
    let h = unsafe { &mut *h };
    if !client && !c.has(mark::HANDSHAKE) {
        reply::reply(c, h, op, w);
        return;
    }
    let got = w.fetch(op, op.off);
    if h.phase == phase::HEADER {
        if got == 0 {
            // Unreadable: the boundaries are lost until the next operation that can be read.
            op.off = op.len;
            h.pre_len = 0;
            return;
        }
        header(c, h, op, w, got, client);
        return;
    }
    if h.phase == phase::PAYLOAD {
        let off = op.off;
        payload(c, h, op, w, got, client);
        if op.off != off || op.left() == 0 || c.record.proto != proto::MYSQL {
            return;
        }
    }
    let left = op.left();
    let mut take = if h.left < left as u64 { h.left as u32 } else { left };
    let seen = if got < take { got } else { take };
    if h.phase == phase::COMMAND {
        if got > 0 {
            let r = machine::newest(c, w);
            if !r.is_null() {
                // SAFETY: `newest` returns memory of this connection that lives for the whole operation.
                let r = unsafe { &mut *r };
                // As much as can be seen at a time, until the head is full or the packet over.
                if w.head_room(r) {
                    take = seen;
                }
                w.append_head(r, seen);
            }
        }
    } else if h.head & packet::VERDICT != 0 && got > 0 {
        take = seen;
        reply::keep(c, w.window(), seen);
    }
    op.off = op.off.wrapping_add(take);
    account(c, h, w, op.time, take, client);
    h.left = h.left.wrapping_sub(take as u64);
    if h.left == 0 {
        packet_end(c, h, w, client);
    }
}

/// Collects the 4 bytes of a header; only they are used, the payload is the next step's.
#[inline(always)]
fn header<W: World>(c: &mut Conn, h: &mut Half, op: &mut Op, w: &mut W, got: u32, client: bool) {
    let before = h.pre_len;
    recognise::collect(h, op, w.window(), got, 4);
    op.off = op.off.wrapping_add(h.pre_len.wrapping_sub(before) as u32);
    if h.pre_len < 4 {
        return;
    }
    h.left = h.pre & MAX_PAYLOAD;
    let number = (h.pre >> 24) as u8;
    // After 255 comes 0, here too: the client was the last to speak, so it is not the next command.
    let wrapped = number == 0 && h.num == 255 && c.state == state::RESPONSE && c.record.reply_head_len == 0;
    // A packet that was recognised byte by byte: the first bytes of its payload are here already.
    h.pre >>= 32;
    h.pre_len = h.pre_len.wrapping_sub(4) & 3;
    let continued = h.head & packet::CONTINUES != 0;
    let kept = h.head & (packet::OURS | packet::TEXT);
    h.head = if h.left == MAX_PAYLOAD { packet::CONTINUES } else { 0 };
    h.num = number as u64;
    h.phase = phase::PAYLOAD;
    if client && !c.has(mark::HANDSHAKE) && (number != 0 || continued || wrapped) {
        h.phase = phase::SKIP;
        if continued {
            // The rest of a huge packet.
            h.head |= kept;
            if kept & packet::TEXT != 0 {
                h.phase = phase::COMMAND;
            }
        } else if c.state != state::IDLE {
            // LOAD DATA LOCAL, a new password: what the server says next is the answer.
            h.head |= packet::OURS;
            c.record.reply_head_len = 0;
            let bytes = c.record.response_bytes;
            c.replies().length = bytes;
        }
        account(c, h, w, op.time, 4, true);
    } else if client && c.state == state::RESPONSE && c.waiting | c.skipped == 0 && !c.has(mark::HANDSHAKE) {
        // The next command: the reply before it is complete, whatever becomes of this one.
        machine::complete(c, w);
    }
    if h.left == 0 {
        h.phase = phase::HEADER;
        h.pre_len = 0;
    }
}

/// The first bytes of a payload: what is it? They are used only when they come one by one.
#[inline(always)]
fn payload<W: World>(c: &mut Conn, h: &mut Half, op: &mut Op, w: &mut W, got: u32, client: bool) {
    let signing_in = c.has(mark::HANDSHAKE) && client && h.num == 1 && c.record.caps == 0 && h.left >= 4;
    let want = if signing_in { 4 } else { 1 };
    let b = w.window();
    let mut word = b[0] as u32 | (b[1] as u32) << 8 | (b[2] as u32) << 16 | (b[3] as u32) << 24;
    if h.pre_len != 0 || got < want as u32 {
        let before = h.pre_len;
        recognise::gather(h, b, got, want);
        op.off = op.off.wrapping_add(h.pre_len.wrapping_sub(before) as u32);
        if h.pre_len < want {
            if got == 0 {
                // Unreadable.
                h.phase = phase::SKIP;
            }
            return;
        }
        word = h.pre as u32;
    }
    let early = h.pre_len as u32 & 7;
    h.pre_len = 0;
    h.left = h.left.wrapping_sub(early as u64);
    h.phase = phase::SKIP;
    if !c.has(mark::HANDSHAKE) {
        begin_command(c, h, op, w, word as u8, early);
    } else if client {
        h.head |= packet::OURS;
        account(c, h, w, op.time, 4 + early, true);
        if signing_in {
            sign_in(c, h, op, w, word, early);
        }
    } else {
        account(c, h, w, op.time, 4 + early, false);
        let first = word as u8;
        if first == 0xff || first == 0 && h.num > 0 {
            // OK or ERR ends it; anything else asks for more.
            h.head |= packet::VERDICT;
            let r = &mut c.record;
            let len = h.left.wrapping_add(early as u64);
            r.reply_head[0] = len as u8;
            r.reply_head[1] = (len >> 8) as u8;
            r.reply_head[2] = (len >> 16) as u8;
            r.reply_head[3] = h.num as u8;
            r.reply_head[4] = h.pre as u8;
            r.reply_head[5] = (h.pre >> 8) as u8;
            r.reply_head[6] = (h.pre >> 16) as u8;
            r.reply_head_len = 4 + early as u8;
        }
    }
    if h.left == 0 {
        packet_end(c, h, w, client);
    }
}

/// The client's answer to the greeting: capabilities, user, schema; or its wish for TLS.
#[inline(always)]
fn sign_in<W: World>(c: &mut Conn, h: &mut Half, op: &mut Op, w: &mut W, caps: u32, early: u32) {
    c.record.caps = caps;
    if caps & capability::SSL != 0 && h.left.wrapping_add(early as u64) == 32 {
        recognise::give_up(c, w, Counter::NotParsedTls);
        op.off = op.len;
        return;
    }
    h.phase = phase::COMMAND;
    let r = &mut c.record.request;
    r.pid = op.pid;
    r.tid = op.tid;
    if early > 0 {
        w.start_head(r, h.pre, early);
    }
}

#[inline(always)]
fn begin_command<W: World>(c: &mut Conn, h: &mut Half, op: &mut Op, w: &mut W, command: u8, early: u32) {
    if command == command::QUIT || command == command::SEND_LONG_DATA || command == command::CLOSE {
        // No reply follows.
        return;
    }
    let arrived = if op.send != 0 { 0 } else { h.ready0 };
    if c.state != state::IDLE || c.skipped != 0 {
        pipeline::wait(c, w);
    } else {
        open(c);
    }
    let r = machine::newest(c, w);
    if r.is_null() {
        return;
    }
    // SAFETY: `newest` returns memory of this connection that lives for the whole operation.
    let r = unsafe { &mut *r };
    begin(r, op, h.t0, arrived, command);
    r.bytes = 4 + early as u64;
    if early > 0 {
        w.start_head(r, h.pre, early);
    }
    h.head |= packet::OURS | packet::TEXT;
    h.phase = phase::COMMAND;
}

/// A new exchange.
#[inline(always)]
fn open(c: &mut Conn) {
    let tentative = c.record.flags & flag::TENTATIVE;
    c.clear_reply();
    c.record.flags = tentative;
    c.state = state::REQUEST;
    c.marks &= !(mark::NEWEST_WAITS | mark::NEWEST_SKIPPED | mark::FRAMED);
    let replies = c.replies();
    replies.length = 0;
    replies.num = 0;
}

/// A command, which begins with the packet of these times.
#[inline(always)]
fn begin(r: &mut Request, op: &Op, started: u64, arrived: u64, command: u8) {
    clear(r);
    r.command = command;
    r.t_start = started;
    r.t_end = op.time;
    r.t_arrive = arrived;
    r.pid = op.pid;
    r.tid = op.tid;
}

/// The server answers a packet of which it has read the header alone (it is larger than `max_allowed_packet`): a
/// command that nobody will know.
#[inline(always)]
fn open_unread(c: &mut Conn, op: &Op) {
    let h = c.half(op.send == 0);
    let (started, ready) = (h.t0, h.ready0);
    h.phase = phase::SKIP;
    let arrived = if op.send != 0 { ready } else { 0 };
    open(c);
    let r = &mut c.record.request;
    begin(r, op, started, arrived, command::UNREAD);
    r.t_end = started;
    r.bytes = 4;
}

#[inline(always)]
fn packet_end<W: World>(c: &mut Conn, h: &mut Half, w: &mut W, client: bool) {
    h.phase = phase::HEADER;
    if !client && h.head & packet::VERDICT != 0 && c.has(mark::HANDSHAKE) {
        h.head = 0;
        let refused = c.record.reply_head[4] == 0xff;
        c.marks &= !mark::HANDSHAKE;
        machine::complete(c, w);
        if !refused && c.record.caps & (capability::COMPRESS | capability::ZSTD) != 0 {
            recognise::give_up(c, w, Counter::NotParsedMysqlCompressed);
        }
    }
}

/// Counts bytes of packets: of the request when they are its own, of the reply while the handshake lasts.
#[inline(always)]
fn account<W: World>(c: &mut Conn, h: &Half, w: &mut W, time: u64, n: u32, client: bool) {
    if !client {
        c.record.response_bytes = c.record.response_bytes.wrapping_add(n as u64);
        c.record.t_last = time;
        return;
    }
    if h.head & packet::OURS == 0 {
        return;
    }
    let sending = c.state == state::REQUEST || c.has(mark::HANDSHAKE) || c.has(mark::NEWEST_WAITS);
    let r = machine::newest(c, w);
    if r.is_null() {
        return;
    }
    // SAFETY: `newest` returns memory of this connection that lives for the whole operation.
    let r = unsafe { &mut *r };
    r.bytes = r.bytes.wrapping_add(n as u64);
    if sending {
        r.t_end = time;
    }
}
