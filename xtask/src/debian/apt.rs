//! What of apt changes the system, and so needs root: a package's name goes in, the package is there, or the error says
//! what to run.

use std::process::{Command, Stdio};

use anyhow::{Result, bail};

use crate::command::{self, is_root};

/// Installs a package, with refreshed lists where the old ones do not lead to it.
pub(super) fn install(package: &str) -> Result<()> {
    if !is_root() {
        bail!(
            "{package} is missing and only root can install it: run `sudo apt-get install {package}`, then again"
        );
    }
    eprintln!("ebpf toolchain: installing {package} with apt");
    let apt = || {
        command::run(
            Command::new("apt-get")
                .args([
                    "-qq",
                    "-o",
                    "DPkg::Lock::Timeout=300",
                    "install",
                    "-y",
                    "--no-install-recommends",
                    package,
                ])
                .env("DEBIAN_FRONTEND", "noninteractive")
                .stdout(Stdio::null()),
        )
    };
    apt().or_else(|_stale_lists| refresh().and_then(|()| apt()))
}

/// Reads apt's lists anew.
pub(super) fn refresh() -> Result<()> {
    if !is_root() {
        bail!(
            "apt's lists lack what the build needs and only root can refresh them: run `sudo apt-get update`"
        );
    }
    command::run(Command::new("apt-get").args(["-qq", "-o", "DPkg::Lock::Timeout=300", "update"]))
}
