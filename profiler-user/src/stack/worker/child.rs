//! A reader that runs, as a child of hostprof's: looks at threads go in, a line each, and what it says comes out as
//! events of the worker. It is ended when nobody has it any more.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::process::CommandExt;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::mpsc::SyncSender;
use std::time::{Duration, Instant};

use log::debug;

use super::Event;
use crate::stack::reader;
use crate::stack::wire::Ask;

/// A line of the reader's is not longer, bytes: two stacks of 32 frames with names of 512 bytes, each of them escaped.
const LINE: u64 = 1 << 20;
/// A reader that was killed is waited for so long.
const REAP: Duration = Duration::from_millis(200);

/// A running reader; ended when dropped.
#[derive(Debug)]
pub(super) struct Reader {
    child: Option<Child>,
    input: ChildStdin,
}

impl Reader {
    pub(super) fn start(number: u64, events: SyncSender<Event>) -> io::Result<Self> {
        let mut command = Command::new("/proc/self/exe");
        command.arg0("hostprof").arg(reader::VERB);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        // Ctrl-C goes to the whole foreground group: the reader's end is ours to say.
        command.process_group(0);
        let mut child = command.spawn()?;
        let (Some(input), Some(output)) = (child.stdin.take(), child.stdout.take()) else {
            return Err(io::Error::other("no pipes"));
        };
        debug!("reader {} started", child.id());
        let reader = Self { child: Some(child), input };
        std::thread::Builder::new()
            .name("stacks-answers".into())
            .spawn(move || listen(output, number, &events))?;
        Ok(reader)
    }

    pub(super) fn ask(&mut self, ask: Ask) -> io::Result<()> {
        let line = serde_json::to_string(&ask)?;
        writeln!(self.input, "{line}")
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        let Some(mut child) = self.child.take() else { return };
        // It is ours, and holds nothing that it would have to put in order.
        let _ = child.kill();
        if !reaped(&mut child, REAP) {
            // It sits in a call that nothing interrupts, as on a file system that does not answer. Should hostprof end
            // first, it is init's.
            let _ = std::thread::Builder::new().name("stacks-reap".into()).spawn(move || child.wait());
        }
    }
}

/// Whether a child has ended within so long.
fn reaped(child: &mut Child, within: Duration) -> bool {
    let begin = Instant::now();
    while matches!(child.try_wait(), Ok(None)) {
        if begin.elapsed() >= within {
            return false;
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    true
}

/// Passes on what the reader says, until it ends or nobody listens any more.
fn listen(output: ChildStdout, number: u64, events: &SyncSender<Event>) {
    let mut output = BufReader::new(output);
    while let Some(line) = line(&mut output) {
        if events.send(Event::Said(number, Some(line))).is_err() {
            return;
        }
    }
    let _ = events.send(Event::Said(number, None));
}

/// The next line; None where there is none, or one that is longer than a reader says.
fn line(output: &mut impl BufRead) -> Option<String> {
    let mut line = Vec::new();
    output.take(LINE).read_until(b'\n', &mut line).ok()?;
    (line.pop() == Some(b'\n')).then(|| String::from_utf8(line).ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reader_that_is_dropped_is_no_more() {
        let mut child = Command::new("cat").stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
        assert!(!reaped(&mut child, Duration::ZERO), "it runs");
        let (pid, input) = (child.id(), child.stdin.take().unwrap());
        drop(Reader { child: Some(child), input });
        let gone = || !std::path::Path::new(&format!("/proc/{pid}")).exists();
        while !gone() {
            std::thread::yield_now();
        }
    }

    #[test]
    fn a_line_that_is_too_long_ends_the_reader() {
        let most = usize::try_from(LINE).unwrap();
        let said = format!("a\n\n{}\n{}\nb\n", "x".repeat(most - 1), "x".repeat(most));
        let mut said = said.as_bytes();
        assert_eq!(line(&mut said).as_deref(), Some("a"));
        assert_eq!(line(&mut said).as_deref(), Some(""));
        assert_eq!(line(&mut said).map(|line| line.len()), Some(most - 1));
        assert_eq!(line(&mut said), None, "one byte more");
        assert_eq!(line(&mut "cut".as_bytes()), None, "the reader ended meanwhile");
        assert_eq!(line(&mut "".as_bytes()), None);
    }
}
