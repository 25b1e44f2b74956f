//! `cargo xtask vm [KERNEL...] -- CMD`: a command on other kernels than this machine's.
//!
//! In come lines of kernels and a command; out come its output and its status on each, one after the other. The guests
//! see this machine's files, with the folder and the environment that we have; what they write is gone with them.
//! Kernels are Debian's own and stay in `target/kernels`. With `--smoke` the command is ours, and a table comes out
//! (see [`smoke`]). Needs root.

mod cpio;
mod guest;
mod initramfs;
mod interrupt;
mod kernel;
mod machine;
mod module;
mod script;
mod series;
mod share;
mod smoke;
mod table;

use std::{ffi::OsString, path::PathBuf, process::ExitCode, time::Duration};

use anyhow::{Context as _, Result, ensure};

use crate::{apt, command::is_root};
use guest::{End, Ended, Output, Size};
use kernel::Kernel;
use machine::Lockdown;
use script::Task;
use series::Series;

#[derive(Debug, clap::Args)]
#[command(arg_required_else_help = true)]
pub(crate) struct Options {
    /// Lines of kernels, such as 5.10 or 6.18: by default those that hostprof is tried on
    #[arg(value_name = "KERNEL")]
    kernels: Vec<Series>,
    /// Lock the kernels down; several: one boot for each
    #[arg(long, value_enum, value_delimiter = ',', default_value = "none")]
    lockdown: Vec<Lockdown>,
    /// Give up a guest after so long, such as 90s or 10m
    #[arg(long, value_parser = duration, default_value = "10m")]
    timeout: Duration,
    #[arg(long, default_value_t = 2)]
    cpus: u32,
    /// MiB of each guest
    #[arg(long, default_value_t = 1024)]
    memory: u32,
    /// Instead of a command: build, then try what hostprof does on each kernel, and show it as a table
    #[arg(long, conflicts_with = "command")]
    smoke: bool,
    /// With --smoke: every way to see sockets, not only the one that hostprof chooses
    #[arg(long, requires = "smoke")]
    all_hooks: bool,
    /// Write that table to this file, too
    #[arg(long, value_name = "FILE", requires = "smoke")]
    table: Option<PathBuf>,
    /// The command, after `--`: it is run in this folder, with this environment, as root
    #[arg(last = true, required_unless_present = "smoke", value_name = "CMD")]
    command: Vec<OsString>,
}

/// A kernel with its lockdown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Setup {
    series: Series,
    lockdown: Lockdown,
}

/// What was a guest's part in the whole.
#[derive(Debug)]
struct Row {
    setup: Setup,
    release: String,
    ended: Ended,
}

pub(crate) fn run(options: Options) -> Result<ExitCode> {
    let Options { kernels, lockdown, timeout, cpus, memory, smoke, all_hooks, table, command } = options;
    ensure!(cpus > 0 && memory >= 256, "a guest needs a CPU and 256 MiB");
    let size = Size { cpus, memory, timeout };
    if smoke {
        return smoke::run(&kernels, &lockdown, all_hooks, size, table.as_deref());
    }
    let task = Task::here(command).context("failed to read where we are")?;
    let rows = boot(&kernels, &lockdown, &task, size, Output::Ours)?;
    Ok(conclude(&rows))
}

/// Runs the task on every kernel, in each way of locking it down.
fn boot(
    kernels: &[Series],
    lockdown: &[Lockdown],
    task: &Task,
    size: Size,
    output: Output,
) -> Result<Vec<Row>> {
    ensure!(
        std::env::consts::ARCH == "x86_64",
        "guests are of this machine's kind, and known are those of x86_64"
    );
    ensure!(is_root(), "only root can show a guest this machine's files: run it with sudo");
    let kernels = if kernels.is_empty() { &series::TRIED[..] } else { kernels };
    install()?;
    let files = Kernel::prepare(kernels)?;
    interrupt::catch()?;
    let mut rows = Vec::new();
    for (series, kernel) in kernels.iter().zip(&files) {
        for lockdown in lockdown {
            let setup = Setup { series: *series, lockdown: *lockdown };
            eprintln!("vm: Linux {}, lockdown {}", kernel.release, lockdown.name());
            let ended = guest::run(kernel, *lockdown, task, size, output)
                .with_context(|| format!("failed to boot Linux {series}"))?;
            eprintln!("vm: {}", table::sentence(&ended));
            let is_over = matches!(ended.end, End::Interrupted(_));
            rows.push(Row { setup, release: kernel.release.clone(), ended });
            if is_over {
                return Ok(rows);
            }
        }
    }
    Ok(rows)
}

/// The machine's emulator, its file server and the guests' first program.
fn install() -> Result<()> {
    apt::install(&["busybox-static", "qemu-system-x86", "xz-utils"])?;
    if !share::installed() {
        apt::install(&["virtiofsd"])?;
    }
    Ok(())
}

/// The status of the only guest, or whether all went well.
fn conclude(rows: &[Row]) -> ExitCode {
    if let [row] = rows {
        return ExitCode::from(row.ended.end.status());
    }
    eprint!("{}", table::results(rows));
    let interrupted = rows.iter().find(|row| matches!(row.ended.end, End::Interrupted(_)));
    match interrupted {
        Some(row) => ExitCode::from(row.ended.end.status()),
        None => ExitCode::from(u8::from(rows.iter().any(|row| row.ended.end != End::Exited(0)))),
    }
}

/// `90s`, `10m`, or a bare number of seconds.
fn duration(text: &str) -> Result<Duration, String> {
    let (number, unit) = match text.strip_suffix('m') {
        Some(number) => (number, 60),
        None => (text.strip_suffix('s').unwrap_or(text), 1),
    };
    let number: u64 = number.parse().map_err(|_| format!("{text:?} is no time such as 90s or 10m"))?;
    number.checked_mul(unit).map(Duration::from_secs).ok_or_else(|| format!("{text:?} is too long"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_seconds_or_minutes() {
        let seconds = |text| duration(text).map(|time| time.as_secs());
        assert_eq!((seconds("90s"), seconds("10m"), seconds("7")), (Ok(90), Ok(600), Ok(7)));
        for text in ["", "m", "1h", "-1", "1.5m"] {
            assert!(duration(text).is_err(), "{text}");
        }
    }
}
