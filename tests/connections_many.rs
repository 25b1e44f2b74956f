//! Very many short connections, one after the other: each is counted, none stays in a table, memory does not grow.
//! Truths: the number that were made, and the kernel's own word on the tables.

use std::{
    fs,
    io::{Read as _, Write as _},
    net::{Ipv4Addr, TcpListener, TcpStream},
    ops::RangeInclusive,
    os::unix::net::{UnixListener, UnixStream},
    process, thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, anyhow, ensure};
use hostprof_tests::{
    Recording, Table,
    bpf::map_memory,
    process::{temp_dir, wait_for},
};
use serde_json::Value;

const MANY: u64 = 50_000;
const THREADS: u64 = 1;
const REQUEST: &[u8] = b"GET /items/1 HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n";
const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok";
/// Unix connections that are open at one time, and more TCP connections than are under way.
const AT_ONCE: u64 = 4_000;
/// Connections of others on this machine, and those under way.
const OTHERS: usize = 64;
/// Within seconds, on a machine that others use too.
const SECONDS: Duration = Duration::from_secs(20);

/// Runs so many clients and servers in threads of their own, each for its share of all connections.
fn between(client: impl Fn() -> Result<()> + Sync, server: impl Fn() -> Result<()> + Sync) -> Result<()> {
    let (client, server) = (&client, &server);
    let share = |one: &(dyn Fn() -> Result<()> + Sync)| (0..MANY / THREADS).try_for_each(|_| one());
    thread::scope(|scope| {
        let threads: Vec<_> = (0..THREADS)
            .flat_map(|_| [scope.spawn(move || share(client)), scope.spawn(move || share(server))])
            .collect();
        let panicked = |_| Err(anyhow!("an end panicked"));
        threads.into_iter().try_for_each(|thread| thread.join().unwrap_or_else(panicked))
    })
}

fn number(row: &Value, field: &str) -> u64 {
    row[field].as_u64().unwrap_or(u64::MAX)
}

/// Both ends' rows tell each of them, from its begin to its end.
fn ensure_all(rows: &[&Value], at_once: RangeInclusive<u64>) -> Result<()> {
    for row in rows {
        for (field, expected) in [
            ("established", MANY),
            ("closed", MANY),
            ("exchanges", MANY),
            ("live", 0),
            ("preexisting", 0),
            ("cut", 0),
            ("gone", 0),
        ] {
            ensure!(number(row, field) == expected, "{field} is not {expected}: {row:#}");
        }
        ensure!(row["exchanges_per_connection"]["count"] == MANY, "{row:#}");
        let most = number(row, "peak");
        ensure!(at_once.contains(&most), "{most} at one time: {row:#}");
    }
    Ok(())
}

/// Sockets of this port in TIME_WAIT: state 06 in /proc/net/tcp (include/net/tcp_states.h).
fn waiting(port: u16) -> Result<u64> {
    let text = fs::read_to_string("/proc/self/net/tcp").context("failed to read /proc/self/net/tcp")?;
    let own = |line: &&str| {
        let mut words = line.split_whitespace().skip(1);
        let local = words.next().unwrap_or_default();
        local.ends_with(&format!(":{port:04X}")) && words.nth(1) == Some("06")
    };
    Ok(text.lines().filter(own).count() as u64)
}

#[test]
fn fifty_thousand_tcp_connections_are_told_to_the_last_one() -> Result<()> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let port = listener.local_addr()?.port();
    let recording = Recording::start(&[])?;
    let table = Table::of(recording.pid(), "CONNS")?;
    let before = (map_memory(recording.pid())?, table.entries()?);
    let begun = Instant::now();
    between(
        || {
            let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
            stream.write_all(REQUEST)?;
            let mut answer = Vec::new();
            stream.read_to_end(&mut answer)?;
            ensure!(answer == ANSWER, "another answer");
            Ok(())
        },
        || {
            let (mut stream, _) = listener.accept()?;
            let mut request = [0; REQUEST.len()];
            stream.read_exact(&mut request)?;
            Ok(stream.write_all(ANSWER)?)
        },
    )?;
    println!("{MANY} TCP connections in {:?}", begun.elapsed());
    let after = (map_memory(recording.pid())?, table.entries()?);
    let time_wait = waiting(port)?;
    let report = recording.finish()?;
    ensure!(report.lost().is_empty(), "lost: {:?}", report.lost());
    ensure!(after.0 == before.0, "the maps take {} bytes, before {}", after.0, before.0);
    ensure!(after.1 <= before.1 + OTHERS, "{} connections are in the table, before {}", after.1, before.1);

    let own = [process::id()];
    let rows = || report.rows("connections").of(&own).with("protocol", "http");
    let client = rows().role("client").with("peer", format!("127.0.0.1:{port}")).only()?;
    let server = rows().role("server").with("peer", "127.0.0.1").only()?;
    ensure_all(&[client, server], 1..=AT_ONCE)?;
    ensure!(number(client, "attempted") == MANY && client["connect"]["count"] == MANY, "{client:#}");
    ensure!(server["accept_wait"]["count"] == MANY, "{server:#}");
    // The server has hung up first.
    ensure!(
        client["closed_by"]["peer"] == MANY && server["closed_by"]["us"] == MANY,
        "{client:#} {server:#}"
    );
    let told = number(server, "time_wait");
    println!("{told} in TIME_WAIT, {time_wait} by the kernel's own list");
    ensure!(told > 0 && told <= time_wait, "{time_wait} by the kernel's own list: {server:#}");
    let listener = report.rows("listeners").of(&own).with("address", format!("127.0.0.1:{port}")).only()?;
    ensure!(listener["requests"] == MANY && listener["workers"] == THREADS, "{listener:#}");
    Ok(())
}

/// How many connections this process may hold both ends of, having been given all that it may ask for.
fn most_at_once() -> Result<u64> {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the kernel writes one rlimit, then reads it.
    let result = unsafe {
        libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit);
        limit.rlim_cur = limit.rlim_max;
        libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit)
    };
    ensure!(result == 0, "failed to raise the limit of open files");
    Ok(AT_ONCE.min((limit.rlim_max - OTHERS as u64) / 2))
}

/// A request and its answer, both to their last byte and no further.
fn exchange((client, server): &mut (UnixStream, UnixStream)) -> Result<()> {
    let mut request = [0; REQUEST.len()];
    let mut answer = [0; ANSWER.len()];
    client.write_all(REQUEST)?;
    server.read_exact(&mut request)?;
    server.write_all(ANSWER)?;
    client.read_exact(&mut answer)?;
    ensure!(answer == ANSWER, "another answer");
    Ok(())
}

/// No hook tells of a Unix socket's end that nobody reads. Many are open at one time, for the kernel uses the memory of
/// closed sockets for new ones, and few would ever be in the table.
#[test]
fn unix_connections_that_nobody_reads_to_their_end_leave_the_table() -> Result<()> {
    let dir = temp_dir()?;
    let path = dir.path().join("http.sock");
    let listener = UnixListener::bind(&path)?;
    let at_once = most_at_once()?;
    let recording = Recording::start(&[])?;
    let table = Table::of(recording.pid(), "CONNS")?;
    let before = (map_memory(recording.pid())?, table.entries()?);
    let begun = Instant::now();
    let (mut made, mut most) = (0, 0);
    while made < MANY {
        let mut batch = Vec::new();
        for _ in 0..at_once.min(MANY - made) {
            let mut ends = (UnixStream::connect(&path)?, listener.accept()?.0);
            exchange(&mut ends)?;
            batch.push(ends);
        }
        made += batch.len() as u64;
        most = most.max(table.entries()?);
    }
    println!("{MANY} Unix connections in {:?}, {most} ends in the table", begun.elapsed());
    ensure!(most as u64 >= 2 * at_once, "the table never had all that were open: {most}");
    let closed = Instant::now();
    wait_for("an empty table", || table.entries().is_ok_and(|entries| entries <= before.1 + OTHERS))?;
    println!("gone from the table after {:?}", closed.elapsed());
    ensure!(closed.elapsed() < SECONDS, "it took {:?}", closed.elapsed());
    let after = map_memory(recording.pid())?;
    ensure!(after == before.0, "the maps take {after} bytes, before {}", before.0);
    let report = recording.finish()?;
    ensure!(report.lost().is_empty(), "lost: {:?}", report.lost());
    let rows =
        report.rows("connections").of(&[process::id()]).with("peer", format!("unix:{}", path.display()));
    let (client, server) = (rows.clone().role("client").only()?, rows.role("server").only()?);
    // Those that are closed count until they are found closed.
    ensure_all(&[client, server], at_once..=MANY)
}

/// The first byte is there while accept() returns: on one CPU the connection is seen to be accepted, on another one it is
/// seen to have data, both for the first time.
#[test]
fn unix_connections_that_are_written_to_while_they_are_accepted() -> Result<()> {
    let dir = temp_dir()?;
    let path = dir.path().join("other.sock");
    let listener = UnixListener::bind(&path)?;
    let recording = Recording::start(&[])?;
    between(
        || {
            let mut stream = UnixStream::connect(&path)?;
            stream.write_all(b"?")?;
            Ok(stream.read_exact(&mut [0])?)
        },
        || {
            let (mut stream, _) = listener.accept()?;
            stream.read_exact(&mut [0])?;
            stream.write_all(b"!")?;
            // Until the client has closed its end.
            ensure!(stream.read(&mut [0])? == 0, "it says more");
            Ok(())
        },
    )?;
    let report = recording.finish()?;
    ensure!(report.lost().is_empty(), "lost: {:?}", report.lost());
    let rows =
        report.rows("connections").of(&[process::id()]).with("peer", format!("unix:{}", path.display()));
    for role in ["client", "server"] {
        let row = rows.clone().role(role).only()?;
        // The last ones were closed just before the end.
        for (field, expected) in [("established", MANY), ("closed", MANY), ("live", 0)] {
            ensure!(number(row, field) == expected, "{field} is not {expected}: {row:#}");
        }
    }
    let server = rows.role("server").only()?;
    ensure!(server["accept_wait"]["count"] == MANY, "{server:#}");
    Ok(())
}
