//! What happens at once on one connection: threads that write and read the same socket, and requests that do not wait
//! for the response before them. The bytes that the test sends are the truth for both ends.

use std::{
    collections::BTreeMap,
    io::{Read as _, Write as _},
    net::TcpStream,
    process,
    sync::mpsc,
    thread,
};

use anyhow::{Result, ensure};
use hostprof_tests::{
    Recording, Trace,
    peer::{between, finish, read_to_end, write},
    times::{impossible, in_time, overlapping, undisturbed},
};

const ROUNDS: u64 = 5000;

fn request(n: u64) -> Vec<u8> {
    format!("GET /round/{n} HTTP/1.1\r\nHost: test\r\n\r\n").into_bytes()
}

fn status(n: u64) -> u64 {
    [200, 201, 203, 404, 500][n as usize % 5]
}

/// Status and length of the body tell which request was answered.
fn response(n: u64) -> Vec<u8> {
    let body = "x".repeat(n as usize % 97);
    format!("HTTP/1.1 {} OK\r\nContent-Length: {}\r\n\r\n{body}", status(n), body.len()).into_bytes()
}

/// Reads exactly what is expected.
fn expect(mut stream: &TcpStream, bytes: &[u8]) -> Result<()> {
    let mut read = vec![0; bytes.len()];
    stream.read_exact(&mut read)?;
    ensure!(read == bytes, "other bytes");
    Ok(())
}

/// As the Go client does: one thread only writes, another only reads, and the response may have been read before the
/// write of its request returns.
#[test]
fn a_writing_and_a_reading_thread_on_one_socket() {
    undisturbed(race).unwrap();
}

fn race() -> Result<()> {
    let trace = Trace::start(&["--pid", &process::id().to_string()])?;
    between(
        |stream| {
            let (answered, next) = mpsc::sync_channel(0);
            thread::scope(|scope| {
                let reader = scope.spawn(|| {
                    (0..ROUNDS).try_for_each(|n| {
                        expect(&stream, &response(n))?;
                        answered.send(()).map_err(anyhow::Error::from)
                    })
                });
                for n in 0..ROUNDS {
                    write(&stream, &request(n))?;
                    next.recv()?;
                }
                reader.join().unwrap()
            })
        },
        |stream| {
            stream.set_nodelay(true)?;
            (0..ROUNDS).try_for_each(|n| {
                expect(&stream, &request(n))?;
                write(&stream, &response(n))
            })
        },
    )?;
    let lines = trace.finish()?;
    // A page of the request that the kernel is moving cannot be read, which is counted.
    let lost: Vec<_> = lines.iter().filter(|line| line["type"] == "lost").collect();
    in_time(lost.is_empty(), || format!("not all was seen: {lost:?}"))?;
    for role in ["client", "server"] {
        let seen: Vec<_> = lines.iter().filter(|line| line["role"] == role).collect();
        assert_eq!(seen.len() as u64, ROUNDS, "{role}");
        for (n, line) in (0..ROUNDS).zip(&seen) {
            assert_eq!(line["path"], format!("/round/{n}"), "{role}: {line}");
            assert_eq!(line["status"], status(n), "{role}: {line}");
            assert_eq!(line["response_bytes"], response(n).len(), "{role}: {line}");
            assert_eq!(line["request_bytes"], request(n).len(), "{role}: {line}");
            assert_eq!(impossible(line), None);
        }
        let timed = seen.iter().filter(|line| line["duration"].is_number()).count() as u64;
        println!("{role}: {timed} of {ROUNDS} with a duration");
        // The start of a raced one is not known; that is the exception.
        assert!(timed > ROUNDS / 2, "{role}: {timed}");
    }
    assert_eq!(overlapping(lines.iter().filter(|line| line["role"] == "server")), None);
    assert_eq!(lines.len() as u64, 2 * ROUNDS);
    Ok(())
}

/// `depth` requests in one write, answered one by one once all have been read.
fn pipelined(depth: u64) -> Result<hostprof_tests::Report> {
    let recording = Recording::start(&["--pid", &process::id().to_string()])?;
    let all: Vec<u8> = (0..depth).flat_map(request).collect();
    between(
        |mut stream| {
            stream.write_all(&all)?;
            finish(&stream)?;
            assert!(read_to_end(&stream));
            Ok(())
        },
        |stream| {
            expect(&stream, &all)?;
            (0..depth).try_for_each(|n| write(&stream, &response(n)))
        },
    )?;
    recording.finish()
}

#[test]
fn sixteen_requests_in_one_segment_are_sixteen_exchanges() {
    let report = pipelined(16).unwrap();
    for role in ["client", "server"] {
        let rows = report.rows("http").role(role);
        assert_eq!(rows.count(), 16, "{role}");
        // Four of 200, three of each other status.
        let statuses = rows.by("status");
        assert_eq!(statuses.values().copied().collect::<Vec<_>>(), [4, 3, 3, 3, 3], "{role}: {statuses:?}");
        let bytes = rows.total(|row| row["response_bytes"]["sum"].as_f64().unwrap_or(0.0) as u64);
        assert_eq!(bytes, (0..16).map(|n| response(n).len() as u64).sum::<u64>(), "{role}");
    }
    assert!(report.lost().is_empty(), "{:?}", report.lost());
}

#[test]
fn what_is_past_the_depth_is_counted_as_lost() {
    const DEPTH: u64 = 28;
    let report = pipelined(DEPTH).unwrap();
    let lost = report.lost().get("pipeline_too_deep").copied().unwrap_or(0);
    assert_eq!(report.rows("http").count() + lost, 2 * DEPTH, "{:?}", report.lost());
    assert!(report.rows("http").role("client").count() >= 8 && lost > 0, "{lost}");
    // Those that were kept have their own responses, not those of the lost ones.
    assert_eq!(report.rows("http").filter(|row| row["status"].is_null()).count(), 0);
    for role in ["client", "server"] {
        let kept = report.rows("http").role(role).count();
        let mut truth = BTreeMap::new();
        (0..kept).for_each(|n| *truth.entry(status(n).to_string()).or_default() += 1);
        assert_eq!(report.rows("http").role(role).by("status"), truth, "{role}");
    }
}
