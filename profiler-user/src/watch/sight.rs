//! A look at other processes' descriptors: what they are, and which connections an epoll set has. Each is borrowed for
//! a moment (`pidfd_getfd`, Linux 5.6) and closed at once, since a copy that is held delays the owner's close. Needs
//! CAP_SYS_PTRACE.

use std::fs;
use std::io;
use std::mem::MaybeUninit;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::time::{Duration, Instant};

use rustc_hash::{FxHashMap, FxHashSet};

use super::{Connections, Sight};

/// Members of a set that are looked at.
const MEMBERS: usize = 1_024;
/// Which ports are listened on is read anew after so long: reading takes milliseconds on a busy host.
const LISTENING: Duration = Duration::from_secs(10);
/// The state LISTEN in /proc/net/tcp (include/net/tcp_states.h).
const LISTEN: &str = "0A";
/// `tcpi_unacked` of `struct tcp_info` (include/uapi/linux/tcp.h): of a listening socket the connections that wait to
/// be accepted (`tcp_get_info` in net/ipv4/tcp.c).
const UNACKED: usize = 24;

/// Ports that somebody listens on, by network namespace, and when that was read.
type Listening = FxHashMap<u64, (Instant, FxHashSet<u16>)>;

/// The descriptors of the host's processes.
#[derive(Debug)]
pub struct Descriptors {
    /// The kernel numbers processes as we do: otherwise another process's would be looked at.
    numbered: bool,
    listening: Listening,
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

    fn name(&mut self, pid: u32, descriptor: u64) -> Option<String> {
        if !self.numbered {
            return None;
        }
        let link = fs::read_link(format!("/proc/{pid}/fd/{}", descriptor as i32)).ok()?;
        let link = link.to_string_lossy().into_owned();
        if !link.starts_with("socket:") {
            return Some(link);
        }
        let socket = borrow(&open(pid).ok()?, descriptor as i32).ok()?;
        let peer = match address(&socket, libc::getpeername)? {
            Address::Inet(peer) => format!("tcp {peer}"),
            Address::Unix(path) if path.is_empty() => "unix".into(),
            Address::Unix(path) => format!("unix:{path}"),
        };
        Some(peer)
    }
}

impl Descriptors {
    /// `numbered`: whether the kernel numbers processes as we do.
    pub fn new(numbered: bool) -> Self {
        Self { numbered, listening: Listening::default() }
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

/// An end of a socket.
enum Address {
    Inet(SocketAddr),
    /// Empty where it has no name.
    Unix(String),
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

type Name = unsafe extern "C" fn(libc::c_int, *mut libc::sockaddr, *mut libc::socklen_t) -> libc::c_int;

fn address(socket: &OwnedFd, name: Name) -> Option<Address> {
    // SAFETY: all zeros are a valid sockaddr_storage.
    let mut storage: libc::sockaddr_storage = unsafe { std::mem::zeroed() };
    let mut length = size_of::<libc::sockaddr_storage>() as libc::socklen_t;
    // SAFETY: the kernel writes at most `length` bytes to the storage.
    let rc = unsafe { name(socket.as_raw_fd(), (&raw mut storage).cast(), &raw mut length) };
    if rc != 0 {
        return None;
    }
    let at = &raw const storage;
    match i32::from(storage.ss_family) {
        libc::AF_INET => {
            // SAFETY: the family says which struct it is, and the storage is large enough for each.
            let v4 = unsafe { &*at.cast::<libc::sockaddr_in>() };
            let ip = Ipv4Addr::from(u32::from_be(v4.sin_addr.s_addr));
            Some(Address::Inet((ip, u16::from_be(v4.sin_port)).into()))
        }
        libc::AF_INET6 => {
            // SAFETY: as above.
            let v6 = unsafe { &*at.cast::<libc::sockaddr_in6>() };
            let ip = Ipv6Addr::from(v6.sin6_addr.s6_addr);
            Some(Address::Inet((ip.to_canonical(), u16::from_be(v6.sin6_port)).into()))
        }
        libc::AF_UNIX => {
            // SAFETY: as above.
            let path = unsafe { &(*at.cast::<libc::sockaddr_un>()).sun_path };
            let given = (length as usize).saturating_sub(std::mem::offset_of!(libc::sockaddr_un, sun_path));
            let bytes: Vec<u8> = path.iter().take(given).map(|c| *c as u8).collect();
            let text = String::from_utf8_lossy(&bytes).replace('\0', "@");
            Some(Address::Unix(text.trim_end_matches('@').to_owned()))
        }
        _ => None,
    }
}

/// Bytes that wait to be read.
fn unread(socket: &OwnedFd) -> i32 {
    let mut bytes = 0;
    // SAFETY: the kernel writes one int.
    let rc = unsafe { libc::ioctl(socket.as_raw_fd(), libc::FIONREAD, &raw mut bytes) };
    if rc == 0 { bytes } else { 0 }
}

fn backlog(listener: &OwnedFd) -> Option<u32> {
    let mut info = [0u8; UNACKED + 4];
    let mut length = info.len() as libc::socklen_t;
    // SAFETY: the kernel writes at most `length` bytes: it cuts the struct off there.
    let rc = unsafe {
        libc::getsockopt(
            listener.as_raw_fd(),
            libc::SOL_TCP,
            libc::TCP_INFO,
            info.as_mut_ptr().cast(),
            &raw mut length,
        )
    };
    let word = info.last_chunk::<4>().filter(|_| rc == 0 && length as usize == info.len())?;
    Some(u32::from_ne_bytes(*word))
}

fn option(socket: &OwnedFd, level: i32, name: i32) -> Option<i32> {
    let mut value = MaybeUninit::<i32>::uninit();
    let mut length = size_of::<i32>() as libc::socklen_t;
    // SAFETY: the kernel writes one int, or fails and the value is not read.
    unsafe {
        let rc =
            libc::getsockopt(socket.as_raw_fd(), level, name, value.as_mut_ptr().cast(), &raw mut length);
        (rc == 0 && length as usize == size_of::<i32>()).then(|| value.assume_init())
    }
}

/// Names a process so that its number cannot come to mean another one.
fn open(pid: u32) -> io::Result<OwnedFd> {
    // SAFETY: numbers only.
    owned(unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) })
}

/// A copy of a process's descriptor.
fn borrow(process: &OwnedFd, descriptor: i32) -> io::Result<OwnedFd> {
    // SAFETY: numbers only.
    owned(unsafe { libc::syscall(libc::SYS_pidfd_getfd, process.as_raw_fd(), descriptor, 0) })
}

fn owned(result: libc::c_long) -> io::Result<OwnedFd> {
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: a new descriptor that nobody else has.
    Ok(unsafe { OwnedFd::from_raw_fd(result as i32) })
}
