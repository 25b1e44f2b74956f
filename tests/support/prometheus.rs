//! Prometheus: a server in Go that is never idle, for it is its own client.

use std::{fs, process::Command};

use anyhow::{Context as _, Result};
use tempfile::TempDir;

use crate::{
    address::Address,
    http_client::HttpClient,
    install::program,
    process::{Process, temp_dir},
};

/// A Prometheus that scrapes itself, several times a second.
#[derive(Debug)]
pub struct Prometheus {
    process: Process,
    address: Address,
    _dir: TempDir,
}

impl Prometheus {
    /// Starts it and waits until it serves.
    pub fn start() -> Result<Self> {
        let dir = temp_dir()?;
        let address = Address::free_port()?;
        let config = dir.path().join("prometheus.yml");
        let text = format!(
            "global: {{ scrape_interval: 200ms, scrape_timeout: 200ms }}\n\
             scrape_configs: [{{ job_name: itself, static_configs: [{{ targets: ['{address}'] }}] }}]\n"
        );
        fs::write(&config, text).with_context(|| format!("failed to write {}", config.display()))?;
        let mut command = Command::new(program("prometheus")?);
        command.arg(format!("--config.file={}", config.display()));
        command.arg(format!("--storage.tsdb.path={}", dir.path().join("data").display()));
        command.arg(format!("--web.listen-address={address}"));
        let mut process = Process::start("prometheus", &mut command, dir.path())?;
        let ready = || HttpClient::new(&address).get("/-/ready").is_ok_and(|response| response.status == 200);
        process.wait_until("it was ready", |_| ready())?;
        Ok(Self { process, address, _dir: dir })
    }

    pub fn address(&self) -> &Address {
        &self.address
    }

    pub fn pid(&self) -> u32 {
        self.process.id()
    }

    /// Stops it and checks that no process is left.
    pub fn stop(self) -> Result<()> {
        self.process.stop()
    }
}
