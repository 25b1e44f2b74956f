//! What the machines need of the outside: the bytes of the current operation, a place for heads, a way out for
//! records. The kernel half implements it with helpers and maps, tests with vectors.

use crate::conn::Conn;
use crate::record::{Counter, Request};

/// Bytes of an operation that are looked at in one step.
pub const WINDOW: usize = 256;

/// One read or write on a socket, as far as it has been worked through.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct Op {
    /// Bytes that the call moved, and how many of them are done with.
    pub len: u32,
    pub off: u32,
    /// When the call returned, ns.
    pub time: u64,
    /// When its first byte had arrived in the kernel, ns; 0 unknown.
    pub ready: u64,
    pub pid: u32,
    pub tid: u32,
    /// Bytes in the window, and how many of them the scan used.
    pub got: u32,
    pub used: u32,
    /// 1 for writes.
    pub send: u8,
    /// 1 when the bytes are the client's.
    pub client: u8,
    /// [`crate::scan::event`] of the scan.
    pub event: u8,
    pub pad: [u8; 5],
}

impl Op {
    /// A field as memory holds it, not as the compiler (or the verifier, which forks for every value that it knows)
    /// remembers it.
    #[inline(always)]
    pub fn fresh<T: Copy>(field: &T) -> T {
        // SAFETY: a reference is valid to read.
        unsafe { core::ptr::from_ref(field).read_volatile() }
    }

    #[inline(always)]
    pub fn left(&self) -> u32 {
        self.len.wrapping_sub(self.off)
    }
}

/// The outside. Pointers are to memory that stays for the length of one operation.
pub trait World {
    /// Brings the operation's bytes from `off` on into the window; returns how many, 0 when they cannot be read.
    /// At most [`WINDOW`], and never beyond the operation's end.
    fn fetch(&mut self, op: &Op, off: u32) -> u32;

    /// The window.
    fn window(&self) -> &[u8; WINDOW];

    /// Appends the first `len` bytes of the window to the request's head, as far as there is room.
    fn append_head(&mut self, request: &mut Request, len: u32);

    /// True while the request's head has room.
    fn head_room(&self, request: &Request) -> bool;

    /// Starts the request's head with bytes that came in earlier operations, first byte lowest in `pre`.
    fn start_head(&mut self, request: &mut Request, pre: u64, len: u32);

    /// Sends the connection's record, head behind it.
    fn emit(&mut self, conn: &mut Conn);

    /// A new waiting request of this connection under `number`; null when there is no room.
    fn push_waiting(&mut self, conn: &Conn, number: u32) -> *mut Request;

    /// The waiting request `number`; null when it is not there.
    fn waiting(&mut self, conn: &Conn, number: u32) -> *mut Request;

    /// Moves the waiting request `number` into the connection's record; false when it is not there.
    fn take_waiting(&mut self, conn: &mut Conn, number: u32) -> bool;

    fn count(&mut self, counter: Counter);
}
