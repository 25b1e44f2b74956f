//! A small MySQL client for the demo's server, over any stream: a good one that lets the event loop go on while it
//! waits, or [`Blocking`], which does not.

use std::io::{self, Read as _, Write as _};
use std::net::Ipv4Addr;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, ReadBuf};
use tokio::net::TcpStream;

use super::packet::{self, AUTH_PLUGIN, CHARSET, Packets, capability, command};

/// A connection to the demo's database.
#[derive(Debug)]
pub(super) struct Connection<S = TcpStream> {
    stream: S,
    buffer: Vec<u8>,
}

/// How a command ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    Ok,
    Rows(usize),
    Prepared(u32),
    Error(u16),
}

/// What a reply looks like depends on the command.
#[derive(Debug, Clone, Copy)]
enum Expect {
    Greeting,
    Result,
    Prepared,
}

impl Connection<TcpStream> {
    pub(super) async fn open(port: u16) -> io::Result<Self> {
        let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await?;
        stream.set_nodelay(true)?;
        Self::greet(stream).await
    }
}

impl Connection<Blocking> {
    /// The connection that a driver without async support would have.
    pub(super) async fn open_blocking(port: u16) -> io::Result<Self> {
        let stream = std::net::TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
        stream.set_nodelay(true)?;
        Self::greet(Blocking(stream)).await
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Connection<S> {
    async fn greet(stream: S) -> io::Result<Self> {
        let mut connection = Self { stream, buffer: Vec::with_capacity(4096) };
        connection.reply(Expect::Greeting).await?;
        let mut packets = Packets::from(1);
        packets.push(&login());
        match connection.roundtrip(&packets, Expect::Result).await? {
            Outcome::Ok => Ok(connection),
            other => Err(io::Error::other(format!("the demo's database refused the login: {other:?}"))),
        }
    }

    pub(super) async fn query(&mut self, sql: &str) -> io::Result<Outcome> {
        self.command(command::QUERY, sql.as_bytes(), Expect::Result).await
    }

    /// The number of the prepared statement.
    pub(super) async fn prepare(&mut self, sql: &str) -> io::Result<u32> {
        match self.command(command::STMT_PREPARE, sql.as_bytes(), Expect::Prepared).await? {
            Outcome::Prepared(number) => Ok(number),
            other => Err(io::Error::other(format!("the demo's database did not prepare: {other:?}"))),
        }
    }

    /// Executes a prepared statement of one parameter.
    pub(super) async fn execute(&mut self, statement: u32, parameter: &str) -> io::Result<Outcome> {
        let mut argument = statement.to_le_bytes().to_vec();
        // No cursor; one iteration; no NULLs; the types follow: one string.
        argument.extend_from_slice(&[0, 1, 0, 0, 0, 0, 1, 0xfd, 0]);
        packet::put_string(&mut argument, parameter);
        self.command(command::STMT_EXECUTE, &argument, Expect::Result).await
    }

    /// Says goodbye; there is no reply.
    pub(super) async fn quit(mut self) -> io::Result<()> {
        let mut packets = Packets::from(0);
        packets.push(&[command::QUIT]);
        self.stream.write_all(packets.bytes()).await
    }

    async fn command(&mut self, command: u8, argument: &[u8], expect: Expect) -> io::Result<Outcome> {
        let mut packets = Packets::from(0);
        packets.push(&[&[command], argument].concat());
        self.roundtrip(&packets, expect).await
    }

    async fn roundtrip(&mut self, packets: &Packets, expect: Expect) -> io::Result<Outcome> {
        self.stream.write_all(packets.bytes()).await?;
        self.reply(expect).await
    }

    /// Reads until the reply is complete.
    async fn reply(&mut self, expect: Expect) -> io::Result<Outcome> {
        self.buffer.clear();
        loop {
            if self.stream.read_buf(&mut self.buffer).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            if let Some(outcome) = complete(&self.buffer, expect) {
                return Ok(outcome);
            }
        }
    }
}

/// The outcome of a complete reply, or `None` while something is missing. It starts over each time: replies are small.
fn complete(buffer: &[u8], expect: Expect) -> Option<Outcome> {
    let (_, first, rest) = packet::split(buffer)?;
    match (expect, first) {
        (_, [0xff, low, high, ..]) => Some(Outcome::Error(u16::from_le_bytes([*low, *high]))),
        (Expect::Greeting, _) => Some(Outcome::Ok),
        (Expect::Prepared, [0, a, b, c, d, columns @ 0..=250, 0, parameters @ 0..=250, 0, ..]) => {
            let lists = [*parameters, *columns];
            let rest = lists
                .iter()
                .filter(|count| **count > 0)
                .try_fold(rest, |rest, _| Some(until_eof(rest)?.1))?;
            rest.is_empty().then_some(Outcome::Prepared(u32::from_le_bytes([*a, *b, *c, *d])))
        }
        (_, [0, ..]) => Some(Outcome::Ok),
        _ => {
            let (_, rows) = until_eof(rest)?;
            Some(Outcome::Rows(until_eof(rows)?.0))
        }
    }
}

/// The count of packets before the next EOF, and what follows it.
fn until_eof(mut buffer: &[u8]) -> Option<(usize, &[u8])> {
    for count in 0.. {
        let (_, payload, rest) = packet::split(buffer)?;
        if packet::is_eof(payload) {
            return Some((count, rest));
        }
        buffer = rest;
    }
    None
}

/// The client's answer to the greeting: a user without a password.
fn login() -> Vec<u8> {
    let capabilities = capability::LONG_PASSWORD
        | capability::CONNECT_WITH_DB
        | capability::PROTOCOL_41
        | capability::TRANSACTIONS
        | capability::SECURE_CONNECTION
        | capability::PLUGIN_AUTH;
    let mut payload = capabilities.to_le_bytes().to_vec();
    payload.extend_from_slice(&(1_u32 << 24).to_le_bytes());
    payload.push(CHARSET);
    payload.extend_from_slice(&[0; 23]);
    payload.extend_from_slice(b"shop\0\0shop\0");
    payload.extend_from_slice(AUTH_PLUGIN.as_bytes());
    payload.push(0);
    payload
}

/// A stream whose reads and writes block the thread: the mistake that `GET /export` is there to show.
#[derive(Debug)]
pub(super) struct Blocking(std::net::TcpStream);

impl AsyncRead for Blocking {
    fn poll_read(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let count = (&self.0).read(buffer.initialize_unfilled())?;
        buffer.advance(count);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Blocking {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Poll::Ready((&self.0).write(bytes))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(self.0.shutdown(std::net::Shutdown::Write))
    }
}
