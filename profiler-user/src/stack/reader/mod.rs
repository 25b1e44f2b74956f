//! The reader: a process of hostprof's own that reads other processes' memory and the files of their programs. In come
//! threads to look at, a line each, out go their stacks.
//!
//! A process of its own, since what it reads changes while it reads, and files that it maps may shrink: that can end it
//! or fill its memory, and must not end or fill hostprof. See docs/decisions.

mod inside;
mod mapping;
mod memory;
mod module;
mod native;
mod perf_map;
mod process;
mod python;
mod sampler;
mod start;
mod symbols;
mod unwind;

use std::io::{self, BufRead, Write};
use std::process::ExitCode;
use std::sync::mpsc::{Receiver, channel};

use self::memory::Pressure;
use self::native::{Call, Calls};
use self::process::{Kind, Process};
use self::symbols::Symbols;
use super::wire::{Answer, Ask, Problem};
use crate::clock::monotonic;
use crate::kernel::caps::{Capabilities, Capability};
use crate::stall::{Frame, Holder};

/// The verb that makes hostprof a reader.
pub const VERB: &str = "stack-reader";

/// Frames kept of a stack, the innermost.
const FRAMES: usize = 32;
/// Bytes kept of a function's name, and of a file's.
const NAME: usize = 512;
/// Memory of its own that the reader may take: then it ends, and is started anew.
const MEMORY: u64 = 512 << 20;
/// Above this its threads forget what they keep, between two looks.
const ENOUGH: u64 = 96 << 20;

/// A stack, and who had the interpreter's lock.
type Seen = (Vec<Frame>, Option<Holder>);

/// What was found at once: all of it, or calls that want names.
enum Found {
    /// And when its reading ended, ns.
    Seen(Seen, u64),
    Calls(Process, Calls),
}

/// All that is kept between looks.
#[derive(Default)]
struct Readers {
    pythons: python::Pythons,
    natives: native::Natives,
}

/// Runs the reader until nobody asks any more.
pub fn run() -> anyhow::Result<ExitCode> {
    memory::keep_off_the_disk()?;
    let limit = libc::rlimit { rlim_cur: MEMORY, rlim_max: MEMORY };
    // SAFETY: setrlimit reads the struct given.
    if unsafe { libc::setrlimit(libc::RLIMIT_DATA, &raw const limit) } != 0 {
        return Err(io::Error::last_os_error().into());
    }
    // Names are looked up in a thread of their own: the next stall does not wait until they are found.
    let (nameless, to_name) = channel();
    std::thread::Builder::new().name("names".into()).spawn(move || name(&to_name))?;
    let (mut readers, mut pressure) = (Readers::default(), Pressure::new(ENOUGH));
    for line in io::stdin().lock().lines() {
        let ask: Ask = serde_json::from_str(&line?)?;
        let begun = monotonic();
        let found = readers.read(ask);
        let answer = |ended| Answer { ask, begun, ended, stack: Vec::new(), holder: None, problem: None };
        match found {
            Ok(Found::Calls(process, Calls { calls, ended })) => {
                nameless.send((answer(ended), process, calls))?;
            }
            Ok(Found::Seen((stack, holder), ended)) => say(Answer { stack, holder, ..answer(ended) })?,
            Err(problem) => say(Answer::none(ask, begun, monotonic(), problem))?,
        }
        if pressure.is_due(memory::own(), monotonic()) {
            readers = Readers::default();
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Names calls, and says them, until there are no more.
fn name(to_name: &Receiver<(Answer, Process, Vec<Call>)>) {
    let (mut symbols, mut pressure) = (Symbols::default(), Pressure::new(ENOUGH));
    while let Ok((mut answer, process, calls)) = to_name.recv() {
        answer.stack = native::named(&calls, &process, &mut symbols);
        if say(answer).is_err() {
            return;
        }
        if pressure.is_due(memory::own(), monotonic()) {
            symbols = Symbols::default();
        }
    }
}

fn say(mut answer: Answer) -> io::Result<()> {
    cut(&mut answer.stack);
    if let Some(holder) = &mut answer.holder {
        cut(&mut holder.stack);
    }
    let mut line = serde_json::to_string(&answer)?;
    line.push('\n');
    let mut out = io::stdout().lock();
    out.write_all(line.as_bytes())?;
    out.flush()
}

/// Names are what the process says: as long as it likes.
fn cut(stack: &mut Vec<Frame>) {
    stack.truncate(FRAMES);
    for frame in stack {
        let texts = std::iter::once(&mut frame.function).chain(&mut frame.file);
        texts.for_each(|text| text.truncate(text.floor_char_boundary(NAME)));
    }
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
    fn read(&mut self, ask: Ask) -> Result<Found, Problem> {
        let process = Process::of(ask.pid).ok_or(Problem::Unreadable)?;
        let python = match process.kind() {
            Kind::Foreign => return Err(Problem::Unreadable),
            Kind::Native => None,
            Kind::Python => Some(self.pythons.look(&process, ask.tid)),
        };
        match python {
            Some(Ok(seen)) if !seen.0.is_empty() => Ok(Found::Seen(seen, monotonic())),
            Some(Err(Problem::Torn)) => Err(Problem::Torn),
            // A thread that runs no Python, or a Python that is not known.
            _ => self.natives.look(&process, ask.tid).map(|calls| Found::Calls(process, calls)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_stack_of_long_names_is_cut() {
        let long = "a".to_owned() + &"ä".repeat(NAME);
        let frame = Frame { function: long.clone(), file: Some(long), line: Some(1) };
        let mut stack = vec![frame; FRAMES + 1];
        stack[0].function = "short".to_owned();
        cut(&mut stack);
        assert_eq!((stack.len(), stack[0].function.as_str()), (FRAMES, "short"));
        assert_eq!(stack[1].function.len(), NAME - 1, "whole characters");
        assert_eq!(stack[1].file.as_ref(), Some(&stack[1].function));
    }
}
