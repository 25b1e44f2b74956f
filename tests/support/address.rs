//! Where a server listens and a client connects: a loopback port or a Unix socket.

use std::{
    fmt,
    io::{self, Read, Write},
    net::{Ipv4Addr, TcpListener, TcpStream},
    os::unix::net::UnixStream,
    path::PathBuf,
    process,
    sync::atomic::{AtomicU16, Ordering},
};

use anyhow::{Context as _, Result};

use crate::process::PATIENCE;

/// Below the ports that the kernel gives to clients (net.ipv4.ip_local_port_range, from 32,768 on).
const FIRST_PORT: u16 = 20_000;
const PORTS: u16 = 12_000;

/// One end's address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Address {
    /// A port of 127.0.0.1.
    Tcp(u16),
    Unix(PathBuf),
}

/// A connection of either kind.
pub trait Stream: Read + Write + Send {}

impl<T: Read + Write + Send> Stream for T {}

impl Address {
    /// A port for a server that is about to bind it. It is free, and no client's connection gets it in between.
    pub fn free_port() -> Result<Self> {
        static NEXT: AtomicU16 = AtomicU16::new(0);
        let begin = process::id() as u16 % PORTS;
        let mut ports =
            (0..PORTS).map(|_| FIRST_PORT + (begin + NEXT.fetch_add(1, Ordering::Relaxed) % PORTS) % PORTS);
        // On all addresses: what a server of the host's has bound anywhere is taken.
        let free = |port: &u16| TcpListener::bind((Ipv4Addr::UNSPECIFIED, *port)).is_ok();
        ports.find(free).map(Self::Tcp).context("all ports for servers are taken")
    }

    /// Connects, without Nagle's delay and with a limit for reads.
    pub fn connect(&self) -> io::Result<Box<dyn Stream>> {
        match self {
            Self::Tcp(port) => {
                let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, *port))?;
                stream.set_nodelay(true)?;
                stream.set_read_timeout(Some(PATIENCE))?;
                Ok(Box::new(stream))
            }
            Self::Unix(path) => {
                let stream = UnixStream::connect(path)?;
                stream.set_read_timeout(Some(PATIENCE))?;
                Ok(Box::new(stream))
            }
        }
    }

    /// The port, for what only works over TCP.
    pub fn port(&self) -> Result<u16> {
        match self {
            Self::Tcp(port) => Ok(*port),
            Self::Unix(path) => anyhow::bail!("{} has no port", path.display()),
        }
    }
}

/// As hostprof writes a peer: `127.0.0.1:80` or `unix:/run/app.sock`.
impl fmt::Display for Address {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(port) => write!(formatter, "127.0.0.1:{port}"),
            Self::Unix(path) => write!(formatter, "unix:{}", path.display()),
        }
    }
}
