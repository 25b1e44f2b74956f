//! MySQL from Debian sid, beside Debian 12's MariaDB, and a fresh data directory of each.
//!
//! MySQL is in none of Debian's releases. Its packages are fetched by an apt with its own state, which knows only
//! sid and believes that nothing is installed: so it verifies signatures and hashes as ever, brings every library
//! that the server needs, C library included, and leaves the machine's own packages alone.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, ensure};

use super::{apt::apt_get, place::Place};
use crate::command::output;

const PACKAGES: &[&str] = &["mysql-server-core"];

/// Signs sid, too. Part of every Debian.
const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

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
    let archives = work.join("cache/archives");
    for dir in [work.join("state/lists/partial"), archives.join("partial")] {
        fs::create_dir_all(&dir).with_context(|| format!("failed to create {}", dir.display()))?;
    }
    let sources = work.join("sources.list");
    let status = work.join("state/status");
    let source = format!("deb [signed-by={KEYRING}] {} sid main\n", debian_archive()?);
    for (path, text) in [(&sources, source.as_str()), (&status, "")] {
        fs::write(path, text).with_context(|| format!("failed to write {}", path.display()))?;
    }
    let sid = || {
        let mut command = apt_get();
        for (option, path) in [
            ("Dir::Etc::sourcelist", &sources),
            ("Dir::State", &work.join("state")),
            ("Dir::State::status", &status),
            ("Dir::Cache", &work.join("cache")),
        ] {
            command.arg("-o").arg(format!("{option}={}", path.display()));
        }
        // apt's own download user may not reach into target/.
        for option in ["Dir::Etc::sourceparts=/dev/null", "APT::Sandbox::User=root"] {
            command.args(["-o", option]);
        }
        command
    };
    output(sid().arg("update"))?;
    let install = ["install", "--yes", "--no-install-recommends", "--download-only"];
    output(sid().args(install).args(PACKAGES))?;
    let entries =
        fs::read_dir(&archives).with_context(|| format!("failed to read {}", archives.display()))?;
    let debs: Vec<_> = entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.extension().is_some_and(|extension| extension == "deb"))
        .collect();
    ensure!(!debs.is_empty(), "apt-get downloaded no packages to {}", archives.display());
    Ok(debs)
}

/// The address of the Debian archive that this machine's own apt is set up to use.
fn debian_archive() -> Result<String> {
    let mut targets = Command::new("apt-get");
    targets.args(["indextargets", "--format", "$(REPO_URI)", "Origin: Debian", "Component: main"]);
    let uris = output(&mut targets)?;
    // The security archive has the same origin, but no sid.
    let uri = uris.lines().find(|uri| !uri.contains("security"));
    uri.map(str::to_owned).with_context(|| format!("{targets:?} names no Debian archive: run apt-get update"))
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
