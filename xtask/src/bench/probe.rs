//! What is measured in each setup: system calls of different kinds, and switches from thread to thread.

use std::{
    io::{self, PipeReader, PipeWriter, Read as _, Write as _, pipe},
    os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd},
    ptr, thread,
};

use anyhow::{Context as _, Result, ensure};

use super::Case;
use super::measure::{each, pinned};

/// One number to be measured, nanoseconds.
#[derive(Debug)]
pub(super) struct Probe {
    pub(super) case: Case,
    pub(super) name: &'static str,
    pub(super) measure: fn() -> Result<f64>,
}

pub(super) const ALL: [Probe; 4] = [
    Probe { case: Case::Syscall, name: "a system call (getppid)", measure: || pinned(|| Ok(each(getppid))) },
    Probe { case: Case::Epoll, name: "epoll_wait, timeout 0, empty set", measure: || pinned(look) },
    Probe {
        case: Case::Switch,
        name: "a switch with a write and a read of a pipe, threads that are no loops",
        measure: || pinned(|| ping_pong(false)),
    },
    Probe {
        case: Case::Switch,
        name: "the same, threads that are loops",
        measure: || pinned(|| ping_pong(true)),
    },
];

fn getppid() {
    // SAFETY: no arguments, no effects.
    unsafe { libc::syscall(libc::SYS_getppid) };
}

/// A new, empty epoll set.
pub(super) fn epoll_set() -> Result<OwnedFd> {
    // SAFETY: no memory of ours is touched.
    let fd = unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) };
    ensure!(fd >= 0, "failed to make an epoll set: {}", io::Error::last_os_error());
    // SAFETY: just made, and nobody else's.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Waits for an event for so many milliseconds (-1: as long as it takes); how many came.
pub(super) fn wait(set: &OwnedFd, patience: i32) -> i32 {
    let mut event = libc::epoll_event { events: 0, u64: 0 };
    // SAFETY: one event has room for one event.
    unsafe { libc::epoll_wait(set.as_raw_fd(), ptr::from_mut(&mut event), 1, patience) }
}

fn look() -> Result<f64> {
    let set = epoll_set()?;
    Ok(each(|| {
        wait(&set, 0);
    }))
}

/// A byte there and back between two threads of one CPU: two switches.
fn ping_pong(are_loops: bool) -> Result<f64> {
    let (mut to_us, mut to_other) = (pipe().context("no pipe")?, pipe().context("no pipe")?);
    let become_loop = || -> Result<Option<OwnedFd>> {
        let set = are_loops.then(epoll_set).transpose()?;
        if let Some(set) = &set {
            wait(set, 0);
        }
        Ok(set)
    };
    thread::scope(|scope| {
        let other = scope.spawn(|| -> Result<()> {
            let _set = become_loop()?;
            while pass(&mut to_other.0, &mut to_us.1) {}
            Ok(())
        });
        let _set = become_loop()?;
        let mut broken = false;
        let both = each(|| broken |= !pass_back(&mut to_us.0, &mut to_other.1));
        // The other thread ends with this byte.
        let told = to_other.1.write_all(b"!");
        let ended = other.join().unwrap_or_else(|_| Err(anyhow::anyhow!("the other thread panicked")));
        ensure!(!broken && told.is_ok(), "a pipe broke");
        ended?;
        Ok(both / 2.0)
    })
}

/// Takes a byte and gives one; false when it was the last.
fn pass(from: &mut PipeReader, to: &mut PipeWriter) -> bool {
    let mut byte = [0];
    from.read_exact(&mut byte).is_ok() && byte == *b"." && to.write_all(&byte).is_ok()
}

fn pass_back(from: &mut PipeReader, to: &mut PipeWriter) -> bool {
    let mut byte = [0];
    to.write_all(b".").is_ok() && from.read_exact(&mut byte).is_ok()
}
