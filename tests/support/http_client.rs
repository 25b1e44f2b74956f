//! A blocking HTTP/1.1 client with a stopwatch, as plain as can be: what it sends and counts is what is on the wire.

use std::{
    fmt,
    io::{ErrorKind, Read as _, Write as _},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};

use crate::address::{Address, Stream};

/// A client with one connection, which it opens anew whenever the server has closed it.
pub struct HttpClient {
    address: Address,
    stream: Option<Box<dyn Stream>>,
    log: Vec<Exchange>,
}

/// One request and its response, by the stopwatch.
#[derive(Debug, Clone, PartialEq)]
pub struct Exchange {
    pub method: String,
    /// Path and query.
    pub target: String,
    pub status: u16,
    /// When the first byte was about to be written, on CLOCK_MONOTONIC.
    pub begun: Instant,
    /// From there to the first byte of the response.
    pub first_byte: Duration,
    /// From there to the last byte of the response.
    pub duration: Duration,
    /// All bytes on the wire, heads included.
    pub request_bytes: u64,
    pub response_bytes: u64,
    /// Whether it was the first on its connection.
    pub connected: bool,
}

/// What came back.
#[derive(Debug, Clone, PartialEq)]
pub struct Response {
    pub status: u16,
    /// Without the framing of chunks.
    pub body: Vec<u8>,
}

/// A head up to and with the empty line.
struct Head {
    status: u16,
    length: usize,
    framing: Framing,
    close: bool,
}

enum Framing {
    Length(usize),
    Chunked,
    UntilClose,
}

impl HttpClient {
    pub fn new(address: &Address) -> Self {
        Self { address: address.clone(), stream: None, log: Vec::new() }
    }

    /// Sends GET.
    pub fn get(&mut self, target: &str) -> Result<Response> {
        self.send("GET", target, &[])
    }

    /// Sends POST with a body.
    pub fn post(&mut self, target: &str, body: &[u8]) -> Result<Response> {
        self.send("POST", target, body)
    }

    /// Sends a request of the usual form. HEAD is for [`Self::exchange`] with a raw request as well as this.
    pub fn send(&mut self, method: &str, target: &str, body: &[u8]) -> Result<Response> {
        let mut request = format!("{method} {target} HTTP/1.1\r\nHost: test\r\n");
        if !body.is_empty() || method == "POST" {
            request += &format!("Content-Length: {}\r\n", body.len());
        }
        request += "\r\n";
        let mut request = request.into_bytes();
        request.extend_from_slice(body);
        self.exchange(&request)
    }

    /// Sends these bytes, which are one whole request, and reads one whole response.
    pub fn exchange(&mut self, request: &[u8]) -> Result<Response> {
        self.converse(request, &[])
    }

    /// Sends a head, and the body once the server has asked for it by an interim response.
    pub fn post_expecting(&mut self, target: &str, body: &[u8]) -> Result<Response> {
        let length = body.len();
        let head = format!(
            "POST {target} HTTP/1.1\r\nHost: test\r\nContent-Length: {length}\r\nExpect: 100-continue\r\n\r\n"
        );
        self.converse(head.as_bytes(), body)
    }

    /// Sends `request`, then `rest`, if there is one, after an interim response, and reads the final one.
    fn converse(&mut self, request: &[u8], rest: &[u8]) -> Result<Response> {
        let connected = self.stream.is_none();
        let mut stream = match self.stream.take() {
            Some(stream) => stream,
            None => {
                let address = &self.address;
                address.connect().with_context(|| format!("failed to connect to {address}"))?
            }
        };
        let mut words = request.split(|byte| byte.is_ascii_whitespace());
        let mut word = || String::from_utf8_lossy(words.next().unwrap_or_default()).into_owned();
        let (method, target) = (word(), word());

        let begun = Instant::now();
        stream.write_all(request).with_context(|| format!("failed to send {method} {target}"))?;
        let mut answer = Answer::new(stream);
        if !rest.is_empty() {
            let end = answer.end_of(0, b"\r\n\r\n").context("nobody asked for the body")?;
            ensure!(answer.bytes[..end].starts_with(b"HTTP/1.1 100 "), "not an interim response");
            answer.stream.write_all(rest).with_context(|| format!("failed to send {method} {target}"))?;
        }
        let head =
            answer.head(method == "HEAD").with_context(|| format!("no answer to {method} {target}"))?;
        let body = answer.body(&head).with_context(|| format!("cut answer to {method} {target}"))?;
        let duration = begun.elapsed();

        let first_byte = answer.first_byte.map_or(duration, |first_byte| first_byte - begun);
        let request_bytes = (request.len() + rest.len()) as u64;
        let response_bytes = answer.bytes.len() as u64;
        let status = head.status;
        self.log.push(Exchange {
            method,
            target,
            status,
            begun,
            first_byte,
            duration,
            request_bytes,
            response_bytes,
            connected,
        });
        if !head.close {
            self.stream = Some(answer.stream);
        }
        Ok(Response { status, body })
    }

    /// Every exchange so far, in order.
    pub fn log(&self) -> &[Exchange] {
        &self.log
    }

    /// Closes the connection; the next request opens another.
    pub fn close(&mut self) {
        self.stream = None;
    }
}

impl fmt::Debug for HttpClient {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("HttpClient").field("address", &self.address).finish_non_exhaustive()
    }
}

/// A response being read.
struct Answer {
    stream: Box<dyn Stream>,
    bytes: Vec<u8>,
    first_byte: Option<Instant>,
}

impl Answer {
    fn new(stream: Box<dyn Stream>) -> Self {
        Self { stream, bytes: Vec::new(), first_byte: None }
    }

    /// Reads once; false at the end of the stream.
    fn more(&mut self) -> Result<bool> {
        let mut buffer = [0; 64 * 1024];
        let read = loop {
            match self.stream.read(&mut buffer) {
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                read => break read.context("failed to read")?,
            }
        };
        self.first_byte.get_or_insert_with(Instant::now);
        self.bytes.extend_from_slice(&buffer[..read]);
        Ok(read > 0)
    }

    /// Reads until there are `length` bytes.
    fn fill(&mut self, length: usize) -> Result<()> {
        while self.bytes.len() < length {
            ensure!(self.more()?, "closed after {} of {length} bytes", self.bytes.len());
        }
        Ok(())
    }

    /// Where the line or head that begins at `from` ends: after the next `delimiter`.
    fn end_of(&mut self, from: usize, delimiter: &[u8]) -> Result<usize> {
        loop {
            let rest = self.bytes.get(from..).unwrap_or_default();
            if let Some(at) = rest.windows(delimiter.len()).position(|window| window == delimiter) {
                return Ok(from + at + delimiter.len());
            }
            ensure!(self.more()?, "closed in a head, after {} bytes", self.bytes.len());
        }
    }

    /// Reads the final head; interim ones (1xx) are passed over.
    fn head(&mut self, bodiless: bool) -> Result<Head> {
        let mut begin = 0;
        loop {
            let end = self.end_of(begin, b"\r\n\r\n")?;
            let text = String::from_utf8_lossy(&self.bytes[begin..end]).into_owned();
            let status = text.get(9..12).and_then(|status| status.parse().ok());
            let status: u16 = status.with_context(|| format!("no status line: {text:?}"))?;
            if status >= 200 || status == 101 {
                let bodiless = bodiless || matches!(status, 101 | 204 | 304);
                return Head::new(status, &text, end, bodiless);
            }
            begin = end;
        }
    }

    fn body(&mut self, head: &Head) -> Result<Vec<u8>> {
        match head.framing {
            Framing::Length(length) => {
                self.fill(head.length + length)?;
                Ok(self.bytes[head.length..head.length + length].to_vec())
            }
            Framing::UntilClose => {
                while self.more()? {}
                Ok(self.bytes[head.length..].to_vec())
            }
            Framing::Chunked => {
                let mut body = Vec::new();
                let mut at = head.length;
                loop {
                    let line_end = self.end_of(at, b"\r\n")?;
                    let line = String::from_utf8_lossy(&self.bytes[at..line_end]).into_owned();
                    let size = usize::from_str_radix(line.trim(), 16)
                        .with_context(|| format!("no chunk size: {line:?}"))?;
                    at = line_end + size + 2;
                    self.fill(at)?;
                    if size == 0 {
                        return Ok(body);
                    }
                    body.extend_from_slice(&self.bytes[line_end..line_end + size]);
                }
            }
        }
    }
}

impl Head {
    fn new(status: u16, text: &str, length: usize, bodiless: bool) -> Result<Self> {
        let value = |name: &str| {
            text.lines().filter_map(|line| line.split_once(':')).find_map(|(key, value)| {
                key.eq_ignore_ascii_case(name).then(|| value.trim().to_ascii_lowercase())
            })
        };
        let framing = if bodiless {
            Framing::Length(0)
        } else if value("transfer-encoding").is_some_and(|coding| coding == "chunked") {
            Framing::Chunked
        } else if let Some(length) = value("content-length") {
            Framing::Length(length.parse().with_context(|| format!("no length: {length:?}"))?)
        } else {
            Framing::UntilClose
        };
        let close = match &framing {
            Framing::UntilClose => true,
            _ => value("connection").is_some_and(|connection| connection == "close"),
        };
        if text.starts_with("HTTP/1.0") {
            bail!("this client is for HTTP/1.1");
        }
        Ok(Self { status, length, framing, close })
    }
}
