//! The life of a connection: from connect() or the handshake to its end, who ended it, and what it carried. The hooks of
//! TCP's states, of connect() and of accept() write it; an event of it leaves the kernel when the connection opens, when
//! it fails to, and when it ends.

use crate::conn::{Conn, state};
use crate::mysql::command;
use crate::record::{COMMAND_HANDSHAKE, kind, proto, role};

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
    /// [`super::what::GONE`] was sent, or [`super::what::CLOSED`] with the mark.
    pub const GONE_TOLD: u8 = 64;
    /// HTTP/2, which is not parsed.
    pub const HTTP2: u8 = 128;
}

/// States of TCP (include/net/tcp_states.h).
pub mod tcp {
    pub const ESTABLISHED: u8 = 1;
    pub const SYN_SENT: u8 = 2;
    pub const SYN_RECV: u8 = 3;
    pub const FIN_WAIT1: u8 = 4;
    pub const CLOSE: u8 = 7;
    pub const CLOSE_WAIT: u8 = 8;
    pub const LAST_ACK: u8 = 9;
    pub const LISTEN: u8 = 10;
}

/// Errors of include/uapi/asm-generic/errno.h.
mod errno {
    pub(super) const EPIPE: u8 = 32;
    pub(super) const ECONNRESET: u8 = 104;
    pub(super) const ETIMEDOUT: u8 = 110;
    pub(super) const ECONNREFUSED: u8 = 111;
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
    /// Time within exchanges, and the end of the last of them.
    pub busy: u64,
    pub t_told: u64,
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
    /// Of an encrypted MySQL sign-in: turns of direction since the client asked for TLS, and the client's messages in the
    /// second of them.
    pub turns: u8,
    pub messages: u8,
    /// MySQL: 1 when what was last written to it, after it was over, asks nothing but whether the server is there.
    pub validated: u8,
    pub pad: [u8; 4],
}

const _: () = assert!(size_of::<Life>() == 120);

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

const _: () = assert!(size_of::<Event>() == 200);

impl Life {
    /// TCP has gone to this state; `error` is the socket's (`sk_err`), `time` in ns.
    #[inline(always)]
    pub fn state(&mut self, new: u8, error: u8, time: u64) {
        match new {
            tcp::FIN_WAIT1 => self.ends(end::OURS, time),
            tcp::CLOSE_WAIT | tcp::LAST_ACK => self.ends(end::PEERS, time),
            tcp::CLOSE => {
                if self.error == 0 {
                    self.error = error;
                }
                self.ends(by_error(error), time);
                self.t_closed = time;
            }
            _ => {}
        }
    }

    /// The first thing that ends it is what ended it.
    #[inline(always)]
    pub fn ends(&mut self, how: u8, time: u64) {
        if self.end != end::NONE {
            return;
        }
        self.end = how;
        self.t_end = time;
        let since = if self.t_used != 0 { self.t_used } else { self.t_open };
        if since != 0 {
            self.idle = time.saturating_sub(since);
        }
    }

    /// An operation on a MySQL connection that went over to TLS: how long the sign-in takes shows in who speaks when. The
    /// server's hello is the first turn, and its OK the third of TLS 1.3, where the client sends its finished message and
    /// its password one after the other without waiting (RFC 8446, section 2), else the fifth (RFC 5246, section 7.3). A
    /// server of TLS 1.3 speaks in between: it gives tickets before it reads the password.
    #[inline(always)]
    pub fn hidden_sign_in(&mut self, is_client: bool, from_client: bool, turned: bool, time: u64) {
        const TLS_OF_MYSQL: u8 = mark::MYSQL | mark::TLS;
        if self.marks & TLS_OF_MYSQL != TLS_OF_MYSQL || self.turns > 5 {
            return;
        }
        self.turns = self.turns.wrapping_add(turned as u8);
        if from_client {
            self.messages = self.messages.wrapping_add((self.turns == 2) as u8);
            return;
        }
        let ready = if is_client && self.messages > 1 { 3 } else { 5 };
        if self.turns == ready {
            self.t_ready = time;
        }
    }

    /// True when somebody else than us has ended it.
    #[inline(always)]
    pub fn was_ended(&self) -> bool {
        matches!(self.end, end::PEERS | end::RESET | end::TIMEOUT | end::ERROR)
    }

    /// True for an attempt that has led to nothing yet.
    #[inline(always)]
    pub fn is_attempt(&self) -> bool {
        self.t_connect != 0 && self.t_open == 0
    }
}

/// How a connection ended that had no FIN: without an error we have reset it (`__tcp_close` with data unread, or
/// `tcp_disconnect`, in net/ipv4/tcp.c); with one the peer has, or nothing came any more (`tcp_reset` in
/// net/ipv4/tcp_input.c, `tcp_write_err` in net/ipv4/tcp_timer.c).
#[inline(always)]
fn by_error(error: u8) -> u8 {
    match error {
        0 => end::ABORTED,
        errno::EPIPE | errno::ECONNRESET | errno::ECONNREFUSED => end::RESET,
        errno::ETIMEDOUT => end::TIMEOUT,
        _ => end::ERROR,
    }
}

impl Conn {
    /// Counts the exchange that leaves.
    #[inline(always)]
    pub fn tally(&mut self) {
        let (r, life) = (&self.record, &mut self.life);
        if r.proto == proto::MYSQL && r.request.command == COMMAND_HANDSHAKE {
            life.t_ready = r.t_last;
            return;
        }
        life.exchanges = life.exchanges.wrapping_add(1);
        // Pipelined ones overlap.
        let start = if r.request.t_start > life.t_told { r.request.t_start } else { life.t_told };
        if start != 0 && r.t_last > start {
            life.busy = life.busy.wrapping_add(r.t_last - start);
            life.t_told = r.t_last;
        }
    }

    /// True when the exchange under way was begun by a client after the server had ended the connection. To ping,
    /// or to reset the session, is to ask just that.
    #[inline(always)]
    pub fn is_begun_too_late(&self) -> bool {
        let asks = matches!(self.record.request.command, command::PING | command::RESET_CONNECTION);
        !(self.record.proto == proto::MYSQL && asks)
            && self.record.role == role::CLIENT
            && self.life.was_ended()
            && (self.state == state::REQUEST || self.state == state::RESPONSE)
            && self.record.request.t_start > self.life.t_end
    }

    /// TCP goes from `old` to CLOSE without an error. From CLOSE_WAIT it does so where its process closes it with data
    /// unread (`__tcp_close` in net/ipv4/tcp.c; a close after the last byte goes by LAST_ACK): the rest of the HTTP
    /// response may be there, it is the client that does not want it.
    #[inline(always)]
    pub fn drops(&mut self, old: u8, error: u8) {
        let dropped = old == tcp::CLOSE_WAIT && error == 0;
        if dropped
            && self.record.proto == proto::HTTP
            && self.record.role == role::CLIENT
            && self.state != state::IDLE
            && !self.is_begun_too_late()
        {
            self.life.end = end::ABORTED;
        }
    }

    /// Writes the event as it leaves. Field by field: it would take half of a program's stack.
    ///
    /// # Safety
    /// `event` is valid to write.
    #[inline(always)]
    pub unsafe fn event(&self, what: u8, time: u64, event: *mut Event) {
        let r = &self.record;
        let spoke_mysql = self.life.marks & mark::MYSQL != 0;
        // SAFETY: the caller's promise.
        unsafe {
            let e = &mut *event;
            e.kind = kind::CONNECTION;
            e.netns = r.netns;
            e.sk = r.sk;
            e.born = r.born;
            e.laddr = r.laddr;
            e.raddr = r.raddr;
            e.family = r.family;
            e.lport = r.lport;
            e.rport = r.rport;
            e.proto = if spoke_mysql { proto::MYSQL } else { r.proto };
            e.role = r.role;
            e.what = what;
            e.pad = [0; 7];
            e.time = time;
            e.life = self.life;
        }
    }
}
