//! A server that moves its bytes by io_uring: no system call names them, so its side is counted as not read, and nothing
//! is invented. The client's side, by ordinary calls, is seen whole.

use std::{
    io::{Read as _, Write as _},
    net::{TcpListener, TcpStream},
    os::fd::AsRawFd as _,
    process, thread,
};

use hostprof_tests::Recording;
use io_uring::{IoUring, opcode, squeue, types::Fd};

const REQUESTS: u64 = 20;
const REPLY: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi";

/// Has the ring do one thing; returns what the call of its name would have returned.
fn submit(ring: &mut IoUring, entry: &squeue::Entry) -> i32 {
    // SAFETY: the buffers that the entries of this file name live until the ring has answered, below.
    unsafe { ring.submission().push(entry) }.unwrap();
    ring.submit_and_wait(1).unwrap();
    ring.completion().next().unwrap().result()
}

/// Answers one connection until its end.
fn serve(stream: &TcpStream) {
    let mut ring = IoUring::new(8).unwrap();
    let mut buffer = [0u8; 4096];
    loop {
        let fd = Fd(stream.as_raw_fd());
        let read =
            submit(&mut ring, &opcode::Recv::new(fd, buffer.as_mut_ptr(), buffer.len() as u32).build());
        if read <= 0 {
            return;
        }
        let sent = submit(&mut ring, &opcode::Send::new(fd, REPLY.as_ptr(), REPLY.len() as u32).build());
        assert_eq!(sent, REPLY.len() as i32);
    }
}

#[test]
fn a_ring_is_counted_once_for_each_connection_and_nothing_is_invented() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let recording = Recording::start(&["--port", &port.to_string()]).unwrap();
    thread::scope(|scope| {
        for _ in 0..2 {
            let mut client = TcpStream::connect(("127.0.0.1", port)).unwrap();
            let (server, _) = listener.accept().unwrap();
            scope.spawn(move || serve(&server));
            for n in 0..REQUESTS {
                client.write_all(format!("GET /ring/{n} HTTP/1.1\r\nHost: x\r\n\r\n").as_bytes()).unwrap();
                let mut reply = [0; REPLY.len()];
                client.read_exact(&mut reply).unwrap();
                assert_eq!(reply, REPLY);
            }
        }
    });
    let report = recording.finish().unwrap();
    assert_eq!(report.not_parsed().get("io_uring"), Some(&2), "{:?}", report.not_parsed());
    let client = report.rows("http").role("client").of(&[process::id()]).with("status", 200).count();
    assert_eq!(
        (client, report.rows("http").count()),
        (2 * REQUESTS, 2 * REQUESTS),
        "{:#}",
        report.json()["http"]
    );
    assert!(report.lost().is_empty(), "{:?}", report.lost());
}
