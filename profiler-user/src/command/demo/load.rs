//! The demo's load: a handful of keep-alive clients that send a fixed mix at a bounded rate.

use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Ipv4Addr, TcpStream};
use std::str::FromStr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::child;

/// In front of the load's own count on stdout.
pub(super) const TALLY: &str = "tally ";

/// Eight clients with a request each 40 ms: 200 a second.
const CLIENTS: u64 = 8;
const INTERVAL: Duration = Duration::from_millis(40);

/// What the load has sent, by its own count.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tally {
    /// Requests with a complete response.
    pub requests: u64,
    /// Of these, with a status of 500 and more.
    pub failed: u64,
    /// Requests without a complete response.
    pub broken: u64,
}

#[derive(Debug, Default)]
struct Counters {
    sent: AtomicU64,
    requests: AtomicU64,
    failed: AtomicU64,
    broken: AtomicU64,
    stop: AtomicBool,
    /// Held by each client during a request, so that the end waits for the last ones.
    turns: [Mutex<()>; CLIENTS as usize],
}

/// Sends until the process ends; then prints the tally.
pub(super) fn run(http_port: u16) -> io::Result<()> {
    let counters = Arc::new(Counters::default());
    let last = Arc::clone(&counters);
    child::attend(c"demo-load", move || {
        println!("{TALLY}{}", last.stop());
    })?;
    child::announce(0)?;
    let clients: Vec<_> = (0..CLIENTS)
        .map(|number| {
            let counters = Arc::clone(&counters);
            std::thread::Builder::new()
                .name(format!("demo-load-{number}"))
                .spawn(move || client(http_port, number, &counters))
        })
        .collect::<io::Result<_>>()?;
    for client in clients {
        // A client ends only with the whole load, and never panics.
        let _ = client.join();
    }
    // The process is ended by the thread that has told them to stop.
    std::thread::sleep(child::LONGEST);
    Ok(())
}

/// One client: a request in each interval; what was missed while the service hung is not made up for.
fn client(http_port: u16, number: u64, counters: &Counters) {
    let mut connection = None;
    let mut next = Instant::now() + INTERVAL * number as u32 / CLIENTS as u32;
    loop {
        std::thread::sleep(next.saturating_duration_since(Instant::now()));
        next = (next + INTERVAL).max(Instant::now());
        let turn = counters.turns[number as usize].lock().unwrap_or_else(PoisonError::into_inner);
        if counters.stop.load(Ordering::SeqCst) {
            return;
        }
        let path = path(counters.sent.fetch_add(1, Ordering::Relaxed));
        let status = match connection.take() {
            Some(open) => Ok(open),
            None => connect(http_port),
        }
        .and_then(|mut open| {
            let status = request(&mut open, &path)?;
            connection = Some(open);
            Ok(status)
        });
        let counter = match status {
            Ok(500..) => {
                counters.failed.fetch_add(1, Ordering::Relaxed);
                &counters.requests
            }
            Ok(_) => &counters.requests,
            Err(_) => &counters.broken,
        };
        counter.fetch_add(1, Ordering::Relaxed);
        drop(turn);
    }
}

/// The mix: mostly orders, some of everything that is sick, one export in 200 (one a second).
fn path(number: u64) -> String {
    match number % 200 {
        100 => "/export".into(),
        slot if slot % 20 == 3 => "/report".into(),
        slot if slot % 10 == 7 => "/login?user=ann".into(),
        slot if slot % 40 == 11 => "/broken".into(),
        _ => format!("/orders/{}", 1 + number * 7919 % 9973),
    }
}

fn connect(port: u16) -> io::Result<BufReader<TcpStream>> {
    let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    Ok(BufReader::new(stream))
}

/// Sends one request, reads its response to the end and returns its status.
fn request(connection: &mut BufReader<TcpStream>, path: &str) -> io::Result<u16> {
    let text =
        format!("GET {path} HTTP/1.1\r\nHost: demo\r\nUser-Agent: hostprof-demo\r\nAccept: */*\r\n\r\n");
    connection.get_mut().write_all(text.as_bytes())?;
    let invalid = || io::Error::from(io::ErrorKind::InvalidData);
    let mut status = None;
    let mut length = 0;
    loop {
        let mut line = String::new();
        if connection.read_line(&mut line)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let line = line.trim_end();
        if line.is_empty() {
            break;
        }
        if status.is_none() {
            status = line.split(' ').nth(1).and_then(|status| status.parse().ok());
        } else if let Some(value) = line.strip_prefix("Content-Length: ") {
            length = value.parse().map_err(|_| invalid())?;
        }
    }
    let read = io::copy(&mut connection.take(length), &mut io::sink())?;
    if read < length { Err(io::ErrorKind::UnexpectedEof.into()) } else { status.ok_or_else(invalid) }
}

impl Counters {
    /// Lets the requests in flight end, keeps new ones from beginning, and counts.
    fn stop(&self) -> Tally {
        self.stop.store(true, Ordering::SeqCst);
        for turn in &self.turns {
            drop(turn.lock().unwrap_or_else(PoisonError::into_inner));
        }
        let [requests, failed, broken] =
            [&self.requests, &self.failed, &self.broken].map(|counter| counter.load(Ordering::SeqCst));
        Tally { requests, failed, broken }
    }
}

impl std::fmt::Display for Tally {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{} {} {}", self.requests, self.failed, self.broken)
    }
}

impl FromStr for Tally {
    type Err = std::num::ParseIntError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut numbers = text.split(' ').map(str::parse::<u64>);
        let mut next = || numbers.next().unwrap_or(Ok(0));
        Ok(Self { requests: next()?, failed: next()?, broken: next()? })
    }
}

impl std::ops::AddAssign for Tally {
    fn add_assign(&mut self, other: Self) {
        self.requests += other.requests;
        self.failed += other.failed;
        self.broken += other.broken;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mix_has_everything_and_one_export_a_second() {
        let paths: Vec<String> = (0..200).map(path).collect();
        let count = |start: &str| paths.iter().filter(|path| path.starts_with(start)).count();
        let counts = ["/export", "/report", "/login", "/broken"].map(count);
        assert_eq!(counts, [1, 10, 20, 5]);
        assert_eq!(count("/orders/"), 164);
    }

    #[test]
    fn a_tally_reads_back() {
        let tally = Tally { requests: 1999, failed: 50, broken: 1 };
        assert_eq!(tally.to_string().parse(), Ok(tally));
        assert!("many".parse::<Tally>().is_err());
    }
}
