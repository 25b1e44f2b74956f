//! Ends of connections: bytes of the kernel's records come in, addresses as reports show them go out.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

/// One end of a connection.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Address {
    Inet(SocketAddr),
    /// `unix:PATH`, or empty where the name is not known.
    Unix(Arc<str>),
}

/// What a socket is found by in `/proc/net` and in the kernel's records alike, whoever has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Ends {
    Inet {
        netns: u32,
        local: SocketAddr,
        remote: SocketAddr,
    },
    /// By its inode number, which is of the host's one file system of sockets (sockfs).
    Unix(u64),
}

/// An address of the internet families; IPv4 in IPv6 as IPv4.
pub fn socket(family: u16, address: &[u8; 16], port: u16) -> Option<SocketAddr> {
    let ip: IpAddr = match i32::from(family) {
        libc::AF_INET => Ipv4Addr::new(address[0], address[1], address[2], address[3]).into(),
        libc::AF_INET6 => Ipv6Addr::from(*address).to_canonical(),
        _ => return None,
    };
    Some(SocketAddr::new(ip, port))
}

impl Address {
    /// The address of a record, with the name that its Unix socket has.
    pub fn of(family: u16, address: &[u8; 16], port: u16, name: &Arc<str>) -> Self {
        socket(family, address, port).map_or_else(|| Self::Unix(name.clone()), Self::Inet)
    }

    /// Without the port: a server's peer.
    pub fn host(&self) -> Self {
        match self {
            Self::Inet(address) => Self::Inet(SocketAddr::new(address.ip(), 0)),
            Self::Unix(name) => Self::Unix(name.clone()),
        }
    }

    /// The port; 0 for Unix sockets.
    pub fn port(&self) -> u16 {
        match self {
            Self::Inet(address) => address.port(),
            Self::Unix(_) => 0,
        }
    }

    /// The address alone, as rows of servers show their peers.
    pub fn host_text(&self) -> String {
        match self {
            Self::Inet(address) => address.ip().to_string(),
            Self::Unix(_) => self.to_string(),
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Inet(address) => write!(f, "{address}"),
            Self::Unix(name) if name.is_empty() => f.write_str("unix:"),
            Self::Unix(name) => f.write_str(name),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(family: i32, bytes: [u8; 16], port: u16) -> String {
        Address::of(family as u16, &bytes, port, &"unix:/run/x".into()).to_string()
    }

    #[test]
    fn addresses_in_words() {
        let mut v4 = [0; 16];
        v4[..4].copy_from_slice(&[127, 0, 0, 1]);
        assert_eq!(text(libc::AF_INET, v4, 80), "127.0.0.1:80");
        assert_eq!(text(libc::AF_INET6, Ipv6Addr::LOCALHOST.octets(), 80), "[::1]:80");
        let mapped = Ipv4Addr::LOCALHOST.to_ipv6_mapped().octets();
        assert_eq!(text(libc::AF_INET6, mapped, 80), "127.0.0.1:80");
        assert_eq!(text(libc::AF_UNIX, [0; 16], 0), "unix:/run/x");
    }

    #[test]
    fn a_servers_peer_has_no_port() {
        let peer = Address::Inet("[::1]:40000".parse().unwrap());
        assert_eq!(peer.host(), Address::Inet("[::1]:40001".parse().unwrap()).host());
        assert_eq!(peer.host_text(), "::1");
        assert_eq!(Address::Unix("".into()).to_string(), "unix:");
    }
}
