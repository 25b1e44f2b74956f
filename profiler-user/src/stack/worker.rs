//! The reader, a process of its own, and the thread that speaks with it, so that no look at the loops ever waits for it.
//! A reader that crashes, or takes too long, is ended and started anew for the next look.

use std::io::{self, BufRead, BufReader, Write};
use std::os::fd::AsRawFd;
use std::os::unix::process::CommandExt;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, channel, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use log::debug;

use super::reader;
use super::wire::{Answer, Ask, Problem};
use crate::clock::monotonic;

/// Looks that wait at the most; more are refused.
const WAITING: usize = 64;
/// A look that takes longer is given up: reading a foreign program's debug information for the first time takes most.
const PATIENCE: Duration = Duration::from_secs(3);
/// What has waited so long is not worth a look any more.
const STALE_NS: u64 = 1_000_000_000;
/// A reader that had nothing to do for so long is ended.
const IDLE: Duration = Duration::from_secs(60);

/// The thread that speaks with the reader.
#[derive(Debug)]
pub(super) struct Worker {
    asks: Option<SyncSender<Ask>>,
    answers: Receiver<Answer>,
    thread: Option<JoinHandle<()>>,
}

impl Worker {
    /// None where no thread can be had: then there are no stacks.
    pub(super) fn start() -> Option<Self> {
        let (asks, to_do) = sync_channel::<Ask>(WAITING);
        let (done, answers) = channel();
        let work = move || {
            let mut reader = None;
            loop {
                let ask = match to_do.recv_timeout(IDLE) {
                    Ok(ask) => ask,
                    Err(RecvTimeoutError::Timeout) => {
                        reader = None;
                        continue;
                    }
                    Err(RecvTimeoutError::Disconnected) => break,
                };
                if done.send(look(&mut reader, ask)).is_err() {
                    break;
                }
            }
        };
        let thread = std::thread::Builder::new().name("stacks".into()).spawn(work);
        match thread {
            Ok(thread) => Some(Self { asks: Some(asks), answers, thread: Some(thread) }),
            Err(e) => {
                debug!("no stacks: {e}");
                None
            }
        }
    }

    /// Has a thread looked at; false where too many wait already.
    pub(super) fn ask(&mut self, ask: Ask) -> bool {
        self.asks.as_ref().is_some_and(|asks| asks.try_send(ask).is_ok())
    }

    /// What was seen, one look at a time.
    pub(super) fn answer(&mut self) -> Option<Answer> {
        self.answers.try_recv().ok()
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        drop(self.asks.take());
        if let Some(thread) = self.thread.take() {
            // It ends with what it is at, at the latest after `PATIENCE`, and the reader with it.
            let _ = thread.join();
        }
    }
}

/// One look, with the reader that there is or a new one.
fn look(reader: &mut Option<Reader>, ask: Ask) -> Answer {
    let begun = monotonic();
    if begun.saturating_sub(ask.start) > STALE_NS && !still_there(ask) {
        return Answer::none(ask, begun, begun, Problem::Unreadable);
    }
    let result = match reader {
        Some(reader) => reader.look(ask),
        None => Reader::start().and_then(|new| reader.insert(new).look(ask)),
    };
    result.unwrap_or_else(|e| {
        debug!("no stack of {}: {e}", ask.tid);
        *reader = None;
        Answer::none(ask, begun, monotonic(), Problem::Fatal)
    })
}

fn still_there(ask: Ask) -> bool {
    std::fs::exists(format!("/proc/{}/task/{}", ask.pid, ask.tid)).unwrap_or(false)
}

/// A running reader; ended when dropped.
#[derive(Debug)]
struct Reader {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Reader {
    fn start() -> io::Result<Self> {
        let mut command = Command::new("/proc/self/exe");
        command.arg0("hostprof").arg(reader::VERB);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        // Ctrl-C goes to the whole foreground group: the reader's end is ours to say.
        command.process_group(0);
        let mut child = command.spawn()?;
        let (Some(input), Some(output)) = (child.stdin.take(), child.stdout.take()) else {
            return Err(io::Error::other("no pipes"));
        };
        Ok(Self { child, input, output: BufReader::new(output) })
    }

    fn look(&mut self, ask: Ask) -> io::Result<Answer> {
        let line = serde_json::to_string(&ask)?;
        writeln!(self.input, "{line}")?;
        let until = Instant::now() + PATIENCE;
        loop {
            let mut line = String::new();
            self.wait(until)?;
            if self.output.read_line(&mut line)? == 0 {
                return Err(io::Error::from(io::ErrorKind::UnexpectedEof));
            }
            let answer: Answer = serde_json::from_str(&line)?;
            if answer.ask == ask {
                return Ok(answer);
            }
        }
    }

    /// Waits until there is something to read. The reader writes whole lines.
    fn wait(&self, until: Instant) -> io::Result<()> {
        let left = until.saturating_duration_since(Instant::now());
        let mut poll = libc::pollfd { fd: self.output.get_ref().as_raw_fd(), events: libc::POLLIN, revents: 0 };
        // SAFETY: poll reads and writes the one struct given, which outlives the call.
        match unsafe { libc::poll(&raw mut poll, 1, left.as_millis() as libc::c_int) } {
            0 => Err(io::Error::from(io::ErrorKind::TimedOut)),
            n if n < 0 => {
                let error = io::Error::last_os_error();
                if error.kind() == io::ErrorKind::Interrupted { self.wait(until) } else { Err(error) }
            }
            _ => Ok(()),
        }
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        // It is ours, and holds nothing that it would have to put in order.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
