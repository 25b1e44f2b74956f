//! Other processes' memory, read while they go on (process_vm_readv(2)); and how much of its own the reader has.

use std::{fs, io};

/// A thread that has forgotten what it kept may not do so again for so long, ns: what it reads anew costs more than the
/// memory, and the memory may be another thread's.
const REST: u64 = 10_000_000_000;

/// When a thread is to forget what it keeps.
#[derive(Debug)]
pub(super) struct Pressure {
    enough: u64,
    last: Option<u64>,
}

impl Pressure {
    /// Above so many bytes.
    pub(super) fn new(enough: u64) -> Self {
        Self { enough, last: None }
    }

    /// Whether it is now. `bytes`: what the process has.
    pub(super) fn is_due(&mut self, bytes: Option<u64>, now: u64) -> bool {
        let rested = self.last.is_none_or(|last| now.saturating_sub(last) >= REST);
        let due = rested && bytes.is_some_and(|bytes| bytes > self.enough);
        if due {
            self.last = Some(now);
        }
        due
    }
}

/// `N` bytes at an address; None where they are not all to be had.
pub(super) fn read<const N: usize>(pid: u32, address: u64) -> Option<[u8; N]> {
    let mut bytes = [0; N];
    (read_into(pid, address, &mut bytes) == N).then_some(bytes)
}

/// Reads as many bytes as are to be had, and says how many that were.
pub(super) fn read_into(pid: u32, address: u64, bytes: &mut [u8]) -> usize {
    let local = libc::iovec { iov_base: bytes.as_mut_ptr().cast(), iov_len: bytes.len() };
    let remote = libc::iovec { iov_base: address as *mut libc::c_void, iov_len: bytes.len() };
    // SAFETY: the kernel writes at most as many bytes as the slice has; the other address is the other process's.
    let got = unsafe { libc::process_vm_readv(pid as i32, &raw const local, 1, &raw const remote, 1, 0) };
    usize::try_from(got).unwrap_or(0)
}

/// No core dump of this process is ever written (do_coredump(), fs/coredump.c): it has other processes' memory in it.
/// Its own files in `/proc` stay open to it, and those that anyone may read (`stat`, `status`) to hostprof.
pub(super) fn keep_off_the_disk() -> io::Result<()> {
    // SAFETY: numbers only.
    let done = unsafe { libc::prctl(libc::PR_SET_DUMPABLE, 0, 0, 0, 0) };
    if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Memory of the reader that is no file's, bytes.
pub(super) fn own() -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:"))?;
    line.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok().map(|kib| kib * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_is_not_forgotten_at_each_look() {
        let mut pressure = Pressure::new(100);
        assert!(!pressure.is_due(None, 0) && !pressure.is_due(Some(100), 1));
        assert!(pressure.is_due(Some(101), 2));
        assert!(!pressure.is_due(Some(1_000), 1 + REST));
        assert!(pressure.is_due(Some(101), 2 + REST));
    }

    #[test]
    fn no_core_dump() {
        // SAFETY: numbers only.
        let dumpable = || unsafe { libc::prctl(libc::PR_GET_DUMPABLE, 0, 0, 0, 0) };
        let before = dumpable();
        keep_off_the_disk().unwrap();
        assert_eq!(dumpable(), 0);
        assert!(own().is_some(), "its own files in /proc can still be read");
        assert!(fs::read("/proc/self/maps").is_ok());
        // SAFETY: numbers only. The other tests' process is as it was.
        assert_eq!(unsafe { libc::prctl(libc::PR_SET_DUMPABLE, before, 0, 0, 0) }, 0);
    }

    #[test]
    fn what_is_there_and_what_is_not() {
        let word = 0x1234_5678_u32;
        let own = std::process::id();
        assert_eq!(read::<4>(own, &raw const word as u64), Some(word.to_ne_bytes()));
        assert_eq!(read::<4>(own, 8), None);
        assert_eq!(read::<4>(u32::MAX, 8), None);
        assert!(super::own().is_some_and(|bytes| bytes > 0));
    }
}
