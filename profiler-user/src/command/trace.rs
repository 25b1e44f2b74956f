//! `trace`: each exchange as it ends, and each event of a connection, one line each, until Ctrl-C or until nobody reads any more.

use std::io::{self, BufWriter, Write};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result};
use jiff::Timestamp;

use super::capture::Capture;
use super::log::say;
use super::lookout::Told;
use super::pipeline::Finished;
use super::signals::Signals;
use crate::cli::{LineFormat, TraceArgs};
use crate::clock::WallClock;
use crate::config::Settings;
use crate::connections;
use crate::output::style::{ColourChoice, Style};
use crate::output::trace;
use crate::output::trace::finding::Event;
use crate::report::{Counters, Finding};

/// Runs `trace`.
pub fn run(args: TraceArgs) -> Result<ExitCode> {
    let settings = args.settings.with_file()?;
    let format = args.format.or(settings.trace.format).unwrap_or(LineFormat::Text);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.context("the runtime did not start")?.block_on(follow(&settings, format))?;
    Ok(ExitCode::SUCCESS)
}

async fn follow(settings: &Settings, format: LineFormat) -> Result<()> {
    let mut signals = Signals::catch()?;
    let mut capture = Capture::start(settings)?;
    say("recording; each exchange is shown as it ends (Ctrl-C ends it)");
    let style = Style::for_stdout(settings.color.unwrap_or(ColourChoice::Auto));
    capture.pipeline.connections.telling = true;
    let wanted = Wanted { errors: settings.errors, slower_than: settings.slower_than };
    let mut lines = Lines { out: BufWriter::new(io::stdout().lock()), format, style, wanted, failed: None };
    let mut lost = Counters::new();
    while lines.failed.is_none() && !is_unread(libc::STDOUT_FILENO) {
        tokio::select! {
            biased;
            _ = signals.next() => break,
            () = capture.turn(|finished, clock| lines.show(finished, clock)) => {}
        }
        lines.connections(&capture.pipeline.told(), &capture.clock);
        lines.stalls(capture.lookout.take(), &capture.clock);
        lines.findings(&capture.findings(), Event::live);
        let now = capture.lost();
        if now != lost {
            lines.lost(&lost, &now);
            lost = now;
        }
        lines.flush();
    }
    if let Some(e) = lines.failed.take() {
        return Err(e).context("cannot write to stdout");
    }
    let clock = capture.clock;
    let outcome = capture.finish(|finished, clock| lines.show(finished, clock));
    lines.connections(&outcome.connections, &clock);
    lines.stalls(outcome.stalls, &clock);
    lines.findings(&outcome.findings, |_| Event::Found);
    lines.flush();
    lines.failed.map_or(Ok(()), |e| Err(e).context("cannot write to stdout"))
}

/// Whether this is a pipe or a socket that nobody reads any more. Without traffic no write would tell.
fn is_unread(fd: libc::c_int) -> bool {
    let mut poll = libc::pollfd { fd, events: 0, revents: 0 };
    // SAFETY: poll reads and writes the one struct given, which outlives the call; it does not wait.
    unsafe { libc::poll(&raw mut poll, 1, 0) == 1 && poll.revents & libc::POLLERR != 0 }
}

/// Which events of connections are shown.
struct Wanted {
    errors: bool,
    slower_than: Option<Duration>,
}

/// The lines on their way out; the first failure ends them.
struct Lines<W: Write> {
    out: W,
    format: LineFormat,
    style: Style,
    wanted: Wanted,
    failed: Option<io::Error>,
}

impl<W: Write> Lines<W> {
    fn show(&mut self, finished: &Finished, clock: &WallClock) {
        let at = clock.at(finished.exchange.times.last);
        let line = match self.format {
            LineFormat::Text => Ok(trace::text(&finished.exchange, &finished.service, at, &self.style)),
            LineFormat::Json => trace::json(&finished.exchange, &finished.service, at),
        };
        self.put(line);
    }

    fn connections(&mut self, told: &[connections::Told], clock: &WallClock) {
        let Wanted { errors, slower_than } = self.wanted;
        for told in told.iter().filter(|told| trace::connection::is_wanted(told, errors, slower_than)) {
            let at = clock.at(told.time);
            let line = match self.format {
                LineFormat::Text => Ok(trace::connection::text(told, at, &self.style)),
                LineFormat::Json => trace::connection::json(told, at),
            };
            self.put(line);
        }
    }

    fn stalls(&mut self, stalls: Vec<Told>, clock: &WallClock) {
        for Told { stall, service } in stalls {
            let (start, at) = (clock.at(stall.turn.start), clock.at(stall.turn.end));
            let line = match self.format {
                LineFormat::Text => Ok(trace::stall::text(&stall, &service, at, &self.style)),
                LineFormat::Json => trace::stall::json(&stall, &service, start, at),
            };
            self.put(line);
        }
    }

    fn findings(&mut self, findings: &[Finding], event: impl Fn(&Finding) -> Event) {
        let at = Timestamp::now();
        for finding in findings {
            let line = match self.format {
                LineFormat::Text => Ok(trace::finding::text(finding, event(finding), at, &self.style)),
                LineFormat::Json => trace::finding::json(finding, event(finding), at),
            };
            self.put(line);
        }
    }

    /// Says what has been lost since the last time.
    fn lost(&mut self, before: &Counters, now: &Counters) {
        for (reason, total) in now {
            let new = total - before.get(reason).copied().unwrap_or(0);
            if new == 0 {
                continue;
            }
            let written = match self.format {
                LineFormat::Text => writeln!(self.out, "lost: {new} ({reason}), {total} so far"),
                LineFormat::Json => {
                    let time = format!("{:.9}", Timestamp::now());
                    let object = serde_json::json!({
                        "type": "lost", "time": time, "reason": reason, "count": new, "total": total,
                    });
                    writeln!(self.out, "{object}")
                }
            };
            self.note(written);
        }
    }

    fn put(&mut self, line: Result<String, serde_json::Error>) {
        let written = line.map_err(io::Error::other).and_then(|line| writeln!(self.out, "{line}"));
        self.note(written);
    }

    fn flush(&mut self) {
        let flushed = self.out.flush();
        self.note(flushed);
    }

    fn note(&mut self, result: io::Result<()>) {
        if let Err(e) = result {
            self.failed.get_or_insert(e);
        }
    }
}
