//! An HTTP server on tokio whose handlers hold the thread that they run on: `/KIND/MILLISECONDS`, with `sleep`, `spin`
//! and, for one that waits as it should, any other name. Each says on stdout from when to when, on the monotonic clock,
//! and what the kernel's scheduler says of the thread in between: `held KIND START END ON_CPU RUN_QUEUE`, in ns.
//!
//! Usage: `stalls-tokio PORT [threads]`: one thread, or two workers that share one epoll set.

use std::{
    env, fs, hint,
    net::Ipv4Addr,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    runtime::Builder,
};

const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

fn main() -> Result<()> {
    let mut arguments = env::args().skip(1);
    let port = arguments.next().context("no port")?.parse().context("not a port")?;
    let mut builder = match arguments.next() {
        None => Builder::new_current_thread(),
        Some(_) => Builder::new_multi_thread(),
    };
    builder.worker_threads(2).enable_all().build().context("no runtime")?.block_on(serve(port))
}

async fn serve(port: u16) -> Result<()> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await?;
    loop {
        let (stream, _) = listener.accept().await?;
        tokio::spawn(answer(stream));
    }
}

/// Answers one request after another.
async fn answer(mut stream: TcpStream) -> Result<()> {
    let mut request = Vec::new();
    loop {
        while !request.ends_with(b"\r\n\r\n") {
            if stream.read_buf(&mut request).await? == 0 {
                return Ok(());
            }
        }
        let text = String::from_utf8_lossy(&request).into_owned();
        let mut words = text.split(['/', ' ']).skip(2);
        let kind = words.next().context("no kind")?;
        let time = Duration::from_millis(words.next().context("no time")?.parse()?);
        match kind {
            "sleep" => hold(kind, || thread::sleep(time))?,
            "spin" => hold(kind, || spin(time))?,
            _ => tokio::time::sleep(time).await,
        }
        stream.write_all(ANSWER).await?;
        request.clear();
    }
}

fn spin(time: Duration) {
    let begun = Instant::now();
    while begun.elapsed() < time {
        hint::spin_loop();
    }
}

fn hold(kind: &str, way: impl FnOnce()) -> Result<()> {
    let (before, start) = (scheduled()?, monotonic());
    way();
    let (end, after) = (monotonic(), scheduled()?);
    println!("held {kind} {start} {end} {} {}", after[0] - before[0], after[1] - before[1]);
    Ok(())
}

/// Of this thread: time on the CPU and in the run queue so far.
fn scheduled() -> Result<[u64; 2]> {
    let text = fs::read_to_string("/proc/thread-self/schedstat")?;
    let mut numbers = text.split_whitespace().map(str::parse::<u64>);
    Ok([numbers.next().context("no time")??, numbers.next().context("no time")??])
}

fn monotonic() -> u64 {
    hostprof_tests::times::now(libc::CLOCK_MONOTONIC)
}
