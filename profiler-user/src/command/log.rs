//! hostprof's own messages, on stderr: warnings always, more with `HOSTPROF_LOG=debug`, the kernel half's diagnostics
//! with `--log-kernel`.

use std::fmt::Display;
use std::io::Write as _;

use log::{Level, LevelFilter, Log, Metadata, Record};

struct Stderr;

impl Log for Stderr {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        // aya warns of kernel features that it looks for and that hostprof does not need.
        !metadata.target().starts_with("aya::") && !metadata.target().starts_with("aya_obj")
            || metadata.level() < Level::Warn
    }

    fn log(&self, record: &Record<'_>) {
        if self.enabled(record.metadata()) {
            say(format_args!("{}: {}", record.level().as_str().to_lowercase(), record.args()));
        }
    }

    fn flush(&self) {}
}

/// Says something on stderr. A person who has stopped reading there is no reason to end.
pub fn say(text: impl Display) {
    let _ = writeln!(std::io::stderr().lock(), "hostprof: {text}");
}

/// Begins to show messages.
pub fn to_stderr(log_kernel: bool) {
    let wanted = std::env::var("HOSTPROF_LOG").ok().and_then(|level| level.parse().ok());
    let level = wanted.unwrap_or(if log_kernel { LevelFilter::Debug } else { LevelFilter::Warn });
    if log::set_logger(&Stderr).is_ok() {
        log::set_max_level(level);
    }
}
