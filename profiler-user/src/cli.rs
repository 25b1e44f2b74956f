//! The command line.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};
use serde::Deserialize;

use crate::command::demo;
use crate::config::{Settings, length};
use crate::output::style::ColourChoice;

/// Sees how long HTTP requests and MySQL queries take, from the kernel, with nothing changed in the services.
#[derive(Debug, Parser)]
#[command(name = "hostprof", version, propagate_version = true, max_term_width = 110)]
pub struct Cli {
    #[command(subcommand)]
    pub verb: Verb,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Profile the host for a while, then write a report
    Record(RecordArgs),
    /// Show each request and query as it ends
    Trace(TraceArgs),
    /// Say what this kernel and these rights allow
    Doctor(DoctorArgs),
    /// Profile a small sick service that comes with hostprof
    Demo(DemoArgs),
    /// A part of the demo's service
    #[command(hide = true)]
    DemoPart { part: String, args: Vec<String> },
    /// Reads other processes' stacks for hostprof
    #[command(hide = true)]
    StackReader,
}

#[derive(Debug, Args)]
pub struct RecordArgs {
    /// How long, such as 2m or 1m30s; a bare number is seconds [default: 30s]
    #[arg(short, long, value_name = "TIME", value_parser = length, conflicts_with = "command")]
    pub duration: Option<Duration>,
    /// Where to write the report; the format is the ending's (.json, .txt, .prom); may be given several times
    #[arg(short, long, value_name = "FILE")]
    pub output: Vec<PathBuf>,
    /// Format for stdout, and for files with other endings [default: text]
    #[arg(long, value_name = "FORMAT")]
    pub format: Option<ReportFormat>,
    /// With a command: the whole host, not only the command and its descendants
    #[arg(long, requires = "command")]
    pub all: bool,
    #[command(flatten)]
    pub settings: Settings,
    /// Start this command, profile it and its descendants until it ends, and pass its exit status on
    #[arg(last = true, value_name = "CMD")]
    pub command: Vec<OsString>,
}

#[derive(Debug, Args)]
pub struct TraceArgs {
    /// One line of text, or one JSON object, for each event [default: text]
    #[arg(long, value_name = "FORMAT")]
    pub format: Option<LineFormat>,
    #[command(flatten)]
    pub settings: Settings,
}

#[derive(Debug, Args)]
pub struct DoctorArgs {
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    pub format: LineFormat,
    /// Colours in text
    #[arg(long, value_name = "WHEN")]
    pub color: Option<ColourChoice>,
}

#[derive(Debug, Args)]
pub struct DemoArgs {
    /// How long, 50s at most; a bare number is seconds
    #[arg(short, long, value_name = "TIME", value_parser = demo_duration, default_value = "10s")]
    pub duration: Duration,
    /// Format of the report on stdout
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    pub format: ReportFormat,
    /// Colours in text
    #[arg(long, value_name = "WHEN")]
    pub color: Option<ColourChoice>,
}

fn demo_duration(text: &str) -> Result<Duration, String> {
    let most = demo::LONGEST;
    let time = length(text)?;
    if time <= most { Ok(time) } else { Err(format!("the demo runs for {} s at most", most.as_secs())) }
}

/// Formats of a report.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ReportFormat {
    Text,
    Json,
    /// OpenMetrics text
    Prom,
}

/// Formats of a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LineFormat {
    Text,
    Json,
}
