//! The ground truth for what went over a TCP port: a packet capture, read by tshark and joined to turns.

use std::{path::PathBuf, process::Command, thread, time::Duration};

use anyhow::{Context as _, Result, ensure};
use tempfile::TempDir;

use crate::{
    install::program,
    process::{Process, temp_dir},
    turn::{Segment, Turn},
};

/// Enough of each segment to recognise a request by.
const SNAP: &str = "700";

/// dumpcap reads blocks of packets as they fill or after a fraction of a second.
const DRAIN: Duration = Duration::from_millis(600);

/// What [`Segment::parse`] reads, in its order.
const FIELDS: [&str; 7] =
    ["frame.time_epoch", "tcp.stream", "tcp.srcport", "tcp.dstport", "tcp.seq", "tcp.len", "tcp.payload"];

/// A running capture of the loopback interface.
#[derive(Debug)]
pub struct Capture {
    process: Process,
    file: PathBuf,
    port: u16,
    dir: TempDir,
}

impl Capture {
    /// Starts capturing a loopback port and waits until packets are seen.
    pub fn start(port: u16) -> Result<Self> {
        let dir = temp_dir()?;
        let file = dir.path().join("loopback.pcapng");
        let mut command = Command::new(program("dumpcap")?);
        command
            .args(["-i", "lo", "-f", &format!("tcp port {port}"), "-s", SNAP, "-B", "64", "-w"])
            .arg(&file);
        let mut process = Process::start("dumpcap", &mut command, dir.path())?;
        // Written once the interface is open and the filter set.
        process.wait_until("the capture began", |process| process.stderr().contains("File: "))?;
        Ok(Self { process, file, port, dir })
    }

    /// Ends the capture and returns the turns of all connections in the order of their beginning.
    pub fn finish(mut self) -> Result<Vec<Turn>> {
        thread::sleep(DRAIN);
        self.process.signal(libc::SIGINT);
        let status = self.process.wait(Duration::from_secs(10))?;
        let said = self.process.stderr();
        ensure!(status.success(), "dumpcap failed ({status}):\n{said}");
        ensure!(said.contains("/0 ("), "dumpcap dropped packets:\n{said}");
        let mut command = Command::new(program("tshark")?);
        command.arg("-r").arg(&self.file).args(["-n", "-Y", "tcp.len > 0", "-T", "fields"]);
        command.args(FIELDS.iter().flat_map(|field| ["-e", field]));
        // What lies above TCP is not tshark's to judge here, and on cut packets it could not.
        command.args(["--disable-protocol", "mysql", "--disable-protocol", "http"]);
        let (_, text) = Process::run("tshark", &mut command, Duration::from_secs(120))?;
        let segments = text
            .lines()
            .map(|line| Segment::parse(line).with_context(|| format!("no segment: {line}")))
            .collect::<Result<Vec<_>>>()?;
        self.dir.close().context("failed to remove the capture")?;
        Ok(Turn::join(&segments, self.port))
    }
}
