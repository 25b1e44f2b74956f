//! The life of a TCP connection: entries are made at the handshake, with the side that we are, and end at the close.
//! Runs in soft interrupts too, so it must not touch the scratch.
//!
//! match-proto: void(const struct sock *sk, const int oldstate, const int newstate) inet_sock_set_state
//! (include/trace/events/sock.h)

use aya_ebpf::macros::raw_tracepoint;
use aya_ebpf::programs::RawTracePointContext;
use profiler_ebpf::conn::{Conn, mark, state};
use profiler_ebpf::life::tcp;
use profiler_ebpf::record::{Counter, role};

use super::config::CFG;
use super::maps::{CONNS, armed, count};
use super::memory::{kernel, now};
use super::socket::argument;
use super::{connect, connection, life, listener};

#[raw_tracepoint(tracepoint = "inet_sock_set_state")]
fn set_state(ctx: RawTracePointContext) -> i32 {
    if !armed() {
        // Reads and writes are not seen either: nothing may be concluded from a close.
        return 0;
    }
    let sk = argument(&ctx, 0);
    let old = argument(&ctx, 1) as u8;
    let new = argument(&ctx, 2) as u8;
    if old == tcp::LISTEN || new == tcp::LISTEN {
        listens(sk, new);
        return 0;
    }
    // One end for all: the verifier follows every way through it.
    let mut is_new = new == tcp::SYN_SENT || new == tcp::ESTABLISHED && old != tcp::SYN_SENT;
    let mut known = CONNS.get_ptr_mut(sk);
    let was_known = known.is_some();
    if let Some(conn) = known {
        // SAFETY: a value of CONNS.
        let c = unsafe { &mut *conn };
        let time = now();
        if new == tcp::ESTABLISHED && c.t_closed == 0 && (c.life.is_attempt() || c.life.t_accept != 0) {
            // Both ends have connected to each other, or it was accepted before its handshake was done (TCP Fast Open).
            is_new = false;
        }
        let orphan = new == tcp::CLOSE && connection::is_orphan(sk);
        if new == tcp::CLOSE {
            let error = kernel::<u32>(sk + CFG.sock_err() as u64).unwrap_or(0) as u8;
            c.drops(old, error);
            closes(c, error, time, orphan);
        }
        if is_new || orphan {
            // Closed, or whatever had this address before is gone.
            let time = if c.t_closed != 0 { c.t_closed } else { time };
            life::over(c, c.closed_error, time);
            known = None;
        }
    }
    match (new, known) {
        (tcp::SYN_SENT, _) => connects(sk),
        (tcp::ESTABLISHED, known) => established(sk, old, known),
        (tcp::CLOSE, _) if old != tcp::SYN_SENT => {
            count(Counter::Closed);
            if !was_known && !connection::is_orphan(sk) {
                resets(sk);
            }
        }
        (tcp::FIN_WAIT1 | tcp::CLOSE_WAIT | tcp::LAST_ACK, known) => half_closes(sk, new, known),
        _ => {}
    }
    0
}

#[inline(always)]
fn listens(sk: u64, new: u8) {
    if new == tcp::LISTEN {
        if let Some((family, _)) = connection::family_and_state(sk) {
            listener::seen(sk, family);
        }
    } else {
        listener::closed(sk);
    }
}

/// connect() sends its first packet, in the process that called it (`tcp_v4_connect` in net/ipv4/tcp_ipv4.c).
#[inline(always)]
fn connects(sk: u64) {
    let conn = connection::create(sk, role::CLIENT as u64, 0);
    if !conn.is_null() {
        // SAFETY: a value of CONNS.
        let c = unsafe { &mut *conn };
        c.marks |= mark::SYNCED;
        c.life.t_connect = c.record.born;
        connect::owned(c);
    }
}

/// The handshake is done: of an attempt that is known, or of a new connection.
#[inline(always)]
fn established(sk: u64, old: u8, attempt: Option<*mut Conn>) {
    let side = match old {
        tcp::SYN_RECV => role::SERVER,
        tcp::SYN_SENT => role::CLIENT,
        _ => role::UNKNOWN,
    };
    let conn = match attempt {
        Some(conn) => conn,
        None => connection::create(sk, side as u64, mark::SYNCED as u64),
    };
    if conn.is_null() {
        return;
    }
    count(Counter::Opened);
    // SAFETY: a value of CONNS.
    let c = unsafe { &mut *conn };
    let connected = side == role::CLIENT || c.life.is_attempt();
    c.life.t_open = now();
    if connected {
        connection::addresses(sk, c);
        life::opened(c);
    }
}

/// The first FIN. A connection that was there before us gets its entry now, if it had none.
#[inline(always)]
fn half_closes(sk: u64, new: u8, known: Option<*mut Conn>) {
    let conn = match known {
        Some(conn) => conn,
        None => connection::create(sk, role::UNKNOWN as u64, 0),
    };
    if conn.is_null() {
        return;
    }
    // SAFETY: a value of CONNS.
    let c = unsafe { &mut *conn };
    c.life.state(new, 0, now());
    if new == tcp::FIN_WAIT1 && c.state == state::IDLE && connection::is_shut(sk) {
        // For its process it is over. The entry stays: the hook of a write in another thread may still come.
        life::closed(c);
    }
}

/// A connection that was there before us, was not used since, and ends without a FIN.
#[inline(always)]
fn resets(sk: u64) {
    let conn = connection::create(sk, role::UNKNOWN as u64, 0);
    if conn.is_null() {
        return;
    }
    let error = kernel::<u32>(sk + CFG.sock_err() as u64).unwrap_or(0) as u8;
    // SAFETY: a value of CONNS.
    let c = unsafe { &mut *conn };
    c.life.state(tcp::CLOSE, error, now());
    life::forget(c, c.life.t_closed);
}

#[inline(always)]
fn closes(c: &mut Conn, error: u8, time: u64, orphan: bool) {
    c.life.state(tcp::CLOSE, error, time);
    // A process may still hold it, after a reset, or after the peer's last word to a half-closed socket: what is in the
    // queue can still be read (`tcp_recvmsg_locked` looks at it before the state). Reads or the sweep will end it.
    c.t_closed = time;
    c.closed_error = error;
    // What is under way ends first: by what is still read, or now, when nobody will read any more. A connect that has no
    // error yet gets it from connect(), or was given up by its process.
    let under_way = c.state != state::IDLE;
    if !orphan && !under_way && (!c.life.is_attempt() || error != 0) {
        life::closed(c);
    }
}
