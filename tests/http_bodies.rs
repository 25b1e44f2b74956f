//! Bytes that reach a socket by other ways than one plain buffer: files sent by the kernel, scattered buffers, messages,
//! a look ahead before the read. Both ends are seen whole, by each way to see sockets.

use std::{
    io::{IoSlice, Write as _},
    net::TcpStream,
    os::fd::AsRawFd as _,
    process,
};

use anyhow::{Context as _, Result, ensure};
use hostprof_tests::{
    HttpClient, Nginx, Recording,
    http_truth::{reported, sent},
    peer::{between, read_until, write},
};

const HOOKS: [&str; 3] = ["sock-tracepoints", "syscall-exit", "raw-exit"];

#[test]
fn files_sent_by_the_kernel() {
    let nginx = Nginx::start("server { listen 127.0.0.1:PORT; root DIR; sendfile on; }").unwrap();
    let sizes = [0, 1, 4_096, 1_000_000, 20_000_000];
    for size in sizes {
        std::fs::write(nginx.dir().join(format!("file-{size}")), vec![b'f'; size]).unwrap();
    }
    for hooks in HOOKS {
        let port = nginx.address().port().unwrap().to_string();
        let recording = Recording::start(&["--socket-hooks", hooks, "--port", &port]).unwrap();
        let mut client = HttpClient::new(nginx.address());
        for size in sizes.into_iter().cycle().take(25) {
            assert_eq!(client.get(&format!("/file-{size}")).unwrap().body.len(), size);
        }
        let report = recording.finish().unwrap();
        // The names are one route or several: only the sums are compared.
        let total = |sums: Vec<hostprof_tests::http_truth::Sums>| {
            let sum = |read: fn(&hostprof_tests::http_truth::Sums) -> u64| sums.iter().map(read).sum::<u64>();
            (sum(|s| s.count), sum(|s| s.request.sum), sum(|s| s.response.sum))
        };
        let truth = total(sent(client.log()).into_values().collect());
        assert_eq!(truth.0, 25);
        for (pids, role) in [(nginx.pids(), "server"), (vec![process::id()], "client")] {
            let rows = report.rows("http").of(&pids).role(role).with("status", 200);
            assert_eq!(total(reported(&rows).into_values().collect()), truth, "{hooks}: {role}");
        }
        assert!(report.lost().is_empty(), "{hooks}: {:?}", report.lost());
    }
    nginx.stop().unwrap();
}

/// Sends one message of several pieces by `sendmsg`.
fn send_message(stream: &TcpStream, pieces: &[&[u8]]) -> Result<()> {
    let mut slices: Vec<_> = pieces.iter().map(|piece| IoSlice::new(piece)).collect();
    // SAFETY: all-zero is a valid msghdr: no name, no vector, no control data.
    let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
    message.msg_iov = slices.as_mut_ptr().cast();
    message.msg_iovlen = slices.len();
    // SAFETY: an IoSlice is laid out as an iovec; message, vector and pieces outlive the call, which only reads them.
    let sent = unsafe { libc::sendmsg(stream.as_raw_fd(), &raw const message, 0) };
    ensure!(sent == pieces.concat().len() as isize, "sent {sent}");
    Ok(())
}

/// Receives once by `recvmsg` into two pieces, after a look ahead that takes nothing.
fn receive_message(stream: &TcpStream, length: usize) -> Result<()> {
    let mut bytes = vec![0_u8; length];
    stream.peek(&mut bytes).context("failed to look ahead")?;
    let (front, back) = bytes.split_at_mut(3);
    let mut slices =
        [front, back].map(|piece| libc::iovec { iov_base: piece.as_mut_ptr().cast(), iov_len: piece.len() });
    // SAFETY: as above.
    let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
    message.msg_iov = slices.as_mut_ptr();
    message.msg_iovlen = slices.len();
    // SAFETY: the vector's pieces are parts of `bytes`, which outlives the call.
    let received = unsafe { libc::recvmsg(stream.as_raw_fd(), &raw mut message, libc::MSG_WAITALL) };
    ensure!(received == length as isize, "received {received}");
    Ok(())
}

#[test]
fn scattered_buffers_messages_and_looks_ahead() {
    const ROUNDS: u64 = 50;
    let request: [&[u8]; 5] =
        [b"PO", b"ST /scat", b"", b"tered HTTP/1.1\r\nContent-", b"Length: 5\r\n\r\nhello"];
    let response: [&[u8]; 4] = [b"HTTP/1.1 20", b"2 Accepted\r\nContent-Len", b"gth: 4\r\n\r\nda", b"ta"];
    for hooks in HOOKS {
        let recording =
            Recording::start(&["--socket-hooks", hooks, "--pid", &process::id().to_string()]).unwrap();
        between(
            |stream| {
                (0..ROUNDS).try_for_each(|_| {
                    send_message(&stream, &request)?;
                    read_until(&stream, b"data").map(drop)
                })
            },
            |mut stream| {
                (0..ROUNDS).try_for_each(|_| {
                    receive_message(&stream, request.concat().len())?;
                    let written = stream.write_vectored(&response.map(IoSlice::new))?;
                    write(&stream, &response.concat()[written..])
                })
            },
        )
        .unwrap();
        let report = recording.finish().unwrap();
        for role in ["client", "server"] {
            let row = report.rows("http").role(role).only().unwrap();
            assert_eq!((row["method"].as_str(), row["route"].as_str()), (Some("POST"), Some("/scattered")));
            assert_eq!((row["status"].as_u64(), row["count"].as_u64()), (Some(202), Some(ROUNDS)));
            for (field, bytes) in [("request_bytes", request.concat()), ("response_bytes", response.concat())]
            {
                assert_eq!(row[field]["sum"], ROUNDS as f64 * bytes.len() as f64, "{hooks}: {role} {field}");
            }
        }
        assert!(report.lost().is_empty(), "{hooks}: {:?}", report.lost());
    }
}
