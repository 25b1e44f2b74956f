//! What the operator may set, on the command line or in a file (`--config`); the command line goes first.
//!
//! Both are read into the same structs, so every flag has its key: `--slower-than 100ms` is `slower-than = "100ms"`.

mod file;
mod value;

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};
use serde::Deserialize;

pub use self::file::ConfigError;
use self::value::{bytes, bytes_key, duration_key, length_key, patterns_key};
pub use self::value::{duration, length};
use crate::cli::{LineFormat, ReportFormat};
use crate::kernel::hooks::{SocketHooks, Wait, Watched};
use crate::kernel::load::Options;
use crate::output::style::ColourChoice;
use crate::parse::route::Pattern;
use crate::rules::thresholds::Thresholds;

/// A choice between two.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Switch {
    On,
    Off,
}

/// A protocol to look at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    Http,
    Mysql,
}

impl Protocol {
    /// As reports have it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Mysql => "mysql",
        }
    }
}

/// Settings of a capture, the same for all verbs that make one.
#[derive(Debug, Clone, Default, Args, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct Settings {
    /// Read settings from this TOML file; its keys are the flags' names
    #[arg(long, value_name = "FILE", help_heading = "Settings")]
    #[serde(skip)]
    pub config: Option<PathBuf>,

    /// Only these processes
    #[arg(long, value_name = "PID", value_delimiter = ',', help_heading = "Filters")]
    pub pid: Vec<u32>,
    /// Only processes of this name (as in `ps -o comm`)
    #[arg(long, value_name = "NAME", value_delimiter = ',', help_heading = "Filters")]
    pub comm: Vec<String>,
    /// Only connections with this port at either end
    #[arg(long, value_name = "PORT", value_delimiter = ',', help_heading = "Filters")]
    pub port: Vec<u16>,
    /// Only processes whose cgroup path contains this
    #[arg(long, value_name = "PATH", help_heading = "Filters")]
    pub cgroup: Vec<String>,
    /// Only processes of the container whose identifier begins with this
    #[arg(long, value_name = "ID", help_heading = "Filters")]
    pub container: Vec<String>,
    /// Only these protocols
    #[arg(long, value_name = "PROTOCOL", value_delimiter = ',', help_heading = "Filters")]
    pub protocol: Vec<Protocol>,
    /// Show only what took longer, such as 100ms or 2s
    #[arg(long, value_name = "TIME", value_parser = duration, help_heading = "Filters")]
    #[serde(deserialize_with = "duration_key")]
    pub slower_than: Option<Duration>,
    /// Show only transport errors, HTTP 4xx and 5xx, MySQL errors
    #[arg(long, help_heading = "Filters")]
    pub errors: bool,

    /// A route of the services, such as /orders/{id}; may be given several times, the first match counts
    #[arg(long, value_name = "PATTERN", help_heading = "Settings")]
    #[serde(deserialize_with = "patterns_key")]
    pub route: Vec<Pattern>,
    /// Connections that are followed at a time; each takes about 1 KiB of kernel memory [default: 65536]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=4_194_304), help_heading = "Settings")]
    pub max_connections: Option<u32>,
    /// Memory between kernel and hostprof, such as 4M [default: 4M]
    #[arg(long, value_name = "BYTES", value_parser = bytes, help_heading = "Settings")]
    #[serde(deserialize_with = "bytes_key")]
    pub ring_size: Option<u32>,
    /// Bytes kept of each request's head or statement, 64 to 8192 [default: 512]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(64..=8192), help_heading = "Settings")]
    pub head_bytes: Option<u32>,
    /// How to see reads and writes of sockets; by default the best that this kernel has
    #[arg(long, value_name = "HOOKS", help_heading = "Settings")]
    pub socket_hooks: Option<SocketHooks>,
    /// What makes an event loop: waits with these calls; off: event loops are not watched [default: epoll]
    #[arg(long, value_name = "WAITS", value_delimiter = ',', help_heading = "Settings")]
    pub loops: Vec<Watched>,
    /// A turn of an event loop that takes so long is a stall [default: 100ms]
    #[arg(long, value_name = "TIME", value_parser = duration, help_heading = "Settings")]
    #[serde(deserialize_with = "duration_key")]
    pub stall_threshold: Option<Duration>,
    /// Where in the code a stall is, read from the process's memory while it lasts [default: on]
    #[arg(long, value_name = "ON|OFF", hide_possible_values = true, help_heading = "Settings")]
    pub stacks: Option<Switch>,
    /// Show the kernel half's own diagnostics on stderr
    #[arg(long, help_heading = "Settings")]
    pub log_kernel: bool,
    /// Colours in text
    #[arg(long, value_name = "WHEN", help_heading = "Settings")]
    pub color: Option<ColourChoice>,

    /// In a file: the table `[record]`, for the flags that only this verb has.
    #[arg(skip)]
    pub record: RecordKeys,
    /// In a file: the table `[trace]`.
    #[arg(skip)]
    pub trace: TraceKeys,
    /// In a file: a table `[rules.<id>]` for each rule.
    #[arg(skip)]
    pub rules: Thresholds,
}

/// The keys of the table `[record]`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct RecordKeys {
    #[serde(deserialize_with = "length_key")]
    pub duration: Option<Duration>,
    pub output: Vec<PathBuf>,
    pub format: Option<ReportFormat>,
    pub all: bool,
}

/// The keys of the table `[trace]`.
#[derive(Debug, Clone, Copy, Default, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct TraceKeys {
    pub format: Option<LineFormat>,
}

impl Settings {
    /// These settings, with what they leave open taken from their file.
    pub fn with_file(self) -> Result<Self, ConfigError> {
        match self.config.clone() {
            None => Ok(self),
            Some(path) => Ok(self.over(file::read(&path)?)),
        }
    }

    fn over(self, file: Self) -> Self {
        fn first<T>(a: Vec<T>, b: Vec<T>) -> Vec<T> {
            if a.is_empty() { b } else { a }
        }
        Self {
            config: self.config,
            pid: first(self.pid, file.pid),
            comm: first(self.comm, file.comm),
            port: first(self.port, file.port),
            cgroup: first(self.cgroup, file.cgroup),
            container: first(self.container, file.container),
            protocol: first(self.protocol, file.protocol),
            slower_than: self.slower_than.or(file.slower_than),
            errors: self.errors || file.errors,
            route: first(self.route, file.route),
            max_connections: self.max_connections.or(file.max_connections),
            ring_size: self.ring_size.or(file.ring_size),
            head_bytes: self.head_bytes.or(file.head_bytes),
            socket_hooks: self.socket_hooks.or(file.socket_hooks),
            loops: first(self.loops, file.loops),
            stall_threshold: self.stall_threshold.or(file.stall_threshold),
            stacks: self.stacks.or(file.stacks),
            log_kernel: self.log_kernel || file.log_kernel,
            color: self.color.or(file.color),
            record: file.record,
            trace: file.trace,
            rules: file.rules,
        }
    }

    /// Whether stacks of stalls are taken.
    pub fn stacks(&self) -> bool {
        self.stacks != Some(Switch::Off)
    }

    /// What the kernel half needs of them.
    pub fn kernel(&self) -> Options {
        Options {
            socket_hooks: self.socket_hooks,
            max_connections: self.max_connections.unwrap_or(65_536),
            ring_size: self.ring_size.unwrap_or(4 << 20),
            head_bytes: self.head_bytes.unwrap_or(512),
            loops: if self.loops.is_empty() { vec![Wait::Epoll] } else { Watched::waits(&self.loops) },
            stall_threshold: self.stall_threshold.unwrap_or(Duration::from_millis(100)),
            // A debug build is for looking into hostprof itself.
            log_kernel: self.log_kernel || cfg!(debug_assertions),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_goes_before_the_file() {
        let file: Settings = toml::from_str(
            "port = [80]\nslower-than = \"5ms\"\nring-size = \"8M\"\nroute = [\"/a/{id}\"]\nprotocol = [\"mysql\"]",
        )
        .unwrap();
        let line = Settings { port: vec![81], ..Settings::default() };
        let both = line.over(file);
        assert_eq!(both.port, [81]);
        assert_eq!(both.slower_than, Some(Duration::from_millis(5)));
        assert_eq!(both.kernel().ring_size, 8 << 20);
        assert_eq!(both.protocol, [Protocol::Mysql]);
    }

    #[test]
    fn stacks_are_on_until_somebody_says_off() {
        assert!(Settings::default().stacks());
        let file: Settings = toml::from_str("stacks = \"off\"").unwrap();
        assert!(!Settings::default().over(file.clone()).stacks());
        let line = Settings { stacks: Some(Switch::On), ..Settings::default() };
        assert!(line.over(file).stacks(), "the command line goes first");
    }

    #[test]
    fn the_flags_of_one_verb_have_a_table() {
        let text = "color = \"never\"\n[record]\nduration = \"5s\"\noutput = [\"a.json\"]\nformat = \"prom\"\n[trace]\nformat = \"json\"";
        let file: Settings = toml::from_str(text).unwrap();
        assert_eq!(file.record.duration, Some(Duration::from_secs(5)));
        assert_eq!(file.record.format, Some(ReportFormat::Prom));
        assert_eq!(file.trace.format, Some(LineFormat::Json));
        assert!(toml::from_str::<Settings>("[trace]\nduration = \"5s\"").is_err());
        for (value, milliseconds) in [("5", 5_000), ("0.5", 500), ("\"5\"", 5_000)] {
            let file: Settings = toml::from_str(&format!("[record]\nduration = {value}")).unwrap();
            assert_eq!(file.record.duration, Some(Duration::from_millis(milliseconds)), "{value}");
        }
        for bad in ["0", "-1", "nan", "true"] {
            assert!(toml::from_str::<Settings>(&format!("[record]\nduration = {bad}")).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_file_with_a_wrong_key_is_refused() {
        assert!(toml::from_str::<Settings>("prot = [80]").is_err());
        assert!(toml::from_str::<Settings>("slower-than = \"x\"").is_err());
    }
}
