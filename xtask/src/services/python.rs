//! A venv with the Python servers and MySQL clients.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::Result;

use super::place::Place;
use crate::command::output;

/// Pinned, because their system calls are what the tests are about.
const PACKAGES: &[&str] = &[
    "uvicorn==0.54.0",
    "uvloop==0.23.0",
    "httptools==0.9.0",
    "h11==0.16.0",
    "fastapi==0.163.2",
    "gunicorn==27.0.1",
    "Flask==3.1.3",
    "PyMySQL==1.2.4",
    "cryptography==50.0.2",
    "mysql-connector-python==26.10.0",
    "requests==2.34.2",
    "aiohttp==3.14.5",
    "granian==2.8.7",
    "waitress==3.0.2",
];

/// Makes the venv and returns its interpreter.
pub(super) fn install(place: &Place) -> Result<PathBuf> {
    // A venv refers to the interpreter that made it, so another one needs another venv.
    let version =
        output(Command::new("python3").args(["-c", "import sys; print(sys.version, sys.base_prefix)"]))?;
    let key = format!("{}\n{version}", PACKAGES.join(" "));
    let venv = place.step("venv", &key, |dir| {
        output(Command::new("python3").args(["-m", "venv"]).arg(dir))?;
        output(pip(&interpreter(dir)).arg("install").args(PACKAGES))?;
        Ok(())
    })?;
    Ok(interpreter(&venv))
}

/// pip of the venv whose interpreter is `python`.
pub(super) fn pip(python: &Path) -> Command {
    let mut command = Command::new(python);
    command.args(["-m", "pip", "--disable-pip-version-check", "--quiet"]);
    command
}

fn interpreter(venv: &Path) -> PathBuf {
    venv.join("bin/python")
}
