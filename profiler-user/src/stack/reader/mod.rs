//! The reader: a process of hostprof's own that reads other processes' memory and the files of their programs. In come
//! threads to look at, a line each, out go their stacks.
//!
//! A process of its own, since what it reads changes while it reads, and files that it maps may shrink: that can end it
//! or fill its memory, and must not end or fill hostprof. See docs/decisions.

mod memory;
mod native;
mod perf_map;
mod process;
mod python;
mod sampler;
mod symbols;
mod unwind;

use std::io::{self, BufRead, Write};
use std::process::ExitCode;

use self::process::{Kind, Process};
use super::wire::{Answer, Ask, Problem};
use crate::clock::monotonic;
use crate::kernel::caps::{Capabilities, Capability};
use crate::stall::{Frame, Holder};

/// The verb that makes hostprof a reader.
pub const VERB: &str = "stack-reader";

/// Frames kept of a stack, the innermost.
const FRAMES: usize = 32;
/// Memory of its own that the reader may take: then it ends, and is started anew.
const MEMORY: u64 = 512 << 20;
/// Above this it ends itself, between two looks.
const ENOUGH: u64 = 96 << 20;

/// A stack, and who had the interpreter's lock.
type Seen = (Vec<Frame>, Option<Holder>);

/// All that the reader keeps between looks.
#[derive(Default)]
struct Readers {
    pythons: python::Pythons,
    natives: native::Natives,
}

/// Runs the reader until nobody asks any more.
pub fn run() -> anyhow::Result<ExitCode> {
    let limit = libc::rlimit { rlim_cur: MEMORY, rlim_max: MEMORY };
    // SAFETY: setrlimit reads the struct given.
    if unsafe { libc::setrlimit(libc::RLIMIT_DATA, &raw const limit) } != 0 {
        return Err(io::Error::last_os_error().into());
    }
    let mut readers = Readers::default();
    let mut out = io::stdout().lock();
    for line in io::stdin().lock().lines() {
        let answer = readers.look(serde_json::from_str(&line?)?);
        let mut line = serde_json::to_string(&answer)?;
        line.push('\n');
        // At once: a line that comes in pieces would have hostprof wait.
        out.write_all(line.as_bytes())?;
        out.flush()?;
        if memory::own().is_some_and(|bytes| bytes > ENOUGH) {
            readers = Readers::default();
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Why no process's memory can be read; None if it can, as far as is known beforehand.
pub fn problem() -> Option<String> {
    // Nobody may read another's memory then, whatever its rights (Documentation/admin-guide/LSM/Yama.rst).
    const NOBODY: &str = "3";
    let scope = std::fs::read_to_string("/proc/sys/kernel/yama/ptrace_scope").unwrap_or_default();
    if scope.trim() == NOBODY {
        return Some("kernel.yama.ptrace_scope is 3: no process may read another's memory".to_owned());
    }
    let caps = Capabilities::current().ok()?;
    (!caps.has(Capability::SysPtrace)).then(|| format!("this process has no {}", Capability::SysPtrace))
}

impl Readers {
    fn look(&mut self, ask: Ask) -> Answer {
        let begun = monotonic();
        match self.read(ask) {
            Ok((mut stack, holder)) => {
                let holder = holder.map(|mut held| {
                    held.stack.truncate(FRAMES);
                    held
                });
                stack.truncate(FRAMES);
                Answer { ask, begun, ended: monotonic(), stack, holder, problem: None }
            }
            Err(problem) => Answer::none(ask, begun, monotonic(), problem),
        }
    }

    fn read(&mut self, ask: Ask) -> Result<Seen, Problem> {
        let process = Process::of(ask.pid).ok_or(Problem::Unreadable)?;
        let python = match process.kind() {
            Kind::Foreign => return Err(Problem::Unreadable),
            Kind::Native => None,
            Kind::Python => Some(self.pythons.look(&process, ask.tid)),
        };
        match python {
            Some(Ok(seen)) if !seen.0.is_empty() => Ok(seen),
            Some(Err(Problem::Torn)) => Err(Problem::Torn),
            // A thread that runs no Python, or a Python that is not known.
            _ => self.natives.look(&process, ask.tid).map(|stack| (stack, None)),
        }
    }
}
