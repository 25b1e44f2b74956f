//! The life of a connection: from connect() or the handshake to its end, who ended it, and what it carried. The hooks of
//! TCP's states, of connect() and of accept() write it; an event of it leaves the kernel when the connection opens, when
//! it fails to, and when it ends.

use crate::conn::Conn;
use crate::record::{kind, proto};

/// [`Event::what`].
pub mod what {
    /// Established, and somebody has it: the one who connected, or who accepted it. Of a connection that was there
    /// before us: its first read or write.
    pub const OPENED: u8 = 1;
    /// Over for TCP; or, on a Unix socket, for the process that held it.
    pub const CLOSED: u8 = 2;
    /// It was never established.
    pub const FAILED: u8 = 3;
    /// A client wrote to a connection that was over, and that was told to be closed before.
    pub const GONE: u8 = 4;
}

/// [`Life::end`]: what ended it first.
pub mod end {
    pub const NONE: u8 = 0;
    /// Our FIN.
    pub const OURS: u8 = 1;
    /// The peer's FIN.
    pub const PEERS: u8 = 2;
    /// Our reset: closed with data unread, or by SO_LINGER.
    pub const ABORTED: u8 = 3;
    /// The peer's reset.
    pub const RESET: u8 = 4;
    /// The peer did not answer any more (ETIMEDOUT).
    pub const TIMEOUT: u8 = 5;
    /// Another error: [`super::Life::error`].
    pub const ERROR: u8 = 6;
    /// It is over, nobody knows how (a Unix socket that was found gone).
    pub const UNKNOWN: u8 = 7;
}

/// [`Life::marks`].
pub mod mark {
    /// [`super::what::OPENED`] was sent.
    pub const OPENED: u8 = 1;
    /// [`super::what::CLOSED`] or [`super::what::FAILED`] was sent.
    pub const CLOSED: u8 = 2;
    /// A client wrote to it after the server had ended it: something else than its own goodbye.
    pub const GONE: u8 = 4;
    /// It ended within an exchange.
    pub const CUT: u8 = 8;
    /// Encrypted: what it carried is not known.
    pub const TLS: u8 = 16;
    /// MySQL: it spoke MySQL, whatever [`crate::record::Record::proto`] says by now (TLS, compression).
    pub const MYSQL: u8 = 32;
    /// [`super::what::GONE`] was sent.
    pub const GONE_TOLD: u8 = 64;
}

/// The life of a connection. Times in ns, 0 for what was not seen.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Life {
    /// connect() sent its first packet.
    pub t_connect: u64,
    /// The handshake was done; 0: before we came.
    pub t_open: u64,
    /// accept() gave it to a process.
    pub t_accept: u64,
    /// MySQL: the server's greeting, and its OK to the sign-in.
    pub t_greeted: u64,
    pub t_ready: u64,
    /// The last read or write.
    pub t_used: u64,
    /// The first FIN or reset, sent or received, or the error.
    pub t_end: u64,
    /// How long it had not been used by then.
    pub idle: u64,
    /// TCP has closed it; or it was found closed.
    pub t_closed: u64,
    /// Time within exchanges.
    pub busy: u64,
    /// The listening socket that it was accepted from (address in the kernel).
    pub listener: u64,
    /// Exchanges that it carried; a MySQL sign-in is none.
    pub exchanges: u32,
    /// Who connected or accepted, else who used it first.
    pub pid: u32,
    pub tid: u32,
    /// MySQL: the number of the error that the server said unasked, last.
    pub farewell: u16,
    pub end: u8,
    /// An errno.
    pub error: u8,
    pub marks: u8,
    /// Direction turns seen of an encrypted MySQL sign-in.
    pub turns: u8,
    pub pad: [u8; 6],
}

const _: () = assert!(size_of::<Life>() == 112);

/// What leaves the kernel of a connection's life.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Event {
    /// [`kind::CONNECTION`].
    pub kind: u32,
    /// Inode number of the network namespace.
    pub netns: u32,
    /// With `born` the connection's identity, as in [`crate::record::Record`].
    pub sk: u64,
    pub born: u64,
    pub laddr: [u8; 16],
    pub raddr: [u8; 16],
    pub family: u16,
    pub lport: u16,
    pub rport: u16,
    /// [`proto`]; [`proto::UNKNOWN`] until something was recognised.
    pub proto: u8,
    pub role: u8,
    /// [`what`].
    pub what: u8,
    pub pad: [u8; 7],
    /// When, ns.
    pub time: u64,
    pub life: Life,
}

const _: () = assert!(size_of::<Event>() == 192);

impl Conn {
    /// The event as it leaves.
    #[inline(always)]
    pub fn event(&self, what: u8, time: u64) -> Event {
        let r = &self.record;
        let spoke_mysql = self.life.marks & mark::MYSQL != 0;
        Event {
            kind: kind::CONNECTION,
            netns: r.netns,
            sk: r.sk,
            born: r.born,
            laddr: r.laddr,
            raddr: r.raddr,
            family: r.family,
            lport: r.lport,
            rport: r.rport,
            proto: if spoke_mysql { proto::MYSQL } else { r.proto },
            role: r.role,
            what,
            pad: [0; 7],
            time,
            life: self.life,
        }
    }
}
