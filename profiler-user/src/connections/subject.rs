//! A connection in words: an event or a record comes in, its two ends and its side go out. Pure.

use std::sync::Arc;

use profiler_ebpf::life::Event;
use profiler_ebpf::record::{Record, role};

use super::Connections;
use super::address::{Address, Ends};
use crate::report::Role;

/// A connection in words, before it is known whose it is.
#[derive(Debug, Clone)]
pub struct Subject {
    pub role: Role,
    pub local: Address,
    pub peer: Address,
    pub netns: u32,
}

impl Connections {
    /// The two ends of a connection; `name` is that of its Unix socket.
    pub fn subject(&self, record: &Record, name: &Arc<str>) -> Subject {
        let local = Address::of(record.family, &record.laddr, record.lport, name);
        let peer = Address::of(record.family, &record.raddr, record.rport, name);
        self.sided(record.role, record.netns, inode(&record.laddr), local, peer)
    }

    /// The same, of an event.
    pub fn subject_of(&self, event: &Event, name: &Arc<str>) -> Subject {
        let local = Address::of(event.family, &event.laddr, event.lport, name);
        let peer = Address::of(event.family, &event.raddr, event.rport, name);
        self.sided(event.role, event.netns, inode(&event.laddr), local, peer)
    }

    fn sided(&self, side: u8, netns: u32, inode: u64, local: Address, peer: Address) -> Subject {
        // It was there before us, and nothing was recognised yet: whose port is listened on is a server. Both ends of a
        // Unix connection have one name, and the snapshot knows servers' ends.
        let serves = || match &local {
            Address::Inet(_) => self.listeners.listens(netns, &local),
            Address::Unix(_) => self.table.stands(&Ends::Unix(inode)),
        };
        let role = match side {
            role::SERVER => Role::Server,
            role::CLIENT => Role::Client,
            _ if serves() => Role::Server,
            _ => Role::Client,
        };
        Subject { role, local, peer, netns }
    }
}

/// How a connection is found among those of the snapshot.
pub(super) fn ends(event: &Event, subject: &Subject) -> Ends {
    match (&subject.local, &subject.peer) {
        (Address::Inet(local), Address::Inet(remote)) => {
            Ends::Inet { netns: event.netns, local: *local, remote: *remote }
        }
        _ => Ends::Unix(inode(&event.laddr)),
    }
}

/// The number of a Unix socket, which stands in its address's place.
pub(super) fn inode(address: &[u8; 16]) -> u64 {
    u64::from_ne_bytes(*address.first_chunk().unwrap_or(&[0; 8]))
}

/// A pair of sockets that a process made for itself (socketpair()): nobody has connected to anybody.
pub(super) fn is_nameless(event: &Event, subject: &Subject) -> bool {
    event.life.t_open == 0
        && event.role == role::UNKNOWN
        && matches!(&subject.peer, Address::Unix(name) if name.is_empty())
}
