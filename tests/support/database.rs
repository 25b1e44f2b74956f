//! MariaDB 10.11 and MySQL 9.7 on a fresh copy of their data directories, over TCP and over a Unix socket.
//!
//! The database `shop` and the account `app` come from `tests/apps/seed.sql`.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::Result;
use tempfile::TempDir;

use crate::{
    address::Address,
    install::{app, program, service},
    process::{PATIENCE, Process, temp_dir},
};

/// The account and the database of the seed.
pub const USER: &str = "app";
pub const PASSWORD: &str = "app-pass";
pub const SCHEMA: &str = "shop";

/// Which server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Engine {
    MariaDb,
    /// With TLS off.
    MySql,
    /// As installed: clients that can will encrypt.
    MySqlWithTls,
}

/// A running database server.
#[derive(Debug)]
pub struct Database {
    process: Process,
    engine: Engine,
    /// What started it.
    command: Command,
    tcp: Address,
    unix: Address,
    dir: TempDir,
}

impl Database {
    /// Starts the server and waits until it accepts connections.
    pub fn start(engine: Engine) -> Result<Self> {
        Self::start_with(engine, &[])
    }

    /// Starts the server with further options of its own, such as `--max-connections=3`.
    pub fn start_with(engine: Engine, options: &[&str]) -> Result<Self> {
        let dir = temp_dir()?;
        let tcp = Address::free_port()?;
        let socket = dir.path().join("db.sock");
        let data = dir.path().join("data");
        engine.copy_data(&data)?;
        let mut command = engine.command()?;
        command
            .args(["--user=root", "--bind-address=127.0.0.1", "--max-allowed-packet=64M"])
            .arg(format!("--port={}", tcp.port()?))
            .arg(flag("--datadir", &data))
            .arg(flag("--socket", &socket))
            .arg(flag("--pid-file", &dir.path().join("db.pid")))
            .arg(flag("--init-file", &app("seed.sql")))
            .args(options);
        let process = serve(engine, &mut command, dir.path())?;
        Ok(Self { process, engine, command, tcp, unix: Address::Unix(socket), dir })
    }

    /// Stops it and starts it again, at the same port and on the same data.
    pub fn restart(&mut self) -> Result<()> {
        self.process.end()?;
        // The accounts of the seed are there by now.
        self.command.arg("--init-file=");
        self.process = serve(self.engine, &mut self.command, self.dir.path())?;
        Ok(())
    }

    pub fn tcp(&self) -> &Address {
        &self.tcp
    }

    pub fn unix(&self) -> &Address {
        &self.unix
    }

    pub fn pid(&self) -> u32 {
        self.process.id()
    }

    /// Stops it and checks that no process is left.
    pub fn stop(self) -> Result<()> {
        self.process.stop()
    }
}

/// Starts the server and waits until it is ready.
fn serve(engine: Engine, command: &mut Command, dir: &Path) -> Result<Process> {
    let mut process = Process::start(&format!("{engine:?}"), command, dir)?;
    // The message comes after the seed, and unlike a connection it leaves no trace in the server.
    process.wait_until("it was ready for connections", |process| {
        process.stderr().contains("port: ") && process.stderr().contains("ready for connections")
    })?;
    Ok(process)
}

impl Engine {
    /// A fresh copy of its data.
    fn copy_data(self, data: &Path) -> Result<()> {
        let template = service(if self == Self::MariaDb { "mariadb-data" } else { "mysql-data" })?;
        let mut copy = Command::new("cp");
        copy.args(["--archive", "--reflink=auto"]).arg(&template).arg(data);
        Process::run("cp", &mut copy, PATIENCE)?;
        Ok(())
    }

    /// The server's program with what it needs to run from where it lies.
    fn command(self) -> Result<Command> {
        if self == Self::MariaDb {
            let mut command = Command::new(program("mariadbd")?);
            command.args(["--no-defaults", "--innodb-log-file-size=16M", "--innodb-buffer-pool-size=64M"]);
            return Ok(command);
        }
        let tree = service("mysql")?;
        let mut command = Command::new(tree.join("usr/sbin/mysqld"));
        command
            .args(["--no-defaults", "--mysqlx=OFF", "--secure-file-priv=NULL"])
            .args(["--innodb-redo-log-capacity=16M", "--innodb-buffer-pool-size=64M"])
            .arg(flag("--basedir", &tree.join("usr")))
            .arg(flag("--lc-messages-dir", &tree.join("usr/share/mysql")))
            .arg(flag("--plugin-dir", &tree.join("usr/lib/mysql/plugin")));
        if self == Self::MySql {
            command.arg("--tls-version=");
        }
        Ok(command)
    }
}

fn flag(name: &str, path: &Path) -> String {
    format!("{name}={}", PathBuf::from(path).display())
}
