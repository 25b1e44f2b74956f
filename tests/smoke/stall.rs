//! Two stalls of an event loop: one blocked in a call, one computing.

use anyhow::Result;
use hostprof_tests::{Report, Stalling};
use serde_json::Value;

use crate::{
    fact::{Fact, Facts},
    kernel::Kernel,
};

/// How long each handler holds the loop: far beyond the threshold, so that there is time to look at it.
const HOLD_MS: u32 = 1_000;
const HOOK: &str = "wait tracepoints";

/// Has the loop held.
pub(crate) fn hold(server: &Stalling) -> Result<()> {
    // Code runs for the first time.
    server.get("wait", 1)?;
    for kind in ["sleep", "spin"] {
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
    facts.say(Fact::is(HOOK, "stalls", stalls.len() == 2, true, detail.clone()));
    let sleep = stalls.iter().find(|stall| number(&stall["blocked"]) >= 0.9 * held);
    let spin =
        stalls.iter().find(|stall| number(&stall["on_cpu"]) + number(&stall["run_queue"]) >= 0.9 * held);
    facts.say(Fact::is(
        HOOK,
        "blocked and computing told apart",
        sleep.is_some() && spin.is_some(),
        true,
        detail.clone(),
    ));

    let call = sleep.and_then(|stall| stall["blocked_in"][0]["syscall"].as_str());
    // CPython sleeps by clock_nanosleep from 3.11 on, before that by select.
    let named = call.is_some_and(|call| call == "clock_nanosleep" || call == "select");
    facts.say(Fact::is(
        HOOK,
        "blocking call by name",
        named,
        kernel.names_calls(),
        format!("{call:?}: {detail}"),
    ));
    let line = |stall: Option<&&Value>| stall.is_some_and(|stall| stall["stack"][0]["line"].is_u64());
    facts.say(Fact::is("stacks", "line of code of a call", line(sleep), true, detail.clone()));
    facts.say(Fact::is("stacks", "line of code of a computation", line(spin), true, detail));
}
