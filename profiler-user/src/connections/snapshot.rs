//! The sockets that are there already, as `/proc` tells: every network namespace that some process is in (no setns, no
//! right that reading `/proc` does not need), and whose they are. What may not be read is left out.
//!
//! On the development machine a snapshot of 10,000 sockets took 73 ms; finding the namespaces 0.5 ms of it.

use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use rustc_hash::FxHashMap;

use super::address::{Address, Ends};
use super::proc_net::{self, State, Tcp};

/// Namespaces, and descriptors, looked at at the most.
const MOST_NAMESPACES: usize = 1_024;
const MOST_DESCRIPTORS: usize = 1_000_000;
/// Processes of one namespace that are tried: one may end meanwhile.
const TRIES: usize = 4;

/// A connection that is open.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Open {
    pub ends: Ends,
    pub local: Address,
    pub remote: Address,
    pub netns: u32,
    /// Who has it.
    pub pid: u32,
    inode: u64,
}

/// A socket that is listened on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listening {
    pub address: Address,
    pub netns: u32,
    /// Connections that wait to be accepted; unknown for Unix sockets.
    pub backlog: u64,
    /// Who has it, where that may be known.
    pub pid: Option<u32>,
    pub inode: u64,
}

/// What there is.
#[derive(Debug, Default)]
pub struct Snapshot {
    /// Those whose process is known. Of Unix sockets those with a name: servers' have their listener's, clients' have
    /// none but where they have bound one.
    pub open: Vec<Open>,
    pub listening: Vec<Listening>,
}

/// Network namespaces with the processes in them.
#[derive(Debug)]
pub struct Namespaces {
    root: PathBuf,
    by_number: FxHashMap<u32, Vec<u32>>,
}

impl Namespaces {
    /// Those of the `/proc` at `root`.
    pub fn find(root: &Path) -> Self {
        let mut by_number: FxHashMap<u32, Vec<u32>> = FxHashMap::default();
        let entries = fs::read_dir(root).into_iter().flatten().flatten();
        for pid in entries.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok()) {
            let Some(number) = namespace(root, pid) else { continue };
            if by_number.len() < MOST_NAMESPACES || by_number.contains_key(&number) {
                by_number.entry(number).or_default().push(pid);
            }
        }
        Self { root: root.into(), by_number }
    }

    /// Calls `see` with every TCP socket of all of them, each file read once.
    pub fn each_tcp(&self, mut see: impl FnMut(u32, Tcp)) {
        for (number, pids) in &self.by_number {
            for file in ["tcp", "tcp6"] {
                self.lines(pids, file, |line| {
                    if let Some(socket) = proc_net::tcp(line) {
                        see(*number, socket);
                    }
                });
            }
        }
    }

    /// Calls `see` with the inode of every connected Unix socket that has a name.
    pub fn each_unix(&self, mut see: impl FnMut(u64)) {
        for pids in self.by_number.values() {
            self.lines(pids, "unix", |line| {
                if let Some(socket) = proc_net::unix(line).filter(|socket| socket.connected) {
                    see(socket.inode);
                }
            });
        }
    }

    /// How many connections each of them has turned away for want of room in a listener's queue, since it is there.
    pub fn overflows(&self) -> FxHashMap<u32, u64> {
        let mut all = FxHashMap::default();
        for (number, pids) in &self.by_number {
            let mut names = String::new();
            self.lines(pids, "netstat", |line| {
                if let Some(overflows) = proc_net::listen_overflows(&names, line) {
                    all.insert(*number, overflows);
                }
                names = line.to_owned();
            });
        }
        all
    }

    fn lines(&self, pids: &[u32], file: &str, mut see: impl FnMut(&str)) {
        for pid in pids.iter().take(TRIES) {
            let Ok(file) = File::open(self.root.join(format!("{pid}/net/{file}"))) else { continue };
            let mut lines = BufReader::with_capacity(1 << 16, file);
            let mut line = Vec::new();
            while lines.read_until(b'\n', &mut line).is_ok_and(|read| read > 0) {
                see(String::from_utf8_lossy(&line).trim_end_matches('\n'));
                line.clear();
            }
            return;
        }
    }

    /// What is open and listened on; `most` connections at the most, and none of the process `except`.
    pub fn snapshot(&self, most: usize, except: u32) -> Snapshot {
        let mut found = Snapshot::default();
        self.each_tcp(|netns, socket| match socket.state {
            State::Listen(backlog) => found.listening.push(Listening {
                address: Address::Inet(socket.local),
                netns,
                backlog,
                pid: None,
                inode: socket.inode,
            }),
            State::Open if socket.inode != 0 && found.open.len() < most => {
                found.open.push(Open::tcp(netns, socket.local, socket.remote, socket.inode));
            }
            _ => {}
        });
        for (netns, pids) in &self.by_number {
            self.lines(pids, "unix", |line| {
                let Some(socket) = proc_net::unix(line) else { return };
                let address = Address::Unix(format!("unix:{}", socket.path).into());
                if socket.listens {
                    let inode = socket.inode;
                    found.listening.push(Listening { address, netns: *netns, backlog: 0, pid: None, inode });
                } else if socket.connected && found.open.len() < most {
                    found.open.push(Open::unix(*netns, address, socket.inode));
                }
            });
        }
        self.own(&mut found, except);
        found
    }

    /// What is listened on, and whose it is.
    pub fn listening(&self) -> Vec<Listening> {
        self.snapshot(0, 0).listening
    }

    /// Finds whose the sockets are.
    fn own(&self, found: &mut Snapshot, except: u32) {
        if found.open.is_empty() && found.listening.is_empty() {
            return;
        }
        let wanted = found.open.iter().map(|open| open.inode).chain(found.listening.iter().map(|l| l.inode));
        let mut owners: FxHashMap<u64, u32> =
            wanted.filter(|inode| *inode != 0).map(|inode| (inode, 0)).collect();
        let (mut room, mut left) = (MOST_DESCRIPTORS, owners.len());
        let mut pids: Vec<u32> = self.by_number.values().flatten().copied().collect();
        // The parent of a server's workers first: the socket is its own.
        pids.sort_unstable();
        for pid in pids {
            each_socket(&self.root, pid, &mut room, |inode| {
                if let Some(owner) = owners.get_mut(&inode).filter(|owner| **owner == 0) {
                    *owner = pid;
                    left -= 1;
                }
            });
            if left == 0 {
                break;
            }
        }
        let owner = |inode: u64| owners.get(&inode).copied().filter(|pid| *pid != 0);
        found.open.retain_mut(|open| {
            open.pid = owner(open.inode).unwrap_or(0);
            open.pid != 0 && open.pid != except
        });
        found.listening.iter_mut().for_each(|listening| listening.pid = owner(listening.inode));
    }
}

impl Open {
    pub(super) fn tcp(netns: u32, local: SocketAddr, remote: SocketAddr, inode: u64) -> Self {
        let ends = Ends::Inet { netns, local, remote };
        Self { ends, local: Address::Inet(local), remote: Address::Inet(remote), netns, pid: 0, inode }
    }

    pub(super) fn unix(netns: u32, address: Address, inode: u64) -> Self {
        Self { ends: Ends::Unix(inode), local: address.clone(), remote: address, netns, pid: 0, inode }
    }
}

/// The number of a process's network namespace (`net:[4026531840]`).
fn namespace(root: &Path, pid: u32) -> Option<u32> {
    numbered(&fs::read_link(root.join(format!("{pid}/ns/net"))).ok()?, "net:[")?.try_into().ok()
}

/// Calls `see` with the inode number of every socket that a process has.
fn each_socket(root: &Path, pid: u32, room: &mut usize, mut see: impl FnMut(u64)) {
    let Ok(entries) = fs::read_dir(root.join(format!("{pid}/fd"))) else { return };
    for entry in entries.flatten() {
        if *room == 0 {
            return;
        }
        *room -= 1;
        if let Some(inode) = fs::read_link(entry.path()).ok().and_then(|link| numbered(&link, "socket:[")) {
            see(inode);
        }
    }
}

fn numbered(link: &Path, prefix: &str) -> Option<u64> {
    link.to_str()?.strip_prefix(prefix)?.strip_suffix(']')?.parse().ok()
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::net::{TcpListener, TcpStream};
    use std::os::unix::net::{UnixListener, UnixStream};

    use super::*;

    #[test]
    fn our_own_sockets_are_found_with_their_owner() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let client = TcpStream::connect(address).unwrap();
        let (server, _) = listener.accept().unwrap();
        let _waits = TcpStream::connect(address).unwrap();
        let found = Namespaces::find(Path::new("/proc")).snapshot(100_000, 0);
        let own = std::process::id();
        let listens = found.listening.iter().find(|l| l.address == Address::Inet(address)).unwrap();
        assert_eq!((listens.pid, listens.backlog), (Some(own), 1));
        for socket in [&client, &server] {
            let (local, remote) = (socket.local_addr().unwrap(), socket.peer_addr().unwrap());
            let seen: Vec<_> = found
                .open
                .iter()
                .filter(|o| o.local == Address::Inet(local) && o.remote == Address::Inet(remote))
                .collect();
            assert_eq!(seen.len(), 1);
            assert_eq!((seen[0].pid, Some(seen[0].netns)), (own, namespace(Path::new("/proc"), own)));
        }
        let without = Namespaces::find(Path::new("/proc")).snapshot(100_000, own);
        assert!(without.open.iter().all(|open| open.pid != own));
    }

    #[test]
    fn unix_servers_have_their_path() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a b.sock");
        let listener = UnixListener::bind(&path).unwrap();
        let mut client = UnixStream::connect(&path).unwrap();
        let _server = listener.accept().unwrap();
        client.write_all(b"x").unwrap();
        let found = Namespaces::find(Path::new("/proc")).snapshot(100_000, 0);
        let name = Address::Unix(format!("unix:{}", path.display()).into());
        assert_eq!(found.listening.iter().filter(|l| l.address == name).count(), 1);
        assert_eq!(found.open.iter().filter(|o| o.local == name).count(), 1);
    }

    #[test]
    fn where_nothing_can_be_read_there_is_nothing() {
        let found = Namespaces::find(Path::new("/nonexistent")).snapshot(10, 0);
        assert!(found.open.is_empty() && found.listening.is_empty());
    }
}
