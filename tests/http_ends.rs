//! How HTTP/1 exchanges end when they do not end well: closes and resets before, within and after a response. An error is
//! reported, a status only where one was read, and all of a response that was read. Both ends are the test's own.

use std::{net::TcpStream, sync::mpsc};

use anyhow::Result;
use hostprof_tests::{
    Report,
    peer::{await_reset, finish, read_head, read_to_end, read_until, recorded, reset, write},
};
use serde_json::Value;

const GET: &[u8] = b"GET /edge HTTP/1.1\r\nHost: test\r\n\r\n";

/// One exchange on each side with this status and this error. Where a side never saw a status, it has none.
fn assert_failed(report: &Report, role: &str, status: Option<u16>, errors: &[&str]) -> Result<()> {
    let row = report.rows("http").role(role).only()?;
    assert_eq!(row["status"].as_u64(), status.map(u64::from), "{role}: {row:#}");
    let error = row["error_type"].as_str().unwrap_or("none");
    assert!(errors.contains(&error), "{role}: {error}, not one of {errors:?}");
    assert_eq!((row["count"].as_u64(), row["route"].as_str()), (Some(1), Some("/edge")));
    Ok(())
}

#[test]
fn a_close_in_place_of_a_response_has_an_error_and_no_status() {
    let report = recorded(
        |stream| {
            write(&stream, GET)?;
            read_to_end(&stream);
            Ok(())
        },
        |stream| read_head(&stream),
    );
    let report = report.unwrap();
    assert_failed(&report, "client", None, &["closed"]).unwrap();
    assert_failed(&report, "server", None, &["closed"]).unwrap();
}

#[test]
fn a_reset_in_place_of_a_response_has_an_error_and_no_status() {
    let report = recorded(
        |stream| {
            write(&stream, GET)?;
            read_to_end(&stream);
            Ok(())
        },
        |stream| {
            read_head(&stream)?;
            reset(stream)
        },
    );
    let report = report.unwrap();
    assert_failed(&report, "client", None, &["ECONNRESET"]).unwrap();
    assert_failed(&report, "server", None, &["closed", "ECONNRESET"]).unwrap();
}

#[test]
fn a_close_or_reset_in_mid_response_keeps_its_status_and_has_an_error() {
    for abruptly in [false, true] {
        // The client reads this much before it learns of the end.
        let (half, has_half) = mpsc::channel();
        let report = recorded(
            move |stream| {
                write(&stream, GET)?;
                read_until(&stream, b"half of it")?;
                half.send(())?;
                read_to_end(&stream);
                Ok(())
            },
            move |stream| {
                read_head(&stream)?;
                write(&stream, b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf of it")?;
                has_half.recv()?;
                if abruptly { reset(stream) } else { Ok(()) }
            },
        );
        let report = report.unwrap();
        assert_failed(&report, "client", Some(200), &[if abruptly { "ECONNRESET" } else { "closed" }])
            .unwrap();
        assert_failed(&report, "server", Some(200), &["closed", "ECONNRESET"]).unwrap();
    }
}

#[test]
fn a_client_that_leaves_has_an_error_and_no_status() {
    let (head, has_head) = mpsc::channel();
    let report = recorded(
        move |stream| {
            write(&stream, GET)?;
            has_head.recv()?;
            reset(stream)
        },
        move |stream| {
            read_head(&stream)?;
            head.send(())?;
            read_to_end(&stream);
            Ok(())
        },
    );
    let report = report.unwrap();
    assert_failed(&report, "client", None, &["closed", "ECONNRESET"]).unwrap();
    assert_failed(&report, "server", None, &["closed", "ECONNRESET"]).unwrap();
}

#[test]
fn a_body_without_a_length_ends_with_the_connection() {
    ends_with_the_connection(|_| Ok(())).unwrap();
}

/// The kernel's connection is closed before the client has read what came: `tcp_time_wait` ends it at the server's FIN.
#[test]
fn a_client_that_has_closed_its_direction_still_reads_the_response() {
    ends_with_the_connection(finish).unwrap();
}

fn ends_with_the_connection(after_the_request: impl FnOnce(&TcpStream) -> Result<()>) -> Result<()> {
    let report = recorded(
        |stream| {
            write(&stream, GET)?;
            after_the_request(&stream)?;
            assert!(read_to_end(&stream));
            Ok(())
        },
        |stream| {
            read_head(&stream)?;
            write(&stream, b"HTTP/1.0 200 OK\r\n\r\n")?;
            for _ in 0..10 {
                write(&stream, &[b'x'; 1000])?;
            }
            Ok(())
        },
    );
    let report = report?;
    for role in ["client", "server"] {
        let row = report.rows("http").role(role).only()?;
        assert_eq!((row["status"].as_u64(), &row["error_type"]), (Some(200), &Value::Null), "{role}");
        assert_eq!(row["response_bytes"]["sum"], 10_019.0, "{role}");
    }
    Ok(())
}

/// As a server does that refuses a large body: the bytes that it has not read turn its close into a reset, which
/// overtakes the client's reading of a response that is all there.
#[test]
fn a_response_read_after_the_reset_has_its_status() {
    let refusal = b"HTTP/1.1 413 Content Too Large\r\nContent-Length: 3\r\n\r\nno\n";
    let (body, has_body) = mpsc::channel();
    let report = recorded(
        move |mut stream| {
            use std::io::Read as _;
            write(&stream, b"POST /edge HTTP/1.1\r\nContent-Length: 100000\r\n\r\n")?;
            write(&stream, &[b'x'; 10_000])?;
            body.send(())?;
            await_reset(&stream)?;
            let mut response = vec![0; refusal.len()];
            stream.read_exact(&mut response)?;
            assert_eq!(response, refusal);
            Ok(())
        },
        move |mut stream| {
            use std::io::Read as _;
            has_body.recv()?;
            stream.read_exact(&mut [0; 60])?;
            write(&stream, refusal)
        },
    );
    let report = report.unwrap();
    for role in ["client", "server"] {
        let row = report.rows("http").role(role).only().unwrap();
        assert_eq!((row["status"].as_u64(), row["count"].as_u64()), (Some(413), Some(1)), "{role}: {row:#}");
        assert_eq!(row["response_bytes"]["sum"], refusal.len() as f64, "{role}");
    }
}
