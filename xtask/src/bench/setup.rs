//! What runs beside a measurement: nothing, hostprof with some arguments, or a tracepoint alone.

use std::{
    fs, io,
    os::fd::{FromRawFd as _, OwnedFd},
    path::Path,
    thread,
};

use anyhow::{Context as _, Result, ensure};

use super::Case;
use super::agent::Agent;

/// `PERF_TYPE_TRACEPOINT` of include/uapi/linux/perf_event.h, and the size of `struct perf_event_attr` in its first form.
const TRACEPOINT: u32 = 2;
const FIRST_SIZE: u32 = 64;
/// Begin and end of a system call that nothing here makes.
const BEGIN: &str = "sys_enter_epoll_pwait2";
const END: &str = "sys_exit_epoll_pwait2";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Setup {
    Off,
    /// Tracepoints of one system call, counted by perf, without a program: what the kernel itself takes for them.
    Tracepoints(&'static [&'static str]),
    On(&'static [&'static str]),
}

const BEGIN_ALONE: Setup = Setup::Tracepoints(&[BEGIN]);
const END_ALONE: Setup = Setup::Tracepoints(&[END]);
const BOTH: Setup = Setup::Tracepoints(&[BEGIN, END]);
const LOOPS_OFF: Setup = Setup::On(&["--loops", "off"]);
const LOOPS: Setup = Setup::On(&[]);
const RAW_EXIT: Setup = Setup::On(&["--loops", "off", "--socket-hooks", "raw-exit"]);
const SYSCALL_EXIT: Setup = Setup::On(&["--loops", "off", "--socket-hooks", "syscall-exit"]);

/// Keeps a setup up.
#[derive(Debug)]
pub(super) enum Held {
    Nothing,
    Tracepoints(Vec<OwnedFd>),
    Agent(Agent),
}

impl Setup {
    /// The setups that say something about a case; the first is what the others are compared with.
    pub(super) fn of(case: Option<Case>) -> &'static [Self] {
        match case {
            Some(Case::Syscall) => {
                &[Self::Off, BEGIN_ALONE, END_ALONE, BOTH, LOOPS_OFF, LOOPS, SYSCALL_EXIT, RAW_EXIT]
            }
            Some(Case::Epoll) => &[Self::Off, BOTH, LOOPS_OFF, LOOPS],
            _ => &[Self::Off, LOOPS_OFF, LOOPS],
        }
    }

    pub(super) fn name(self) -> String {
        match self {
            Self::Off => "without hostprof".into(),
            Self::Tracepoints([one]) => format!("the tracepoint {one}, no program"),
            Self::Tracepoints(_) => "begin and end of epoll_pwait2, no program".into(),
            Self::On([]) => "hostprof".into(),
            Self::On(arguments) => format!("hostprof {}", arguments.join(" ")),
        }
    }

    pub(super) fn hold(self, binary: &Path) -> Result<Held> {
        match self {
            Self::Off => Ok(Held::Nothing),
            Self::Tracepoints(names) => {
                let counters = names.iter().copied().map(tracepoint).collect::<Result<Vec<_>>>()?;
                Ok(Held::Tracepoints(counters.into_iter().flatten().collect()))
            }
            Self::On(arguments) => Agent::start(binary, arguments).map(Held::Agent),
        }
    }
}

impl Held {
    pub(super) fn end(self) -> Result<()> {
        match self {
            Self::Agent(agent) => agent.end(),
            Self::Tracepoints(counters) => {
                drop(counters);
                Ok(())
            }
            Self::Nothing => Ok(()),
        }
    }
}

/// Has perf count a tracepoint on every CPU.
fn tracepoint(name: &str) -> Result<Vec<OwnedFd>> {
    let path = format!("/sys/kernel/tracing/events/syscalls/{name}/id");
    let id = fs::read_to_string(&path).with_context(|| format!("failed to read {path}"))?;
    let id: u64 = id.trim().parse().with_context(|| format!("no number in {path}"))?;
    // type, size, config; the rest of the first form is zeros.
    let mut attributes = [0u64; FIRST_SIZE as usize / 8];
    attributes[0] = u64::from(TRACEPOINT) | u64::from(FIRST_SIZE) << 32;
    attributes[1] = id;
    let cpus = thread::available_parallelism().context("failed to count the CPUs")?.get();
    (0..cpus)
        .map(|cpu| {
            // SAFETY: the attributes have the size that they say; the kernel only reads them.
            let fd = unsafe { libc::syscall(libc::SYS_perf_event_open, attributes.as_ptr(), -1, cpu, -1, 0) };
            ensure!(fd >= 0, "failed to count {name}: {}", io::Error::last_os_error());
            // SAFETY: just made, and nobody else's.
            Ok(unsafe { OwnedFd::from_raw_fd(fd as i32) })
        })
        .collect()
}
