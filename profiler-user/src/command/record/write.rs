//! The report's ways out: files by their ending, or stdout. One that fails does not keep the others from being
//! written, and a report that reached no file at all goes to stdout.

use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow};

use crate::cli::ReportFormat;
use crate::command::capture::Outcome;
use crate::command::{log::say, one_line};
use crate::output::style::Style;
use crate::output::{atomic, json, prometheus, text};

/// Refuses, before anything is recorded, files that cannot be written for sure.
pub(super) fn check(files: &[PathBuf]) -> Result<()> {
    for file in files {
        if file.is_dir() {
            return Err(anyhow!("cannot write {}: it is a directory", file.display()));
        }
        let folder = file.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
        if !folder.is_dir() {
            return Err(anyhow!(
                "cannot write {}: there is no directory {}",
                file.display(),
                folder.display()
            ));
        }
        if file.extension().is_some_and(|e| e == "html") {
            return Err(anyhow!(
                "cannot write {}: HTML reports are not made yet; use .json, .txt or .prom",
                file.display()
            ));
        }
    }
    Ok(())
}

/// Writes the report everywhere.
pub(super) fn all(outcome: &Outcome, files: &[PathBuf], format: ReportFormat, style: &Style) -> Result<()> {
    if files.is_empty() {
        return stdout(&render(outcome, format, style)?);
    }
    let mut failed = Vec::new();
    for file in files {
        if let Err(e) = write(outcome, file, format) {
            failed.push(e);
        }
    }
    if failed.len() == files.len() {
        say("no file could be written, so the report goes to stdout");
        stdout(&render(outcome, format, style)?)?;
    }
    let mut failed = failed.into_iter();
    let Some(first) = failed.next() else { return Ok(()) };
    for other in failed {
        say(one_line(&other));
    }
    Err(first)
}

fn write(outcome: &Outcome, file: &Path, otherwise: ReportFormat) -> Result<()> {
    let format = match file.extension().and_then(|e| e.to_str()) {
        Some("json") => ReportFormat::Json,
        Some("txt") => ReportFormat::Text,
        Some("prom") => ReportFormat::Prom,
        _ => otherwise,
    };
    atomic::write(file, render(outcome, format, &Style::for_files())?.as_bytes())?;
    Ok(())
}

fn render(outcome: &Outcome, format: ReportFormat, style: &Style) -> Result<String> {
    Ok(match format {
        ReportFormat::Text => text::render(&outcome.report, style),
        ReportFormat::Json => json::render(&outcome.report)?,
        ReportFormat::Prom => {
            let samples = prometheus::samples(&outcome.series, &outcome.report);
            prometheus::encode(&samples, &outcome.report)
        }
    })
}

fn stdout(text: &str) -> Result<()> {
    let mut out = std::io::stdout().lock();
    out.write_all(text.as_bytes()).and_then(|()| out.flush()).context("cannot write to stdout")
}
