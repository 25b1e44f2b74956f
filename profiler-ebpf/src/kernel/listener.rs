//! Listening sockets: seen when they begin to listen, when connections come to them, and when one is accepted; looked at
//! by user space now and then. May run in soft interrupts.

use aya_ebpf::bindings::BPF_NOEXIST;
use aya_ebpf::macros::raw_tracepoint;
use aya_ebpf::programs::RawTracePointContext;
use profiler_ebpf::life::tcp;
use profiler_ebpf::listener::Listener;
use profiler_ebpf::record::Counter;

use super::config::CFG;
use super::connection::{self, AF_UNIX};
use super::maps::{LISTENERS, count};
use super::memory::{kernel, now};
use super::socket::argument;

const BLANK: Listener = Listener {
    sk: 0,
    since: 0,
    inode: 0,
    laddr: [0; 16],
    netns: 0,
    family: 0,
    lport: 0,
    backlog: 0,
    peak_backlog: 0,
    backlog_max: 0,
    drops: 0,
    drops_before: 0,
    accepted: 0,
};

/// A socket that listens: its queue as it is now.
#[inline(always)]
pub(crate) fn seen(sk: u64, family: u16) {
    if let Some(known) = LISTENERS.get_ptr_mut(sk) {
        // SAFETY: a value of LISTENERS; of two looks at once one stays.
        return look(unsafe { &mut *known }, sk);
    }
    if !connection::is_stream(sk, family) {
        return;
    }
    make(sk, family as u64);
}

/// Whole before other CPUs can see it.
#[inline(never)]
fn make(sk: u64, family: u64) -> i32 {
    let mut l = Listener { sk, since: now(), family: family as u16, ..BLANK };
    if let Some(net) = kernel::<u64>(sk + CFG.sock_net() as u64) {
        l.netns = kernel::<u32>(net + CFG.net_inum() as u64).unwrap_or(0);
    }
    if l.family == AF_UNIX {
        l.inode = connection::inode(sk);
    } else {
        connection::local(sk, &mut l);
    }
    look(&mut l, sk);
    l.drops_before = l.drops;
    let _ = LISTENERS.insert(sk, l, BPF_NOEXIST as u64);
    if LISTENERS.get_ptr(sk).is_none() {
        count(Counter::ListenerTableFull);
    }
    0
}

/// `sk_acceptq_is_full` in include/net/sock.h and `unix_recvq_full` in net/unix/af_unix.c compare the same fields.
#[inline(always)]
fn look(l: &mut Listener, sk: u64) {
    let read = |offset: u32| kernel::<u32>(sk + offset as u64).unwrap_or(0);
    l.backlog = read(if l.family == AF_UNIX { CFG.sock_queue_len() } else { CFG.sock_ack_backlog() });
    l.backlog_max = read(CFG.sock_max_ack_backlog());
    l.drops = read(CFG.sock_drops());
    if l.backlog > l.peak_backlog {
        l.peak_backlog = l.backlog;
    }
}

/// One of its connections was accepted. It was in the queue until now.
#[inline(always)]
pub(crate) fn accepted(sk: u64) {
    let Some((family, _)) = connection::family_and_state(sk) else { return };
    seen(sk, family);
    if let Some(known) = LISTENERS.get_ptr_mut(sk) {
        // SAFETY: a value of LISTENERS.
        let l = unsafe { &mut *known };
        l.accepted = l.accepted.wrapping_add(1);
        if l.peak_backlog == 0 {
            l.peak_backlog = 1;
        }
    }
}

/// It listens no more.
#[inline(always)]
pub(crate) fn closed(sk: u64) {
    let _ = LISTENERS.remove(sk);
}

/// Run by user space: the listener's address as argument.
#[raw_tracepoint]
fn listener_look(ctx: RawTracePointContext) -> i32 {
    let sk = argument(&ctx, 0);
    let Some(known) = LISTENERS.get_ptr_mut(sk) else { return 0 };
    // SAFETY: a value of LISTENERS.
    let l = unsafe { &mut *known };
    let listens = connection::family_and_state(sk) == Some((l.family, tcp::LISTEN));
    if !listens || l.family == AF_UNIX && connection::inode(sk) != l.inode {
        // No tracepoint tells of a Unix socket's end.
        closed(sk);
        return 0;
    }
    look(l, sk);
    1
}
