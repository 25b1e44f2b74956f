//! What the tests need from the machine, and messages that say what is missing. `cargo xtask services` installs it.

use std::{
    env,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, ensure};

/// The root of the repository.
pub fn root() -> &'static Path {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    package.parent().unwrap_or(package)
}

/// A file or folder of `target/services`.
pub fn service(path: &str) -> Result<PathBuf> {
    let found = root().join("target/services").join(path);
    ensure!(found.exists(), "{} is missing: run `cargo xtask services`", found.display());
    Ok(found)
}

/// A program of this package, which cargo builds beside the tests.
pub fn built(name: &str) -> Result<PathBuf> {
    let test = env::current_exe().context("failed to read the path of the test")?;
    let found = test.ancestors().nth(2).context("the test has no folder")?.join(name);
    ensure!(
        found.is_file(),
        "{} is missing: run `cargo build --package hostprof-tests --bins`",
        found.display()
    );
    Ok(found)
}

/// A file of `tests/apps`.
pub fn app(path: &str) -> PathBuf {
    root().join("tests/apps").join(path)
}

/// A program that Debian installs; the folders for administrators count even where `PATH` leaves them out.
pub fn program(name: &str) -> Result<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path)
        .chain([PathBuf::from("/usr/sbin"), PathBuf::from("/usr/bin")])
        .map(|folder| folder.join(name))
        .find(|file| file.is_file())
        .with_context(|| format!("{name} is missing: run `cargo xtask services`"))
}

/// Fails unless we are root, which loading probes and capturing packets takes.
pub fn require_root() -> Result<()> {
    // SAFETY: geteuid has no arguments and cannot fail.
    let user = unsafe { libc::geteuid() };
    ensure!(user == 0, "this test needs root: it loads probes and captures packets, and we are user {user}");
    Ok(())
}
