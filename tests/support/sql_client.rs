//! MySQL clients of three languages that run a workload and log every statement they send.
//!
//! The programs are `tests/apps/py_mysql.py`, `node_mysql.js` and `go/mysql`. Each takes an endpoint (`port` or
//! `socket`, `user`, `password`, `database`) and the path of a workload, a JSON list of steps:
//! `{"query": SQL}`, with `"pad": N` to replace PAD by N letters and `"multi": true` for several statements in one;
//! `{"prepare": SQL, "execute": [ARGUMENTS, ...]}`. Each prints the list of its statements.

use std::{fs, process::Command};

use anyhow::{Context as _, Result};
use serde_json::{Value, json};

use crate::{
    address::Address,
    database::{PASSWORD, SCHEMA, USER},
    install::{app, program, service},
    process::{PATIENCE, Process, temp_dir},
};

/// Which client library.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SqlClient {
    /// Python's PyMySQL, which has no prepared statements.
    PyMySql,
    /// Node's mysql2.
    Mysql2,
    /// Go's go-sql-driver.
    GoDriver,
}

/// One client's life.
#[derive(Debug, Clone, PartialEq)]
pub struct SqlRun {
    pub pid: u32,
    /// In the order in which they were sent, those of the library itself included.
    pub statements: Vec<Statement>,
}

/// One command that the server answered.
#[derive(Debug, Clone, PartialEq)]
pub struct Statement {
    /// `query`, `prepare` or `execute`.
    pub kind: String,
    /// The first 200 characters of the SQL; of the prepared one for `execute`.
    pub text: String,
    /// Of the whole SQL, in characters.
    pub length: u64,
    /// The server's error number.
    pub error: Option<u64>,
    /// Over all results of the statement.
    pub rows: u64,
    pub affected: u64,
    /// As the client saw it: more than on the wire by the client's own work.
    pub seconds: f64,
}

/// The workload that covers what MySQL can do: `tests/apps/workload.json`.
pub fn workload() -> Result<Value> {
    let path = app("workload.json");
    let text = fs::read_to_string(&path).with_context(|| format!("failed to read {}", path.display()))?;
    serde_json::from_str(&text).with_context(|| format!("{} is not JSON", path.display()))
}

impl SqlClient {
    pub const ALL: [Self; 3] = [Self::PyMySql, Self::Mysql2, Self::GoDriver];

    /// Runs the client to its end.
    pub fn run(self, address: &Address, workload: &Value) -> Result<SqlRun> {
        let dir = temp_dir()?;
        let path = dir.path().join("workload.json");
        fs::write(&path, workload.to_string())
            .with_context(|| format!("failed to write {}", path.display()))?;
        let mut command = self.command()?;
        command.arg(endpoint(address).to_string()).arg(&path);
        let (pid, stdout) = Process::run(&format!("{self:?}"), &mut command, PATIENCE)?;
        let log: Value = serde_json::from_str(&stdout)
            .with_context(|| format!("{self:?} printed no list of statements:\n{stdout}"))?;
        Ok(SqlRun { pid, statements: Statement::parse_all(&log)? })
    }

    fn command(self) -> Result<Command> {
        Ok(match self {
            Self::PyMySql => {
                let mut command = Command::new(service("venv/bin/python")?);
                command.arg("-B").arg(app("py_mysql.py"));
                command
            }
            Self::Mysql2 => {
                let mut command = Command::new(program("node")?);
                command.env("NODE_PATH", service("node/node_modules")?).arg(app("node_mysql.js"));
                command
            }
            Self::GoDriver => Command::new(service("go-programs/mysql")?),
        })
    }
}

/// Where the account of the seed finds its database.
pub(crate) fn endpoint(address: &Address) -> Value {
    let mut endpoint = json!({ "user": USER, "password": PASSWORD, "database": SCHEMA });
    match address {
        Address::Tcp(port) => endpoint["port"] = json!(port),
        Address::Unix(socket) => endpoint["socket"] = json!(socket),
    }
    endpoint
}

impl Statement {
    /// The statements of a client's log.
    pub(crate) fn parse_all(log: &Value) -> Result<Vec<Self>> {
        let entries = log.as_array().with_context(|| format!("no list: {log}"))?;
        let parse = |entry| Self::parse(entry).with_context(|| format!("no statement: {entry}"));
        entries.iter().map(parse).collect()
    }

    fn parse(entry: &Value) -> Option<Self> {
        Some(Self {
            kind: entry["kind"].as_str()?.to_owned(),
            text: entry["text"].as_str()?.to_owned(),
            length: entry["length"].as_u64()?,
            error: entry["error"].as_u64(),
            rows: entry["rows"].as_u64()?,
            affected: entry["affected"].as_u64()?,
            seconds: entry["seconds"].as_f64()?,
        })
    }
}
