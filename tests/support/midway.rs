//! Attaching in the middle of live traffic, on connections that were open before, and detaching again. The truth is the
//! traffic itself, of which a test knows every answer.

use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use serde_json::Value;

use crate::{
    address::Address,
    hostprof::Trace,
    process::PATIENCE,
    times::{impossible, overlapping},
};

/// The ways to see sockets of five attachments, one after the other.
pub type Hooks = [&'static str; 5];

/// The best there are.
pub const BEST: Hooks = ["sock-tracepoints"; 5];

/// Each in turn.
pub const EACH: Hooks = ["syscall-exit", "raw-exit", "sock-tracepoints", "syscall-exit", "raw-exit"];

/// How long each attachment looks at least, and how many exchanges it sees of each kind at least: programs that take
/// turns, or start slowly, may have none for a while.
const LOOK: Duration = Duration::from_millis(300);
const ENOUGH: usize = 25;

/// Tells traffic to go on until it is dropped, by a panic too: threads of a scope are waited for in any case.
#[derive(Debug)]
pub struct Going<'a>(&'a AtomicBool);

impl<'a> Going<'a> {
    pub fn start(flag: &'a AtomicBool) -> Self {
        flag.store(true, Ordering::Relaxed);
        Self(flag)
    }
}

impl Drop for Going<'_> {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Relaxed);
    }
}

/// Runs `traffic`, which takes as long as it is told to go on, and attaches to it again and again, until it has seen so
/// many `kinds` of exchanges each time: services with their roles and servers' addresses. Returns what was seen.
pub fn attach_to<T: Send>(
    hooks: Hooks,
    arguments: &[&str],
    kinds: usize,
    traffic: impl FnOnce(&AtomicBool) -> Result<T> + Send,
) -> Result<(Vec<Vec<Value>>, T)> {
    let flag = AtomicBool::new(true);
    thread::scope(|scope| {
        let going = Going::start(&flag);
        let traffic = scope.spawn(|| traffic(&flag));
        // Connections are opened in the beginning.
        thread::sleep(Duration::from_millis(300));
        let looks = hooks.iter().map(|hooks| {
            let trace = Trace::start(&[&["--socket-hooks", hooks], arguments].concat())?;
            let begun = Instant::now();
            thread::sleep(LOOK);
            // What is missing in the end is for the test to say.
            while seen_enough(&trace.lines()?) < kinds && begun.elapsed() < PATIENCE {
                thread::sleep(LOOK / 3);
            }
            trace.finish()
        });
        let looks = looks.collect::<Result<Vec<_>>>();
        drop(going);
        let traffic = traffic.join().unwrap_or_else(|_| Err(anyhow::anyhow!("the traffic panicked")));
        Ok((looks?, traffic.context("the traffic")?))
    })
}

/// The number of kinds of which enough was seen.
fn seen_enough(lines: &[Value]) -> usize {
    let mut seen: BTreeMap<[&str; 3], usize> = BTreeMap::new();
    for line in lines.iter().filter(|line| line["type"] == "exchange") {
        let server = if line["role"] == "server" { "local" } else { "peer" };
        let kind = ["service", "role", server].map(|field| line[field].as_str().unwrap_or_default());
        *seen.entry(kind).or_default() += 1;
    }
    seen.into_values().filter(|count| *count >= ENOUGH).count()
}

/// Runs a client to its end, again and again, and returns what `run` did.
pub fn repeated<T>(going: &AtomicBool, run: impl Fn() -> Result<T>) -> Result<Vec<T>> {
    let mut done = Vec::new();
    while going.load(Ordering::Relaxed) {
        done.push(run()?);
    }
    Ok(done)
}

/// What may be seen: exchanges of these processes in this role, and what holds for each of them.
pub type Expected<'a> = (&'a [u32], &'a str, &'a dyn Fn(&Value) -> bool);

/// Every exchange is an expected one, of each kind many were seen, none has impossible times, nothing was lost. Event
/// loops may stall meanwhile.
pub fn assert_right(looks: &[Vec<Value>], expected: &[Expected<'_>]) {
    let mut seen = vec![0; expected.len()];
    for line in looks.iter().flatten().filter(|line| line["type"] != "stall" && line["type"] != "finding") {
        assert_eq!(line["type"], "exchange", "{line}");
        assert_eq!(impossible(line), None);
        let of = |pids: &[u32]| pids.iter().any(|pid| line["pid"] == *pid);
        let same =
            expected.iter().position(|(pids, role, holds)| of(pids) && line["role"] == *role && holds(line));
        let Some(which) = same else { panic!("a wrong role, status or route: {line}") };
        seen[which] += 1;
    }
    for look in looks {
        assert_eq!(overlapping(look), None);
    }
    println!("{seen:?} exchanges in {} attachments", looks.len());
    assert!(seen.iter().all(|count| *count > 100), "{seen:?}");
}

/// The exchanges with this server; others on the machine are not the test's.
pub fn with(looks: &[Vec<Value>], server: &Address) -> Vec<Vec<Value>> {
    let server = Value::from(server.to_string());
    let ours = |line: &Value| line["type"] != "exchange" || line["local"] == server || line["peer"] == server;
    looks.iter().map(|look| look.iter().filter(|line| ours(line)).cloned().collect()).collect()
}
