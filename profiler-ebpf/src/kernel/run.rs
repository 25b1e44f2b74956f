//! Runs one socket operation through the machine: the first steps at once, further ones in a program of their own,
//! so that each program stays small enough for the verifier.

use aya_ebpf::helpers::bpf_get_current_pid_tgid;
use profiler_ebpf::conn::{Conn, state};
use profiler_ebpf::life::{end, mark as life_mark};
use profiler_ebpf::mysql::command;
use profiler_ebpf::record::{Counter, proto, role};
use profiler_ebpf::world::Op;
use profiler_ebpf::{http, machine, mysql, recognise};

use super::config::CFG;
use super::connection::{self, AF_UNIX};
use super::maps::{CONNS, SCRATCH, armed, count};
use super::memory::{now, user};
use super::world::Kernel;
use super::{connect, life, lookup};

/// Programs of the next steps, by protocol: their places in the program arrays.
pub(crate) mod stage {
    pub(crate) const RECOGNISE: u32 = 0;
    pub(crate) const HTTP: u32 = 1;
    pub(crate) const MYSQL: u32 = 2;
    /// MySQL's replies where commands wait behind one another.
    pub(crate) const REPLIES: u32 = 3;
    /// The ends of accept() and connect(), where one program sees all calls.
    pub(crate) const ACCEPT: u32 = 4;
    pub(crate) const CONNECT: u32 = 5;
    pub(crate) const COUNT: u32 = 6;
    /// Not a place: the operation is done.
    pub(crate) const DONE: u32 = 9;
}

/// Steps of one MySQL program: a command takes a header, a payload's first byte, and its rest.
const MYSQL_STEPS: u32 = 3;
/// Steps of one program of framed replies, so that some 100 packets fit into the kernel's 33 tail calls.
const REPLIES_STEPS: u32 = 3;
/// Steps of one HTTP program, so that a head of some 16 KiB fits into the kernel's 33 tail calls.
const HTTP_STEPS: u32 = 2;

/// Where the caller's bytes are.
#[derive(Clone, Copy)]
pub(crate) struct Buffer {
    pub(crate) buf: u64,
    pub(crate) iov: u64,
    pub(crate) iov_len: u64,
    /// In no call's arguments, but in a ring's (io_uring).
    pub(crate) in_ring: bool,
}

impl Buffer {
    pub(crate) const NONE: Self = Self { buf: 0, iov: 0, iov_len: 0, in_ring: false };
    pub(crate) const RING: Self = Self { in_ring: true, ..Self::NONE };
}

/// Errors that end a connection (include/uapi/asm-generic/errno.h); any other may be followed by more data.
#[inline(always)]
fn ends(errno: i64) -> bool {
    matches!(errno, 32 | 100 | 101 | 102 | 103 | 104 | 107 | 108 | 110 | 112 | 113)
}

/// One read or write that returned `ret`. Says which program takes its steps.
#[inline(always)]
pub(crate) fn operation(sk: u64, ret: i64, send: bool, buffer: impl FnOnce() -> Buffer) -> u32 {
    let id = bpf_get_current_pid_tgid();
    let tgid = (id >> 32) as u32;
    if tgid == CFG.self_tgid() || !armed() {
        return stage::DONE;
    }
    count(Counter::Operations);
    if ret <= 0 {
        over(sk, ret, send, buffer);
        return stage::DONE;
    }
    let Some(conn) = connection::find(sk) else {
        if !send {
            lookup::read(sk, ret as u64, buffer);
        }
        return stage::DONE;
    };
    let Some(scratch) = SCRATCH.get_ptr_mut(0) else { return stage::DONE };
    // SAFETY: values of maps; this CPU's scratch belongs to this program until it returns.
    let (c, s) = unsafe { (&mut *conn, &mut *scratch) };
    if c.life.marks & life_mark::OPENED == 0 && !c.life.is_attempt() {
        // It was there before us, or nothing told of accept().
        connect::owned(c);
        if c.record.family == AF_UNIX {
            connection::name_unix(c);
        }
        life::opened(c);
    }
    if !send && c.record.family == AF_UNIX && c.life.t_used == 0 && c.t_ready == 0 {
        c.t_ready = connection::arrived_before(sk);
    }
    s.op = Op {
        len: ret as u32,
        off: 0,
        time: now(),
        ready: 0,
        pid: tgid,
        tid: id as u32,
        got: 0,
        used: 0,
        send: send as u8,
        client: 0,
        event: 0,
        pad: [0; 5],
    };
    s.sk = sk;
    let op: *mut Op = &mut s.op;
    // SAFETY: `op` is inside the scratch, and the world reads only the rest of it.
    if !machine::begin(c, unsafe { &mut *op }) {
        return stage::DONE;
    }
    let b = buffer();
    if b.in_ring && c.record.proto == proto::UNKNOWN {
        recognise::give_up(c, &mut Kernel(core::ptr::null_mut()), Counter::NotParsedIoUring);
        return stage::DONE;
    }
    s.buf = b.buf;
    s.iov = b.iov;
    s.iov_len = b.iov_len;
    s.before = 0;
    stage_of(c, &s.op)
}

#[inline(always)]
fn stage_of(c: &Conn, op: &Op) -> u32 {
    match c.record.proto {
        proto::HTTP => stage::HTTP,
        proto::MYSQL if mysql::is_framed(c, op) => stage::REPLIES,
        proto::MYSQL => stage::MYSQL,
        _ => stage::RECOGNISE,
    }
}

/// The next steps of the operation in this CPU's scratch, for a connection of the program's protocol. Says which
/// program goes on.
#[inline(always)]
pub(crate) fn resume(stage: u32) -> u32 {
    let Some(scratch) = SCRATCH.get_ptr_mut(0) else { return stage::DONE };
    // SAFETY: a per-CPU value.
    let sk = unsafe { (*scratch).sk };
    let Some(conn) = CONNS.get_ptr_mut(sk) else { return stage::DONE };
    // SAFETY: values of maps; the world touches only the scratch's bytes, never its operation.
    let (c, op) = unsafe { (&mut *conn, &mut (*scratch).op) };
    let w = &mut Kernel(scratch);
    match stage {
        stage::HTTP => {
            let mut i = 0;
            if http::is_unframed(c, op) {
                w.near_end(op);
                http::pass_over(c, op, w);
                i = HTTP_STEPS;
            }
            while i < HTTP_STEPS {
                if !http::step(c, op, w) || op.left() == 0 || c.record.proto != proto::HTTP {
                    break;
                }
                i += 1;
            }
        }
        stage::MYSQL => {
            let mut i = 0;
            while i < MYSQL_STEPS {
                mysql::step(c, op, w);
                if op.left() == 0 || c.record.proto != proto::MYSQL {
                    break;
                }
                i += 1;
            }
        }
        stage::REPLIES => {
            let mut i = 0;
            while i < REPLIES_STEPS {
                mysql::replies(c, op, w);
                if op.left() == 0 || c.record.proto != proto::MYSQL {
                    break;
                }
                i += 1;
            }
        }
        _ => recognise::recognise(c, op, w),
    }
    if machine::more(c, op) {
        return stage_of(c, op);
    }
    if c.record.family == AF_UNIX && (c.record.proto == proto::HTTP || c.record.proto == proto::MYSQL) {
        connection::name_unix(c);
    }
    stage::DONE
}

/// No further program could be called: boundaries are lost.
#[inline(always)]
pub(crate) fn give_up() {
    let Some(scratch) = SCRATCH.get_ptr_mut(0) else { return };
    // SAFETY: a per-CPU value.
    let sk = unsafe { (*scratch).sk };
    let Some(conn) = CONNS.get_ptr_mut(sk) else { return };
    // SAFETY: values of maps.
    let (c, op) = unsafe { (&mut *conn, &mut (*scratch).op) };
    let w = &mut Kernel(scratch);
    // First of all, where few ways lead: the verifier follows each of them through it.
    w.near_end(op);
    machine::lose_framing(c, op, w);
}

/// An end of file or an error.
#[inline(always)]
fn over(sk: u64, ret: i64, send: bool, buffer: impl FnOnce() -> Buffer) {
    if ret == 0 && send || ret < 0 && !ends(-ret) {
        return;
    }
    let Some(conn) = CONNS.get_ptr_mut(sk) else { return unused(sk) };
    // SAFETY: a value of CONNS.
    let c = unsafe { &mut *conn };
    let unix = c.record.family == AF_UNIX;
    if ret == 0 && c.from_client(send) {
        // The client has no more to ask, but may still wait for the answer.
        if c.t_closed == 0 && (!unix || c.state == state::REQUEST) {
            return;
        }
    }
    let time = now();
    if unix {
        c.life.ends(if ret == 0 { end::PEERS } else { end::RESET }, time);
    }
    let idle = c.state != state::REQUEST && c.life.was_ended();
    if send && c.record.role == role::CLIENT && c.record.proto != proto::IGNORED && idle {
        // What is written to an idle connection that the server has ended, and wants something.
        let (mysql, b) = (c.record.proto == proto::MYSQL, buffer());
        if !mysql || !is_idle_talk(&b) {
            c.life.marks |= life_mark::GONE;
            c.life.validated = (mysql && is_validation(&b)) as u8;
        }
    }
    machine::end(c, &mut Kernel(core::ptr::null_mut()), (-ret) as u8, time);
    if unix || c.t_closed != 0 {
        // No other event will come.
        life::forget(c, time);
    }
}

/// The end of a Unix connection that was there before us and was not used since: no other event will tell of it.
#[inline(always)]
fn unused(sk: u64) {
    let Some((AF_UNIX, _)) = connection::family_and_state(sk) else { return };
    let conn = connection::create(sk, role::UNKNOWN as u64, 0);
    if conn.is_null() {
        return;
    }
    // SAFETY: a value of CONNS.
    let c = unsafe { &mut *conn };
    let time = now();
    c.life.ends(end::PEERS, time);
    life::forget(c, time);
}

/// True for MySQL's COM_QUIT, and for COM_PING and COM_RESET_CONNECTION, by which pools ask whether the server is there.
#[inline(always)]
fn is_idle_talk(b: &Buffer) -> bool {
    matches!(
        user::<[u8; 5]>(first(b)),
        Some([1, 0, 0, 0, command::QUIT | command::PING | command::RESET_CONNECTION])
    )
}

/// True for `SELECT 1` as pools send it to find out whether the server is there; of clients that may send query
/// attributes it has none of them.
#[inline(always)]
fn is_validation(b: &Buffer) -> bool {
    const LOWER: u64 = 0x2020_2020_2020_2020;
    let text = match user::<[u8; 5]>(first(b)) {
        Some([9, 0, 0, 0, command::QUERY]) => 5,
        Some([11, 0, 0, 0, command::QUERY]) => 7,
        _ => return false,
    };
    user::<[u8; 8]>(first(b) + text)
        .is_some_and(|text| u64::from_ne_bytes(text) | LOWER == u64::from_ne_bytes(*b"select 1") | LOWER)
}

/// Where the bytes are, or the first of them.
#[inline(always)]
fn first(b: &Buffer) -> u64 {
    if b.iov == 0 { b.buf } else { user::<u64>(b.iov).unwrap_or(0) }
}
