//! Registers and stack of a thread that is on the CPU: one sample by perf_event_open(2), taken by the kernel at a tick
//! of the thread's own CPU clock. The thread is interrupted for some microseconds, as by any timer, and goes on.

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::ptr;

use super::start::{Registers, Start};

/// PERF_TYPE_SOFTWARE, PERF_COUNT_SW_TASK_CLOCK, PERF_SAMPLE_REGS_USER, PERF_SAMPLE_STACK_USER, PERF_RECORD_SAMPLE,
/// PERF_FLAG_FD_CLOEXEC, and the ioctls PERF_EVENT_IOC_REFRESH (include/uapi/linux/perf_event.h).
const SOFTWARE: u32 = 1;
const TASK_CLOCK: u64 = 1;
const REGS_USER: u64 = 1 << 12;
const STACK_USER: u64 = 1 << 13;
const RECORD_SAMPLE: u32 = 9;
const FD_CLOEXEC: u64 = 1 << 3;
const REFRESH: libc::c_ulong = 0x2402;
/// The bits `disabled`, `exclude_hv` and `exclude_idle`, of which only the first matters here.
const DISABLED: u64 = 1;

/// The frame pointer, the stack pointer and the program counter among the registers, in the order in which they come
/// (arch/x86/include/uapi/asm/perf_regs.h).
const REGISTERS: u64 = 1 << 6 | 1 << 7 | 1 << 8;

/// A sample comes after so much time on the CPU, ns.
const PERIOD: u64 = 1_000_000;
/// Stack copied with it, bytes: a record is 64 KiB at the most.
const STACK: usize = 32 << 10;
/// Pages of the ring after its first: a power of two, with room for one record.
const PAGES: usize = 16;
/// PERF_ATTR_SIZE_VER5, which has all that is used here (Linux 4.1).
const ATTR_SIZE: usize = 112;

/// `struct perf_event_attr` up to `sample_max_stack`.
#[repr(C)]
#[derive(Default)]
struct Attr {
    kind: u32,
    size: u32,
    config: u64,
    period: u64,
    sample_type: u64,
    read_format: u64,
    flags: u64,
    wakeup_events: u32,
    bp_type: u32,
    config1: u64,
    config2: u64,
    branch_sample_type: u64,
    sample_regs_user: u64,
    sample_stack_user: u32,
    clockid: i32,
    sample_regs_intr: u64,
    aux_watermark: u32,
    sample_max_stack: u16,
    reserved: u16,
}

/// The ring of an event.
struct Ring {
    at: *mut u8,
    length: usize,
    page: usize,
}

/// One sample of a thread; None if it had no time on the CPU for so many milliseconds.
pub(super) fn sample(tid: u32, patience: i32) -> io::Result<Option<Start>> {
    let attr = Attr {
        kind: SOFTWARE,
        size: ATTR_SIZE as u32,
        config: TASK_CLOCK,
        period: PERIOD,
        sample_type: REGS_USER | STACK_USER,
        flags: DISABLED,
        wakeup_events: 1,
        sample_regs_user: REGISTERS,
        sample_stack_user: STACK as u32,
        ..Attr::default()
    };
    // SAFETY: the kernel reads the attributes given, of the size that they say; the rest are numbers.
    let fd =
        unsafe { libc::syscall(libc::SYS_perf_event_open, &raw const attr, tid as i32, -1, -1, FD_CLOEXEC) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: a new descriptor that nobody else has.
    let event = unsafe { OwnedFd::from_raw_fd(fd as i32) };
    let ring = Ring::of(&event)?;
    // It is on until one sample has come, and off by itself then.
    // SAFETY: numbers only.
    if unsafe { libc::ioctl(event.as_raw_fd(), REFRESH, 1) } != 0 {
        return Err(io::Error::last_os_error());
    }
    let mut poll = libc::pollfd { fd: event.as_raw_fd(), events: libc::POLLIN, revents: 0 };
    // SAFETY: poll reads and writes the one struct given, which outlives the call.
    unsafe { libc::poll(&raw mut poll, 1, patience) };
    Ok(ring.first().as_deref().and_then(parse))
}

impl Ring {
    fn of(event: &OwnedFd) -> io::Result<Self> {
        // SAFETY: a number in, a number out.
        let page = unsafe { libc::sysconf(libc::_SC_PAGESIZE) } as usize;
        let length = (1 + PAGES) * page;
        let (read, write) = (libc::PROT_READ, libc::PROT_WRITE);
        // SAFETY: a new mapping at an address that the kernel chooses.
        let at = unsafe {
            libc::mmap(ptr::null_mut(), length, read | write, libc::MAP_SHARED, event.as_raw_fd(), 0)
        };
        if at == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        Ok(Self { at: at.cast(), length, page })
    }

    /// The first record, if it is a sample. It does not wrap around: the ring was empty.
    fn first(&self) -> Option<Vec<u8>> {
        // `data_head` of `struct perf_event_mmap_page`.
        const HEAD: usize = 1024;
        // SAFETY: within the mapping's first page, aligned; the kernel writes it while we read, hence volatile.
        let head = unsafe { ptr::read_volatile(self.at.add(HEAD).cast::<u64>()) };
        std::sync::atomic::fence(std::sync::atomic::Ordering::Acquire);
        let all = usize::try_from(head).ok()?.min(self.length - self.page);
        // SAFETY: the kernel has written this many bytes behind the first page and writes no more: the event is off,
        // or what it still adds comes behind them.
        let bytes = unsafe { std::slice::from_raw_parts(self.at.add(self.page), all) };
        let kind = u32::from_ne_bytes(*bytes.first_chunk()?);
        let size = u16::from_ne_bytes(*bytes.get(6..)?.first_chunk()?);
        (kind == RECORD_SAMPLE).then(|| bytes.get(8..usize::from(size)).map(<[u8]>::to_vec)).flatten()
    }
}

impl Drop for Ring {
    fn drop(&mut self) {
        // SAFETY: what was mapped, and nobody has a reference to it.
        unsafe { libc::munmap(self.at.cast(), self.length) };
    }
}

/// What a sample says: the registers' ABI (0: none), the registers, the size of the stack copied, the stack, and how
/// much of it is real (perf_output_sample(), kernel/events/core.c).
fn parse(record: &[u8]) -> Option<Start> {
    let word = |at: usize| record.get(at * 8..)?.first_chunk().map(|word| u64::from_ne_bytes(*word));
    if word(0)? == 0 {
        return None;
    }
    let registers = Registers { fp: word(1)?, sp: word(2)?, pc: word(3)? };
    let size = usize::try_from(word(4)?).ok()?;
    let stack = record.get(40..)?.get(..size)?;
    let real = if size == 0 { 0 } else { usize::try_from(word(5 + size / 8)?).ok()?.min(size) };
    Some(Start { registers, stack: stack[..real].to_vec() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sample_as_the_kernel_writes_it() {
        assert_eq!(size_of::<Attr>(), ATTR_SIZE);
        let record: Vec<u8> =
            [2u64, 0xb, 0x5, 0x1, 16, 7, 8, 8].into_iter().flat_map(u64::to_ne_bytes).collect();
        let start = parse(&record).unwrap();
        assert_eq!((start.registers.fp, start.registers.sp, start.registers.pc), (0xb, 0x5, 0x1));
        assert_eq!(start.stack, 7u64.to_ne_bytes(), "8 of the 16 bytes are real");
        assert!(parse(&record[..56]).is_none(), "cut");
        assert!(parse(&[0; 64]).is_none(), "a thread of the kernel has no registers");
    }
}
