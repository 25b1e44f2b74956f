//! MySQL from Debian sid, beside Debian 12's MariaDB, and a fresh data directory of each.
//!
//! MySQL is in none of Debian's releases. Its packages are fetched by an apt that knows only sid and believes that
//! nothing is installed: so it brings every library that the server needs, C library included.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, ensure};

use super::place::Place;
use crate::{archive::Archive, command::output};

const PACKAGES: &[&str] = &["mysql-server-core"];

/// Redo logs of the default 100 MB would be copied for every test.
const MARIADB_LOG: &str = "--innodb-log-file-size=16M";
const MYSQL_LOG: &str = "--innodb-redo-log-capacity=16M";

pub(super) fn install(place: &Place) -> Result<()> {
    let mysql = install_mysql(place)?;
    let version = output(Command::new("mariadbd").args(["--no-defaults", "--version"]))?;
    place.step("mariadb-data", &version, |dir| {
        let mut init = Command::new("mariadb-install-db");
        init.args(["--no-defaults", "--user=root", "--auth-root-authentication-method=normal"]);
        init.args(["--skip-test-db", MARIADB_LOG]).arg(flag("--datadir", dir));
        output(&mut init)?;
        Ok(())
    })?;
    let mysqld = mysql.join("usr/sbin/mysqld");
    let version = output(Command::new(&mysqld).args(["--no-defaults", "--version"]))?;
    place.step("mysql-data", &version, |dir| {
        let mut init = Command::new(&mysqld);
        init.args(["--no-defaults", "--initialize-insecure", "--user=root", MYSQL_LOG]);
        init.args([flag("--basedir", &mysql.join("usr")), flag("--datadir", dir)]);
        init.args([
            flag("--lc-messages-dir", &mysql.join("usr/share/mysql")),
            flag("--plugin-dir", &mysql.join("usr/lib/mysql/plugin")),
        ]);
        // Debian's default for it is a folder that only its own package creates.
        init.arg("--secure-file-priv=NULL");
        output(&mut init)?;
        Ok(())
    })?;
    Ok(())
}

/// Unpacks MySQL and returns the root of its tree.
fn install_mysql(place: &Place) -> Result<PathBuf> {
    // The program is patched to this path, so another path needs another installation.
    let key = format!("{} of Debian sid\n{}", PACKAGES.join(" "), place.root().display());
    place.step("mysql", &key, |dir| {
        let work = dir.join("apt");
        let debs = download(&work)?;
        for deb in &debs {
            output(Command::new("dpkg-deb").arg("--extract").arg(deb).arg(dir))?;
        }
        fs::remove_dir_all(&work).with_context(|| format!("failed to remove {}", work.display()))?;
        bind_to_own_libraries(dir)
    })
}

/// Downloads the packages with everything they depend on.
fn download(work: &Path) -> Result<Vec<PathBuf>> {
    let sid = Archive::open(work, &["sid"])?;
    let install = ["install", "--yes", "--no-install-recommends", "--download-only"];
    output(sid.get().args(install).args(PACKAGES))?;
    let archives = sid.packages();
    let entries =
        fs::read_dir(&archives).with_context(|| format!("failed to read {}", archives.display()))?;
    let debs: Vec<_> = entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.extension().is_some_and(|extension| extension == "deb"))
        .collect();
    ensure!(!debs.is_empty(), "apt-get downloaded no packages to {}", archives.display());
    Ok(debs)
}

/// Makes mysqld use the loader and libraries it came with. Patched, rather than started through the loader, so that
/// /proc/PID/exe is mysqld as everywhere else.
fn bind_to_own_libraries(root: &Path) -> Result<()> {
    let mysqld = root.join("usr/sbin/mysqld");
    let libraries = root.join(format!("usr/lib/{}-linux-gnu", std::env::consts::ARCH));
    let loader = output(Command::new("patchelf").arg("--print-interpreter").arg(&mysqld))?;
    let loader = Path::new(loader.trim()).file_name().context("mysqld names no program interpreter")?;
    let mut patch = Command::new("patchelf");
    patch.arg("--set-interpreter").arg(libraries.join(loader));
    patch.args(["--force-rpath", "--set-rpath"]).arg(&libraries).arg(&mysqld);
    output(&mut patch)?;
    Ok(())
}

fn flag(name: &str, path: &Path) -> String {
    format!("{name}={}", path.display())
}
