//! Stalls of an event loop, blocked in a call and computing in turns.

use anyhow::Result;
use hostprof_tests::{Report, Stalling};
use serde_json::Value;

use crate::{
    fact::{Fact, Facts},
    kernel::Kernel,
};

/// How long each handler holds the loop: far beyond the threshold, so that there is time to look at it.
const HOLD_MS: u32 = 1_500;
/// Twice, because hostprof's first look at a program takes long: it reads the program's symbols.
const KINDS: [&str; 4] = ["sleep", "spin", "sleep", "spin"];
const HOOK: &str = "wait tracepoints";

/// Has the loop held.
pub(crate) fn hold(server: &Stalling) -> Result<()> {
    // Code runs for the first time.
    server.get("wait", 1)?;
    for kind in KINDS {
        server.get(kind, HOLD_MS)?;
        server.get("wait", 100)?;
    }
    Ok(())
}

/// Says what was seen of the stalls. There may be others: what is quick elsewhere is slow in a guest.
pub(crate) fn judge(report: &Report, server: &Stalling, kernel: &Kernel, facts: &mut Facts) {
    let rows = report.rows("event_loops").filter(|row| row["pid"] == server.pid());
    let number = |value: &Value| value.as_f64().unwrap_or(0.0);
    let held = f64::from(HOLD_MS) / 1e3;
    let stalls: Vec<_> = rows
        .iter()
        .flat_map(|row| row["stalls"].as_array().into_iter().flatten())
        .filter(|stall| number(&stall["seconds"]) >= held)
        .collect();
    let detail = format!("{rows:?}");
    facts.say(Fact::is(HOOK, "stalls", stalls.len() == KINDS.len(), true, detail.clone()));
    let running = |stall: &&Value| number(&stall["on_cpu"]) + number(&stall["run_queue"]) >= 0.9 * held;
    let (spins, sleeps): (Vec<_>, Vec<_>) = stalls.into_iter().partition(running);
    let blocked = sleeps.iter().all(|stall| number(&stall["blocked"]) >= 0.9 * held);
    let told_apart = blocked && sleeps.len() == spins.len();
    facts.say(Fact::is(HOOK, "blocked and computing told apart", told_apart, true, detail.clone()));

    // CPython sleeps by clock_nanosleep from 3.11 on, before that by select.
    let call = |stall: &&Value| {
        matches!(stall["blocked_in"][0]["syscall"].as_str(), Some("clock_nanosleep" | "select"))
    };
    let named = !sleeps.is_empty() && sleeps.iter().all(call);
    facts.say(Fact::is(HOOK, "blocking call by name", named, kernel.names_calls(), detail.clone()));
    let line = |stalls: &[&Value]| stalls.iter().any(|stall| stall["stack"][0]["line"].is_u64());
    facts.say(Fact::is("stacks", "line of code of a call", line(&sleeps), true, detail.clone()));
    facts.say(Fact::is("stacks", "line of code of a computation", line(&spins), true, detail));
}
