//! Very many short connections, one after the other: each is counted, none stays in a table, memory does not grow.
//! Truths: the number that were made, and the kernel's own word on the tables.

use std::{
    fs,
    io::{Read as _, Write as _},
    net::{Ipv4Addr, TcpListener, TcpStream},
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
const THREADS: u64 = 2;
const REQUEST: &[u8] = b"GET /items/1 HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n";
const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok";
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
fn ensure_all(rows: &[&Value]) -> Result<()> {
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
        ensure!((1..=MANY / 10).contains(&most), "{most} at one time: {row:#}");
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
    ensure_all(&[client, server])?;
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

#[test]
fn unix_connections_that_nobody_reads_to_their_end_leave_the_table() -> Result<()> {
    let dir = temp_dir()?;
    let path = dir.path().join("http.sock");
    let listener = UnixListener::bind(&path)?;
    let recording = Recording::start(&[])?;
    let table = Table::of(recording.pid(), "CONNS")?;
    let before = (map_memory(recording.pid())?, table.entries()?);
    let begun = Instant::now();
    between(
        || {
            let mut stream = UnixStream::connect(&path)?;
            stream.write_all(REQUEST)?;
            let mut answer = [0; ANSWER.len()];
            stream.read_exact(&mut answer)?;
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
    println!("{MANY} Unix connections in {:?}, {} in the table", begun.elapsed(), table.entries()?);
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
    ensure_all(&[client, server])
}
