//! Programs from Debian's own packages. No stamp: what dpkg says is the truth, also on a machine that was replaced
//! under a kept `target/`.

use std::{
    collections::HashSet, fs::OpenOptions, io::Write as _, os::unix::fs::OpenOptionsExt as _, path::Path,
    process::Command,
};

use anyhow::{Context as _, Result};

use super::place::on_path;
use crate::command::output;

/// The MariaDB packages are those without a service: the tests bring their own data directory.
const PACKAGES: &[&str] = &[
    "ca-certificates",
    "golang-github-go-sql-driver-mysql-dev",
    "iproute2",
    "mariadb-client-core",
    "mariadb-server-core",
    "nginx",
    "patchelf",
    "prometheus",
    "redis-server",
    "sysbench",
    "tshark",
    "unzip",
    "wrk",
    "xz-utils",
];

/// Those that come with a service of the same name.
const SERVICES: &[&str] = &["nginx", "prometheus", "redis-server"];

/// Invoked by package scripts before they start a service; its exit status 101 forbids it.
const POLICY: &str = "/usr/sbin/policy-rc.d";

/// Installs the packages that are missing, without starting the services that come with them.
pub(super) fn install() -> Result<()> {
    let mut wanted = PACKAGES.to_vec();
    if !on_path("node") {
        wanted.push("nodejs");
    }
    if !on_path("npm") {
        wanted.push("npm");
    }
    if output(Command::new("python3").args(["-c", "import ensurepip, venv"])).is_err() {
        wanted.extend(["python3", "python3-venv"]);
    }
    let installed = installed(&wanted)?;
    let missing: Vec<_> = wanted.iter().copied().filter(|package| !installed.contains(*package)).collect();
    if missing.is_empty() {
        eprintln!("apt: there ({} packages)", wanted.len());
        return Ok(());
    }
    eprintln!("apt: installing {}", missing.join(" "));
    let _policy = NoAutostart::put()?;
    output(apt_get().arg("update"))?;
    output(apt_get().args(["install", "--yes", "--no-install-recommends"]).args(&missing))?;
    // Nor are they to be started with the machine. Where there is no systemd nothing would start them.
    let services = SERVICES.iter().filter(|service| missing.contains(service));
    let _ = output(Command::new("systemctl").args(["disable", "--quiet"]).args(services));
    Ok(())
}

/// apt-get without questions, waiting for another one that holds dpkg's lock.
pub(super) fn apt_get() -> Command {
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
