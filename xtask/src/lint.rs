//! `cargo xtask lint`: formatting, clippy and rustdoc of both halves, each warning an error.
//!
//! In come the sources, out comes a list of stages that passed or failed. The kernel half is checked for the
//! BPF target with the clippy of its own compiler, for clippy must match the release that made `core`.

use anyhow::Result;

use crate::{
    build, command,
    stages::Stages,
    toolchain::{self, Toolchain},
};

pub(crate) fn run() -> Result<()> {
    let mut stages = Stages::default();
    stages.run("format", || command::run(command::cargo().args(["fmt", "--all", "--check"])));
    stages.run("clippy, user space", || {
        let lints = ["clippy", "--workspace", "--all-targets", "--", "--deny", "warnings"];
        command::run(command::cargo().args(lints))
    });
    stages.run("rustdoc, user space", || {
        let documents = ["doc", "--workspace", "--no-deps", "--document-private-items"];
        command::run(command::cargo().args(documents).env("RUSTDOCFLAGS", "--deny warnings"))
    });
    stages.run("clippy, kernel half", clippy_ebpf);
    stages.run("rustdoc, kernel half", rustdoc_ebpf);
    if toolchain::on_path("cargo-deny").is_some() {
        stages.run("licences", || {
            let checks = ["deny", "check", "licenses", "bans", "sources"];
            command::run(command::cargo().args(checks))
        });
    } else {
        stages.leave_out("licences", "cargo-deny is not installed (`cargo install --locked cargo-deny`)");
    }
    stages.finish()
}

/// What `cargo clippy` does, with the driver of the kernel half's compiler: checks with it as the wrapper.
fn clippy_ebpf() -> Result<()> {
    let toolchain = Toolchain::prepare()?;
    let driver = toolchain.sibling("clippy-driver")?;
    command::run(
        build::ebpf_cargo(&toolchain, "check")
            .env("RUSTC_WORKSPACE_WRAPPER", driver)
            // The separator is clippy's own.
            .env("CLIPPY_ARGS", "--deny__CLIPPY_HACKERY__warnings__CLIPPY_HACKERY__"),
    )
}

fn rustdoc_ebpf() -> Result<()> {
    let toolchain = Toolchain::prepare()?;
    let rustdoc = toolchain.sibling("rustdoc")?;
    command::run(
        build::ebpf_cargo(&toolchain, "doc")
            .args(["--no-deps", "--document-private-items"])
            .env("RUSTDOC", rustdoc)
            .env("RUSTDOCFLAGS", "--deny warnings"),
    )
}
