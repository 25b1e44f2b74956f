//! Which compiler and linker build the kernel half.
//!
//! In come the environment and what is installed; out comes a [`Toolchain`]. The BPF target has no ready-made
//! `core`, so the compiler must bring the sources of its very own `core` (rust-src), and bpf-linker must
//! understand the bitcode of that compiler's LLVM. Tried in this order:
//!
//! 1. `HOSTPROF_EBPF_RUSTC` (a rustc whose sysroot holds rust-src) with `HOSTPROF_BPF_LINKER` (a bpf-linker),
//! 2. a rustup toolchain that has rust-src, with the bpf-linker on `PATH`,
//! 3. a private copy of Debian's compiler under `target/toolchain/` (see [`crate::debian`]).

use std::{
    env,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, bail, ensure};

use crate::{command, debian};

const RUSTC: &str = "HOSTPROF_EBPF_RUSTC";
const LINKER: &str = "HOSTPROF_BPF_LINKER";

/// The oldest compiler that the workspace accepts, as in the `rust-version` of `Cargo.toml`.
pub(crate) const OLDEST_RUST: &str = env!("CARGO_PKG_RUST_VERSION");

/// A compiler with the sources of its `core`, and the linker that goes with it.
#[derive(Debug)]
pub(crate) struct Toolchain {
    pub(crate) rustc: PathBuf,
    pub(crate) linker: PathBuf,
    origin: String,
}

impl Toolchain {
    /// Finds a toolchain, or makes the private one, and says on standard error which.
    pub(crate) fn prepare() -> Result<Self> {
        let found = match from_environment()? {
            Some(toolchain) => Some(toolchain),
            None => from_rustup()?,
        };
        let toolchain = match found {
            Some(toolchain) => toolchain,
            None => {
                let debian::Pair { rustc, linker } = debian::prepare().with_context(no_toolchain)?;
                Self { rustc, linker, origin: "Debian's compiler in target/toolchain".to_owned() }
            }
        };
        let Self { rustc, linker, origin } = &toolchain;
        eprintln!("ebpf toolchain: {origin} ({}, {})", rustc.display(), linker.display());
        Ok(toolchain)
    }

    /// A tool of the same compiler release (`clippy-driver`, `rustdoc`), which lies beside rustc.
    pub(crate) fn sibling(&self, name: &str) -> Result<PathBuf> {
        let path = self.rustc.with_file_name(name);
        ensure!(
            path.is_file(),
            "{} is missing: install the {name} of that compiler's release",
            path.display()
        );
        Ok(path)
    }
}

fn no_toolchain() -> String {
    format!(
        "no toolchain for the kernel half: either set {RUSTC} and {LINKER}, or run \
         `rustup component add rust-src` and `cargo install bpf-linker`, \
         or use a Debian machine whose apt offers rustc-web {OLDEST_RUST} or newer"
    )
}

fn from_environment() -> Result<Option<Toolchain>> {
    let (rustc, linker) = match (env::var_os(RUSTC), env::var_os(LINKER)) {
        (None, None) => return Ok(None),
        (Some(rustc), Some(linker)) => (PathBuf::from(rustc), PathBuf::from(linker)),
        _ => bail!("{RUSTC} and {LINKER} belong together: set both or none"),
    };
    for path in [&rustc, &linker] {
        ensure!(path.is_file(), "{} (named by {RUSTC} or {LINKER}) is not a file", path.display());
    }
    let sysroot = command::output(Command::new(&rustc).args(["--print", "sysroot"]))?;
    ensure!(
        has_core_sources(Path::new(sysroot.trim())),
        "the compiler named by {RUSTC} has no rust-src under {}",
        sysroot.trim()
    );
    Ok(Some(Toolchain { rustc, linker, origin: format!("{RUSTC} and {LINKER}") }))
}

fn from_rustup() -> Result<Option<Toolchain>> {
    // No rustup is no error: distributions ship a plain cargo.
    let Ok(list) = command::output(Command::new("rustup").args(["toolchain", "list", "-v"])) else {
        return Ok(None);
    };
    let mut lines: Vec<&str> = list.lines().collect();
    lines.sort_by_key(|line| !line.contains("(active"));
    for line in lines {
        let (Some(name), Some(sysroot)) = (line.split_whitespace().next(), line.split_whitespace().last())
        else {
            continue;
        };
        let sysroot = Path::new(sysroot);
        let rustc = sysroot.join("bin/rustc");
        if !has_core_sources(sysroot) || !is_new_enough(&release(&rustc)?) {
            continue;
        }
        let Some(linker) = on_path("bpf-linker") else {
            eprintln!("ebpf toolchain: rustup's {name} has rust-src, but no bpf-linker is on PATH");
            return Ok(None);
        };
        return Ok(Some(Toolchain {
            rustc,
            linker,
            origin: format!("rustup's {name} with bpf-linker on PATH"),
        }));
    }
    Ok(None)
}

/// The version of `rustc`, such as `1.96.0`.
fn release(rustc: &Path) -> Result<String> {
    let version = command::output(Command::new(rustc).arg("-vV"))?;
    let release = version.lines().find_map(|line| line.strip_prefix("release: "));
    Ok(release.with_context(|| format!("{} does not say its release", rustc.display()))?.to_owned())
}

/// Whether `version` (such as `1.96.0+dfsg1-1` or `1.97.0-nightly`) is at least the workspace's `rust-version`.
pub(crate) fn is_new_enough(version: &str) -> bool {
    minor(version) >= minor(OLDEST_RUST)
}

/// Major and minor number of a version: `1.96.0+dfsg1-1` is `(1, 96)`.
fn minor(version: &str) -> Option<(u32, u32)> {
    let mut numbers = version.split('.').map(|number| number.parse::<u32>().ok());
    Some((numbers.next()??, numbers.next()??))
}

fn has_core_sources(sysroot: &Path) -> bool {
    sysroot.join("lib/rustlib/src/rust/library/Cargo.lock").is_file()
}

/// Where the shell would find `program`.
pub(crate) fn on_path(program: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH")?;
    env::split_paths(&path).map(|folder| folder.join(program)).find(|candidate| candidate.is_file())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_compare_by_number() {
        assert_eq!(minor("1.96.0+dfsg1-1~deb12u2"), Some((1, 96)));
        assert!(is_new_enough("1.97.0-nightly"));
        assert!(is_new_enough("1.100.0"), "100 is more than 95, though not as text");
        assert!(!is_new_enough("1.85.0+dfsg3-1~deb12u3"));
        assert!(!is_new_enough("unknown"));
    }
}
