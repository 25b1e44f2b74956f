//! All maps. Sizes marked "patched" are set by the loader: value sizes from `--head-bytes`, entries from
//! `--max-connections` and `--ring-size`.

use core::arch::asm;

use aya_ebpf::macros::map;
use aya_ebpf::maps::{Array, HashMap, PerCpuArray, ProgramArray, RingBuf};
use profiler_ebpf::claim::Claim;
use profiler_ebpf::conn::Conn;
use profiler_ebpf::histogram::Histogram;
use profiler_ebpf::listener::Listener;
use profiler_ebpf::loops::Loop;
use profiler_ebpf::record::{Counter, Process, Request, UnixName};
use profiler_ebpf::world::{Op, WINDOW};

/// Bytes behind a head and a window that a copy in whole chunks may touch.
pub(crate) const SPARE: usize = 64;

/// The operation being worked through, and its bytes. Per CPU: these programs run with preemption off
/// (`__DO_TRACE` in include/linux/tracepoint.h; from Linux 7.0 on only those of classic tracepoints do, and no others are
/// used), and no program of the soft interrupts touches it.
#[repr(C)]
pub(crate) struct Scratch {
    pub(crate) op: Op,
    pub(crate) sk: u64,
    /// The caller's buffer, or what is left of its I/O vector: where, how many segments, and the bytes before them.
    pub(crate) buf: u64,
    pub(crate) iov: u64,
    pub(crate) iov_len: u64,
    pub(crate) before: u64,
    pub(crate) window: [u8; WINDOW],
    pub(crate) spare: [u8; SPARE],
}

/// Which waiting request of which connection.
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct WaitingKey {
    pub(crate) sk: u64,
    pub(crate) number: u64,
}

/// Connections by `struct sock` address. Value and entries patched.
#[map]
pub(crate) static CONNS: HashMap<u64, Conn> = HashMap::with_max_entries(65536, 0);

/// New connections before they are inserted, which makes them known to other CPUs; one for each program that may be at it
/// on this CPU ([`MAKING`]). What no new connection has stays zeros. Value patched.
#[map]
pub(crate) static NEW_CONN: PerCpuArray<Conn> = PerCpuArray::with_max_entries(LEVELS, 0);

/// How many programs of this CPU are making a connection: a soft interrupt's interrupts a thread's.
#[map]
pub(crate) static MAKING: PerCpuArray<u64> = PerCpuArray::with_max_entries(1, 0);

/// Programs that may be making a connection on one CPU, each interrupted by the next.
pub(crate) const LEVELS: u32 = 3;

/// Pipelined requests that wait for their reply. Value patched.
#[map]
pub(crate) static WAITING: HashMap<WaitingKey, Request> = HashMap::with_max_entries(4096, 0);

/// One waiting request of zeros. Value patched.
#[map]
pub(crate) static BLANK_REQUEST: Array<Request> = Array::with_max_entries(1, 0);

/// Records on their way to user space. Size patched.
#[map]
pub(crate) static RING: RingBuf = RingBuf::with_byte_size(4 << 20, 0);

#[map]
pub(crate) static COUNTERS: PerCpuArray<u64> = PerCpuArray::with_max_entries(Counter::COUNT as u32, 0);

#[map]
pub(crate) static SCRATCH: PerCpuArray<Scratch> = PerCpuArray::with_max_entries(1, 0);

/// One for each program that writes one: no two of one program run on a CPU at a time (`__bpf_trace_run` in
/// kernel/trace/bpf_trace.c).
#[map]
pub(crate) static PROCESS: PerCpuArray<Process> = PerCpuArray::with_max_entries(3, 0);

#[map]
pub(crate) static UNIX_NAME: PerCpuArray<UnixName> = PerCpuArray::with_max_entries(1, 0);

/// Threads that wait for events, by `struct task_struct` address.
#[map]
pub(crate) static LOOPS: HashMap<u64, Loop> = HashMap::with_max_entries(8192, 0);

/// One loop of zeros, to insert new ones from.
#[map]
pub(crate) static BLANK_LOOP: Array<Loop> = Array::with_max_entries(1, 0);

/// Lengths of turns, by thread as in [`LOOPS`]. User space makes an entry for each loop that serves; a loop without one
/// is not measured so finely.
#[map]
pub(crate) static TURNS: HashMap<u64, Histogram> = HashMap::with_max_entries(512, 0);

/// Who waits on which set, by [`profiler_ebpf::claim::key`].
#[map]
pub(crate) static SETS: HashMap<u64, Claim> = HashMap::with_max_entries(8192, 0);

/// Listening sockets by `struct sock` address.
#[map]
pub(crate) static LISTENERS: HashMap<u64, Listener> = HashMap::with_max_entries(4096, 0);

/// The programs that take an operation's steps ([`super::run::stage`]), for raw and for classic tracepoints (a program
/// array holds programs of one type: `bpf_prog_map_compatible` in kernel/bpf/core.c).
#[map]
pub(crate) static NEXT_RAW: ProgramArray = ProgramArray::with_max_entries(6, 0);
#[map]
pub(crate) static NEXT_CLASSIC: ProgramArray = ProgramArray::with_max_entries(4, 0);

/// 1 from the moment that every hook is attached: seeing only the writes of a connection, or only the reads, would pair
/// requests with other requests' replies.
#[map]
pub(crate) static ARMED: Array<u32> = Array::with_max_entries(1, 0);

#[inline(always)]
pub(crate) fn armed() -> bool {
    // SAFETY: a word that only user space writes.
    ARMED.get_ptr(0).is_some_and(|armed| unsafe { armed.read_volatile() } != 0)
}

#[inline(always)]
pub(crate) fn count(counter: Counter) {
    if let Some(value) = COUNTERS.get_ptr_mut(counter as u32) {
        // Atomic, since a program in a soft interrupt may count between the load and the store of one that it
        // interrupts; but not where it is frequent, counts only for information, and all its programs are of one kind.
        if matches!(counter, Counter::Operations) {
            // SAFETY: a per-CPU slot that only programs in process context write.
            unsafe { *value += 1 };
        } else {
            // SAFETY: a valid, aligned word of a map.
            unsafe { add(value, 1) };
        }
    }
}

/// Adds to a word in one step, wrapping around.
///
/// # Safety
/// An aligned word of a map.
#[inline(always)]
pub(crate) unsafe fn add(word: *mut u64, what: u64) {
    // SAFETY: the caller's word; the instruction is older than the ring buffer that we need.
    unsafe { asm!("lock *(u64 *)({0} + 0) += {1}", in(reg) word, in(reg) what) };
}
