//! `cargo xtask VERB`: everything this repository does beyond a plain `cargo` command.
//!
//! In comes a verb, out goes a built, tested or checked workspace, or an error that names the command that
//! failed. It exists because the kernel half needs a compiler and a linker that cargo alone cannot fetch.

use std::process::ExitCode;

use clap::{Parser, Subcommand};

mod apt;
mod archive;
mod bench;
mod build;
mod command;
mod debian;
mod folder;
mod lint;
mod run;
mod services;
mod stages;
mod test;
mod toolchain;
mod vm;

#[derive(Debug, Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", about = "Build, check and test hostprof")]
struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Build the kernel half, then the hostprof binary that embeds it
    Build(build::Options),
    /// Build, then run hostprof with the given arguments
    Run(run::Options),
    /// Build, then run `hostprof demo`
    Demo(run::Options),
    /// Check formatting, lints and documentation of both halves
    Lint,
    /// Build, then run the unit tests and the end-to-end tests
    Test(test::Options),
    /// Measure what hostprof costs, with it and without it in turns
    Bench(bench::Options),
    /// Install the servers that the end-to-end tests need
    Services,
    /// Run a command on other kernels, in virtual machines that see this machine's files
    Vm(vm::Options),
}

fn main() -> ExitCode {
    let done = |()| ExitCode::SUCCESS;
    let result = match Cli::parse().verb {
        Verb::Build(options) => build::run(options).map(|_binary| ExitCode::SUCCESS),
        Verb::Run(options) => run::run(options).map(done),
        Verb::Demo(options) => run::demo(options).map(done),
        Verb::Lint => lint::run().map(done),
        Verb::Test(options) => test::run(options).map(done),
        Verb::Bench(options) => bench::run(options).map(done),
        Verb::Services => services::run().map(done),
        Verb::Vm(options) => vm::run(options),
    };
    match result {
        Ok(status) => status,
        Err(error) => {
            // Without the stack that anyhow's own format adds: the chain of contexts says where.
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
