//! Events of connections' lives on their way to user space, and the end of an entry of the table. May run in soft
//! interrupts, so it does not touch the scratch.

use profiler_ebpf::conn::Conn;
use profiler_ebpf::life::{Event, end, mark, what};
use profiler_ebpf::machine;
use profiler_ebpf::record::Counter;

use super::config::CFG;
use super::maps::{CONNS, RING, count};
use super::memory::now;
use super::world::{Kernel, wakeup};

/// The connection is open, and somebody has it.
#[inline(always)]
pub(crate) fn opened(c: &mut Conn) {
    if c.life.marks & mark::OPENED == 0 {
        c.life.marks |= mark::OPENED;
        if tell(c, what::OPENED as u32) == 0 {
            // Its first read or write tells it again.
            c.life.marks &= !mark::OPENED;
        }
    }
}

/// It is closed, or has failed to open; told once. A client that writes to it after that is told of apart.
#[inline(always)]
pub(crate) fn closed(c: &mut Conn) {
    if c.is_begun_too_late() {
        c.life.marks |= mark::GONE;
    }
    let told = c.life.marks & mark::CLOSED != 0;
    if told && c.life.marks & (mark::GONE | mark::GONE_TOLD) != mark::GONE {
        return;
    }
    if c.life.marks & mark::GONE != 0 {
        c.life.marks |= mark::GONE_TOLD;
    }
    c.life.marks |= mark::CLOSED;
    let what = match (told, c.life.is_attempt()) {
        (true, _) => what::GONE,
        (false, true) => what::FAILED,
        (false, false) => what::CLOSED,
    };
    tell(c, what as u32);
}

/// Ends the exchange under way, tells of the end, and takes the entry out of the table.
#[inline(always)]
pub(crate) fn over(c: &mut Conn, errno: u8, time: u64) {
    machine::end(c, &mut Kernel(core::ptr::null_mut()), errno, time);
    forget(c, time);
}

/// Tells of the end, and takes the entry out of the table.
#[inline(always)]
pub(crate) fn forget(c: &mut Conn, time: u64) {
    if c.life.t_closed == 0 {
        c.life.t_closed = time;
        c.life.ends(end::UNKNOWN, time);
    }
    closed(c);
    let _ = CONNS.remove(c.record.sk);
}

/// 0 when there was no room for it.
#[inline(never)]
fn tell(conn: *mut Conn, what: u32) -> i32 {
    if conn.is_null() {
        return 1;
    }
    // SAFETY: not null, a value of CONNS.
    let c = unsafe { &*conn };
    if c.life.pid == CFG.self_tgid() {
        return 1;
    }
    let Some(mut room) = RING.reserve::<Event>(0) else {
        count(Counter::ConnectionEventLost);
        return 0;
    };
    // SAFETY: the room is as large as an event, and is written whole.
    unsafe { c.event(what as u8, now(), room.as_mut_ptr()) };
    room.submit(wakeup());
    1
}
