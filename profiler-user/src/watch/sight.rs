//! A look at other processes' descriptors: what they are, and which connections an epoll set has. Each is borrowed for
//! a moment (`pidfd_getfd`, Linux 5.6) and closed at once, since a copy that is held delays the owner's close. Needs
//! CAP_SYS_PTRACE.

use std::fs;
use std::io::ErrorKind;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use profiler_ebpf::turn::Turn;
use rustc_hash::{FxHashMap, FxHashSet};

use super::quota::Quotas;
use super::socket::{Address, address, backlog, borrow, open, option, unread};
use super::{Connections, Sight, process, target};
use crate::stall::kind::Target;

/// Members of a set that are looked at.
const MEMBERS: usize = 1_024;
/// Which ports are listened on is read anew after so long: reading takes milliseconds on a busy host.
const LISTENING: Duration = Duration::from_secs(10);
/// The state LISTEN in /proc/net/tcp (include/net/tcp_states.h).
const LISTEN: &str = "0A";
/// The flag of a Unix socket that listens in /proc/net/unix (`__SO_ACCEPTCON`, include/uapi/linux/net.h).
const ACCEPTS: u32 = 0x1_0000;
/// Processes with more descriptors are passed over: to list a set's members holds up its owner.
const DESCRIPTORS: u64 = 20_000;

/// What is listened on, by network namespace, and when that was read.
type Listening = FxHashMap<u64, (Instant, Listeners)>;

/// Ports and paths that somebody listens on.
#[derive(Debug, Default)]
struct Listeners {
    ports: FxHashSet<u16>,
    /// Abstract names begin with `@`.
    paths: FxHashSet<String>,
}

/// The descriptors of the host's processes.
#[derive(Debug)]
pub struct Descriptors {
    /// The kernel numbers processes as we do: otherwise another process's would be looked at.
    numbered: bool,
    listening: Listening,
    quotas: Quotas,
}

impl Sight for Descriptors {
    fn connections(&mut self, pid: u32, set: i32) -> Option<Connections> {
        if !self.numbered {
            return None;
        }
        // Their number, Linux 6.2 and newer (`proc_fd_getattr`, fs/proc/fd.c); 0 before.
        if fs::metadata(format!("/proc/{pid}/fd")).ok()?.len() > DESCRIPTORS {
            return None;
        }
        let text = fs::read_to_string(format!("/proc/{pid}/fdinfo/{set}")).ok()?;
        let members = text
            .lines()
            .filter_map(|line| line.strip_prefix("tfd:")?.split_whitespace().next()?.parse().ok());
        let process = open(pid).ok()?;
        let listening = self.listening(pid);
        let mut found = Connections::default();
        for member in members.take(MEMBERS) {
            // To close a copy of another kind of file may do something to it (`flush`).
            let link = fs::read_link(format!("/proc/{pid}/fd/{member}"));
            if !link.is_ok_and(|link| link.to_string_lossy().starts_with("socket:")) {
                continue;
            }
            let Ok(socket) = borrow(&process, member) else { continue };
            if option(&socket, libc::SOL_SOCKET, libc::SO_ACCEPTCONN) == Some(1) {
                found.listeners += 1;
                found.backlog += backlog(&socket).unwrap_or(0);
            } else if is_accepted(&socket, listening) {
                found.accepted += 1;
                found.unread += u32::from(unread(&socket) > 0);
            }
        }
        Some(found)
    }

    fn is_gone(&mut self, turn: &Turn) -> bool {
        if !self.numbered {
            return false;
        }
        let all = format!("/proc/{}/task/{}/fd", turn.pid, turn.tid);
        match fs::read_link(format!("{all}/{}", turn.set)) {
            // The name is the one that fs/eventpoll.c gives it.
            Ok(link) => link.as_os_str() != "anon_inode:[eventpoll]",
            // The thread may not be there, or not to be looked at; one that ends has no descriptor at all.
            Err(e) => {
                let has_others = || fs::read_dir(all).is_ok_and(|mut entries| entries.next().is_some());
                e.kind() == ErrorKind::NotFound && has_others()
            }
        }
    }

    fn target(&mut self, turn: &Turn, call: (u32, u64)) -> Option<Target> {
        if self.numbered { target::of(turn, call) } else { None }
    }

    fn throttled(&mut self, turn: &Turn) -> Option<u64> {
        self.quotas.during(turn.pid, turn.start, turn.end)
    }

    fn interpreter(&mut self, turn: &Turn) -> Option<u64> {
        (self.numbered && process::is_python(turn.pid)).then(|| process::others(turn.pid, turn.tid))?
    }
}

impl Descriptors {
    /// `numbered`: whether the kernel numbers processes as we do.
    pub fn new(numbered: bool) -> Self {
        Self { numbered, listening: Listening::default(), quotas: Quotas::default() }
    }

    /// Notes how long the control groups of these processes have been throttled so far: what a stall is compared with.
    /// One that was read less than `every` ns ago is passed over.
    pub fn sample(&mut self, pids: impl Iterator<Item = u32>, every: u64, now: u64) {
        if self.numbered {
            self.quotas.sample(pids, every, now);
        }
    }

    /// What is listened on in the process's network namespace.
    fn listening(&mut self, pid: u32) -> &Listeners {
        let namespace = fs::read_link(format!("/proc/{pid}/ns/net")).ok();
        let namespace = namespace.and_then(|link| {
            let text = link.to_string_lossy().into_owned();
            text.strip_prefix("net:[")?.strip_suffix(']')?.parse::<u64>().ok()
        });
        self.listening.retain(|_, (read, _)| read.elapsed() < LISTENING);
        let entry = self.listening.entry(namespace.unwrap_or(0));
        &entry.or_insert_with(|| (Instant::now(), listeners(pid))).1
    }
}

fn listeners(pid: u32) -> Listeners {
    let unix = fs::read_to_string(format!("/proc/{pid}/net/unix")).unwrap_or_default();
    Listeners { ports: ports(pid), paths: paths(&unix) }
}

/// Of /proc/net/unix: number, references, protocol, flags, type, state, inode, path.
fn paths(table: &str) -> FxHashSet<String> {
    let listening = table.lines().skip(1).filter_map(|line| {
        let mut words = line.split_whitespace().skip(3);
        let flags = u32::from_str_radix(words.next()?, 16).ok()?;
        let path = words.nth(3)?;
        (flags & ACCEPTS != 0).then(|| path.to_owned())
    });
    listening.collect()
}

fn ports(pid: u32) -> FxHashSet<u16> {
    let tables = ["tcp", "tcp6"].map(|table| fs::read_to_string(format!("/proc/{pid}/net/{table}")));
    let mut ports = FxHashSet::default();
    for table in tables.into_iter().flatten() {
        for line in table.lines().skip(1) {
            let mut words = line.split_whitespace().skip(1);
            let (local, state) = (words.next().unwrap_or_default(), words.nth(1).unwrap_or_default());
            if state == LISTEN
                && let Some((_, port)) = local.rsplit_once(':')
            {
                ports.extend(u16::from_str_radix(port, 16));
            }
        }
    }
    ports
}

/// Whether this end was accepted: it has a peer, and its own address is one that somebody listens on. An accepted Unix
/// socket has its listener's path, one that was connected has none.
fn is_accepted(socket: &OwnedFd, listening: &Listeners) -> bool {
    if address(socket, libc::getpeername).is_none() {
        return false;
    }
    match address(socket, libc::getsockname) {
        Some(Address::Inet(local)) => {
            let protocol = option(socket, libc::SOL_SOCKET, libc::SO_PROTOCOL);
            protocol == Some(libc::IPPROTO_TCP) && listening.ports.contains(&local.port())
        }
        Some(Address::Unix(path)) => listening.paths.contains(&path),
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_that_is_closed_or_another_file() {
        // SAFETY: no pointers.
        let (tid, set) = unsafe { (libc::gettid() as u32, libc::epoll_create1(libc::EPOLL_CLOEXEC)) };
        assert!(set >= 0);
        let mut sight = Descriptors::new(true);
        let mut turn = Turn { pid: std::process::id(), tid, set, ..Turn::default() };
        assert!(!sight.is_gone(&turn));
        assert!(!Descriptors::new(false).is_gone(&Turn { set: i32::MAX, ..turn }), "not to be looked at");
        assert!(sight.is_gone(&Turn { set: i32::MAX, ..turn }));
        let file = fs::File::open("/proc/self/stat").unwrap();
        turn.set = std::os::fd::AsRawFd::as_raw_fd(&file);
        assert!(sight.is_gone(&turn));
        turn.pid = u32::MAX;
        assert!(!sight.is_gone(&turn), "no such process");
        // SAFETY: it is ours.
        unsafe { libc::close(set) };
    }

    #[test]
    fn paths_that_are_listened_on() {
        let table = "Num       RefCount Protocol Flags    Type St Inode Path\n\
            0000000000000000: 00000002 00000000 00010000 0001 01 17290 /run/app.sock\n\
            0000000000000000: 00000003 00000000 00000000 0001 03 17291 /run/other.sock\n\
            0000000000000000: 00000002 00000000 00010000 0001 01 17292 @hidden\n\
            0000000000000000: 00000003 00000000 00000000 0001 03 17293\n";
        let mut found: Vec<_> = paths(table).into_iter().collect();
        found.sort_unstable();
        assert_eq!(found, ["/run/app.sock", "@hidden"]);
    }
}
