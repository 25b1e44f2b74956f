//! The system calls in which an event loop waits: their kinds, and which number is which.
//!
//! Sources: arch/x86/entry/syscalls/syscall_64.tbl; `IORING_ENTER_GETEVENTS` of include/uapi/linux/io_uring.h.

/// What a thread waits with. The number's upper bits are its rank, see [`outranks`].
pub mod kind {
    pub const POLL: u32 = 2;
    pub const SELECT: u32 = 3;
    pub const IO_URING: u32 = 4;
    pub const EPOLL: u32 = 6;
}

/// The set of a wait that has no descriptor (poll, select).
pub const NO_SET: i32 = -1;

const POLL: u32 = 7;
const SELECT: u32 = 23;
const EPOLL_WAIT: u32 = 232;
const PSELECT6: u32 = 270;
const PPOLL: u32 = 271;
const EPOLL_PWAIT: u32 = 281;
const IO_URING_ENTER: u32 = 426;
const EPOLL_PWAIT2: u32 = 441;

const GETEVENTS: u64 = 1;

/// The kind of a system call; 0 for one that is no wait.
#[inline(always)]
pub fn of(nr: u32) -> u32 {
    match nr {
        EPOLL_WAIT | EPOLL_PWAIT | EPOLL_PWAIT2 => kind::EPOLL,
        IO_URING_ENTER => kind::IO_URING,
        POLL | PPOLL => kind::POLL,
        SELECT | PSELECT6 => kind::SELECT,
        _ => 0,
    }
}

/// Whether a call's first argument is not the descriptor that it waits on, but an array of those.
#[inline(always)]
pub fn takes_array(nr: u32) -> bool {
    nr == POLL || nr == PPOLL
}

/// What a wait waits on: the descriptor that is its first argument, if it has one.
#[inline(always)]
pub fn set(kind: u32, argument: u64) -> i32 {
    if kind == kind::POLL || kind == kind::SELECT { NO_SET } else { argument as i32 }
}

/// Whether a thread's loop is rather the one of this kind than that of the `other`: who waits with epoll and sometimes
/// with poll has its loop in epoll.
#[inline(always)]
pub fn outranks(kind: u32, other: u32) -> bool {
    kind >> 1 > other >> 1
}

/// Whether `io_uring_enter` waits: it also hands in work without waiting.
#[inline(always)]
pub fn ring_waits(least: u64, flags: u64) -> bool {
    least as u32 != 0 && flags & GETEVENTS != 0
}
