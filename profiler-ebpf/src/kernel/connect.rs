//! connect() and accept() return: who has a connection, since when, and connects that fail before TCP has sent anything,
//! or that are none of TCP's.
//!
//! syscalls:sys_exit_*/format: the result is a word at 16 (`exit_fields` in kernel/trace/trace_syscalls.c); the saved
//! registers still hold the arguments.

use aya_ebpf::EbpfContext;
use aya_ebpf::helpers::bpf_get_current_pid_tgid;
use aya_ebpf::helpers::generated as h;
use aya_ebpf::macros::tracepoint;
use aya_ebpf::programs::TracePointContext;
use profiler_ebpf::conn::{Conn, mark};
use profiler_ebpf::life::tcp;
use profiler_ebpf::record::role;
use profiler_ebpf::world::Op;

use super::config::CFG;
use super::connection::{self, AF_INET, AF_INET6, AF_UNIX};
use super::maps::{CONNS, armed};
use super::memory::{now, user};
use super::syscall::socket_of;
use super::{life, listener};

/// Results of connect() that say nothing of an outcome: EINTR, EAGAIN of a signal's restart, EBADF, EFAULT, EINVAL,
/// ENOTSOCK, EISCONN, EALREADY, EINPROGRESS (include/uapi/asm-generic/errno.h), and what restarts a call (from 512 on,
/// include/linux/errno.h).
#[inline(always)]
fn is_open(errno: i64) -> bool {
    matches!(errno, 4 | 9 | 14 | 22 | 88 | 106 | 114 | 115 | 512..=531)
}

/// The result, and the arguments by the saved registers (Linux 5.15 and newer).
#[inline(always)]
fn call(ctx: &TracePointContext) -> (i64, [u64; 3]) {
    // SAFETY: the format above, which the loader checks; the registers are the current task's, their offsets come from BTF.
    unsafe {
        let ret = *ctx.as_ptr().cast::<u8>().add(16).cast::<i64>();
        let regs = h::bpf_task_pt_regs(h::bpf_get_current_task_btf()) as *const u8;
        let word = |offset: u32| *regs.add(offset as usize).cast::<u64>();
        (ret, [word(CFG.regs_arg0()), word(CFG.regs_arg1()), word(CFG.regs_arg2())])
    }
}

#[tracepoint]
fn accept_exit(ctx: TracePointContext) -> u32 {
    let (ret, args) = call(&ctx);
    accepted(args[0], ret);
    0
}

#[tracepoint]
fn connect_exit(ctx: TracePointContext) -> u32 {
    let (ret, args) = call(&ctx);
    connected(args, ret);
    0
}

/// accept() on the descriptor `listening` has returned `ret`.
#[inline(always)]
pub(crate) fn accepted(listening: u64, ret: i64) {
    if ret < 0 || !armed() {
        return;
    }
    let Some(sk) = socket_of(ret as u64) else { return };
    let known = CONNS.get_ptr_mut(sk).is_some();
    let Some(conn) = connection::find(sk) else { return };
    // SAFETY: a value of CONNS.
    let c = unsafe { &mut *conn };
    let time = now();
    c.life.t_accept = time;
    owned(c);
    c.record.role = role::SERVER;
    if let Some(from) = socket_of(listening) {
        listener::accepted(from);
        c.life.listener = from;
    }
    if c.record.family == AF_UNIX {
        c.marks |= mark::SYNCED;
        let opened = opened_by_peer(sk);
        c.life.t_open = if opened != 0 { opened } else { time };
        if c.t_ready < opened {
            // Of what was there before it at this address.
            c.t_ready = 0;
        }
        if c.t_ready == 0 {
            c.t_ready = connection::arrived_before(sk);
        }
        connection::name_unix(c);
    } else if !known {
        // The handshake was done before we came.
        c.marks |= mark::SYNCED;
    }
    life::opened(c);
}

/// When the client's connect() on a Unix socket returned: before that it is not known to wait. 0 where it is not known to
/// have returned.
#[inline(always)]
fn opened_by_peer(sk: u64) -> u64 {
    // SAFETY: a value of CONNS; a word.
    connection::other_end(sk).map_or(0, |client| unsafe { (*client).life.t_open })
}

/// connect(fd, address, length) has returned `ret`.
#[inline(always)]
pub(crate) fn connected(args: [u64; 3], ret: i64) {
    if !armed() || ret < 0 && is_open(-ret) {
        return;
    }
    let Some(sk) = socket_of(args[0]) else { return };
    let Some((family, _)) = connection::family_and_state(sk) else { return };
    if ret >= 0 && family != AF_UNIX {
        // TCP's states tell.
        return;
    }
    let attempt = if family == AF_UNIX { None } else { CONNS.get_ptr_mut(sk) };
    let conn = match attempt {
        Some(conn) => conn,
        None if family == AF_UNIX => match connection::find(sk) {
            Some(conn) => conn,
            None => return,
        },
        None => connection::create(sk, role::CLIENT as u64, 0),
    };
    if conn.is_null() {
        return;
    }
    // SAFETY: a value of CONNS.
    let c = unsafe { &mut *conn };
    if c.life.t_open != 0 {
        return;
    }
    c.record.role = role::CLIENT;
    owned(c);
    let time = now();
    if ret >= 0 {
        c.marks |= mark::SYNCED;
        c.life.t_open = time;
        connection::name_unix(c);
        life::opened(c);
        return;
    }
    // Where TCP has tried, its state has told already, or knows no reason (no free port).
    if c.life.error == 0 {
        c.life.error = (-ret) as u8;
    }
    // As memory has it: the verifier would follow each number that it knows.
    let errno = Op::fresh(&c.life.error);
    if c.life.t_connect == 0 {
        c.life.t_connect = time;
        asked(c, family, args[1], args[2]);
    }
    c.life.state(tcp::CLOSE, errno, time);
    life::forget(c, time);
}

/// The address that connect() was asked for (`struct sockaddr_in`, `sockaddr_in6`, `sockaddr_un` of include/uapi/linux).
#[inline(always)]
fn asked(c: &mut Conn, family: u16, address: u64, len: u64) {
    let r = &mut c.record;
    if family == AF_UNIX {
        let (sk, born) = (r.sk, r.born);
        connection::send_name(sk, born, (len as u32).saturating_sub(2), |to, len| {
            // SAFETY: the copy is as long as it is told to be.
            unsafe { h::bpf_probe_read_user(to.cast(), len, address.wrapping_add(2) as *const _) };
        });
        return;
    }
    let Some([f0, f1, p0, p1]) = user::<[u8; 4]>(address) else { return };
    let asked = u16::from_ne_bytes([f0, f1]);
    r.rport = u16::from_be_bytes([p0, p1]);
    if asked == AF_INET {
        r.family = AF_INET;
        let ip = user::<[u8; 4]>(address.wrapping_add(4)).unwrap_or([0; 4]);
        let mut i = 0;
        while i < 4 {
            r.raddr[i] = ip[i];
            i += 1;
        }
    } else if asked == AF_INET6 {
        r.raddr = user::<[u8; 16]>(address.wrapping_add(8)).unwrap_or([0; 16]);
    }
}

/// The current thread has it, unless another one is known to.
#[inline(always)]
pub(crate) fn owned(c: &mut Conn) {
    if c.life.pid == 0 {
        let id = bpf_get_current_pid_tgid();
        c.life.pid = (id >> 32) as u32;
        c.life.tid = id as u32;
    }
}
