//! The machines' world inside the kernel: bytes from the caller's buffers, heads in map values, records to the ring.

use aya_ebpf::helpers::generated as h;
use profiler_ebpf::conn::Conn;
use profiler_ebpf::record::{Counter, Record, Request};
use profiler_ebpf::scan::LAST_CHUNK;
use profiler_ebpf::world::{Op, WINDOW, World};

use super::config::CFG;
use super::maps::{self, BLANK_REQUEST, RING, SPARE, Scratch, WAITING, WaitingKey};
use super::memory::{at_most, user};

/// `BPF_RB_NO_WAKEUP` and `BPF_RB_FORCE_WAKEUP` of include/uapi/linux/bpf.h.
const NO_WAKEUP: u64 = 1;
const FORCE_WAKEUP: u64 = 2;
/// The reader is woken when this many bytes past the mark are waiting, once for each crossing.
const WAKE_WINDOW: u64 = 4096;
/// Segments of an I/O vector that a fetch passes over at most.
const SEGMENTS: u32 = 64;
/// `UIO_MAXIOV` of include/uapi/linux/uio.h: no call has more segments.
const MAX_SEGMENTS: u64 = 1024;
/// A segment's address and length (`struct iovec`), and how many of them the window takes.
const SEGMENT: usize = 16;
const GROUP: usize = WINDOW / SEGMENT;

/// The outside of one operation; null where an event has no operation (a closed connection).
pub(crate) struct Kernel(pub(crate) *mut Scratch);

impl Kernel {
    /// Passes over the segments of the operation, so that a fetch reaches its last bytes, as many as a body in chunks ends
    /// with. The window is used for it.
    #[inline(always)]
    pub(crate) fn near_end(&mut self, op: &Op) {
        if self.0.is_null() {
            return;
        }
        // SAFETY: not null, a per-CPU value.
        let s = unsafe { &mut *self.0 };
        let end = (op.len as u64).saturating_sub(LAST_CHUNK as u64);
        let mut i = 0;
        // Where a buffer is meant, there are no segments.
        while i < MAX_SEGMENTS / GROUP as u64 {
            i += 1;
            if s.iov_len <= GROUP as u64 {
                return;
            }
            // SAFETY: writes the window.
            let failed = unsafe {
                h::bpf_probe_read_user(s.window.as_mut_ptr().cast(), WINDOW as u32, s.iov as *const _)
            };
            if failed != 0 {
                return;
            }
            let mut bytes = 0u64;
            let mut j = 0;
            while j < GROUP {
                // SAFETY: inside the window.
                bytes = bytes.wrapping_add(unsafe {
                    s.window.as_ptr().add(j * SEGMENT + 8).cast::<u64>().read_unaligned()
                });
                j += 1;
            }
            let before = s.before.wrapping_add(bytes);
            if before > end {
                return;
            }
            s.before = before;
            s.iov = s.iov.wrapping_add((GROUP * SEGMENT) as u64);
            s.iov_len -= GROUP as u64;
        }
    }
}

impl World for Kernel {
    #[inline(always)]
    fn fetch(&mut self, op: &Op, off: u32) -> u32 {
        if self.0.is_null() {
            return 0;
        }
        // SAFETY: not null, a per-CPU value.
        let s = unsafe { &mut *self.0 };
        let mut room = op.len.wrapping_sub(off) as u64;
        let address = if s.iov == 0 {
            if s.buf == 0 {
                return 0;
            }
            s.buf.wrapping_add(off as u64)
        } else {
            // An operation is worked through from its beginning to its end: what lies before `off` is done with.
            let mut skip = (off as u64).wrapping_sub(s.before);
            let mut address = 0;
            let mut i = 0;
            while i < SEGMENTS {
                if i as u64 >= s.iov_len {
                    break;
                }
                let Some([base, len]) = user::<[u64; 2]>(s.iov.wrapping_add(i as u64 * 16)) else { return 0 };
                if skip < len {
                    address = base.wrapping_add(skip);
                    if room > len - skip {
                        room = len - skip;
                    }
                    s.iov = s.iov.wrapping_add(i as u64 * 16);
                    s.iov_len -= i as u64;
                    s.before = (off as u64).wrapping_sub(skip);
                    break;
                }
                skip -= len;
                i += 1;
            }
            if address == 0 {
                return 0;
            }
            address
        };
        let n = at_most(room, WINDOW as u64);
        // SAFETY: writes at most WINDOW bytes into the window.
        let failed =
            unsafe { h::bpf_probe_read_user(s.window.as_mut_ptr().cast(), n as u32, address as *const _) };
        if failed != 0 {
            maps::count(Counter::HeadUnreadable);
            return 0;
        }
        n as u32
    }

    #[inline(always)]
    fn window(&self) -> &[u8; WINDOW] {
        // SAFETY: machines look at the window only after a fetch that found the scratch.
        unsafe { &(*self.0).window }
    }

    #[inline(always)]
    fn append_head(&mut self, r: &mut Request, len: u32) {
        let cap = CFG.head_bytes() as u64;
        let request: *mut Request = r;
        let head: *mut u8 = request.wrapping_add(1).cast();
        let len = len as u64;
        let at = r.head_len as u64;
        // SAFETY: `head` has `head_bytes` + SPARE bytes behind it in the map's value, the window WINDOW + SPARE; every
        // copy is bounded to that.
        unsafe {
            let window = (&raw const (*self.0).window).cast::<u8>();
            if at == 0 {
                let n = at_most(at_most(len, WINDOW as u64), cap);
                h::bpf_probe_read_kernel(head.cast(), n as u32, window.cast());
                r.head_len = n as u32;
                if len > n {
                    r.truncated = 1;
                }
                return;
            }
            let mut done = 0usize;
            while done < WINDOW {
                let to = at_most(at + done as u64, cap);
                if done as u64 >= len || to >= cap {
                    break;
                }
                let from = window.add(done);
                let to = head.add(to as usize);
                h::bpf_probe_read_kernel(to.cast(), SPARE as u32, from.cast());
                done += SPARE;
            }
            let end = at + len;
            if end > cap {
                r.truncated = 1;
                r.head_len = cap as u32;
            } else {
                r.head_len = end as u32;
            }
        }
    }

    #[inline(always)]
    fn head_room(&self, r: &Request) -> bool {
        r.head_len < CFG.head_bytes()
    }

    #[inline(always)]
    fn start_head(&mut self, r: &mut Request, pre: u64, len: u32) {
        let request: *mut Request = r;
        // SAFETY: the head has at least SPARE bytes.
        unsafe { request.wrapping_add(1).cast::<u64>().write_unaligned(pre) };
        r.head_len = len & 7;
    }

    #[inline(always)]
    fn emit(&mut self, conn: &mut Conn) {
        send(conn);
    }

    #[inline(always)]
    fn push_waiting(&mut self, conn: &Conn, number: u32) -> *mut Request {
        let key = WaitingKey { sk: conn.record.sk, number: number as u64 };
        let Some(blank) = BLANK_REQUEST.get_ptr(0) else { return core::ptr::null_mut() };
        // SAFETY: a valid map value.
        let blank = unsafe { &*blank };
        let _ = WAITING.insert(key, blank, 0);
        WAITING.get_ptr_mut(key).unwrap_or(core::ptr::null_mut())
    }

    #[inline(always)]
    fn waiting(&mut self, conn: &Conn, number: u32) -> *mut Request {
        let key = WaitingKey { sk: conn.record.sk, number: number as u64 };
        WAITING.get_ptr_mut(key).unwrap_or(core::ptr::null_mut())
    }

    #[inline(always)]
    fn take_waiting(&mut self, conn: &mut Conn, number: u32) -> bool {
        let key = WaitingKey { sk: conn.record.sk, number: number as u64 };
        let Some(from) = WAITING.get_ptr(key) else { return false };
        let to: *mut Request = &mut conn.record.request;
        let n = size_of::<Request>() as u64 + CFG.head_bytes() as u64;
        // SAFETY: both values are at least a request and `head_bytes` long.
        unsafe { h::bpf_probe_read_kernel(to.cast(), n as u32, from.cast()) };
        let _ = WAITING.remove(key);
        true
    }

    #[inline(always)]
    fn count(&mut self, counter: Counter) {
        maps::count(counter);
    }
}

/// Sends a record and its head. Wake-ups are rare: only when the ring fills past the mark; the reader also polls.
#[inline(never)]
fn send(conn: *mut Conn) -> i32 {
    if conn.is_null() {
        return 0;
    }
    // SAFETY: not null, a value of CONNS.
    unsafe {
        (*conn).tally();
        let record = &raw const (*conn).record;
        let head = at_most((*conn).record.request.head_len as u64, CFG.head_bytes() as u64);
        let len = size_of::<Record>() as u64 + head;
        let failed = h::bpf_ringbuf_output(
            (&raw const RING).cast_mut().cast(),
            record.cast_mut().cast(),
            len,
            wakeup(),
        );
        if failed != 0 {
            maps::count(Counter::RingFull);
        }
    }
    0
}

/// The flag for this output.
#[inline(always)]
pub(crate) fn wakeup() -> u64 {
    let waiting = RING.query(0);
    let mark = CFG.wake_at() as u64;
    if waiting >= mark && waiting < mark + WAKE_WINDOW { FORCE_WAKEUP } else { NO_WAKEUP }
}
