//! Where a server listens and a client connects: a loopback port or a Unix socket.

use std::{
    fmt,
    io::{self, Read, Write},
    net::{Ipv4Addr, TcpListener, TcpStream},
    os::unix::net::UnixStream,
    path::PathBuf,
    time::Duration,
};

use anyhow::{Context as _, Result};

/// No test waits longer than this for bytes.
const READ_TIMEOUT: Duration = Duration::from_secs(20);

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
    /// A loopback port that was free a moment ago.
    pub fn free_port() -> Result<Self> {
        let listener =
            TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("failed to bind a loopback port")?;
        let address = listener.local_addr().context("failed to read the port")?;
        Ok(Self::Tcp(address.port()))
    }

    /// Connects, without Nagle's delay and with a limit for reads.
    pub fn connect(&self) -> io::Result<Box<dyn Stream>> {
        match self {
            Self::Tcp(port) => {
                let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, *port))?;
                stream.set_nodelay(true)?;
                stream.set_read_timeout(Some(READ_TIMEOUT))?;
                Ok(Box::new(stream))
            }
            Self::Unix(path) => {
                let stream = UnixStream::connect(path)?;
                stream.set_read_timeout(Some(READ_TIMEOUT))?;
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
