//! A server of a few lines for what no real one does: each connection is handed to a function of the test's.

use std::{
    io::{Read as _, Write as _},
    net::{IpAddr, Ipv4Addr, Shutdown, TcpListener, TcpStream},
    os::fd::AsRawFd as _,
    process, thread,
};

use anyhow::{Context as _, Result, ensure};

use crate::{
    address::Address,
    hostprof::Recording,
    process::{PATIENCE, wait_for},
    report::Report,
};

/// Runs `client` against a server that answers one connection by `serve`. Both run in this process, and no end's
/// socket outlives this function.
pub fn between(
    client: impl FnOnce(TcpStream) -> Result<()>,
    serve: impl FnOnce(TcpStream) -> Result<()> + Send,
) -> Result<Address> {
    between_at(Ipv4Addr::LOCALHOST.into(), Ipv4Addr::LOCALHOST.into(), client, serve).map(Address::Tcp)
}

/// The same, where the server listens at one address and the client connects to another. Returns the server's port.
pub fn between_at(
    listen: IpAddr,
    to: IpAddr,
    client: impl FnOnce(TcpStream) -> Result<()>,
    serve: impl FnOnce(TcpStream) -> Result<()> + Send,
) -> Result<u16> {
    let listener = TcpListener::bind((listen, 0)).context("failed to bind a loopback port")?;
    let port = listener.local_addr().context("failed to read the port")?.port();
    thread::scope(|scope| {
        let server = scope.spawn(move || serve(listener.accept().context("failed to accept")?.0));
        let connected = connect_to(to, port).and_then(client);
        let served = server.join().unwrap_or_else(|_| Err(anyhow::anyhow!("the server panicked")));
        connected.context("the client")?;
        served.context("the server")
    })?;
    Ok(port)
}

/// What hostprof reports of [`between`].
pub fn recorded(
    client: impl FnOnce(TcpStream) -> Result<()>,
    serve: impl FnOnce(TcpStream) -> Result<()> + Send,
) -> Result<Report> {
    let recording = Recording::start(&["--pid", &process::id().to_string()])?;
    between(client, serve)?;
    let report = recording.finish()?;
    ensure!(report.lost().is_empty(), "lost: {:?}", report.lost());
    Ok(report)
}

/// A connection to a loopback port: no delay in writes, a limit for reads.
pub fn connect(port: u16) -> Result<TcpStream> {
    connect_to(Ipv4Addr::LOCALHOST.into(), port)
}

fn connect_to(address: IpAddr, port: u16) -> Result<TcpStream> {
    let stream = TcpStream::connect((address, port)).context("failed to connect")?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    Ok(stream)
}

/// Writes one piece, in one write.
pub fn write(mut stream: &TcpStream, bytes: &[u8]) -> Result<()> {
    stream.write_all(bytes).context("failed to write")
}

/// Reads until what was read ends in `end`.
pub fn read_until(mut stream: &TcpStream, end: &[u8]) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let mut buffer = [0; 16 * 1024];
    while !bytes.ends_with(end) {
        let read = stream.read(&mut buffer).context("failed to read")?;
        ensure!(read > 0, "closed after {} bytes", bytes.len());
        bytes.extend_from_slice(&buffer[..read]);
    }
    Ok(bytes)
}

/// Waits until the other end's reset has come: what it sent before can still be read.
pub fn await_reset(stream: &TcpStream) -> Result<()> {
    wait_for("a reset", || {
        let mut poll = libc::pollfd { fd: stream.as_raw_fd(), events: 0, revents: 0 };
        // SAFETY: poll reads and writes the one struct given; it does not wait.
        unsafe { libc::poll(&raw mut poll, 1, 0) == 1 && poll.revents & libc::POLLERR != 0 }
    })
}

/// Reads to the end of the stream; false when it was an error in place of an end.
pub fn read_to_end(mut stream: &TcpStream) -> bool {
    stream.read_to_end(&mut Vec::new()).is_ok()
}

/// Both ends of a connection in this thread: the client's and the server's. For what needs both to stay open.
pub fn pair() -> Result<(TcpStream, TcpStream)> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("failed to bind a loopback port")?;
    let client = connect(listener.local_addr().context("failed to read the port")?.port())?;
    let (server, _) = listener.accept().context("failed to accept")?;
    server.set_read_timeout(Some(PATIENCE))?;
    Ok((client, server))
}

/// Ends our direction; the other goes on.
pub fn finish(stream: &TcpStream) -> Result<()> {
    stream.shutdown(Shutdown::Write).context("failed to shut down")
}

/// Closes by a reset.
pub fn reset(stream: TcpStream) -> Result<()> {
    let linger = libc::linger { l_onoff: 1, l_linger: 0 };
    // SAFETY: the option is read from a linger of the size given, which outlives the call.
    let set = unsafe {
        libc::setsockopt(
            stream.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_LINGER,
            (&raw const linger).cast(),
            size_of::<libc::linger>() as libc::socklen_t,
        )
    };
    ensure!(set == 0, "failed to set SO_LINGER");
    drop(stream);
    Ok(())
}

/// Reads a head.
pub fn read_head(stream: &TcpStream) -> Result<()> {
    read_until(stream, b"\r\n\r\n").map(drop)
}
