//! What sort of thing a thread was blocked on: a judgement from the system call and what its target is. Pure.

use std::net::SocketAddr;

use profiler_ebpf::turn::call;
use serde::{Deserialize, Serialize};

use crate::kernel::syscalls;

/// What it waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// Time to pass.
    Sleep,
    /// A lock of threads (futex), of files, a semaphore.
    Lock,
    /// A file system.
    File,
    Socket,
    /// A connection that speaks MySQL.
    Database,
    /// The answer to a name's lookup.
    Dns,
    /// A child process, or what it writes.
    Subprocess,
    Pipe,
    /// Any of several things (select, another epoll set), or an event of the kernel's (a timer, an eventfd).
    Wait,
    /// Memory: a page that was not there, a map that was locked.
    Memory,
    /// Somebody to let it go on.
    Stopped,
    Other,
}

/// What a descriptor is, or a process that is waited for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// `tcp IP:PORT`, `udp IP:PORT`, `unix:PATH`, a file's path, `subprocess NAME[pid]`. Empty where only its nature is
    /// known.
    pub text: String,
    pub what: What,
    pub ends: Option<Ends>,
}

/// What it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum What {
    File,
    Pipe,
    Subprocess,
    Socket,
    /// A socket to somebody who looks names up.
    Resolver,
    /// A set, an eventfd, a timer.
    Event,
    Other,
}

/// Which connection a socket is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ends {
    Inet {
        local: SocketAddr,
        peer: SocketAddr,
    },
    /// Its inode.
    Unix(u64),
}

impl Target {
    pub fn new(text: impl Into<String>, what: What) -> Self {
        Self { text: text.into(), what, ends: None }
    }

    /// As an output has it.
    pub fn name(&self) -> Option<String> {
        (!self.text.is_empty()).then(|| self.text.clone())
    }
}

/// The kind of a call with its first argument, and its target, where that was looked up.
pub fn of(call: (u32, u64), target: Option<&Target>) -> Kind {
    let (nr, argument) = call;
    match nr {
        call::STOPPED => return Kind::Stopped,
        call::FAULT => return Kind::Memory,
        call::UNKNOWN => return Kind::Other,
        _ => {}
    }
    match syscalls::name(nr).as_str() {
        "nanosleep" | "clock_nanosleep" | "pause" => Kind::Sleep,
        // How many descriptors: none, so it sleeps (as Python before 3.11 does).
        "select" | "pselect6" if argument == 0 => Kind::Sleep,
        "poll" | "ppoll" if argument == call::NO_TARGET => Kind::Sleep,
        "futex" | "futex_wait" | "futex_waitv" | "flock" | "semop" | "semtimedop" => Kind::Lock,
        // What blocks in it are locks (F_SETLKW, F_OFD_SETLKW).
        "fcntl" => Kind::Lock,
        "wait4" | "waitid" | "vfork" | "clone" | "clone3" | "fork" | "execve" => Kind::Subprocess,
        "mmap" | "munmap" | "mremap" | "mprotect" | "madvise" | "brk" | "mlock" | "mlock2" | "mlockall"
        | "process_madvise" => Kind::Memory,
        "select" | "pselect6" => Kind::Wait,
        name if PATHS.contains(&name) => Kind::File,
        name => match target.map(|target| target.what) {
            Some(What::File) => Kind::File,
            Some(What::Pipe) => Kind::Pipe,
            Some(What::Subprocess) => Kind::Subprocess,
            Some(What::Socket) => Kind::Socket,
            Some(What::Resolver) => Kind::Dns,
            Some(What::Event) => Kind::Wait,
            Some(What::Other) | None => by_name(name),
        },
    }
}

/// Calls that take a path, or are a file's in any case.
const PATHS: [&str; 39] = [
    "open",
    "openat",
    "openat2",
    "creat",
    "stat",
    "lstat",
    "fstat",
    "newfstatat",
    "statx",
    "access",
    "faccessat",
    "faccessat2",
    "rename",
    "renameat",
    "renameat2",
    "mkdir",
    "mkdirat",
    "rmdir",
    "link",
    "linkat",
    "symlink",
    "symlinkat",
    "unlink",
    "unlinkat",
    "readlink",
    "readlinkat",
    "truncate",
    "ftruncate",
    "fallocate",
    "getdents",
    "getdents64",
    "fsync",
    "fdatasync",
    "sync",
    "syncfs",
    "sync_file_range",
    "msync",
    "statfs",
    "readahead",
];

/// Where the target is not known.
fn by_name(name: &str) -> Kind {
    match name {
        "recvfrom" | "recvmsg" | "recvmmsg" | "sendto" | "sendmsg" | "sendmmsg" | "connect" | "accept"
        | "accept4" | "shutdown" => Kind::Socket,
        "poll" | "ppoll" | "epoll_wait" | "epoll_pwait" | "epoll_pwait2" | "io_uring_enter"
        | "rt_sigtimedwait" | "rt_sigsuspend" | "io_getevents" | "io_pgetevents" => Kind::Wait,
        "pread64" | "pwrite64" | "preadv" | "pwritev" | "preadv2" | "pwritev2" | "copy_file_range" => {
            Kind::File
        }
        _ => Kind::Other,
    }
}

/// Whether a call has a target that can be looked up: its first argument is a descriptor, or it waits for a child. The
/// address of a lock and the clock of a sleep are none.
pub fn has_target(nr: u32) -> bool {
    syscalls::takes_descriptor(nr) || matches!(syscalls::name(nr).as_str(), "wait4" | "waitid")
}

/// Whether a process may have waited for the bytes of a socket in this call.
pub fn may_read_socket(nr: u32) -> bool {
    matches!(
        syscalls::name(nr).as_str(),
        "recvfrom"
            | "recvmsg"
            | "recvmmsg"
            | "read"
            | "readv"
            | "poll"
            | "ppoll"
            | "select"
            | "pselect6"
            | "epoll_wait"
            | "epoll_pwait"
            | "epoll_pwait2"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nr(wanted: &str) -> u32 {
        (0..500).find(|nr| syscalls::name(*nr) == wanted).unwrap()
    }

    fn kind(name: &str, argument: u64, target: Option<What>) -> Kind {
        of((nr(name), argument), target.map(|what| Target::new("x", what)).as_ref())
    }

    #[test]
    fn calls_that_tell_alone() {
        for (name, expected) in [
            ("clock_nanosleep", Kind::Sleep),
            ("futex", Kind::Lock),
            ("flock", Kind::Lock),
            ("fsync", Kind::File),
            ("openat", Kind::File),
            ("wait4", Kind::Subprocess),
            ("mmap", Kind::Memory),
            ("poll", Kind::Wait),
            ("recvfrom", Kind::Socket),
            ("getrandom", Kind::Other),
        ] {
            assert_eq!(kind(name, 5, None), expected, "{name}");
        }
        assert!(PATHS.iter().all(|name| (0..500).any(|nr| syscalls::name(nr) == *name)), "a name of none");
    }

    #[test]
    fn a_select_of_nothing_sleeps() {
        assert_eq!(kind("select", 0, None), Kind::Sleep);
        assert_eq!(kind("select", 9, None), Kind::Wait);
        assert_eq!(kind("pselect6", 0, None), Kind::Sleep);
        assert_eq!(kind("poll", call::NO_TARGET, None), Kind::Sleep);
        assert_eq!(kind("poll", 0, None), Kind::Wait);
    }

    #[test]
    fn the_target_tells_of_calls_that_take_anything() {
        for (what, expected) in [
            (What::File, Kind::File),
            (What::Pipe, Kind::Pipe),
            (What::Subprocess, Kind::Subprocess),
            (What::Socket, Kind::Socket),
            (What::Resolver, Kind::Dns),
            (What::Event, Kind::Wait),
        ] {
            for name in ["read", "poll", "epoll_wait", "ioctl"] {
                assert_eq!(kind(name, 5, Some(what)), expected, "{name} {what:?}");
            }
        }
        assert_eq!(kind("read", 5, None), Kind::Other);
        assert_eq!(kind("flock", 5, Some(What::File)), Kind::Lock);
    }

    #[test]
    fn what_is_no_call() {
        assert_eq!(of((call::STOPPED, 0), None), Kind::Stopped);
        assert_eq!(of((call::FAULT, 0), None), Kind::Memory);
        assert_eq!(of((call::UNKNOWN, 0), None), Kind::Other);
    }
}
