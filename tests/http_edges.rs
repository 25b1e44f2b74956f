//! What HTTP/1 connections do besides requests and responses: upgrades, streams, HTTP/2, pipelines, slow writers. The
//! bytes that a test sends are the truth for both ends, which are its own but where a server is named.

use std::{process, thread, time::Duration};

use anyhow::Result;
use hostprof_tests::{
    Address, HttpServer, Listen, Nginx, Recording, Runtime,
    peer::{connect, read_head, read_to_end, read_until, recorded, write},
};

const GET: &[u8] = b"GET /edge HTTP/1.1\r\nHost: test\r\n\r\n";
const OK: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

#[test]
fn an_upgrade_is_a_stream_and_what_follows_is_not_parsed() {
    let switch = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n";
    let report = recorded(
        |stream| {
            let ask = b"GET /socket HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";
            write(&stream, ask)?;
            read_until(&stream, b"\r\n\r\n")?;
            // A frame that holds a request is no request.
            for _ in 0..20 {
                write(&stream, GET)?;
                read_until(&stream, b"ok")?;
            }
            Ok(())
        },
        |stream| {
            read_head(&stream)?;
            write(&stream, switch)?;
            for _ in 0..20 {
                read_head(&stream)?;
                write(&stream, OK)?;
            }
            Ok(())
        },
    );
    let report = report.unwrap();
    assert_eq!(report.capture("streams"), 2);
    assert_eq!(report.rows("http").count(), 0, "{:#}", report.json()["http"]);
}

#[test]
fn ndjson_is_a_stream_and_the_next_request_is_none() {
    let report = recorded(
        |stream| {
            write(&stream, GET)?;
            read_until(&stream, b"0\r\n\r\n")?;
            write(&stream, b"GET /next HTTP/1.1\r\nHost: test\r\n\r\n")?;
            read_until(&stream, b"ok").map(drop)
        },
        |stream| {
            read_head(&stream)?;
            write(
                &stream,
                b"HTTP/1.1 200 OK\r\nContent-Type: application/x-ndjson; charset=utf-8\r\n\
                  Transfer-Encoding: chunked\r\n\r\n",
            )?;
            for _ in 0..5 {
                write(&stream, b"8\r\n{\"n\":1}\n\r\n")?;
                thread::sleep(Duration::from_millis(20));
            }
            write(&stream, b"0\r\n\r\n")?;
            read_head(&stream)?;
            write(&stream, OK)
        },
    );
    let report = report.unwrap();
    assert_eq!(report.capture("streams"), 2);
    assert_eq!(
        (
            report.rows("http").role("server").only().unwrap()["route"].as_str(),
            report.rows("http").role("client").only().unwrap()["count"].as_u64()
        ),
        (Some("/next"), Some(1))
    );
}

#[test]
fn http2_is_counted_as_not_parsed() {
    const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    const SETTINGS: &[u8] = &[0, 0, 0, 4, 0, 0, 0, 0, 0];
    // In one piece, and as granian reads it: the first 24 bytes apart; then byte by byte.
    for piece in [PREFACE.len() + SETTINGS.len(), PREFACE.len(), 1] {
        let report = recorded(
            |stream| {
                for bytes in [PREFACE, SETTINGS].concat().chunks(piece) {
                    write(&stream, bytes)?;
                }
                read_until(&stream, SETTINGS)?;
                write(&stream, b"\x00\x00\x05\x01\x05\x00\x00\x00\x01\x82\x86\x84\x41\x8a")
            },
            |stream| {
                read_until(&stream, SETTINGS)?;
                write(&stream, SETTINGS)?;
                read_to_end(&stream);
                Ok(())
            },
        );
        let report = report.unwrap();
        assert_eq!(report.not_parsed().get("http2"), Some(&2), "{piece}: {:?}", report.not_parsed());
        assert_eq!(report.rows("http").count(), 0);
    }
}

/// Three requests in one segment, of which the second is answered with 404.
fn pipelined(address: &Address, pids: &[u32]) -> Result<()> {
    let recording = Recording::start(&["--port", &address.port()?.to_string()])?;
    let stream = connect(address.port()?)?;
    write(
        &stream,
        b"GET /items/1 HTTP/1.1\r\nHost: a\r\n\r\nGET /none HTTP/1.1\r\nHost: a\r\n\r\n\
          GET /bytes/5 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
    )?;
    assert!(read_to_end(&stream));
    drop(stream);
    let report = recording.finish()?;
    for (pids, role) in [(pids, "server"), (&[process::id()], "client")] {
        let rows = report.rows("http").of(pids).role(role);
        let mut seen: Vec<_> = rows
            .iter()
            .map(|row| (row["route"].as_str(), row["status"].as_u64(), row["count"].as_u64()))
            .collect();
        seen.sort_unstable();
        let one = |route, status| (Some(route), Some(status), Some(1));
        assert_eq!(seen, [one("/bytes/{id}", 200), one("/items/{id}", 200), one("/none", 404)], "{role}");
        let asked: Vec<_> = rows.iter().filter_map(|row| row["request_bytes"]["sum"].as_u64()).collect();
        assert!(asked.iter().all(|bytes| (30..60).contains(bytes)), "{role}: {asked:?}");
    }
    assert_eq!(report.rows("http").count(), 6);
    assert!(report.lost().is_empty(), "{:?}", report.lost());
    Ok(())
}

#[test]
fn a_pipeline_of_three_to_nginx_is_three_exchanges() {
    let nginx = Nginx::start(
        "server { listen 127.0.0.1:PORT;
             location /items { return 200 'item'; } location /bytes { return 200 'bytes'; } location / { return 404; } }",
    )
    .unwrap();
    pipelined(nginx.address(), &nginx.pids()).unwrap();
    nginx.stop().unwrap();
}

#[test]
fn a_pipeline_of_three_to_uvicorn_is_three_exchanges() {
    for runtime in [Runtime::UvicornAsyncio, Runtime::UvicornUvloop] {
        let server = HttpServer::start(runtime, Listen::Tcp).unwrap();
        pipelined(server.address(), &server.pids()).unwrap();
        server.stop().unwrap();
    }
}

#[test]
fn slow_writers_and_readers_of_single_bytes_are_seen_whole() {
    let body = b"GET /inner HTTP/1.1\r\n\r\n";
    let head = format!("POST /edge?secret HTTP/1.1\r\nContent-Length: {}\r\n\r\n", body.len());
    let request = [head.as_bytes(), body].concat();
    let response = b"HTTP/1.1 201 Created\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n";
    let report = recorded(
        |stream| {
            for _ in 0..3 {
                request.iter().try_for_each(|byte| write(&stream, &[*byte]))?;
                read_until(&stream, b"0\r\n\r\n")?;
            }
            Ok(())
        },
        |mut stream| {
            use std::io::Read as _;
            for _ in 0..3 {
                for _ in 0..request.len() {
                    stream.read_exact(&mut [0])?;
                }
                response.iter().try_for_each(|byte| write(&stream, &[*byte]))?;
            }
            Ok(())
        },
    );
    let report = report.unwrap();
    for role in ["client", "server"] {
        let row = report.rows("http").role(role).only().unwrap();
        assert_eq!((row["method"].as_str(), row["route"].as_str()), (Some("POST"), Some("/edge")), "{role}");
        assert_eq!((row["status"].as_u64(), row["count"].as_u64()), (Some(201), Some(3)), "{role}");
        let bytes = [&row["request_bytes"], &row["response_bytes"]].map(|bytes| bytes["sum"].as_f64());
        assert_eq!(bytes, [Some(3.0 * request.len() as f64), Some(3.0 * response.len() as f64)], "{role}");
    }
}
