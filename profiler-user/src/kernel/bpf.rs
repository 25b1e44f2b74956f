//! bpf(2) itself, for what aya does not offer, and what fdinfo tells of a map or a program.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

/// Commands (`enum bpf_cmd`, include/uapi/linux/bpf.h).
#[derive(Debug, Clone, Copy)]
#[repr(u32)]
pub(super) enum Command {
    ProgLoad = 5,
    ProgTestRun = 10,
    MapLookupBatch = 24,
}

/// Gives the kernel a command. The kernel takes an attribute shorter than its own as followed by zeros.
///
/// # Safety
///
/// `attr` is the part of `union bpf_attr` that the command reads and writes, and what its pointers name is alive and as
/// large as it says.
pub(super) unsafe fn bpf<A>(command: Command, attr: &mut A) -> io::Result<libc::c_long> {
    let size = size_of::<A>() as libc::c_long;
    // SAFETY: the attribute outlives the call; the rest is the caller's word.
    let rc = unsafe {
        libc::syscall(libc::SYS_bpf, libc::c_long::from(command as u32), std::ptr::from_mut(attr), size)
    };
    if rc < 0 { Err(io::Error::last_os_error()) } else { Ok(rc) }
}

/// A number that the kernel tells of one of our descriptors.
pub(super) fn fdinfo(fd: BorrowedFd<'_>, key: &str) -> Option<u64> {
    let text = std::fs::read_to_string(format!("/proc/self/fdinfo/{}", fd.as_raw_fd())).ok()?;
    text.lines().find_map(|l| l.strip_prefix(key))?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use std::io::{Seek, SeekFrom};
    use std::os::fd::AsFd;

    use super::fdinfo;

    #[test]
    fn numbers_of_a_descriptor() {
        let mut file = tempfile::tempfile().unwrap();
        file.seek(SeekFrom::Start(4711)).unwrap();
        assert_eq!(fdinfo(file.as_fd(), "pos:"), Some(4711));
        assert_eq!(fdinfo(file.as_fd(), "recursion_misses:"), None);
    }
}
