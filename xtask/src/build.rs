//! `cargo xtask build`: the kernel half, then the hostprof binary that embeds it.
//!
//! In come the sources and a [`Toolchain`]; out come `target/ebpf/hostprof-ebpf` (the object, at a path that
//! profiler-user's build script knows) and `target/release/hostprof`. The kernel half has its own target
//! folder because it has its own compiler: sharing one would rebuild everything at each switch.

use std::{
    env::consts::ARCH,
    fs, io,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result};

use crate::{command, toolchain::Toolchain};

const TARGET: &str = if cfg!(target_endian = "little") { "bpfel-unknown-none" } else { "bpfeb-unknown-none" };

/// The profile of the kernel half. The workspace's release profile is user space's, so it is set from outside.
const PROFILE: [(&str, &str); 7] = [
    ("CARGO_PROFILE_RELEASE_OPT_LEVEL", "3"),
    ("CARGO_PROFILE_RELEASE_LTO", "fat"),
    ("CARGO_PROFILE_RELEASE_CODEGEN_UNITS", "1"),
    ("CARGO_PROFILE_RELEASE_PANIC", "abort"),
    ("CARGO_PROFILE_RELEASE_OVERFLOW_CHECKS", "false"),
    // BTF is made out of the debug information.
    ("CARGO_PROFILE_RELEASE_DEBUG", "2"),
    ("CARGO_PROFILE_RELEASE_STRIP", "none"),
];

#[derive(Debug, Default, clap::Args)]
pub(crate) struct Options {
    /// Build only the kernel half
    #[arg(long)]
    ebpf_only: bool,
    /// Build user space without optimisation (the kernel half is always optimised)
    #[arg(long)]
    debug: bool,
    /// Build user space with optimisation, which is the default
    #[arg(long, conflicts_with = "debug")]
    release: bool,
}

/// Builds what `options` ask for and returns the path of the hostprof binary, or of the object alone.
pub(crate) fn run(options: Options) -> Result<PathBuf> {
    let Options { ebpf_only, debug, release: _ } = options;
    let object = ebpf()?;
    if ebpf_only {
        return Ok(object);
    }
    let mut cargo = command::cargo();
    cargo.args(["build", "--package", "profiler-user", "--bin", "hostprof"]);
    if !debug {
        cargo.arg("--release");
    }
    executable(&mut cargo)
}

/// Builds the kernel half and returns the path of the object.
pub(crate) fn ebpf() -> Result<PathBuf> {
    let toolchain = Toolchain::prepare()?;
    let built = executable(&mut ebpf_cargo(&toolchain, "build"))?;
    let object = ebpf_target().join("hostprof-ebpf");
    copy_if_changed(&built, &object)
        .with_context(|| format!("failed to copy {} to {}", built.display(), object.display()))?;
    Ok(object)
}

/// Runs a `cargo build` of one executable and returns where cargo put it.
pub(crate) fn executable(cargo: &mut Command) -> Result<PathBuf> {
    let messages = command::messages(cargo.arg("--message-format=json-render-diagnostics"))?;
    messages
        .lines()
        .filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok())
        .find_map(|message| Some(PathBuf::from(message.get("executable")?.as_str()?)))
        .with_context(|| format!("{cargo:?} made no executable"))
}

/// The target folder of the kernel half.
fn ebpf_target() -> PathBuf {
    command::root().join("target/ebpf")
}

/// `cargo VERB` for the kernel half with `toolchain`.
pub(crate) fn ebpf_cargo(toolchain: &Toolchain, verb: &str) -> Command {
    let linker = format!("-Clinker={}", toolchain.linker.display());
    let arch = format!("--cfg=bpf_target_arch=\"{}\"", bpf_arch());
    // Encoded flags outrank a RUSTFLAGS that is meant for user space; the separator is cargo's.
    let flags = [arch.as_str(), linker.as_str(), "-Clink-arg=--btf"].join("\u{1f}");
    let mut cargo = command::cargo();
    cargo
        .args([verb, "--release", "--package", "profiler-ebpf", "--bin", "hostprof-ebpf"])
        .args(["--no-default-features", "--features", "kernel"])
        .args(["--target", TARGET, "-Zbuild-std=core", "--target-dir"])
        .arg(ebpf_target())
        .env("RUSTC", &toolchain.rustc)
        // Lets a released compiler take the unstable flags that the BPF target needs.
        .env("RUSTC_BOOTSTRAP", "1")
        .env("CARGO_ENCODED_RUSTFLAGS", flags)
        .envs(PROFILE);
    for wrapper in ["RUSTC_WRAPPER", "RUSTC_WORKSPACE_WRAPPER"] {
        cargo.env_remove(wrapper);
    }
    cargo
}

/// The name that aya's bindings give to the machine whose registers the programs read.
fn bpf_arch() -> &'static str {
    match ARCH {
        "riscv64gc" => "riscv64",
        arch => arch,
    }
}

/// Copies `from` to `to` unless they are the same: an untouched object does not rebuild user space.
fn copy_if_changed(from: &Path, to: &Path) -> io::Result<()> {
    let new = fs::read(from)?;
    if fs::read(to).is_ok_and(|old| old == new) {
        return Ok(());
    }
    // A rename is whole or absent, so an interruption leaves no half an object.
    let partial = to.with_extension("partial");
    fs::write(&partial, new)?;
    fs::rename(partial, to)
}
