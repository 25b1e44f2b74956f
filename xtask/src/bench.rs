//! `cargo xtask bench [NAME]`: what hostprof costs the programs of its host, and what it takes itself.
//!
//! In comes the name of a case, or none for all; out comes a table, as text on standard output and as JSON where it is
//! asked for. Each case is measured without hostprof and with it in turns, round after round, so that what else the
//! machine does falls on both alike; what is reported are differences within a round. Needs root.

mod agent;
mod measure;
mod probe;
mod scan;
mod setup;
mod spread;
mod table;

use std::{fs, path::PathBuf};

use anyhow::{Context as _, Result, ensure};

use crate::build;
use setup::Setup;
use table::{Machine, Row, Table};

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Case {
    /// A system call that is no wait and no socket operation
    Syscall,
    /// A look at an empty epoll set, without patience
    Epoll,
    /// From one thread to another through a pipe, both on one CPU
    Switch,
    /// 1,000 loops that wait, for the agent to look at
    Scan,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Measure only this
    name: Option<Case>,
    /// Rounds: each setup is measured once in each
    #[arg(long, default_value_t = 7)]
    pairs: usize,
    /// Write the table as JSON to this file, too
    #[arg(long)]
    json: Option<PathBuf>,
}

pub(crate) fn run(options: Options) -> Result<()> {
    let Options { name, pairs, json } = options;
    ensure!(pairs > 0, "--pairs must be 1 or more");
    let binary = build::run(build::Options::default())?;
    let wanted = |case: Case| name.is_none_or(|name| name == case);
    let mut rows = Vec::new();
    let probes: Vec<_> = probe::ALL.iter().filter(|probe| wanted(probe.case)).collect();
    if !probes.is_empty() {
        let setups = Setup::of(name);
        let mut values = vec![vec![Vec::new(); setups.len()]; probes.len()];
        for round in 1..=pairs {
            eprintln!("round {round} of {pairs}");
            for (at, setup) in setups.iter().enumerate() {
                let held = setup.hold(&binary)?;
                for (probe, values) in probes.iter().zip(&mut values) {
                    values[at].push((probe.measure)()?);
                }
                held.end()?;
            }
        }
        for (probe, values) in probes.iter().zip(values) {
            let setups = setups.iter().map(|setup| setup.name());
            rows.push(Row::new(probe.name, "ns", setups.zip(values)));
        }
    }
    if wanted(Case::Scan) {
        rows.push(scan::run(&binary, pairs)?);
    }
    let table = Table { machine: Machine::this()?, pairs, rows };
    print!("{}", table.text());
    if let Some(path) = json {
        let page = serde_json::to_string_pretty(&table.json()).context("failed to write JSON")?;
        fs::write(&path, page + "\n").with_context(|| format!("failed to write {}", path.display()))?;
    }
    Ok(())
}
