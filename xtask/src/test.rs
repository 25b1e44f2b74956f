//! `cargo xtask test [FILTER] [-- ARGS]`: build, unit tests, documentation tests, end-to-end tests.
//!
//! In come the sources and an optional filter; out comes a list of stages that passed or failed, and a status
//! that is zero only if all did. The end-to-end tests find the binary in `HOSTPROF_BIN`, and run one at a time
//! because each profiles the whole host.

use anyhow::Result;

use crate::{build, command, services, stages::Stages};

const END_TO_END: &str = "end-to-end tests";

#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Run only tests whose name contains this
    filter: Option<String>,
    /// Arguments for the test binaries, after `--`
    #[arg(last = true)]
    args: Vec<String>,
}

pub(crate) fn run(options: Options) -> Result<()> {
    let Options { filter, args } = options;
    let cargo_test = |selection: &[&str]| {
        let mut cargo = command::cargo();
        cargo.args(["test", "--no-fail-fast"]).args(selection).args(&filter).arg("--").args(&args);
        cargo
    };
    let mut stages = Stages::default();
    let mut binary = None;
    stages.run("build", || {
        binary = Some(build::run(build::Options::default())?);
        Ok(())
    });
    stages.run("unit tests", || command::run(&mut cargo_test(&["--workspace", "--lib", "--bins"])));
    stages.run("documentation tests", || command::run(&mut cargo_test(&["--workspace", "--doc"])));
    // Without the servers the tests still run: those that need none are worth knowing.
    stages.run("servers", services::run);
    match binary {
        Some(binary) => {
            let mut cargo = cargo_test(&["--release", "--package", "hostprof-tests", "--tests"]);
            // The variable, not the argument, so that ARGS may say otherwise.
            cargo.env("HOSTPROF_BIN", binary).env("RUST_TEST_THREADS", "1");
            stages.run(END_TO_END, || command::run(&mut cargo));
        }
        None => stages.skip(END_TO_END, "hostprof was not built"),
    }
    stages.finish()
}
