//! Running other programs: in comes a [`Command`], out comes success or an error that repeats it.
//!
//! Every verb goes through here, so that no failure is reported without the command line that caused it.

use std::{
    env,
    ffi::OsString,
    fs,
    os::unix::fs::MetadataExt as _,
    path::Path,
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result, bail};

/// The root of the repository.
pub(crate) fn root() -> &'static Path {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR"));
    manifest.parent().unwrap_or(manifest)
}

/// The cargo that runs us, at the root of the repository.
pub(crate) fn cargo() -> Command {
    let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| OsString::from("cargo")));
    cargo.current_dir(root());
    cargo
}

/// Whether we run as root.
pub(crate) fn is_root() -> bool {
    fs::metadata("/proc/self").is_ok_and(|own| own.uid() == 0)
}

/// Runs `command` with our terminal; anything but success is an error.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    let status = command.status().with_context(|| format!("failed to run {command:?}"))?;
    if !status.success() {
        bail!("{command:?} failed: {status}");
    }
    Ok(())
}

/// Runs `command` and returns what it wrote to standard output; what it writes to standard error is part of
/// the error.
pub(crate) fn output(command: &mut Command) -> Result<String> {
    command.stdin(Stdio::null()).stderr(Stdio::piped());
    read(command)
}

/// Like [`output`], but standard error stays the terminal's: for commands that report their progress there.
pub(crate) fn messages(command: &mut Command) -> Result<String> {
    command.stderr(Stdio::inherit());
    read(command)
}

fn read(command: &mut Command) -> Result<String> {
    let output = command.output().with_context(|| format!("failed to run {command:?}"))?;
    if !output.status.success() {
        let complaint = String::from_utf8_lossy(&output.stderr);
        bail!(
            "{command:?} failed: {}{}{}",
            output.status,
            if complaint.is_empty() { "" } else { ": " },
            complaint.trim_end()
        );
    }
    String::from_utf8(output.stdout).with_context(|| format!("{command:?} did not print UTF-8"))
}
