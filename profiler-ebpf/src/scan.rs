//! The byte machine that finds the end of an HTTP/1 head, its framing headers, and chunk boundaries (RFC 9112).
//!
//! In comes a window of bytes and a [`Half`], out goes how many bytes were used and what they completed. It keeps
//! everything between two bytes in the half, so a head may come in any number of pieces. Names and values are
//! compared by their FNV-1a hash: there is no room in the kernel to keep them.
//!
//! It is a table, not a tree of branches: the verifier follows each path through each iteration, and here there is
//! one path; the processor does not mispredict it either.

use crate::conn::Half;
use crate::world::{Op, WINDOW};

/// [`Half::phase`] of an HTTP direction. Up to [`phase::TRAILER_END`] they are rows of the table.
pub mod phase {
    /// Between messages.
    pub const START: u8 = 0;
    /// Request line.
    pub const LINE: u8 = 1;
    /// Status line up to the first space, and the status.
    pub const VERSION: u8 = 2;
    pub const STATUS: u8 = 3;
    pub const LINE_START: u8 = 4;
    pub const NAME: u8 = 5;
    /// Before or in a value that matters, and in a line that does not.
    pub const VALUE: u8 = 6;
    pub const SKIP: u8 = 7;
    /// CR of the empty line.
    pub const END: u8 = 8;
    pub const CHUNK_SIZE: u8 = 9;
    pub const CHUNK_EXT: u8 = 10;
    pub const TRAILER: u8 = 11;
    pub const TRAILER_LINE: u8 = 12;
    pub const TRAILER_END: u8 = 13;
    /// Bytes of known number: a body, or a chunk with its line end.
    pub const BODY: u8 = 16;
    /// Bytes of unknown number, until the connection closes or the next message shows.
    pub const OPAQUE: u8 = 17;
    /// The same, of a reply whose boundaries were lost: its last bytes are kept in `pre`, the newest highest.
    pub const UNFRAMED: u8 = 18;
}

/// [`Half::head`]: what the head said.
pub mod head {
    pub const LENGTH: u8 = 1;
    pub const CHUNKED: u8 = 2;
    /// The body being skipped is a chunk.
    pub const IN_CHUNK: u8 = 4;
}

/// What the last byte used completed.
pub mod event {
    /// Nothing: the window is used up.
    pub const NONE: u8 = 0;
    pub const HEAD_END: u8 = 1;
    /// A chunk's size line; the size is in `num`.
    pub const CHUNK_SIZE: u8 = 2;
    pub const MESSAGE_END: u8 = 3;
    /// A header's name, its value, the request line or the status: for the machine itself.
    pub(super) const NAME_END: u8 = 4;
    pub(super) const VALUE_END: u8 = 5;
    pub(super) const LINE_END: u8 = 6;
}

/// Classes of bytes: columns of the table.
mod class {
    pub(super) const OTHER: usize = 0;
    pub(super) const LF: usize = 1;
    pub(super) const CR: usize = 2;
    pub(super) const COLON: usize = 3;
    pub(super) const BLANK: usize = 4;
    /// `;` and `,`.
    pub(super) const LIST: usize = 5;
    pub(super) const DIGIT: usize = 6;
    /// `a` to `f` but `c`.
    pub(super) const HEX: usize = 7;
    pub(super) const C: usize = 8;
    pub(super) const T: usize = 9;
}

/// What to do with the hash and the number. `hash = ((hash & keep | basis) ^ (byte & mask)) * factor`, and
/// `num = (num & num_keep) * num_factor + (value & num_mask)`.
#[derive(Clone, Copy)]
struct Action {
    keep: u64,
    basis: u64,
    mask: u64,
    factor: u64,
    num_keep: u64,
    num_factor: u64,
    num_mask: u64,
}

const FNV_BASIS: u64 = 0xcbf2_9ce4_8422_2325;
const FNV_PRIME: u64 = 0x0000_0100_0000_01b3;
const ALL: u64 = u64::MAX;

const KEEP: usize = 0;
const MIX: usize = 1;
const MIX_FIRST: usize = 2;
const RESET: usize = 3;
const MIX_DECIMAL: usize = 4;
const HEX_DIGIT: usize = 5;
const SHIFT: usize = 6;

static ACTIONS: [Action; 8] = {
    let keep = Action { keep: ALL, basis: 0, mask: 0, factor: 1, num_keep: ALL, num_factor: 1, num_mask: 0 };
    let mix = Action { mask: 0xff, factor: FNV_PRIME, ..keep };
    [
        keep,
        mix,
        Action { keep: 0, basis: FNV_BASIS, num_keep: 0, ..mix },
        Action { keep: 0, basis: FNV_BASIS, num_keep: 0, ..keep },
        Action { num_factor: 10, num_mask: 0xff, ..mix },
        Action { num_factor: 16, num_mask: 0xff, ..keep },
        Action { factor: 256, ..mix },
        keep,
    ]
};

/// A byte: its class, its lower case (from bit 8), its value as a digit (from bit 16).
static BYTES: [u32; 256] = {
    let mut table = [0u32; 256];
    let mut b = 0usize;
    while b < 256 {
        let byte = b as u8;
        let lower = byte.to_ascii_lowercase();
        let class = match lower {
            b'\n' => class::LF,
            b'\r' => class::CR,
            b':' => class::COLON,
            b' ' | b'\t' => class::BLANK,
            b';' | b',' => class::LIST,
            b'0'..=b'9' => class::DIGIT,
            b'c' => class::C,
            b'a'..=b'f' => class::HEX,
            b't' => class::T,
            _ => class::OTHER,
        };
        let value = match lower {
            b'0'..=b'9' => lower - b'0',
            b'a'..=b'f' => lower - b'a' + 10,
            _ => 0,
        };
        table[b] = class as u32 | (lower as u32) << 8 | (value as u32) << 16;
        b += 1;
    }
    table
};

/// Next phase (4 bits), action (4 bits), event (from bit 8), for each phase and class.
static NEXT: [u16; 256] = {
    let mut t = [0u16; 256];
    row(&mut t, phase::LINE, phase::LINE, SHIFT);
    on(&mut t, phase::LINE, class::CR, phase::LINE, KEEP, event::NONE);
    on(&mut t, phase::LINE, class::LF, phase::LINE_START, KEEP, event::LINE_END);
    row(&mut t, phase::VERSION, phase::VERSION, KEEP);
    on(&mut t, phase::VERSION, class::BLANK, phase::STATUS, RESET, event::NONE);
    on(&mut t, phase::VERSION, class::LF, phase::LINE_START, KEEP, event::NONE);
    let mut c = 0;
    while c < 16 {
        on(&mut t, phase::STATUS, c, phase::SKIP, KEEP, event::LINE_END);
        on(&mut t, phase::CHUNK_SIZE, c, phase::CHUNK_EXT, KEEP, event::NONE);
        c += 1;
    }
    on(&mut t, phase::STATUS, class::DIGIT, phase::STATUS, MIX_DECIMAL, event::NONE);
    on(&mut t, phase::STATUS, class::LF, phase::LINE_START, KEEP, event::LINE_END);
    // Content-Length, Content-Type, Transfer-Encoding: no other name matters.
    row(&mut t, phase::LINE_START, phase::SKIP, KEEP);
    on(&mut t, phase::LINE_START, class::C, phase::NAME, MIX_FIRST, event::NONE);
    on(&mut t, phase::LINE_START, class::T, phase::NAME, MIX_FIRST, event::NONE);
    on(&mut t, phase::LINE_START, class::CR, phase::END, KEEP, event::NONE);
    on(&mut t, phase::LINE_START, class::LF, phase::SKIP, KEEP, event::HEAD_END);
    row(&mut t, phase::NAME, phase::NAME, MIX);
    on(&mut t, phase::NAME, class::COLON, phase::VALUE, RESET, event::NAME_END);
    on(&mut t, phase::NAME, class::LF, phase::LINE_START, KEEP, event::NONE);
    row(&mut t, phase::VALUE, phase::VALUE, MIX);
    on(&mut t, phase::VALUE, class::BLANK, phase::VALUE, KEEP, event::NONE);
    on(&mut t, phase::VALUE, class::CR, phase::VALUE, KEEP, event::NONE);
    on(&mut t, phase::VALUE, class::DIGIT, phase::VALUE, MIX_DECIMAL, event::NONE);
    on(&mut t, phase::VALUE, class::LIST, phase::VALUE, RESET, event::VALUE_END);
    on(&mut t, phase::VALUE, class::LF, phase::LINE_START, RESET, event::VALUE_END);
    row(&mut t, phase::SKIP, phase::SKIP, KEEP);
    on(&mut t, phase::SKIP, class::LF, phase::LINE_START, KEEP, event::NONE);
    row(&mut t, phase::END, phase::SKIP, KEEP);
    on(&mut t, phase::END, class::LF, phase::SKIP, KEEP, event::HEAD_END);
    on(&mut t, phase::CHUNK_SIZE, class::DIGIT, phase::CHUNK_SIZE, HEX_DIGIT, event::NONE);
    on(&mut t, phase::CHUNK_SIZE, class::HEX, phase::CHUNK_SIZE, HEX_DIGIT, event::NONE);
    on(&mut t, phase::CHUNK_SIZE, class::C, phase::CHUNK_SIZE, HEX_DIGIT, event::NONE);
    on(&mut t, phase::CHUNK_SIZE, class::LF, phase::CHUNK_SIZE, KEEP, event::CHUNK_SIZE);
    row(&mut t, phase::CHUNK_EXT, phase::CHUNK_EXT, KEEP);
    on(&mut t, phase::CHUNK_EXT, class::LF, phase::CHUNK_SIZE, KEEP, event::CHUNK_SIZE);
    row(&mut t, phase::TRAILER, phase::TRAILER_LINE, KEEP);
    on(&mut t, phase::TRAILER, class::CR, phase::TRAILER_END, KEEP, event::NONE);
    on(&mut t, phase::TRAILER, class::LF, phase::TRAILER, KEEP, event::MESSAGE_END);
    row(&mut t, phase::TRAILER_LINE, phase::TRAILER_LINE, KEEP);
    on(&mut t, phase::TRAILER_LINE, class::LF, phase::TRAILER, KEEP, event::NONE);
    row(&mut t, phase::TRAILER_END, phase::TRAILER_LINE, KEEP);
    on(&mut t, phase::TRAILER_END, class::LF, phase::TRAILER, KEEP, event::MESSAGE_END);
    t
};

const fn row(table: &mut [u16; 256], from: u8, to: u8, action: usize) {
    let mut c = 0;
    while c < 16 {
        on(table, from, c, to, action, event::NONE);
        c += 1;
    }
}

const fn on(table: &mut [u16; 256], from: u8, class: usize, to: u8, action: usize, event: u8) {
    table[from as usize * 16 + class] = to as u16 | (action as u16) << 4 | (event as u16) << 8;
}

const fn fnv(text: &[u8]) -> u64 {
    let mut hash = FNV_BASIS;
    let mut i = 0;
    while i < text.len() {
        hash = (hash ^ text[i] as u64).wrapping_mul(FNV_PRIME);
        i += 1;
    }
    hash
}

/// The end of a request line in lower case, `tp/1.` and any one byte, each byte shifted up by the next.
const VERSION: u64 = 0x0074_702f_312e;

/// True when the request line, whose end the machine has left in `pre`, is one of HTTP/1.
#[inline(always)]
pub fn is_http1(h: &Half) -> bool {
    h.pre >> 16 & 0xff_ffff_ffff == VERSION
}

/// Bytes of a body in chunks that show its end.
pub const LAST_CHUNK: u32 = 7;

/// True when the last bytes of an unframed reply are those of the last chunk, behind another one.
#[inline(always)]
pub fn is_last_chunk(h: &Half) -> bool {
    const LAST: u64 = u64::from_le_bytes(*b"\0\r\n0\r\n\r\n");
    h.pre >> 8 == LAST >> 8
}

/// [`Half::name`]: whose value is being read.
mod name {
    pub(super) const NONE: u32 = 0;
    pub(super) const LENGTH: u32 = super::fnv(b"content-length") as u32;
    pub(super) const ENCODING: u32 = super::fnv(b"transfer-encoding") as u32;
    pub(super) const TYPE: u32 = super::fnv(b"content-type") as u32;
}

const CHUNKED: u64 = fnv(b"chunked");

/// True when the content type is one that does not end by nature.
#[inline(always)]
pub fn is_stream(h: &Half) -> bool {
    const TYPES: [u32; 5] = [
        fnv(b"text/event-stream") as u32,
        fnv(b"application/x-ndjson") as u32,
        fnv(b"application/ndjson") as u32,
        fnv(b"application/jsonl") as u32,
        fnv(b"application/x-jsonlines") as u32,
    ];
    let kind = h.kind;
    kind == TYPES[0] || kind == TYPES[1] || kind == TYPES[2] || kind == TYPES[3] || kind == TYPES[4]
}

/// A header's value, or one element of a list, is complete.
#[inline(always)]
fn end_value(h: &mut Half, hash: u64, num: u64) {
    if h.name == name::ENCODING {
        // A list: it goes on.
        if hash == CHUNKED {
            h.head |= head::CHUNKED;
        }
        return;
    }
    if h.name == name::LENGTH {
        h.head |= head::LENGTH;
        h.length = num;
    } else if h.name == name::TYPE {
        h.kind = hash as u32;
    }
    // Parameters do not matter.
    h.name = name::NONE;
}

/// Runs the machine over the first `op.got` bytes of the window; leaves in `op.used` how many were used and in
/// `op.event` what they completed. Results go through memory: the verifier knows the count at each of the loop's
/// exits, and would follow each of them to the end of the program.
#[inline(always)]
pub fn scan(h: &mut Half, window: &[u8; WINDOW], op: &mut Op) {
    let len = Op::fresh(&op.got);
    let mut phase = Op::fresh(&h.phase) as usize & 15;
    let mut hash = Op::fresh(&h.hash);
    let mut num = Op::fresh(&h.num);
    let mut seen = event::NONE;
    let mut i = 0usize;
    while i < WINDOW {
        if i as u32 >= len {
            break;
        }
        let info = BYTES[window[i] as usize];
        i += 1;
        let next = NEXT[(phase << 4 | (info as usize & 15)) & 255];
        let event = (next >> 8) as u8;
        if event != event::NONE {
            // Before the action: it may reset what the event is about.
            if event < event::NAME_END {
                seen = event;
            } else if event == event::LINE_END {
                h.left = num;
                h.pre = hash;
            } else if event == event::NAME_END {
                h.name = hash as u32;
            } else {
                end_value(h, hash, num);
            }
        }
        let action = &ACTIONS[next as usize >> 4 & 7];
        let byte = info as u64 >> 8 & 0xff;
        let value = info as u64 >> 16;
        hash = ((hash & action.keep | action.basis) ^ (byte & action.mask)).wrapping_mul(action.factor);
        num = (num & action.num_keep).wrapping_mul(action.num_factor).wrapping_add(value & action.num_mask);
        phase = next as usize & 15;
        if seen != event::NONE {
            break;
        }
    }
    h.phase = phase as u8;
    h.hash = hash;
    h.num = num;
    op.used = i as u32;
    op.event = seen;
}
