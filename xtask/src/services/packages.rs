//! The programs of the tests that Debian carries.

use std::process::Command;

use anyhow::Result;

use crate::{apt, command::output, toolchain::on_path};

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

/// Installs the packages that are missing, without starting the services that come with them.
pub(super) fn install() -> Result<()> {
    let mut wanted = PACKAGES.to_vec();
    if on_path("node").is_none() {
        wanted.push("nodejs");
    }
    if on_path("npm").is_none() {
        wanted.push("npm");
    }
    if output(Command::new("python3").args(["-c", "import ensurepip, venv"])).is_err() {
        wanted.extend(["python3", "python3-venv"]);
    }
    let missing = apt::install(&wanted)?;
    if missing.is_empty() {
        eprintln!("apt: there ({} packages)", wanted.len());
    }
    let services: Vec<_> = SERVICES.iter().filter(|service| missing.contains(service)).collect();
    if !services.is_empty() {
        // Nor are they to be started with the machine. Where there is no systemd nothing would start them.
        let _ = output(Command::new("systemctl").args(["disable", "--quiet"]).args(services));
    }
    Ok(())
}
