//! Programs from Debian's own packages. No stamp: what dpkg says is the truth, also on a machine that was replaced
//! under a kept `target/`.

use std::{
    collections::HashSet, fs::OpenOptions, io::Write as _, os::unix::fs::OpenOptionsExt as _, path::Path,
    process::Command,
};

use anyhow::{Context as _, Result};

use crate::command::output;

/// Invoked by package scripts before they start a service; its exit status 101 forbids it.
const POLICY: &str = "/usr/sbin/policy-rc.d";

/// Installs those of `wanted` that are missing, without starting the services that come with them, and returns them.
pub(crate) fn install<'a>(wanted: &[&'a str]) -> Result<Vec<&'a str>> {
    let installed = installed(wanted)?;
    let missing: Vec<_> = wanted.iter().copied().filter(|package| !installed.contains(*package)).collect();
    if missing.is_empty() {
        return Ok(missing);
    }
    eprintln!("apt: installing {}", missing.join(" "));
    let _policy = NoAutostart::put()?;
    output(apt_get().arg("update"))?;
    output(apt_get().args(["install", "--yes", "--no-install-recommends"]).args(&missing))?;
    Ok(missing)
}

/// apt-get without questions, waiting for another one that holds dpkg's lock.
pub(crate) fn apt_get() -> Command {
    let mut command = Command::new("apt-get");
    command.env("DEBIAN_FRONTEND", "noninteractive").args(["-qq", "-o", "DPkg::Lock::Timeout=600"]);
    command
}

/// Those of `packages` that are installed.
fn installed(packages: &[&str]) -> Result<HashSet<String>> {
    let mut query = Command::new("dpkg-query");
    query.args(["--show", "--showformat=${db:Status-Status} ${Package}\n"]).args(packages);
    // Its exit status only says that some package is unknown, and those are the ones to install.
    let listed = query.output().with_context(|| format!("failed to start {query:?}"))?;
    let listed = String::from_utf8_lossy(&listed.stdout);
    Ok(listed.lines().filter_map(|line| line.strip_prefix("installed ")).map(str::to_owned).collect())
}

/// Holds back service starts while it lives. A policy that was there already stays as it is.
struct NoAutostart {
    ours: bool,
}

impl NoAutostart {
    fn put() -> Result<Self> {
        if Path::new(POLICY).exists() {
            return Ok(Self { ours: false });
        }
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o755)
            .open(POLICY)
            .with_context(|| format!("failed to create {POLICY}: installing packages needs root"))?;
        file.write_all(b"#!/bin/sh\nexit 101\n").with_context(|| format!("failed to write {POLICY}"))?;
        Ok(Self { ours: true })
    }
}

impl Drop for NoAutostart {
    fn drop(&mut self) {
        if self.ours
            && let Err(error) = std::fs::remove_file(POLICY)
        {
            eprintln!("apt: failed to remove {POLICY}, which keeps services from starting: {error}");
        }
    }
}
