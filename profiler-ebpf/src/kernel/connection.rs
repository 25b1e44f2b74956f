//! Entries of the connection table: made at the handshake or at first sight, renewed when an address is reused.

use aya_ebpf::bindings::BPF_NOEXIST;
use aya_ebpf::helpers::generated as h;
use profiler_ebpf::conn::{Conn, mark};
use profiler_ebpf::life::tcp;
use profiler_ebpf::listener::Listener;
use profiler_ebpf::record::{Counter, UNIX_PATH, UnixName, kind, proto};

use super::config::CFG;
use super::maps::{CONNS, MAKING, NEW_CONN, RING, UNIX_NAME, add, count};
use super::memory::{at_most, kernel, now};
use super::world::wakeup;
use super::{life, listener};

pub(crate) const AF_UNIX: u16 = 1;
pub(crate) const AF_INET: u16 = 2;
pub(crate) const AF_INET6: u16 = 10;
const IPPROTO_TCP: u16 = 6;
const SOCK_STREAM: u16 = 1;

/// The beginning of `struct sock_common` (include/net/sock.h): remote and local IPv4 address at 0 and 4, remote port
/// (big-endian) at 12, local port at 14, family at 16, state at 18. IPv6 addresses are at [`V6_REMOTE`] and [`V6_LOCAL`]. The
/// loader checks these offsets against BTF before it loads anything.
const COMMON: usize = 24;
const FAMILY: u64 = 16;
const LOCAL: u64 = 4;
const LOCAL_PORT: u64 = 14;
const V6_REMOTE: u64 = 56;
const V6_LOCAL: u64 = 72;

/// The connection of a socket; a new entry when there is none. None for sockets that are no streams, or a full table.
#[inline(always)]
pub(crate) fn find(sk: u64) -> Option<*mut Conn> {
    match CONNS.get_ptr_mut(sk) {
        Some(conn) => {
            // SAFETY: a value of CONNS.
            let c = unsafe { &mut *conn };
            if c.record.family == AF_UNIX && is_gone(c) {
                // No tracepoint tells that a Unix socket is gone; its address has been given to a new one.
                life::over(c, 0, now());
                return made(create(sk, 0, 0));
            }
            Some(conn)
        }
        None => {
            let (family, _) = family_and_state(sk)?;
            if family != AF_UNIX && is_shut(sk) {
                // It was reset before it was accepted, or another thread has closed it: no event will come any more.
                return None;
            }
            made(create(sk, 0, 0))
        }
    }
}

/// True when both directions of a TCP socket are shut down: it is closed, by its process (`__tcp_close` in
/// net/ipv4/tcp.c, before its FIN) or by TCP (`tcp_done` there); a FIN of shutdown() leaves the other one open.
#[inline(always)]
pub(crate) fn is_shut(sk: u64) -> bool {
    const BOTH: u8 = 3;
    kernel::<u8>(sk + CFG.sock_shutdown() as u64).unwrap_or(0) & BOTH == BOTH
}

/// How long a Unix connection's data may wait to be accepted before its entry is given up, ns.
const ACCEPT_NS: u64 = 10_000_000_000;

/// True when the connection's socket is no more. A Unix socket that was released has lost its inode, and whatever has
/// the memory now has another; one that is not accepted yet has none (`sock_graft` in include/net/sock.h gives it). A
/// TCP socket that is closed has lost its process (`sock_orphan` there).
#[inline(always)]
pub(crate) fn is_gone(c: &mut Conn) -> bool {
    if c.record.family != AF_UNIX {
        return c.t_closed != 0 && is_orphan(c.record.sk);
    }
    let inode = inode(c.record.sk);
    if c.inode == 0 {
        c.inode = inode;
        return inode == 0 && now().wrapping_sub(c.record.born) > ACCEPT_NS;
    }
    c.inode != inode
}

/// True when no process holds the socket any more.
#[inline(always)]
pub(crate) fn is_orphan(sk: u64) -> bool {
    kernel::<u64>(sk + CFG.sock_socket() as u64).unwrap_or(0) == 0
}

/// The inode number of a socket (`struct socket_alloc`), 0 when it has none any more.
#[inline(always)]
pub(crate) fn inode(sk: u64) -> u64 {
    let Some(socket) = kernel::<u64>(sk + CFG.sock_socket() as u64) else { return 0 };
    if socket == 0 {
        return 0;
    }
    kernel::<u64>(socket + CFG.socket_inode() as u64 + CFG.inode_ino() as u64).unwrap_or(0)
}

/// The entry in which an arrival of data is noted, and whether it is that of the end at which they arrive.
///
/// A new Unix connection is accepted in one thread while data arrive in another, the sender's. Where the address still has
/// an entry of what was there before, only the one who accepts replaces it, for two would take each other's: the arrival
/// is noted at the sender's entry until then. Where that is not known either, both were there before us. Listeners are
/// told of connections in the same way.
#[inline(always)]
pub(crate) fn arriving(sk: u64) -> Option<(*mut Conn, bool)> {
    let mut is_stale = false;
    if let Some(conn) = CONNS.get_ptr_mut(sk) {
        // SAFETY: a value of CONNS.
        let c = unsafe { &*conn };
        if c.record.family != AF_UNIX || c.inode == 0 || c.inode == inode(sk) {
            return Some((conn, true));
        }
        is_stale = true;
    }
    let (family, state) = family_and_state(sk)?;
    if state == tcp::LISTEN {
        listener::seen(sk, family);
        return None;
    }
    if is_stale {
        if let Some(sender) = other_end(sk) {
            return Some((sender, false));
        }
        return find(sk).map(|conn| (conn, true));
    }
    // A TCP connection that was there before us.
    if family != AF_UNIX && state != tcp::ESTABLISHED {
        return None;
    }
    made(create(sk, 0, 0)).map(|conn| (conn, true))
}

/// When the first bytes for this end of a Unix connection arrived, if that was before it was known.
#[inline(always)]
pub(crate) fn arrived_before(sk: u64) -> u64 {
    // SAFETY: a value of CONNS; a word.
    other_end(sk).map_or(0, |sender| unsafe { (*sender).t_peer_ready })
}

/// The entry of a Unix connection's other end, which may have been closed since; not of what was there before it at that
/// address.
#[inline(always)]
pub(crate) fn other_end(sk: u64) -> Option<*mut Conn> {
    let other = peer(sk);
    let conn = CONNS.get_ptr_mut(other)?;
    let inode = inode(other);
    // SAFETY: a value of CONNS; a word.
    if inode == 0 || inode == unsafe { (*conn).inode } { Some(conn) } else { None }
}

/// The other end of a Unix connection, 0 where there is none.
#[inline(always)]
fn peer(sk: u64) -> u64 {
    kernel::<u64>(sk + CFG.unix_peer() as u64).unwrap_or(0)
}

#[inline(always)]
fn made(conn: *mut Conn) -> Option<*mut Conn> {
    if conn.is_null() { None } else { Some(conn) }
}

/// True for sockets of this family that carry a stream of ours: TCP or Unix.
#[inline(always)]
pub(crate) fn is_stream(sk: u64, family: u16) -> bool {
    if family == AF_UNIX {
        kernel::<u16>(sk + CFG.sock_type() as u64) == Some(SOCK_STREAM)
    } else {
        (family == AF_INET || family == AF_INET6)
            && kernel::<u16>(sk + CFG.sock_protocol() as u64) == Some(IPPROTO_TCP)
    }
}

/// A socket's family and state, which stand side by side (`struct sock_common`).
#[inline(always)]
pub(crate) fn family_and_state(sk: u64) -> Option<(u16, u8)> {
    let [low, high, state, _] = kernel::<[u8; 4]>(sk + FAMILY)?;
    Some((u16::from_ne_bytes([low, high]), state))
}

/// Makes the entry, `role` and `marks` as the handshake tells them; one that another CPU has made meanwhile stays as it
/// is. Null for what is no stream, or when the table is full. A function of its own for the stack's sake (512 bytes in
/// all).
#[inline(never)]
pub(crate) fn create(sk: u64, role: u64, marks: u64) -> *mut Conn {
    let none = core::ptr::null_mut();
    let Some((family, _)) = family_and_state(sk) else { return none };
    if !is_stream(sk, family) {
        return none;
    }
    let Some(making) = MAKING.get_ptr_mut(0) else { return none };
    // SAFETY: a per-CPU word; whoever interrupts us takes back what it adds.
    let level = unsafe {
        add(making, 1);
        making.read_volatile().wrapping_sub(1)
    };
    let mut inserted = Err(0);
    if let Some(new) = NEW_CONN.get_ptr_mut(level as u32) {
        // SAFETY: a per-CPU value, this program's until it leaves its level.
        let c = unsafe { &mut *new };
        begin(c, sk, family);
        (c.record.role, c.marks) = (role as u8, marks as u8);
        let whole: &Conn = c;
        inserted = CONNS.insert(sk, whole, BPF_NOEXIST as u64);
    }
    // SAFETY: the same.
    unsafe { add(making, u64::MAX) };
    match CONNS.get_ptr_mut(sk) {
        // SAFETY: a value of CONNS; a word.
        Some(conn) if unsafe { (*conn).record.sk } == sk => conn,
        mixed => {
            if mixed.is_some() {
                // Where these programs are preempted, another one may have had the same template (Linux 7.0 and newer).
                let _ = CONNS.remove(sk);
            }
            if mixed.is_some() || inserted.is_err() {
                // Counted once for each connection that opens, and apart for each operation on one without an entry.
                count(if marks != 0 { Counter::ConnectionTableFull } else { Counter::Untracked });
            }
            none
        }
    }
}

/// What is known of a new connection by its socket alone.
#[inline(always)]
fn begin(c: &mut Conn, sk: u64, family: u16) {
    let r = &mut c.record;
    r.kind = kind::EXCHANGE;
    r.sk = sk;
    r.born = now();
    r.family = family;
    r.proto = proto::UNKNOWN;
    let net = kernel::<u64>(sk + CFG.sock_net() as u64);
    r.netns = net.and_then(|net| kernel::<u32>(net + CFG.net_inum() as u64)).unwrap_or(0);
    (r.laddr, r.raddr, r.lport, r.rport, c.inode) = ([0; 16], [0; 16], 0, 0, 0);
    if family != AF_UNIX {
        return addresses(sk, c);
    }
    c.inode = inode(sk);
    let number = c.inode.to_ne_bytes();
    let mut i = 0;
    while i < number.len() {
        c.record.laddr[i] = number[i];
        i += 1;
    }
}

/// The two ends of a TCP connection, as they are now: connect() finds its own port last.
#[inline(always)]
pub(crate) fn addresses(sk: u64, c: &mut Conn) {
    let r = &mut c.record;
    let mut common = [0u8; COMMON];
    // SAFETY: writes COMMON bytes or fails.
    if unsafe { h::bpf_probe_read_kernel(common.as_mut_ptr().cast(), COMMON as u32, sk as *const _) } != 0 {
        return;
    }
    r.rport = u16::from_be_bytes([common[12], common[13]]);
    r.lport = u16::from_ne_bytes([common[14], common[15]]);
    if r.family == AF_INET {
        let mut i = 0;
        while i < 4 {
            r.raddr[i] = common[i];
            r.laddr[i] = common[4 + i];
            i += 1;
        }
    } else {
        // SAFETY: each address has room for its 16 bytes.
        unsafe {
            h::bpf_probe_read_kernel(r.raddr.as_mut_ptr().cast(), 16, (sk + V6_REMOTE) as *const _);
            h::bpf_probe_read_kernel(r.laddr.as_mut_ptr().cast(), 16, (sk + V6_LOCAL) as *const _);
        }
    }
}

/// Where a TCP socket listens.
#[inline(always)]
pub(crate) fn local(sk: u64, l: &mut Listener) {
    l.lport = kernel::<u16>(sk + LOCAL_PORT).unwrap_or(0);
    if l.family == AF_INET {
        let address = kernel::<[u8; 4]>(sk + LOCAL).unwrap_or([0; 4]);
        let mut i = 0;
        while i < 4 {
            l.laddr[i] = address[i];
            i += 1;
        }
    } else {
        l.laddr = kernel::<[u8; 16]>(sk + V6_LOCAL).unwrap_or([0; 16]);
    }
}

/// Tells user space a Unix connection's path: the address that this end or, for a client, its peer is bound to
/// (`struct unix_sock` in include/net/af_unix.h).
#[inline(always)]
pub(crate) fn name_unix(c: &mut Conn) {
    if c.has(mark::NAMED) {
        return;
    }
    c.marks |= mark::NAMED;
    let sk = c.record.sk;
    let mut address = kernel::<u64>(sk + CFG.unix_addr() as u64).unwrap_or(0);
    if address == 0 {
        let peer = peer(sk);
        if peer == 0 {
            return;
        }
        address = kernel::<u64>(peer + CFG.unix_addr() as u64).unwrap_or(0);
    }
    if address == 0 {
        return;
    }
    let len = kernel::<u32>(address + CFG.unix_address_len() as u64).unwrap_or(0);
    // `name` begins with the family's two bytes.
    send_name(sk, c.record.born, len.saturating_sub(2), |to, len| {
        let from = address + CFG.unix_address_name() as u64 + 2;
        // SAFETY: the copy is as long as it is told to be.
        unsafe { h::bpf_probe_read_kernel(to.cast(), len, from as *const _) };
    });
}

/// Sends a name of at most `len` bytes, which `copy` brings.
#[inline(always)]
pub(crate) fn send_name(sk: u64, born: u64, len: u32, copy: impl FnOnce(*mut u8, u32)) {
    let len = at_most(len as u64, UNIX_PATH as u64);
    let Some(name) = UNIX_NAME.get_ptr_mut(0) else { return };
    // SAFETY: a per-CPU value; the copy is at most as long as its target.
    unsafe {
        let n = &mut *name;
        n.kind = kind::UNIX_NAME;
        n.len = len as u32;
        n.sk = sk;
        n.born = born;
        copy(n.path.as_mut_ptr(), len as u32);
        if RING.output::<UnixName>(&*n, wakeup()).is_err() {
            count(Counter::NoticeLost);
        }
    }
}
