//! `doctor`: what this kernel and these rights allow, check by check, and what to do about each `no`.

use std::io::{ErrorKind, Write};
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, Result};
use serde::Serialize;

use crate::cli::{DoctorArgs, LineFormat};
use crate::config::Settings;
use crate::kernel::btf::Btf;
use crate::kernel::caps::{Capabilities, Capability};
use crate::kernel::error::StartError;
use crate::kernel::hooks::{self, SocketHooks, Wait};
use crate::kernel::session::Session;
use crate::kernel::{layout, lockdown, memlock, own};
use crate::output::style::{ColourChoice, Style, Tone, wrap};
use crate::stack::reader;

/// The check that can keep `record` from running although the hooks work: it makes a larger table.
const MEMORY_LOCK: &str = "memory-lock-limit";

/// All checks, and whether `record` can run.
#[derive(Debug, Serialize)]
struct Findings {
    checks: Vec<Check>,
    can_record: bool,
}

/// One check.
#[derive(Debug, Serialize)]
struct Check {
    id: String,
    ok: bool,
    /// What it gives, or what is lost without it.
    effect: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    advice: Option<String>,
}

impl Check {
    fn new(id: impl Into<String>, effect: impl Into<String>, problem: Option<String>, advice: &str) -> Self {
        let ok = problem.is_none();
        let advice = (!ok && !advice.is_empty()).then(|| advice.to_owned());
        Self { id: id.into(), ok, effect: effect.into(), reason: problem, advice }
    }
}

/// Runs `doctor`.
pub fn run(args: &DoctorArgs) -> Result<ExitCode> {
    let findings = examine();
    let style = Style::for_stdout(args.color.unwrap_or(ColourChoice::Auto));
    let text = match args.format {
        LineFormat::Json => serde_json::to_string_pretty(&findings)? + "\n",
        LineFormat::Text => render(&findings, &style),
    };
    let mut out = std::io::stdout().lock();
    out.write_all(text.as_bytes()).and_then(|()| out.flush()).context("cannot write to stdout")?;
    Ok(ExitCode::from(u8::from(!findings.can_record)))
}

fn examine() -> Findings {
    let mut checks = capabilities();
    checks.extend([lockdown(), btf(), tracefs(), memory_lock(), namespace(), stacks()]);
    let room = checks.iter().all(|check| check.ok || check.id != MEMORY_LOCK);
    let hooks = try_hooks(&mut checks);
    Findings { checks, can_record: room && hooks }
}

fn capabilities() -> Vec<Check> {
    let wanted = [
        (Capability::Bpf, "loads the kernel half; without it nothing can be recorded"),
        (Capability::Perfmon, "reads the kernel's memory; without it nothing can be recorded"),
        (
            Capability::SysPtrace,
            "executables of other users' processes and the stacks of stalls; without it services go by their command line",
        ),
        (Capability::DacReadSearch, "processes of other users; without it only as far as /proc allows"),
        (Capability::SysAdmin, "time spent in hostprof's own probes; without it this is not known"),
        (Capability::SysResource, "lifts the memory lock limit where kernels before 5.11 need it"),
    ];
    let caps = match Capabilities::current() {
        Ok(caps) => caps,
        Err(e) => {
            return vec![Check::new(
                "capabilities",
                "the rights of this process",
                Some(e.to_string()),
                "mount /proc",
            )];
        }
    };
    wanted
        .iter()
        .map(|(capability, effect)| {
            let problem = (!caps.has(*capability)).then(|| format!("this process has no {capability}"));
            let advice = match capability {
                Capability::SysResource if !memlock::matters() => "nothing, this kernel does not need it",
                _ => "run as root, or give the process this capability (setcap, systemd, setpriv)",
            };
            Check::new(capability.name(), *effect, problem, advice)
        })
        .collect()
}

fn memory_lock() -> Check {
    Check::new(
        MEMORY_LOCK,
        "room for the maps (only kernels before 5.11 count it)",
        memlock::raise().err().map(|e| e.to_string()),
        "raise it with `ulimit -l` before the start, or run with CAP_SYS_RESOURCE",
    )
}

fn namespace() -> Check {
    Check::new(
        "pid-namespace",
        "names processes: the kernel tells their numbers as the initial pid namespace has them",
        own::namespace_problem().map(str::to_owned),
        "start hostprof in the host's pid namespace (docker run --pid=host, hostPID: true)",
    )
}

fn stacks() -> Check {
    Check::new(
        "stacks",
        "the line of code of a stall of an event loop, read from the process's memory",
        reader::problem(),
        "run as root with kernel.yama.ptrace_scope below 3, or with --stacks off",
    )
}

fn lockdown() -> Check {
    let mode = lockdown::mode();
    let problem = lockdown::forbids(&mode)
        .then(|| "the kernel is locked down for confidentiality: eBPF may not read its memory".to_owned());
    Check::new(
        "lockdown",
        format!("lets eBPF read the kernel's memory (mode: {mode})"),
        problem,
        lockdown::ADVICE,
    )
}

fn btf() -> Check {
    let problem = match Btf::from_kernel() {
        Ok(btf) => layout::read(&btf).err().map(|e| e.to_string()),
        Err(e) => Some(e.to_string()),
    };
    Check::new(
        "btf",
        "where the kernel keeps things; without it nothing can be recorded",
        problem,
        "use a kernel with CONFIG_DEBUG_INFO_BTF=y (all distributions' kernels since about 2021)",
    )
}

fn tracefs() -> Check {
    let places = ["/sys/kernel/tracing", "/sys/kernel/debug/tracing"];
    let found = places.map(|place| std::fs::metadata(Path::new(place).join("events")));
    let denied =
        |found: &std::io::Result<_>| matches!(found, Err(e) if e.kind() == ErrorKind::PermissionDenied);
    let (problem, advice) = if found.iter().any(Result::is_ok) {
        (None, "")
    } else if found.iter().any(denied) {
        (Some("this process may not look into it"), "run as root, or with CAP_DAC_READ_SEARCH")
    } else {
        (Some("not mounted"), "mount -t tracefs tracefs /sys/kernel/tracing")
    };
    let effect = "the fallback for kernels without socket tracepoints (syscall-exit); not needed otherwise";
    Check::new("tracefs", effect, problem.map(str::to_owned), advice)
}

/// Attaches each way to see sockets, one after the other, for a moment.
fn try_hooks(checks: &mut Vec<Check>) -> bool {
    let mut best: Option<Session> = None;
    for way in SocketHooks::ALL {
        let settings =
            Settings { socket_hooks: Some(way), max_connections: Some(1_024), ..Settings::default() };
        let result = Session::start(&settings.kernel());
        let problem = result.as_ref().err().map(|e| reason(e, way));
        let advice = match &result {
            _ if best.is_some() => "not needed: a better one works",
            Err(e) if e.is_permission() => "see the capabilities and the lockdown above",
            _ => "see the other hooks: one of them is enough",
        };
        let effect = match way {
            SocketHooks::SockTracepoints => "socket reads and writes at the least cost, and arrival times",
            SocketHooks::SyscallExit => "socket reads and writes on kernels before 6.3",
            SocketHooks::RawExit => "socket reads and writes where nothing else is to be had",
        };
        checks.push(Check::new(format!("hook-{}", way.name()), effect, problem, advice));
        if best.is_none() {
            best = result.ok().map(|(session, _ring)| session);
        }
    }
    let Some(session) = best else { return false };
    let mut others: Vec<_> =
        hooks::OTHERS.into_iter().chain(hooks::loops(&[Wait::Epoll])).chain(hooks::CONNECTS).collect();
    others.dedup_by_key(|hook| hook.program);
    for hook in others {
        let missing = session.missing.iter().find(|m| m.hook.program == hook.program);
        checks.push(Check::new(
            format!("hook-{}", hook.program),
            format!("{}; without it {}", hook.gives, hook.without),
            missing.map(|m| m.reason.clone()),
            "a newer kernel may have it",
        ));
    }
    true
}

/// Why a way to see sockets does not work, on one line.
fn reason(error: &StartError, way: SocketHooks) -> String {
    let text = match error {
        StartError::NoSocketHooks { reasons, .. } => reasons.join("; "),
        other => other.to_string(),
    };
    let line = text.lines().next().unwrap_or_default();
    line.strip_prefix(&format!("{}: ", way.name())).unwrap_or(line).to_owned()
}

fn render(findings: &Findings, style: &Style) -> String {
    let ids = findings.checks.iter().map(|check| check.id.len()).max().unwrap_or(0);
    let mut out = String::new();
    for check in &findings.checks {
        let (mark, tone) = if check.ok { ("yes", Tone::Good) } else { ("no ", Tone::Warning) };
        let start = format!("{mark}  {:ids$}  ", check.id);
        let indent = " ".repeat(start.len());
        out.push_str(&style.paint(tone, mark));
        out.push_str(&wrap(&check.effect, style.width, &start)[mark.len()..]);
        for (what, text) in [("Why: ", &check.reason), ("Do: ", &check.advice)] {
            if let Some(text) = text {
                out.push_str(&wrap(&format!("{what}{text}"), style.width, &indent));
            }
        }
    }
    out.push_str(if findings.can_record {
        "\n`hostprof record` can run here.\n"
    } else {
        "\n`hostprof record` cannot run here: see each `no` above.\n"
    });
    out
}
