//! `record` and `demo`: capture for a while, then write the report.

mod child;
mod progress;
mod write;

use std::ffi::OsString;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result};
use tokio::time::Instant;

use super::capture::{Capture, Outcome};
use super::demo::{Demo, Tally};
use super::log::say;
use super::signals::{End, Signals};
use crate::cli::{DemoArgs, RecordArgs, ReportFormat};
use crate::config::Settings;
use crate::kernel::own;
use crate::output::style::{ColourChoice, Style};
use child::Child;
use progress::Progress;

/// Whose exchanges are recorded, and what is run meanwhile.
#[derive(Debug, Clone, Copy)]
enum Subject<'a> {
    /// The whole host's, as far as the filters say.
    Host,
    /// Those of a command and its descendants, or the whole host's while it runs.
    Command { command: &'a [OsString], all: bool },
    /// Those of the demo.
    Demo,
}

/// How long a recording takes by default.
const DURATION: Duration = Duration::from_secs(30);

/// Runs `record`.
pub fn run(args: RecordArgs) -> Result<ExitCode> {
    let RecordArgs { duration, output, format, all, settings, command } = args;
    let settings = settings.with_file()?;
    let keys = &settings.record;
    let duration = duration.or(keys.duration).unwrap_or(DURATION);
    let output = if output.is_empty() { keys.output.clone() } else { output };
    let format = format.or(keys.format).unwrap_or(ReportFormat::Text);
    let all = all || keys.all;
    write::check(&output)?;
    let subject = match &command[..] {
        [] => Subject::Host,
        command => Subject::Command { command, all },
    };
    let (outcome, status) = runtime()?.block_on(record(&settings, duration, subject))?;
    let style = Style::for_stdout(settings.color.unwrap_or(ColourChoice::Auto));
    write::all(&outcome, &output, format, &style)?;
    Ok(status)
}

/// Runs `demo`: its own small service, profiled and reported.
pub fn demo(args: &DemoArgs) -> Result<ExitCode> {
    let settings = Settings::default();
    let (outcome, status) = runtime()?.block_on(record(&settings, args.duration, Subject::Demo))?;
    let style = Style::for_stdout(args.color.unwrap_or(ColourChoice::Auto));
    write::all(&outcome, &[], args.format, &style)?;
    Ok(status)
}

fn runtime() -> Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread().enable_all().build().context("the runtime did not start")
}

/// Captures until the time is over, the command ends, or a signal comes.
async fn record(
    settings: &Settings,
    duration: Duration,
    subject: Subject<'_>,
) -> Result<(Outcome, ExitCode)> {
    let mut signals = Signals::catch()?;
    let mut capture = Capture::start(settings)?;
    let mut child = None;
    let mut demo = None;
    match subject {
        Subject::Host => {}
        Subject::Command { command, all } => {
            let command = child.insert(Child::start(command)?);
            if !all {
                let root = own::tgid();
                capture.pipeline.only_descendants(root);
                // While it lives: where the kernel tells of no forks, nothing else would say whose it was.
                capture.pipeline.processes.is_descendant(command.pid(), root);
            }
        }
        Subject::Demo => {
            // After the probes, so that its connections are seen from their first byte.
            capture.pipeline.only_descendants(own::tgid());
            demo = Some(Demo::start().context("the demo's service did not start")?);
        }
    }
    let duration = if child.is_none() { Some(duration) } else { None };
    let deadline = duration.and_then(|d| Instant::now().checked_add(d));
    let mut progress = Progress::start(duration);
    let mut status = ExitCode::SUCCESS;
    let mut interrupts = 0;
    loop {
        tokio::select! {
            biased;
            end = signals.next() => {
                let Some(child) = &child else { break };
                interrupts += 1;
                // The recording ends with the command, which the terminal has sent the first Ctrl-C as well.
                if end == End::Terminate || interrupts > 1 {
                    child.terminate();
                }
            }
            ended = Child::wait(&mut child) => {
                status = ended?;
                break;
            }
            () = until(deadline) => break,
            () = capture.turn(|_, _| {}) => {}
        }
        progress.show(&capture);
    }
    progress.end();
    // Before the probes go: the last requests are answered and counted.
    let tally = demo.map(Demo::stop);
    let outcome = capture.finish(|_, _| {});
    if let Some(Tally { requests, failed, broken }) = tally {
        say(format_args!(
            "by its own count the demo sent {requests} requests: {failed} failed, {broken} had no answer"
        ));
    }
    Ok((outcome, status))
}

async fn until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}
