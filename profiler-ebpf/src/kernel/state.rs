//! The life of a TCP connection: entries are made at the handshake, with the side that we are, and end at the close.
//! Runs in soft interrupts too, so it must not touch the scratch.
//!
//! match-proto: void(const struct sock *sk, const int oldstate, const int newstate) inet_sock_set_state
//! (include/trace/events/sock.h)

use aya_ebpf::macros::raw_tracepoint;
use aya_ebpf::programs::RawTracePointContext;
use profiler_ebpf::conn::mark;
use profiler_ebpf::machine;
use profiler_ebpf::record::{Counter, role};

use super::config::CFG;
use super::connection;
use super::maps::{CONNS, armed, count};
use super::memory::{kernel, now};
use super::socket::argument;
use super::world::Kernel;

/// States of include/net/tcp_states.h.
const ESTABLISHED: u64 = 1;
const SYN_SENT: u64 = 2;
const SYN_RECV: u64 = 3;
const CLOSE: u64 = 7;

#[raw_tracepoint(tracepoint = "inet_sock_set_state")]
fn set_state(ctx: RawTracePointContext) -> i32 {
    if !armed() {
        // Reads and writes are not seen either: nothing may be concluded from a close.
        return 0;
    }
    let sk = argument(&ctx, 0);
    let old = argument(&ctx, 1) & 0xff;
    let new = argument(&ctx, 2) & 0xff;
    if new == ESTABLISHED {
        let side = match old {
            SYN_RECV => role::SERVER,
            SYN_SENT => role::CLIENT,
            _ => role::UNKNOWN,
        };
        // Whatever had this address before is gone.
        remove(sk, 0);
        if !connection::create(sk, side as u64, mark::SYNCED as u64).is_null() {
            count(Counter::Opened);
        }
    } else if new == CLOSE {
        let error = kernel::<u32>(sk + CFG.sock_err() as u64).unwrap_or(0) as u8;
        count(Counter::Closed);
        if connection::is_orphan(sk) {
            remove(sk, error);
        } else if let Some(conn) = CONNS.get_ptr_mut(sk) {
            // A reset, or the peer's last word to a half-closed socket: what is in the queue can still be read
            // (`tcp_recvmsg_locked` looks at it before the state). Reads or the sweep will end it.
            // SAFETY: a value of CONNS.
            let c = unsafe { &mut *conn };
            c.t_closed = now();
            c.closed_error = error;
        }
    }
    0
}

/// Ends and forgets the connection at this address.
#[inline(always)]
fn remove(sk: u64, error: u8) {
    if let Some(conn) = CONNS.get_ptr_mut(sk) {
        // SAFETY: a value of CONNS.
        let c = unsafe { &mut *conn };
        let (error, time) = if c.t_closed != 0 { (c.closed_error, c.t_closed) } else { (error, now()) };
        machine::end(c, &mut Kernel(core::ptr::null_mut()), error, time);
        let _ = CONNS.remove(sk);
    }
}
