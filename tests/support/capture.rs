//! The ground truth for what went over a TCP port: a packet capture, read by tshark and joined to turns.

use std::{
    fs,
    net::{Ipv4Addr, UdpSocket},
    path::PathBuf,
    process::Command,
};

use anyhow::{Context as _, Result, ensure};
use tempfile::TempDir;

use crate::{
    install::program,
    process::{PATIENCE, Process, temp_dir},
    turn::{Segment, Turn},
};

/// Enough of each segment to recognise a request by.
const SNAP: &str = "700";

/// What the last packet says. dumpcap reads blocks of packets as they fill or after a while, and writes them as it likes.
const LAST: &[u8] = b"the capture's last packet";

/// What [`Segment::parse`] reads, in its order.
const FIELDS: [&str; 7] =
    ["frame.time_epoch", "tcp.stream", "tcp.srcport", "tcp.dstport", "tcp.seq", "tcp.len", "tcp.payload"];

/// A running capture of the loopback interface.
#[derive(Debug)]
pub struct Capture {
    process: Process,
    file: PathBuf,
    port: u16,
    /// Receives the last packet.
    end: UdpSocket,
    dir: TempDir,
}

impl Capture {
    /// Starts capturing a loopback port and waits until packets are seen.
    pub fn start(port: u16) -> Result<Self> {
        let dir = temp_dir()?;
        let file = dir.path().join("loopback.pcapng");
        let end = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).context("failed to bind a UDP port")?;
        let last = end.local_addr().context("failed to read the port")?.port();
        let mut command = Command::new(program("dumpcap")?);
        let filter = format!("tcp port {port} or udp port {last}");
        command.args(["-i", "lo", "-f", &filter, "-s", SNAP, "-B", "64", "-w"]).arg(&file);
        let mut process = Process::start("dumpcap", &mut command, dir.path())?;
        // Written once the interface is open and the filter set.
        process.wait_until("the capture began", |process| process.stderr().contains("File: "))?;
        Ok(Self { process, file, port, end, dir })
    }

    /// Ends the capture and returns the turns of all connections in the order of their beginning.
    pub fn finish(mut self) -> Result<Vec<Turn>> {
        let end = self.end.local_addr().context("failed to read the port")?;
        self.end.send_to(LAST, end).context("failed to send the last packet")?;
        let file = self.file.clone();
        self.process.wait_until("the last packet was in the file", |_| {
            let written = fs::read(&file).unwrap_or_default();
            // From the end: the file may be large.
            written.windows(LAST.len()).rev().take(4 * 1024).any(|bytes| bytes == LAST)
        })?;
        self.process.signal(libc::SIGINT);
        let status = self.process.wait(PATIENCE)?;
        let said = self.process.stderr();
        ensure!(status.success(), "dumpcap failed ({status}):\n{said}");
        ensure!(said.contains("/0 ("), "dumpcap dropped packets:\n{said}");
        let mut command = Command::new(program("tshark")?);
        command.arg("-r").arg(&self.file).args(["-n", "-Y", "tcp.len > 0", "-T", "fields"]);
        command.args(FIELDS.iter().flat_map(|field| ["-e", field]));
        // What lies above TCP is not tshark's to judge here, and on cut packets it could not.
        command.args(["--disable-protocol", "mysql", "--disable-protocol", "http"]);
        let (_, text) = Process::run("tshark", &mut command, PATIENCE)?;
        let segments = text
            .lines()
            .map(|line| Segment::parse(line).with_context(|| format!("no segment: {line}")))
            .collect::<Result<Vec<_>>>()?;
        self.dir.close().context("failed to remove the capture")?;
        Ok(Turn::join(&segments, self.port))
    }
}
