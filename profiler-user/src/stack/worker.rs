//! The reader, a process of its own, and the threads that speak with it, so that no look at the loops ever waits for it.
//! A reader that crashes, or takes too long, is ended and started anew for the next look.

mod child;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, SyncSender, channel, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use log::debug;

use self::child::Reader;
use super::asked::{Asked, WAITING};
use super::wire::{Answer, Ask, Problem};
use crate::clock::monotonic;

/// A look that takes longer is given up: reading a foreign program's debug information for the first time takes most.
const PATIENCE: Duration = Duration::from_secs(5);
/// A reader that had nothing to do for so long is ended.
const IDLE: Duration = Duration::from_secs(60);
/// hostprof's end waits so long for the worker: the report is not yet written.
const GOODBYE: Duration = Duration::from_millis(500);

/// The thread that speaks with the reader.
#[derive(Debug)]
pub(super) struct Worker {
    events: SyncSender<Event>,
    answers: Receiver<Answer>,
    /// The thread is to end, whatever it has to do.
    ending: Arc<AtomicBool>,
    /// Disconnected when the thread has ended its reader and is about to end.
    over: Receiver<()>,
    thread: Option<JoinHandle<()>>,
}

/// What the worker waits for.
#[derive(Debug)]
enum Event {
    Ask(Ask),
    /// A line of the reader's; None: it has ended.
    Said(u64, Option<String>),
    End,
}

impl Worker {
    /// None where no thread can be had: then there are no stacks.
    pub(super) fn start() -> Option<Self> {
        let (events, to_do) = sync_channel(WAITING);
        let (done, answers) = channel();
        let (alive, over) = channel();
        let ending = Arc::new(AtomicBool::new(false));
        let mut work = Work {
            events: events.clone(),
            done,
            reader: None,
            asked: Asked::new(Instant::now()),
            number: 0,
            ending: Arc::clone(&ending),
            _alive: alive,
        };
        let thread =
            std::thread::Builder::new().name("stacks".into()).spawn(move || work.until_the_end(&to_do));
        match thread {
            Ok(thread) => Some(Self { events, answers, ending, over, thread: Some(thread) }),
            Err(e) => {
                debug!("no stacks: {e}");
                None
            }
        }
    }

    /// Has a thread looked at; false where too many wait already.
    pub(super) fn ask(&mut self, ask: Ask) -> bool {
        self.events.try_send(Event::Ask(ask)).is_ok()
    }

    /// What was seen, one look at a time.
    pub(super) fn answer(&mut self) -> Option<Answer> {
        self.answers.try_recv().ok()
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.ending.store(true, Ordering::Relaxed);
        // It may be full: then there is enough to wake the thread up.
        let _ = self.events.try_send(Event::End);
        match self.over.recv_timeout(GOODBYE) {
            Err(RecvTimeoutError::Timeout) => debug!("the stacks' thread does not end"),
            Ok(()) | Err(RecvTimeoutError::Disconnected) => {
                let _ = self.thread.take().map(JoinHandle::join);
            }
        }
    }
}

/// What the worker's thread has.
struct Work {
    events: SyncSender<Event>,
    done: Sender<Answer>,
    reader: Option<Reader>,
    asked: Asked,
    /// Of the reader: what one that was ended has still said is not the next one's.
    number: u64,
    ending: Arc<AtomicBool>,
    /// Dropped after the reader.
    _alive: Sender<()>,
}

impl Work {
    fn until_the_end(&mut self, to_do: &Receiver<Event>) {
        while !self.ending.load(Ordering::Relaxed) {
            let patience = self.asked.left(PATIENCE, Instant::now()).unwrap_or(IDLE);
            match to_do.recv_timeout(patience) {
                Ok(Event::Ask(ask)) => self.ask(ask),
                Ok(Event::Said(number, said)) if number == self.number => self.said(said),
                Ok(Event::Said(..)) => {}
                Ok(Event::End) | Err(RecvTimeoutError::Disconnected) => return,
                Err(RecvTimeoutError::Timeout) => self.give_up(),
            }
        }
    }

    fn ask(&mut self, ask: Ask) {
        if !self.asked.push(ask, Instant::now()) {
            return self.refuse(ask, Problem::Dropped);
        }
        let started = match &mut self.reader {
            Some(reader) => Ok(reader),
            None => {
                self.number += 1;
                Reader::start(self.number, self.events.clone()).map(|reader| self.reader.insert(reader))
            }
        };
        if let Err(e) = started.and_then(|reader| reader.ask(ask)) {
            debug!("no stack of {}: {e}", ask.tid);
            self.give_up();
        }
    }

    fn said(&mut self, line: Option<String>) {
        let answer = line.and_then(|line| serde_json::from_str::<Answer>(&line).ok());
        let Some(answer) = answer else { return self.give_up() };
        self.asked.answered(&answer.ask, Instant::now());
        let _ = self.done.send(answer);
    }

    /// Ends the reader. What it has been at longest is to blame, and nothing else.
    fn give_up(&mut self) {
        self.reader = None;
        let asked: Vec<_> = self.asked.take().collect();
        let problems = std::iter::once(Problem::Fatal).chain(std::iter::repeat(Problem::Dropped));
        for (ask, problem) in asked.into_iter().zip(problems) {
            self.refuse(ask, problem);
        }
    }

    fn refuse(&self, ask: Ask, problem: Problem) {
        let now = monotonic();
        let _ = self.done.send(Answer::none(ask, now, now, problem));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_waits_for_no_thread_that_does_not_end() {
        let (events, _to_do) = sync_channel(1);
        events.try_send(Event::End).unwrap();
        let (_done, answers) = channel();
        let (alive, over) = channel::<()>();
        let (go_on, stuck) = channel::<()>();
        let thread = std::thread::spawn(move || {
            let _ = stuck.recv();
            drop(alive);
        });
        let ending = Arc::new(AtomicBool::new(false));
        drop(Worker { events, answers, ending: Arc::clone(&ending), over, thread: Some(thread) });
        assert!(ending.load(Ordering::Relaxed), "it is told though the channel is full");
        assert!(go_on.send(()).is_ok(), "it has still not ended");
    }

    #[test]
    fn a_worker_ends() {
        let worker = Worker::start().unwrap();
        let ending = Arc::clone(&worker.ending);
        drop(worker);
        while Arc::strong_count(&ending) > 1 {
            std::thread::yield_now();
        }
    }
}
