//! The listening sockets of all services, found by their address in the kernel or by the address that they listen on.
//! Bounded: past [`MOST`] a new one takes the place of one that nothing came to, or is left out, and counted.

#[cfg(test)]
mod tests;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use rustc_hash::{FxHashMap, FxHashSet};

use super::address::{self, Address};
use super::listener::Listener;

/// Listeners told apart at the most.
const MOST: usize = 1_024;
/// Addresses on which somebody listened at the start, whether anything comes to them or not, at the most.
const MOST_PLACES: usize = 65_536;

#[derive(Debug, Default)]
pub(super) struct Listeners {
    numbers: FxHashMap<(u32, Address), u32>,
    /// By address in the kernel.
    sockets: FxHashMap<u64, u32>,
    all: Vec<Listener>,
    places: FxHashSet<(u32, Address)>,
    /// Unix sockets by inode number.
    inodes: FxHashMap<u64, u32>,
    /// Unix sockets of which nothing else is known than that connections wait there, by inode number; true where it was
    /// asked for.
    nameless: FxHashMap<u64, bool>,
    /// Those that there was no room for.
    left_out: FxHashSet<(u32, Address)>,
}

impl Listeners {
    /// The listener on exactly this address, made if there is room.
    pub(super) fn on(&mut self, netns: u32, address: &Address) -> Option<u32> {
        if let Some(number) = self.numbers.get(&(netns, address.clone())) {
            return Some(*number);
        }
        let number = match self.all.len() {
            MOST => match self.unused() {
                Some(number) => number,
                None => {
                    if self.left_out.len() < MOST_PLACES {
                        self.left_out.insert((netns, address.clone()));
                    }
                    return None;
                }
            },
            len => u32::try_from(len).ok()?,
        };
        let fresh = Listener::new(address.clone(), netns);
        match self.all.get_mut(number as usize) {
            Some(old) => {
                let old = std::mem::replace(old, fresh);
                self.numbers.remove(&(old.netns, old.address));
                self.sockets.retain(|_, known| *known != number);
                self.inodes.retain(|_, known| *known != number);
            }
            None => self.all.push(fresh),
        }
        self.numbers.insert((netns, address.clone()), number);
        Some(number)
    }

    /// The number of one that nothing has come to, for another.
    fn unused(&self) -> Option<u32> {
        u32::try_from(self.all.iter().position(|listener| !listener.is_used())?).ok()
    }

    /// How many there was no room for, each counted once, [`MOST_PLACES`] of them at the most.
    pub(super) fn left_out(&self) -> u64 {
        self.left_out.len() as u64
    }

    /// Somebody listens there.
    pub(super) fn place(&mut self, netns: u32, address: &Address) {
        if self.places.len() < MOST_PLACES {
            self.places.insert((netns, address.clone()));
        }
    }

    /// The listener that a connection with this own address came from: by its socket `sk` in the kernel where that is
    /// known (not 0), else by the address, one that listens on all of them included.
    pub(super) fn of(&mut self, sk: u64, netns: u32, own: &Address) -> Option<u32> {
        self.sockets.get(&sk).copied().or_else(|| self.find(netns, own)).or_else(|| self.on(netns, own))
    }

    fn find(&self, netns: u32, own: &Address) -> Option<u32> {
        Self::by(own, |address| self.numbers.get(&(netns, address)).copied())
    }

    /// By its own address, or by one that stands for all.
    fn by<T>(own: &Address, find: impl Fn(Address) -> Option<T>) -> Option<T> {
        match own {
            Address::Unix(_) => find(own.clone()),
            Address::Inet(own) => [own.ip(), Ipv4Addr::UNSPECIFIED.into(), Ipv6Addr::UNSPECIFIED.into()]
                .into_iter()
                .filter(|ip: &IpAddr| ip.is_ipv6() || own.is_ipv4())
                .find_map(|ip| find(Address::Inet(SocketAddr::new(ip, own.port())))),
        }
    }

    /// What the kernel half says of a listening socket. A Unix socket's name is told by its connections, or by /proc.
    pub(super) fn socket(&mut self, socket: &profiler_ebpf::listener::Listener) {
        let number = match address::socket(socket.family, &socket.laddr, socket.lport) {
            Some(address) => self.told_on(socket, address),
            None => self.sockets.get(&socket.sk).or_else(|| self.inodes.get(&socket.inode)).copied(),
        };
        let Some(number) = number else {
            if self.nameless.len() >= MOST {
                // Those that are gone are among them.
                self.nameless.retain(|_, asked| !*asked);
            }
            if socket.backlog > 0 && self.nameless.len() < MOST {
                self.nameless.entry(socket.inode).or_default();
            }
            return;
        };
        if self.sockets.len() >= 4 * MOST {
            // Those that are still there come again within a second.
            self.sockets.clear();
        }
        self.sockets.insert(socket.sk, number);
        if let Some(listener) = self.all.get_mut(number as usize) {
            listener.socket(socket);
        }
    }

    /// The listener of a TCP socket. Connections may have come before it was told of: what was known by their own address
    /// is known by the socket's from now on.
    fn told_on(&mut self, socket: &profiler_ebpf::listener::Listener, ip: SocketAddr) -> Option<u32> {
        let address = Address::Inet(ip);
        let key = (socket.netns, address.clone());
        if !self.numbers.contains_key(&key) {
            let known = self.sockets.get(&socket.sk).copied();
            let known = known.or_else(|| ip.ip().is_unspecified().then(|| self.untold_on(&key))?);
            if let Some(number) = known
                && let Some(listener) = self.all.get_mut(number as usize)
            {
                let before = std::mem::replace(&mut listener.address, address.clone());
                self.numbers.remove(&(socket.netns, before));
                self.numbers.insert(key, number);
            }
        }
        self.on(socket.netns, &address)
    }

    /// A listener on one address with this port that the kernel half has told nothing of.
    fn untold_on(&self, (netns, address): &(u32, Address)) -> Option<u32> {
        let same = |l: &Listener| {
            l.netns == *netns
                && l.address.port() == address.port()
                && matches!(l.address, Address::Inet(_))
                && !l.is_told()
        };
        u32::try_from(self.all.iter().position(same)?).ok()
    }

    /// Whether there are sockets whose names are to be asked for.
    pub(super) fn has_nameless(&self) -> bool {
        self.nameless.values().any(|asked| !asked)
    }

    /// Their names are being asked for.
    pub(super) fn asked(&mut self) {
        self.nameless.values_mut().for_each(|asked| *asked = true);
    }

    /// `/proc` has told the name of a Unix socket.
    pub(super) fn numbered(&mut self, inode: u64, number: u32) {
        self.nameless.remove(&inode);
        if self.inodes.len() >= 4 * MOST {
            self.inodes.clear();
        }
        self.inodes.insert(inode, number);
    }

    /// A connection has told the name of the socket that it came from.
    pub(super) fn told(&mut self, sk: u64, number: u32) {
        if sk != 0 && self.sockets.len() < 4 * MOST {
            self.sockets.entry(sk).or_insert(number);
        }
    }

    /// Whether somebody is known to listen on this port.
    pub(super) fn listens(&self, netns: u32, own: &Address) -> bool {
        self.find(netns, own).is_some()
            || Self::by(own, |address| self.places.get(&(netns, address)).map(|_| ())).is_some()
    }

    /// The listener on exactly this address.
    pub(super) fn exactly(&mut self, netns: u32, address: &Address) -> Option<&mut Listener> {
        let number = *self.numbers.get(&(netns, address.clone()))?;
        self.get(number)
    }

    pub(super) fn get(&mut self, number: u32) -> Option<&mut Listener> {
        self.all.get_mut(number as usize)
    }

    pub(super) fn each(&mut self) -> impl Iterator<Item = &mut Listener> {
        self.all.iter_mut()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Listener> {
        self.all.iter()
    }
}
