//! sysbench, the database load generator: point selects by prepared statements.

use std::process::Command;

use anyhow::{Context as _, Result};

use crate::{
    address::Address,
    database::{PASSWORD, SCHEMA, USER},
    install::program,
    process::{PATIENCE, Process},
};

/// What sysbench counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Load {
    pub pid: u32,
    /// Executions of the prepared select. Each connection also prepares and closes its statements once.
    pub queries: u64,
    pub errors: u64,
}

/// Creates the table that [`point_selects`] reads.
pub fn prepare(address: &Address) -> Result<()> {
    Process::run("sysbench", command(address)?.arg("prepare"), PATIENCE)?;
    Ok(())
}

/// Sends `queries` selects over `connections` connections.
pub fn point_selects(address: &Address, queries: u64, connections: u32) -> Result<Load> {
    let mut command = command(address)?;
    command
        .arg(format!("--events={queries}"))
        .arg(format!("--threads={connections}"))
        // The number of events ends the run, not the clock.
        .args(["--time=0", "run"]);
    let (pid, stdout) = Process::run("sysbench", &mut command, PATIENCE)?;
    let number = |label: &str| {
        let line = stdout.lines().find_map(|line| line.trim().strip_prefix(label));
        let value = line.and_then(|rest| rest.split_whitespace().next()?.parse().ok());
        value.with_context(|| format!("sysbench reported no {label:?}:\n{stdout}"))
    };
    Ok(Load { pid, queries: number("total:")?, errors: number("ignored errors:")? })
}

fn command(address: &Address) -> Result<Command> {
    let mut command = Command::new(program("sysbench")?);
    command.args(["oltp_point_select", "--db-driver=mysql", "--tables=1", "--table-size=100"]);
    command.args(
        ["user", "password", "db"]
            .iter()
            .zip([USER, PASSWORD, SCHEMA])
            .map(|(option, value)| format!("--mysql-{option}={value}")),
    );
    match address {
        Address::Tcp(port) => command.args(["--mysql-host=127.0.0.1", &format!("--mysql-port={port}")]),
        Address::Unix(socket) => command.arg(format!("--mysql-socket={}", socket.display())),
    };
    Ok(command)
}
