//! What hostprof can do on the kernel that runs, in one look: `cargo xtask vm --smoke` runs this on each.
//!
//! Out come facts, one JSON object a line: what gives it, what it is, what was seen, and what is wrong about that.
//! Real servers answer real clients while hostprof records, first with the hooks that it chooses, then with every other
//! way to see sockets that this kernel has. Each fact is compared with what this kernel should give, so that a hook that
//! attaches and stays silent is found out. The status is zero only if nothing is wrong. Needs root.

mod doctor;
mod fact;
mod kernel;
mod stall;
mod traffic;

use std::{fs, process::ExitCode};

use anyhow::{Context as _, Result};
use hostprof_tests::{LoopRuntime, Stalling, require_root};

use doctor::Doctor;
use fact::{Fact, Facts};
use kernel::Kernel;
use traffic::Traffic;

fn main() -> ExitCode {
    let mut facts = Facts::default();
    if let Err(error) = run(&mut facts) {
        facts.say(Fact::wrong("smoke", "ran to its end", format!("{error:#}")));
    }
    ExitCode::from(u8::from(facts.are_wrong()))
}

fn run(facts: &mut Facts) -> Result<()> {
    require_root()?;
    let kernel = Kernel::running()?;
    let doctor = Doctor::ask()?;
    doctor.judge(&kernel, facts);
    match kernel.socket_hooks() {
        Some(best) => {
            let traffic = Traffic::start()?;
            let server = Stalling::start(LoopRuntime::Asyncio)?;
            record_everything(best, &kernel, &traffic, &server, facts)?;
            for way in doctor.socket_hooks().into_iter().filter(|way| way != best) {
                let seen = traffic.record(&["--loops", "off", "--socket-hooks", &way])?;
                seen.judge(&way, &kernel, facts);
            }
            server.stop()?;
            traffic.stop()?;
        }
        None => doctor::refusal(facts)?,
    }
    complaints(facts)
}

/// One recording as anybody starts it.
fn record_everything(
    best: &str,
    kernel: &Kernel,
    traffic: &Traffic,
    server: &Stalling,
    facts: &mut Facts,
) -> Result<()> {
    let mut held = Ok(());
    let seen = traffic.record_with(&[], || held = stall::hold(server))?;
    held?;
    let hooks = &seen.report().json()["capture"]["hooks"];
    let expected = [
        ("socket", Some(best)),
        ("arrival", kernel.has_arrivals().then_some("sk_data_ready")),
        ("loops", Some("wait tracepoints")),
        ("connections", Some("inet_sock_set_state")),
    ];
    for (what, expected) in expected {
        facts.say(Fact::same("in use", what, hooks[what].as_str(), expected));
    }
    seen.judge(best, kernel, facts);
    stall::judge(seen.report(), server, kernel, facts);
    Ok(())
}

/// Whether the kernel itself has found anything wrong.
fn complaints(facts: &mut Facts) -> Result<()> {
    let log = kernel::log().context("failed to read the kernel's log")?;
    let signs = ["WARNING: ", "BUG: ", "Oops", "Call Trace:", "soft lockup", "rcu_sched self-detected"];
    let line = log.lines().find(|line| signs.iter().any(|sign| line.contains(sign)));
    facts.say(match line {
        None => Fact::right("kernel", "complaints", "none"),
        Some(line) => Fact::wrong("kernel", "complaints", line),
    });
    let name = fs::read_to_string("/proc/sys/kernel/osrelease").context("the kernel has no release")?;
    facts.say(Fact::right("kernel", "release", name.trim()));
    Ok(())
}
