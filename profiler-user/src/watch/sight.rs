//! A look at other processes' descriptors: what they are, and which connections an epoll set has. Each is borrowed for
//! a moment (`pidfd_getfd`, Linux 5.6) and closed at once, since a copy that is held delays the owner's close. Needs
//! CAP_SYS_PTRACE.

use std::fs;
use std::io::ErrorKind;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use profiler_ebpf::loops::Loop;
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

/// Ports that somebody listens on, by network namespace, and when that was read.
type Listening = FxHashMap<u64, (Instant, FxHashSet<u16>)>;

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
        let text = fs::read_to_string(format!("/proc/{pid}/fdinfo/{set}")).ok()?;
        let members = text
            .lines()
            .filter_map(|line| line.strip_prefix("tfd:")?.split_whitespace().next()?.parse().ok());
        let process = open(pid).ok()?;
        let listening = self.listening(pid);
        let mut found = Connections::default();
        for member in members.take(MEMBERS) {
            let Ok(socket) = borrow(&process, member) else { continue };
            if option(&socket, libc::SOL_SOCKET, libc::SO_ACCEPTCONN) == Some(1) {
                found.backlog += backlog(&socket).unwrap_or(0);
            } else if is_accepted(&socket, listening) {
                found.accepted += 1;
                found.unread += u32::from(unread(&socket) > 0);
            }
        }
        Some(found)
    }

    fn is_gone(&mut self, pid: u32, set: i32) -> bool {
        if !self.numbered {
            return false;
        }
        match fs::read_link(format!("/proc/{pid}/fd/{set}")) {
            Ok(link) => !link.to_string_lossy().starts_with("anon_inode:"),
            // The process may be there without the descriptor, or not be there, or not to be looked at.
            Err(e) => {
                e.kind() == ErrorKind::NotFound && fs::exists(format!("/proc/{pid}/fd")).unwrap_or(false)
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

    /// Notes how long the control groups of these loops have been throttled so far: what a stall is compared with.
    pub fn sample(&mut self, loops: &[Loop], now: u64) {
        if self.numbered {
            self.quotas.sample(loops.iter().map(|l| l.turn.pid), now);
        }
    }

    /// The ports listened on in the process's network namespace.
    fn listening(&mut self, pid: u32) -> &FxHashSet<u16> {
        let namespace = fs::read_link(format!("/proc/{pid}/ns/net")).ok();
        let namespace = namespace.and_then(|link| {
            let text = link.to_string_lossy().into_owned();
            text.strip_prefix("net:[")?.strip_suffix(']')?.parse::<u64>().ok()
        });
        self.listening.retain(|_, (read, _)| read.elapsed() < LISTENING);
        let entry = self.listening.entry(namespace.unwrap_or(0));
        &entry.or_insert_with(|| (Instant::now(), listening_ports(pid))).1
    }
}

fn listening_ports(pid: u32) -> FxHashSet<u16> {
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
fn is_accepted(socket: &OwnedFd, listening: &FxHashSet<u16>) -> bool {
    if address(socket, libc::getpeername).is_none() {
        return false;
    }
    match address(socket, libc::getsockname) {
        Some(Address::Inet(local)) => listening.contains(&local.port()),
        Some(Address::Unix(path)) => !path.is_empty(),
        None => false,
    }
}
