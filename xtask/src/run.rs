//! `cargo xtask run` and `cargo xtask demo`: build, then become hostprof.
//!
//! In come hostprof's arguments; nothing comes out, because this process is replaced by hostprof: signals, the
//! terminal and the exit status are hostprof's own.

use std::{ffi::OsString, os::unix::process::CommandExt as _, process::Command};

use anyhow::{Context as _, Result};

use crate::build;

#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Arguments for hostprof, after `--`
    #[arg(last = true)]
    args: Vec<OsString>,
}

pub(crate) fn run(options: Options) -> Result<()> {
    let Options { args } = options;
    become_hostprof(args)
}

pub(crate) fn demo(options: Options) -> Result<()> {
    let Options { mut args } = options;
    args.insert(0, OsString::from("demo"));
    become_hostprof(args)
}

fn become_hostprof(args: Vec<OsString>) -> Result<()> {
    let binary = build::run(build::Options::default())?;
    let mut hostprof = Command::new(binary);
    hostprof.args(args);
    let error = hostprof.exec();
    Err(error).with_context(|| format!("failed to run {hostprof:?}"))
}
