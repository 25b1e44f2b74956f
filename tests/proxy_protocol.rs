//! A load balancer tells the server who the client is by a PROXY header, version 1 (a line) or 2 (binary), in front of the
//! first request: that request is seen on both sides like any other. The server is nginx; the balancer is the test.

use std::{io::Write as _, net::TcpStream, process};

use anyhow::Result;
use hostprof_tests::{
    Nginx, Recording,
    peer::{connect, read_until, write},
};

const V1: &[u8] = b"PROXY TCP4 192.0.2.1 192.0.2.2 56324 443\r\n";
/// Without a client of its own: a health check.
const V1_UNKNOWN: &[u8] = b"PROXY UNKNOWN\r\n";
/// Signature; version 2, PROXY; TCP over IPv4; 12 bytes: two addresses, two ports.
const V2: &[u8] = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\xc0\0\x02\x01\xc0\0\x02\x02\xdc\x04\x01\xbb";
/// Version 2, LOCAL: a health check.
const V2_LOCAL: &[u8] = b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0";

/// Sends the header and a request, together or apart, and another request behind it.
fn ask(port: u16, header: &[u8], together: bool) -> Result<()> {
    let stream = connect(port)?;
    let mut to: &TcpStream = &stream;
    let first = b"GET /first HTTP/1.1\r\nHost: test\r\n\r\n";
    if together {
        to.write_all(&[header, first].concat())?;
    } else {
        write(&stream, header)?;
        write(&stream, first)?;
    }
    read_until(&stream, b"hello")?;
    write(&stream, b"GET /second HTTP/1.1\r\nHost: test\r\n\r\n")?;
    read_until(&stream, b"hello").map(drop)
}

#[test]
fn the_request_behind_a_proxy_header_is_seen_on_both_sides() {
    let nginx =
        Nginx::start("server { listen 127.0.0.1:PORT proxy_protocol; location / { return 200 'hello'; } }")
            .unwrap();
    let port = nginx.address().port().unwrap();
    for (name, header) in [("v1", V1), ("v1 unknown", V1_UNKNOWN), ("v2", V2), ("v2 local", V2_LOCAL)] {
        for together in [true, false] {
            let recording = Recording::start(&["--port", &port.to_string()]).unwrap();
            ask(port, header, together).unwrap();
            let report = recording.finish().unwrap();
            for (role, pids) in [("client", vec![process::id()]), ("server", nginx.pids())] {
                let rows = report.rows("http").of(&pids).role(role);
                let seen = rows.by("route");
                let expected = [("/first".to_owned(), 1), ("/second".to_owned(), 1)].into();
                assert_eq!(seen, expected, "{name}, together: {together}, {role}");
                assert!(rows.iter().all(|row| row["status"] == 200), "{name}: {rows:#?}");
                assert!(rows.iter().all(|row| row["method"] == "GET"), "{name}: {rows:#?}");
            }
            assert!(report.lost().is_empty(), "{name}: {:?}", report.lost());
        }
    }
    nginx.stop().unwrap();
}
