//! hostprof, the binary: parses the command line and runs a verb. Exit status 0: done; 1: could not do it, with one
//! line on stderr that says why; 2: wrong usage.

use std::process::ExitCode;

use clap::Parser;
use hostprof::cli::{Cli, Verb};
use hostprof::command::{self, demo};

fn main() -> ExitCode {
    let cli = Cli::parse();
    command::log::to_stderr(
        matches!(&cli.verb, Verb::Record(a) if a.settings.log_kernel)
            || matches!(&cli.verb, Verb::Trace(a) if a.settings.log_kernel),
    );
    let result = match cli.verb {
        Verb::Record(args) => command::record::run(args),
        Verb::Trace(args) => command::trace::run(args),
        Verb::Doctor(args) => command::doctor::run(&args),
        Verb::Demo(args) => command::record::demo(&args),
        Verb::DemoPart { part, args } => part
            .parse()
            .and_then(|part| demo::run_part(part, &args))
            .map(|()| ExitCode::SUCCESS)
            .map_err(anyhow::Error::new),
        Verb::StackReader => hostprof::stack::reader::run(),
    };
    result.unwrap_or_else(|error| {
        if command::is_broken_pipe(&error) {
            // The reader has seen enough.
            return ExitCode::SUCCESS;
        }
        command::log::say(command::one_line(&error));
        ExitCode::from(1)
    })
}
