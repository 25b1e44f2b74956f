//! What is said on stderr while a recording runs: a line that changes on a terminal, one line elsewhere.

use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};

use crate::command::{capture::Capture, log::say};
use crate::output::style::units;

const PERIOD: Duration = Duration::from_millis(500);

/// The line of progress.
#[derive(Debug)]
pub(super) struct Progress {
    begun: Instant,
    shown: Option<Instant>,
    duration: Option<Duration>,
    terminal: bool,
}

impl Progress {
    /// Says that the recording has begun: all probes are attached.
    pub(super) fn start(duration: Option<Duration>) -> Self {
        let terminal = std::io::stderr().is_terminal();
        if !terminal {
            match duration {
                Some(d) => {
                    let time = units::duration(d.as_secs_f64());
                    say(format_args!("recording for {time} (Ctrl-C ends it early)"));
                }
                None => say("recording until the command ends"),
            }
        }
        Self { begun: Instant::now(), shown: None, duration, terminal }
    }

    /// Shows how far it is, twice a second, on a terminal.
    pub(super) fn show(&mut self, capture: &Capture) {
        if !self.terminal || self.shown.is_some_and(|at| at.elapsed() < PERIOD) {
            return;
        }
        self.shown = Some(Instant::now());
        let so_far = self.begun.elapsed().as_secs();
        let of = self.duration.map_or_else(String::new, |d| format!(" of {}", d.as_secs()));
        let lost: u64 = capture.lost().values().sum();
        let lost = if lost > 0 { format!(", {} lost", units::count(lost)) } else { String::new() };
        let seen = units::count(capture.source.records);
        let line = format!(
            "\r\x1b[Khostprof: recording {so_far}{of} s, {seen} records{lost} (Ctrl-C ends it early)"
        );
        let mut stderr = std::io::stderr();
        // A terminal that is gone is no reason to stop.
        let _ = stderr.write_all(line.as_bytes()).and_then(|()| stderr.flush());
    }

    /// Clears the line.
    pub(super) fn end(&self) {
        if self.terminal {
            let _ = std::io::stderr().write_all(b"\r\x1b[K");
        }
    }
}
