//! What a blocked thread waits for, in words: its call's descriptor, or the child process that it waits for, looked up
//! while it is blocked. Each socket is borrowed for a moment.

use std::fs;
use std::path::Path;

use profiler_ebpf::turn::Turn;

use super::process;
use super::socket::{Address, address, borrow, open, option};
use crate::kernel::syscalls;
use crate::stall::kind::{Ends, Target, What};

/// Members of a nested set that are looked at.
const MEMBERS: usize = 8;
/// The port of name servers.
const DNS: u16 = 53;
/// Sockets of the daemons that look names up: nscd's, and systemd-resolved's for nss-resolve.
const RESOLVERS: [&str; 3] =
    ["/nscd/socket", "/systemd/resolve/io.systemd.Resolve", "/systemd/resolve/io.systemd.Resolve.Monitor"];
/// `IPPROTO_MPTCP` (include/uapi/linux/in.h).
const MPTCP: i32 = 262;

/// The target of a blocked call; None where it has none, or where it may not be looked at.
pub(super) fn of(turn: &Turn, (nr, argument): (u32, u64)) -> Option<Target> {
    match syscalls::name(nr).as_str() {
        "wait4" => Some(child(turn.pid, argument as i32)),
        // The process is its second argument.
        "waitid" => Some(child(turn.pid, -1)),
        _ if syscalls::takes_descriptor(nr) => descriptor(turn, argument as i32, true),
        _ => None,
    }
}

/// The child of this number in its parent's eyes, or, where any will do, the only one.
fn child(pid: u32, wanted: i32) -> Target {
    let children = process::children(pid);
    let found = if wanted > 0 {
        children.iter().find(|child| process::own_number(**child) == Some(wanted))
    } else {
        children.first().filter(|_| children.len() == 1)
    };
    Target::new(found.map(|pid| process::title(*pid)).unwrap_or_default(), What::Subprocess)
}

/// What a descriptor of the thread's process is.
fn descriptor(turn: &Turn, fd: i32, nested: bool) -> Option<Target> {
    let pid = turn.pid;
    let link = fs::read_link(format!("/proc/{pid}/fd/{fd}")).ok()?;
    let text = link.to_string_lossy().into_owned();
    if let Some(inode) = inode(&text, "socket:[") {
        return Some(socket(turn, fd, inode));
    }
    if text.starts_with("pipe:") {
        let child = process::child_behind(pid, fd, &link);
        return Some(child.map_or_else(|| Target::new(text, What::Pipe), subprocess));
    }
    match text.as_str() {
        "anon_inode:[pidfd]" => {
            let info = fs::read_to_string(format!("/proc/{pid}/fdinfo/{fd}")).ok()?;
            let child = info.lines().find_map(|line| line.strip_prefix("Pid:")?.trim().parse().ok())?;
            Some(subprocess(child))
        }
        "anon_inode:[eventpoll]" if nested => Some(set(turn, fd).unwrap_or(Target::new(text, What::Event))),
        _ if text.starts_with("anon_inode:") => Some(Target::new(text, What::Event)),
        _ if is_terminal(&link) => Some(Target::new(text, What::Other)),
        _ if text.starts_with('/') => Some(Target::new(text, What::File)),
        _ => Some(Target::new(text, What::Other)),
    }
}

fn subprocess(pid: u32) -> Target {
    Target::new(process::title(pid), What::Subprocess)
}

fn is_terminal(path: &Path) -> bool {
    path.starts_with("/dev/pts") || path.to_str().is_some_and(|path| path.starts_with("/dev/tty"))
}

/// The number in `socket:[4711]`.
fn inode(link: &str, prefix: &str) -> Option<u64> {
    link.strip_prefix(prefix)?.strip_suffix(']')?.parse().ok()
}

/// What is in a set: its only member, or the member that leads to a child.
fn set(turn: &Turn, fd: i32) -> Option<Target> {
    let info = fs::read_to_string(format!("/proc/{}/fdinfo/{fd}", turn.pid)).ok()?;
    let members = info.lines().filter_map(|line| line.strip_prefix("tfd:")?.split_whitespace().next());
    let members: Vec<i32> = members.filter_map(|member| member.parse().ok()).take(MEMBERS).collect();
    let mut targets: Vec<_> = members.iter().filter_map(|member| descriptor(turn, *member, false)).collect();
    let leads = targets.iter().position(|target| target.what == What::Subprocess);
    match (leads, targets.len()) {
        (Some(at), _) => Some(targets.swap_remove(at)),
        (None, 1) if members.len() == 1 => targets.pop(),
        (None, _) => None,
    }
}

/// A socket by its other end.
fn socket(turn: &Turn, fd: i32, inode: u64) -> Target {
    let unknown = Target::new("", What::Socket);
    let Ok(socket) = open(turn.pid).and_then(|process| borrow(&process, fd)) else { return unknown };
    let protocol = match option(&socket, libc::SOL_SOCKET, libc::SO_PROTOCOL) {
        Some(libc::IPPROTO_TCP | MPTCP) => "tcp",
        Some(libc::IPPROTO_UDP) => "udp",
        Some(libc::IPPROTO_SCTP) => "sctp",
        Some(libc::IPPROTO_ICMP | libc::IPPROTO_ICMPV6) => "icmp",
        _ => "",
    };
    let family = option(&socket, libc::SOL_SOCKET, libc::SO_DOMAIN);
    let (peer, local) = (address(&socket, libc::getpeername), address(&socket, libc::getsockname));
    match (peer, local) {
        (Some(Address::Inet(peer)), local) => {
            let what = if peer.port() == DNS { What::Resolver } else { What::Socket };
            let ends = match local {
                Some(Address::Inet(local)) => Some(Ends::Inet { local, peer }),
                _ => None,
            };
            Target { text: format!("{protocol} {peer}").trim().to_owned(), what, ends }
        }
        (Some(Address::Unix(path)), local) => {
            let unnamed = path.is_empty() && matches!(&local, Some(Address::Unix(path)) if path.is_empty());
            // Both ends of a pair without names are a parent's and a child's, if it has made one in this turn.
            if unnamed && let [child] = process::new_children(turn.pid, turn.tid, turn.start).as_slice() {
                return subprocess(*child);
            }
            let resolver = RESOLVERS.iter().any(|known| path.ends_with(known));
            let what = if resolver { What::Resolver } else { What::Socket };
            let text = if path.is_empty() { "unix".to_owned() } else { format!("unix:{path}") };
            Target { text, what, ends: Some(Ends::Unix(inode)) }
        }
        (None, Some(Address::Inet(local)))
            if option(&socket, libc::SOL_SOCKET, libc::SO_ACCEPTCONN) == Some(1) =>
        {
            Target::new(format!("listening {protocol} {local}"), What::Socket)
        }
        // Not connected yet: where to stands in the table alone.
        (None, Some(Address::Inet(_))) if protocol == "tcp" => {
            let peer = connecting(turn.pid, inode).map(|peer| format!("{protocol} {peer}"));
            Target::new(peer.unwrap_or_else(|| protocol.to_owned()), What::Socket)
        }
        (None, _) if family == Some(libc::AF_UNIX) => Target::new("unix", What::Socket),
        (None, _) => Target::new(protocol, What::Socket),
    }
}

/// The peer of a TCP socket that connects.
fn connecting(pid: u32, inode: u64) -> Option<String> {
    ["tcp", "tcp6"].iter().find_map(|table| {
        let text = fs::read_to_string(format!("/proc/{pid}/net/{table}")).ok()?;
        text.lines().skip(1).find_map(|line| remote_of(line, inode))
    })
}

/// The remote end in a line of /proc/net/tcp, if it is this socket's (Documentation/networking/proc_net_tcp.rst).
fn remote_of(line: &str, inode: u64) -> Option<String> {
    let mut words = line.split_whitespace();
    let remote = words.nth(2)?;
    if words.nth(6)?.parse() != Ok(inode) {
        return None;
    }
    let (ip, port) = remote.split_once(':')?;
    let port = u16::from_str_radix(port, 16).ok()?;
    // Words of 32 bits, each as it lies in memory.
    let words =
        ip.as_bytes().chunks(8).map(|word| u32::from_str_radix(std::str::from_utf8(word).ok()?, 16).ok());
    let bytes: Vec<u8> = words.collect::<Option<Vec<_>>>()?.into_iter().flat_map(u32::to_ne_bytes).collect();
    let ip: std::net::IpAddr = match bytes.len() {
        4 => <[u8; 4]>::try_from(bytes).ok()?.into(),
        16 => std::net::Ipv6Addr::from(<[u8; 16]>::try_from(bytes).ok()?).to_canonical(),
        _ => return None,
    };
    Some(std::net::SocketAddr::new(ip, port).to_string())
}

#[cfg(test)]
mod tests;
