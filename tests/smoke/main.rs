//! What hostprof can do on the kernel that runs, in one look: `cargo xtask vm --smoke` runs this on each.
//!
//! Out come facts, one JSON object a line: what gives it, what it is, what was seen, and what is wrong about that.
//! Real servers answer real clients while hostprof records, first with the hooks that it chooses, then, with
//! `--all-hooks`, with every other way to see sockets that this kernel has. Each fact is compared with what this kernel
//! should give, so that a hook that attaches and stays silent is found out. The status is zero only if nothing is wrong.
//! Needs root.

mod doctor;
mod fact;
mod kernel;
mod stall;
mod traffic;

use std::{env, fs, process::ExitCode, thread};

use anyhow::{Context as _, Result, bail};
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
    let arguments: Vec<_> = env::args().skip(1).collect();
    let all_hooks = match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [] => false,
        ["--all-hooks"] => true,
        _ => bail!("unknown arguments {arguments:?}: known is --all-hooks"),
    };
    let kernel = Kernel::running()?;
    let Some(best) = kernel.socket_hooks() else {
        Doctor::ask()?.judge(&kernel, facts);
        doctor::refusal(facts)?;
        return complaints(facts);
    };
    // Verifying programs is what takes the time, and the kernel does it on one CPU for each who loads some.
    let (doctor, traffic) = thread::scope(|scope| {
        let doctor = scope.spawn(Doctor::ask);
        let traffic = record(best, &kernel, facts);
        (doctor.join(), traffic)
    });
    let traffic = traffic?;
    let doctor = doctor.ok().context("asking doctor panicked")??;
    doctor.judge(&kernel, facts);
    let others = doctor.socket_hooks().into_iter().filter(|way| all_hooks && way != best);
    for way in others {
        traffic.record(&["--loops", "off", "--socket-hooks", &way])?.judge(&way, &kernel, facts);
    }
    traffic.stop()?;
    complaints(facts)
}

/// One recording as anybody starts it. Returns the servers, which go on.
fn record(best: &str, kernel: &Kernel, facts: &mut Facts) -> Result<Traffic> {
    let traffic = Traffic::start()?;
    let server = Stalling::start(LoopRuntime::Asyncio)?;
    let mut held = Ok(());
    let seen = traffic.record_with(&[], || held = stall::hold(&server))?;
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
    stall::judge(seen.report(), &server, kernel, facts);
    server.stop()?;
    Ok(traffic)
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
