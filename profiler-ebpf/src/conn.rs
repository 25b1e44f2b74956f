//! A connection's state in the kernel's table: who it is, how far each direction's message has come, and the exchange
//! that is under way. The record is last, so that it leaves with the head's bytes behind it, without a copy.

use crate::life::Life;
use crate::record::{Record, Request, kind};

/// Requests that may wait behind the one being answered.
pub const PIPELINE_DEPTH: u32 = 16;

/// Where the exchange under way stands.
pub mod state {
    pub const IDLE: u8 = 0;
    /// A request was seen, no reply yet.
    pub const REQUEST: u8 = 1;
    /// The reply has begun.
    pub const RESPONSE: u8 = 2;
    /// The reply is complete, its request has not been seen yet (two threads, one socket).
    pub const HELD: u8 = 3;
}

/// [`Conn::marks`].
pub mod mark {
    /// We have seen this connection from its start, or have seen a whole exchange on it.
    pub const SYNCED: u8 = 1;
    /// Never to be looked at again (TLS, upgraded, compressed).
    pub const OPAQUE: u8 = 2;
    /// MySQL: the handshake is under way.
    pub const HANDSHAKE: u8 = 4;
    /// The Unix socket's name was sent.
    pub const NAMED: u8 = 8;
    /// The newest request is waiting in the pipeline, not the current one.
    pub const NEWEST_WAITS: u8 = 16;
    /// The newest request was skipped, the pipeline being too deep.
    pub const NEWEST_SKIPPED: u8 = 32;
    /// A whole head of an HTTP/1 request was seen.
    pub const HEADED: u8 = 64;
    /// MySQL: replies are framed packet by packet, since commands wait behind one another.
    pub const FRAMED: u8 = 64;
    /// More messages came in one operation than are followed: requests, or replies, were lost.
    pub const LOST: u8 = 128;
}

/// How far the message of one direction has come. All of it survives between two reads, so that any split of the
/// bytes gives the same result.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct Half {
    /// Time of the message's first byte here and of its arrival in the kernel (0: unknown), ns.
    pub t0: u64,
    pub ready0: u64,
    /// Bytes of the body or packet still to come.
    pub left: u64,
    /// Hash of the header name or value being read.
    pub hash: u64,
    /// Number being read: status, content length, chunk size.
    pub num: u64,
    /// Content length that the head announced.
    pub length: u64,
    /// The message's first bytes, first byte lowest.
    pub pre: u64,
    /// HTTP: hashes of the content type, and of the header whose value is being read.
    pub kind: u32,
    pub name: u32,
    pub pre_len: u8,
    /// [`crate::scan::phase`] or [`crate::mysql::phase`].
    pub phase: u8,
    /// [`crate::scan::head`].
    pub head: u8,
    pub pad: [u8; 5],
}

/// A connection.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Conn {
    /// First arrival that no read has consumed yet, and the latest that one has, ns.
    pub t_ready: u64,
    pub t_consumed: u64,
    /// Unix sockets: when the first bytes from here arrived at the other end while that one was not known yet, ns; 0 for
    /// none.
    pub t_peer_ready: u64,
    /// Reads and writes.
    pub halves: [Half; 2],
    /// Unix sockets: the inode, to tell a reused address.
    pub inode: u64,
    /// When TCP closed the connection while a process still held the socket, ns; 0 while it is open. What had come
    /// before can still be read.
    pub t_closed: u64,
    /// Operations that could not be classified.
    pub misses: u32,
    /// Pipelined requests: number of the oldest that waits, how many wait, how many were skipped after them.
    pub oldest: u32,
    pub waiting: u32,
    pub skipped: u32,
    pub state: u8,
    pub marks: u8,
    /// Direction of the latest operation: 1 a read, 2 a write.
    pub turn: u8,
    /// Exchanges in a row whose reply was seen first.
    pub raced: u8,
    /// The errno of TCP's close, 0 for none.
    pub closed_error: u8,
    /// HTTP: 1 when bytes of the server that were no reply came where one was due.
    pub missed: u8,
    pub pad: [u8; 2],
    pub life: Life,
    /// Last: the head's bytes follow.
    pub record: Record,
}

const _: () = assert!(size_of::<Half>() == 72);
const _: () = assert!(size_of::<Conn>().is_multiple_of(8));

impl Conn {
    /// The half in which bytes of this direction are framed.
    #[inline(always)]
    pub fn half(&mut self, send: bool) -> &mut Half {
        &mut self.halves[send as usize & 1]
    }

    /// The half of the server's bytes.
    #[inline(always)]
    pub fn replies(&mut self) -> &mut Half {
        let send = self.record.role == crate::record::role::SERVER;
        self.half(send)
    }

    /// 1 when bytes of this direction (1: writes) are the client's. Without branches, for the verifier's sake.
    #[inline(always)]
    pub fn is_clients(&self, send: u8) -> u8 {
        const { assert!(crate::record::role::CLIENT == 2 && crate::record::role::SERVER == 1) };
        ((self.record.role >> 1) ^ send ^ 1) & 1
    }

    /// True when bytes of this direction are the client's.
    #[inline(always)]
    pub fn from_client(&self, send: bool) -> bool {
        (self.record.role == crate::record::role::CLIENT) == send
    }

    #[inline(always)]
    pub fn has(&self, mark: u8) -> bool {
        self.marks & mark != 0
    }

    /// Clears the reply and stamps the kind, ready for a new exchange.
    #[inline(always)]
    pub fn clear_reply(&mut self) {
        let r = &mut self.record;
        r.kind = kind::EXCHANGE;
        r.t_first = 0;
        r.t_last = 0;
        r.response_bytes = 0;
        r.status = 0;
        r.flags &= crate::record::flag::TENTATIVE;
        r.error = 0;
        r.reply_head_len = 0;
    }

    #[inline(always)]
    pub fn clear_request(&mut self) {
        clear(&mut self.record.request);
    }
}

/// Empties a request; the bytes behind it are void by `head_len`.
#[inline(always)]
pub fn clear(r: &mut Request) {
    r.t_arrive = 0;
    r.t_start = 0;
    r.t_end = 0;
    r.bytes = 0;
    r.pid = 0;
    r.tid = 0;
    r.head_len = 0;
    r.command = 0;
    r.truncated = 0;
    r.unreadable = 0;
}
