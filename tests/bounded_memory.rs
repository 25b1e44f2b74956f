//! 20,000 different paths and 20,000 different statements do not grow the agent past 64 MB, and what was summed up
//! because of it is counted and shown. Truths: the kernel's high-water mark of the agent's memory; the number sent.

use std::{fs, process};

use anyhow::{Context as _, Result};
use hostprof_tests::{
    Report,
    cli::{Running, command, read},
    hostile,
    process::{temp_dir, wait_for},
    schema::{REPORT, breaches},
};

const MANY: u64 = 20_000;
/// The ceiling.
const CEILING: u64 = 64 << 20;

/// The most memory that a process ever had, bytes.
fn high_water(pid: u32) -> Result<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).context("no VmHWM")?;
    Ok(line.trim().trim_end_matches(" kB").parse::<u64>()? * 1024)
}

#[test]
fn twenty_thousand_paths_and_statements_stay_under_64_mb_and_are_counted() {
    let dir = temp_dir().unwrap();
    let files = ["json", "txt", "prom"].map(|ending| dir.path().join(format!("report.{ending}")));
    let mut record = command(["record", "-d", "600s", "--pid", &process::id().to_string()]).unwrap();
    for file in &files {
        record.arg("-o").arg(file);
    }
    let running = Running::attached(&mut record).unwrap();
    let pid = running.pid();
    hostile::http(MANY).unwrap();
    let after_http = high_water(pid).unwrap();
    hostile::mysql(MANY).unwrap();
    let after_mysql = high_water(pid).unwrap();
    running.signal(libc::SIGINT);
    // Writing three reports takes memory, too: the last mark before it has gone.
    let mut last = after_mysql;
    wait_for("its end", || high_water(pid).map(|mark| last = mark).is_err()).unwrap();
    let ended = running.wait().unwrap();
    assert!(ended.code() == Some(0) && ended.complaints().is_empty(), "{ended}");

    let report = Report::parse(&read(&files[0]).unwrap()).unwrap();
    let own = report.capture("agent_peak_rss");
    let map_bytes = report.capture("kernel_map_bytes");
    println!(
        "high-water marks: {after_http} {after_mysql} {last}, by its own word {own}; kernel maps {map_bytes}"
    );
    assert!(last < CEILING && own < CEILING, "{last} {own}");
    assert_eq!(breaches(report.json(), REPORT), Vec::<String>::new());

    // Every exchange is in some row; on a machine that gives the reader no time, or lost and counted.
    let mut lost = report.lost();
    let ring_full = lost.remove("ring_full").unwrap_or(0);
    // With the records of exchanges those of processes may go.
    if ring_full > 0 {
        lost.remove("notice_lost");
    }
    let mut seen = 0;
    for role in ["server", "client"] {
        seen += report.rows("http").role(role).count();
        seen += report.rows("mysql").role(role).count();
    }
    // Each has two ends, and so has MySQL's handshake.
    assert_eq!(seen + ring_full, 4 * MANY + 2, "{:?}", report.lost());
    assert!(ring_full < MANY / 10, "too much was lost to show anything: {ring_full}");
    let rows = |table: &str| report.json()[table].as_array().unwrap().len();
    println!("rows: {} http, {} mysql; lost {:?}", rows("http"), rows("mysql"), report.lost());
    assert!(rows("http") < 2_100 && rows("mysql") < 2_100, "rows are not bounded");

    // What was summed up is what the rows without a name of their own hold, in every output.
    let overflowed = report.rows("http").with("route_source", "overflow").count()
        + report.rows("mysql").with("digest_text", "<overflow>").count();
    assert!(overflowed > MANY, "{overflowed}");
    assert_eq!(report.lost().get("series_overflow"), Some(&overflowed));
    assert_eq!(lost.len(), 1, "{lost:?}");
    let text = read(&files[1]).unwrap();
    let words = text.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(
        words.contains("more different routes, statements or peers than are kept apart (series_overflow)"),
        "{text}"
    );
    let page = read(&files[2]).unwrap();
    assert!(
        page.contains(&format!("hostprof_self_lost_total{{reason=\"series_overflow\"}} {overflowed}\n")),
        "{page}"
    );
    for secret in ["token=", "xxxx"] {
        for file in &files {
            assert!(!read(file).unwrap().contains(secret), "{secret} in {}", file.display());
        }
    }
}
