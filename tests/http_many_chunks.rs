//! A response of more chunks in one write than are followed, on a connection that then stays idle: it is reported within
//! a second all the same, with its status and its duration, and so is the next one. In one buffer, and in as many
//! segments as a call takes. Both ends are the test's own.

use std::{
    io::{IoSlice, Write as _},
    net::TcpStream,
    process, thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use hostprof_tests::{
    Recording, Trace,
    peer::{pair, read_head, read_until, write},
    process::wait_for,
    times::{in_time, undisturbed},
};
use serde_json::Value;

const GET: &[u8] = b"GET /chunks HTTP/1.1\r\nHost: test\r\n\r\n";
const CHUNKS: usize = 5_000;
/// What the server takes for it at least.
const WORK: Duration = Duration::from_millis(30);

/// A whole response of tiny chunks.
fn response() -> Vec<u8> {
    let head = b"HTTP/1.1 203 Non-Authoritative\r\nTransfer-Encoding: chunked\r\n\r\n";
    [head.as_slice(), &b"1\r\nx\r\n".repeat(CHUNKS), b"0\r\n\r\n"].concat()
}

/// Writes all of it by one call: as one buffer, or in as many segments as a call takes (`UIO_MAXIOV` of
/// include/uapi/linux/uio.h), most of them of three bytes; the last ones have the end.
fn write_in(mut stream: &TcpStream, segments: usize, bytes: &[u8]) -> Result<()> {
    if segments == 1 {
        return write(stream, bytes);
    }
    let (small, rest) = bytes.split_at((segments - 2) * 3);
    let (most, end) = rest.split_at(rest.len() - b"\r\n\r\n".len());
    let segments: Vec<_> = small.chunks(3).chain([most, end]).map(IoSlice::new).collect();
    let written = stream.write_vectored(&segments).context("failed to write")?;
    ensure!(written == bytes.len(), "only {written} bytes were written");
    Ok(())
}

/// One exchange, with the response in one write; how long the client waited for it.
fn exchange(client: &TcpStream, server: &TcpStream, segments: usize) -> Result<Duration> {
    let begun = Instant::now();
    write(client, GET)?;
    read_head(server)?;
    thread::sleep(WORK);
    write_in(server, segments, &response())?;
    read_until(client, b"0\r\n\r\n")?;
    Ok(begun.elapsed())
}

fn of<'a>(lines: &'a [Value], role: &str) -> Vec<&'a Value> {
    lines.iter().filter(|line| line["type"] == "exchange" && line["role"] == role).collect()
}

#[test]
fn an_idle_connections_last_response_is_shown_within_a_second() {
    for segments in [1, 1024] {
        undisturbed(|| shown_within_a_second(segments)).unwrap();
    }
}

fn shown_within_a_second(segments: usize) -> Result<()> {
    let trace = Trace::start(&["--pid", &process::id().to_string()])?;
    let (client, server) = pair()?;
    for number in 1..3 {
        let waited = exchange(&client, &server, segments)?;
        let over = Instant::now();
        let told = || {
            trace
                .lines()
                .is_ok_and(|lines| of(&lines, "client").len() + of(&lines, "server").len() == 2 * number)
        };
        wait_for("both ends in the trace", told).unwrap();
        let took = over.elapsed();
        for role in ["client", "server"] {
            let lines = trace.lines()?;
            let [.., line] = of(&lines, role)[..] else { panic!("no {role}: {lines:#?}") };
            assert_eq!((line["status"].as_u64(), &line["error_type"]), (Some(203), &Value::Null), "{line}");
            assert_eq!(line["request_bytes"].as_u64(), Some(GET.len() as u64), "{line}");
            assert_eq!(line["response_bytes"].as_u64(), Some(response().len() as u64), "{line}");
            let duration = line["duration"].as_f64().unwrap_or_else(|| panic!("no duration: {line}"));
            assert!((WORK.as_secs_f64()..=waited.as_secs_f64()).contains(&duration), "{waited:?}: {line}");
        }
        in_time(took < Duration::from_secs(1), || format!("shown after {took:?}"))?;
    }
    Ok(())
}

#[test]
fn a_report_has_it_while_the_connection_is_open() {
    let recording = Recording::start(&["--pid", &process::id().to_string()]).unwrap();
    let (client, server) = pair().unwrap();
    let waited = exchange(&client, &server, 1).unwrap();
    // Longer than the silence that tells the end of it.
    thread::sleep(Duration::from_secs(1));
    let report = recording.finish().unwrap();
    for role in ["client", "server"] {
        let row = report.rows("http").role(role).only();
        let row = row.unwrap_or_else(|error| panic!("{role}: {error}: {:#}", report.json()["capture"]));
        assert_eq!((row["status"].as_u64(), row["count"].as_u64()), (Some(203), Some(1)), "{role}: {row:#}");
        assert_eq!(row["response_bytes"]["sum"].as_f64(), Some(response().len() as f64), "{role}: {row:#}");
        let duration = row["duration"]["max"].as_f64().unwrap_or(f64::NAN);
        assert!((WORK.as_secs_f64()..=waited.as_secs_f64()).contains(&duration), "{role}: {duration}");
    }
    drop((client, server));
}
