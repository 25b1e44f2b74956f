//! A server that takes long for each connection and lets few wait: the queue before it, and those that were turned away,
//! by the kernel's own count in a namespace where nothing else counts.

use std::{fs, thread};

use anyhow::{Context as _, Result, ensure};
use hostprof_tests::{CONNECTION_RULES, ClientCase, Netns, Recording};
use serde_json::json;

const BACKLOG: u64 = 2;
const CLIENTS: usize = 12;
const EACH: usize = 3;
const ACCEPT_SECONDS: f64 = 0.06;

/// A counter of the namespace of this process: the line of names, then that of values (proc(5), /proc/net/netstat).
fn counted(pid: u32, name: &str) -> Result<u64> {
    let path = format!("/proc/{pid}/net/netstat");
    let text = fs::read_to_string(&path).with_context(|| format!("failed to read {path}"))?;
    let mut lines = text.lines().filter(|line| line.starts_with("TcpExt:"));
    let (names, values) = (lines.next().context("no names")?, lines.next().context("no values")?);
    let pair = names.split_whitespace().zip(values.split_whitespace()).find(|(key, _)| *key == name);
    pair.and_then(|(_, value)| value.parse().ok())
        .with_context(|| format!("the kernel does not count {name}"))
}

#[test]
fn a_full_backlog_is_told_with_the_kernels_own_count() -> Result<()> {
    let netns = Netns::make(&[])?;
    let settings = json!({ "port": 8080, "backlog": BACKLOG, "accept_seconds": ACCEPT_SECONDS,
        "count": CLIENTS, "each": EACH });
    let mut server = ClientCase::start_in(Some(&netns), "serve_slowly", "slow_server", &settings)?;
    server.at("listening")?;
    let before = counted(server.pid(), "ListenOverflows")?;
    let recording = Recording::start(&[])?;
    let clients = ClientCase::start_in(Some(&netns), "at_once", "clients", &settings)?;
    let client = clients.pid();
    let answered = clients.finish()?["answered"].as_u64();
    let overflows = counted(server.pid(), "ListenOverflows")? - before;
    let report = recording.finish()?;
    ensure!(report.lost().is_empty(), "lost: {:?}", report.lost());
    ensure!(answered == Some((CLIENTS * EACH) as u64) && overflows > 0, "{answered:?} {overflows}");

    let row = report.rows("listeners").of(&[server.pid()]).only()?;
    for (field, expected) in [
        ("overflows", json!(overflows)),
        ("backlog_max", json!(BACKLOG)),
        ("backlog", json!(0)),
        ("address", json!("127.0.0.1:8080")),
        ("netns", json!(netns.inode()?)),
        ("workers", json!(1)),
        ("requests", json!(answered)),
        ("in_flight", json!(0)),
    ] {
        ensure!(row[field] == expected, "{field} is not {expected}: {row:#}");
    }
    // The kernel lets one more wait than it was told (sk_acceptq_is_full, include/net/sock.h), and one more for each CPU
    // that has found room at the same time: it looks first (tcp_v4_syn_recv_sock, net/ipv4/tcp_ipv4.c) and adds later
    // (inet_csk_reqsk_queue_add, net/ipv4/inet_connection_sock.c).
    let cpus = thread::available_parallelism()?.get() as u64;
    let peak = row["peak_backlog"].as_u64().context("no peak")?;
    ensure!((BACKLOG + 1..=BACKLOG + cpus).contains(&peak), "{row:#}");
    ensure!(row["accept_wait"]["count"].as_u64() == answered, "{row:#}");
    // Behind another, and the one before that had just been taken.
    ensure!(row["accept_wait"]["max"].as_f64() > Some(ACCEPT_SECONDS), "{row:#}");

    let found = report.found(&CONNECTION_RULES, &[server.pid()]);
    let [("queue-buildup", finding)] = found.as_slice() else {
        anyhow::bail!("not this one alone: {found:#?}")
    };
    ensure!(finding["severity"] == "critical", "{finding:#}");
    for (key, expected) in [("overflows", overflows), ("backlog_max", BACKLOG)] {
        ensure!(finding["evidence"][key] == expected, "{key} is not {expected}: {finding:#}");
    }
    let found = report.found(&CONNECTION_RULES, &[client]);
    ensure!(found.is_empty(), "of the clients: {found:#?}");
    server.stop()
}
