//! `cargo xtask services`: the servers, clients and tools that the end-to-end tests drive, on a fresh Debian 12.
//!
//! Programs that Debian carries are installed by apt; everything else goes to `target/services` and nowhere else:
//! a Python venv, npm packages, a Go toolchain with the Go test programs, MySQL from Debian sid, and a fresh data
//! directory for each database, which the tests copy. Steps that are done already cost milliseconds.

use std::path::Path;
use std::process::Command;
use std::time::Instant;

use anyhow::{Context, Result};

mod database;
mod golang;
mod node;
mod packages;
mod place;
mod python;

use crate::command;
use place::Place;

/// Installs whatever is missing.
pub(crate) fn run() -> Result<()> {
    let begun = Instant::now();
    let place = Place::claim()?;
    packages::install()?;
    let python = python::install(&place)?;
    node::install(&place)?;
    golang::install(&place, &python)?;
    database::install(&place)?;
    mount_tracefs()?;
    eprintln!("services: ready in {} after {:.1} s", place.root().display(), begun.elapsed().as_secs_f64());
    Ok(())
}

/// Mounts tracefs where it is not: the tests of the `syscall-exit` hooks need it, and not every machine mounts it.
fn mount_tracefs() -> Result<()> {
    const TRACING: &str = "/sys/kernel/tracing";
    if Path::new(TRACING).join("events").is_dir() {
        return Ok(());
    }
    eprintln!("services: mounting tracefs on {TRACING}");
    command::run(Command::new("mount").args(["-t", "tracefs", "tracefs", TRACING]))
        .context("the tests of the syscall-exit hooks need tracefs")
}
