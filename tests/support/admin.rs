//! What a database server counts itself, and what an administrator may do to it. Over its Unix socket, so that nothing
//! of it is among the TCP connections that a test is about.

use anyhow::{Context as _, Result};
use mysql::{Conn, OptsBuilder, prelude::Queryable as _};

use crate::{address::Address, database::Database};

/// An administrator's session.
#[derive(Debug)]
pub struct Admin {
    session: Conn,
}

impl Admin {
    pub fn of(database: &Database) -> Result<Self> {
        let Address::Unix(socket) = database.unix() else { anyhow::bail!("no Unix socket") };
        let options = OptsBuilder::new().user(Some("root")).socket(Some(socket.display().to_string()));
        Ok(Self { session: Conn::new(options).context("the administrator could not sign in")? })
    }

    /// A counter of `SHOW GLOBAL STATUS`.
    pub fn status(&mut self, name: &str) -> Result<u64> {
        let row: Option<(String, String)> = self
            .session
            .query_first(format!("SHOW GLOBAL STATUS LIKE '{name}'"))
            .context("no status of the server")?;
        let (_, value) = row.with_context(|| format!("the server does not count {name}"))?;
        value.parse().with_context(|| format!("{name} is no number: {value}"))
    }

    /// Begins to count anew what has a maximum.
    pub fn flush(&mut self) -> Result<()> {
        self.session.query_drop("FLUSH STATUS").context("failed to flush")
    }

    /// Ends another session.
    pub fn kill(&mut self, session: u64) -> Result<()> {
        self.session
            .query_drop(format!("KILL {session}"))
            .with_context(|| format!("failed to kill {session}"))
    }

    /// How many sessions are busy with a statement that contains this.
    pub fn busy_with(&mut self, statement: &str) -> Result<u64> {
        let sql = format!(
            "SELECT COUNT(*) FROM information_schema.processlist WHERE command = 'Query' AND info LIKE '{statement}%'"
        );
        Ok(self.session.query_first(sql).context("no list of sessions")?.unwrap_or(0))
    }
}
