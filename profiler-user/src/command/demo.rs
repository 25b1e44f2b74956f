//! `hostprof demo`'s small sick service: a database, an HTTP server that lives on it and a load, each a process of
//! its own on loopback, run by this binary itself.
//!
//! The parent starts them, reads the port that each prints and ends them; they end by themselves when the parent is
//! gone, and after a minute at the latest. What is sick about the service is in `http`.

mod child;
mod client;
mod http;
mod load;
mod mysql;
mod packet;
mod shop;
mod statements;

use std::io::{self, BufRead as _, BufReader};
use std::os::unix::process::CommandExt as _;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::str::FromStr;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use crate::attribute::service::DEMO_PART;
pub use load::Tally;

/// The longest demo, less than its processes live.
pub const LONGEST: Duration = Duration::from_secs(50);

/// How long a child may take to listen, and to end after it was told to.
const START: Duration = Duration::from_secs(5);
const END: Duration = Duration::from_millis(500);

/// The processes of the demo.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    Mysql,
    Http,
    Load,
}

/// Why the demo does not run.
#[derive(Debug, thiserror::Error)]
pub enum DemoError {
    #[error("there is no part {0:?} of the demo: http, mysql or load")]
    NoSuchPart(String),
    #[error("the demo's {0} part needs the port to connect to as its only argument")]
    Port(Part),
    #[error("the demo's {part} part could not start: {source}")]
    Start { part: Part, source: io::Error },
    #[error("the demo's {0} part did not come up: see its message above")]
    NoAnswer(Part),
    #[error("the demo's {part} part failed: {source}")]
    Run { part: Part, source: io::Error },
}

/// The demo's running processes; dropping it ends them.
#[derive(Debug)]
pub struct Demo {
    /// In the order they are ended: the load first, so that nobody talks to a dead server.
    children: Vec<Running>,
    mysql_port: u16,
    http_port: u16,
}

#[derive(Debug)]
struct Running {
    part: Part,
    process: Child,
    output: mpsc::Receiver<String>,
}

impl Part {
    /// The part's name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Mysql => "mysql",
            Self::Http => "http",
            Self::Load => "load",
        }
    }
}

impl std::fmt::Display for Part {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(self.name())
    }
}

impl FromStr for Part {
    type Err = DemoError;

    fn from_str(name: &str) -> Result<Self, DemoError> {
        let parts = [Self::Mysql, Self::Http, Self::Load];
        parts.into_iter().find(|part| part.name() == name).ok_or_else(|| DemoError::NoSuchPart(name.into()))
    }
}

/// Runs a part in this process until its stdin ends or its time is over; then the process exits with 0. Returns only
/// when it could not run.
pub fn run_part(part: Part, args: &[String]) -> Result<(), DemoError> {
    let port = || match args {
        [port] => port.parse::<u16>().map_err(|_| DemoError::Port(part)),
        _ => Err(DemoError::Port(part)),
    };
    match part {
        Part::Mysql => mysql::run(),
        Part::Http => http::run(port()?),
        Part::Load => load::run(port()?),
    }
    .map_err(|source| DemoError::Run { part, source })
}

impl Demo {
    /// Starts database, server and load, in this order. Call it from a thread that lives as long as the demo does
    /// (not from `spawn_blocking`): the kernel ends the children with the thread that started them.
    pub fn start() -> Result<Self, DemoError> {
        Self::start_with(|part, args| {
            // By way of /proc the very same binary runs even after an upgrade replaced its file.
            let mut command = Command::new("/proc/self/exe");
            command.arg0("hostprof").arg(DEMO_PART).arg(part.name()).args(args);
            command
        })
    }

    fn start_with(command: impl Fn(Part, &[String]) -> Command) -> Result<Self, DemoError> {
        let mut demo = Self { children: Vec::new(), mysql_port: 0, http_port: 0 };
        let mut start = |part, port: Option<u16>| {
            let args: Vec<String> = port.iter().map(u16::to_string).collect();
            let (running, port) = Running::start(part, command(part, &args))?;
            demo.children.insert(0, running);
            Ok(port)
        };
        let mysql_port = start(Part::Mysql, None)?;
        let http_port = start(Part::Http, Some(mysql_port))?;
        start(Part::Load, Some(http_port))?;
        demo.mysql_port = mysql_port;
        demo.http_port = http_port;
        Ok(demo)
    }

    #[cfg(test)]
    fn pids(&self) -> Vec<u32> {
        self.children.iter().map(|child| child.process.id()).collect()
    }

    pub fn mysql_port(&self) -> u16 {
        self.mysql_port
    }

    pub fn http_port(&self) -> u16 {
        self.http_port
    }

    /// Ends all processes (blocks for two seconds at most) and says what the load has sent by its own count.
    pub fn stop(mut self) -> Tally {
        let mut tally = Tally::default();
        for child in &mut self.children {
            tally += child.end();
        }
        tally
    }
}

impl Drop for Demo {
    fn drop(&mut self) {
        for child in &mut self.children {
            child.end();
        }
    }
}

impl Running {
    /// Starts a part and waits for its port; the load has none and prints 0.
    fn start(part: Part, mut command: Command) -> Result<(Self, u16), DemoError> {
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let failed = |source| DemoError::Start { part, source };
        let mut process = command.spawn().map_err(failed)?;
        let (sender, output) = mpsc::channel();
        let reading = process.stdout.take().map_or(Ok(()), |stdout| forward_lines(stdout, sender));
        let mut running = Self { part, process, output };
        let port = running.line(child::PORT, START).and_then(|port| port.parse().ok());
        if let Some(port) = port {
            return Ok((running, port));
        }
        running.end();
        Err(reading.map_or_else(failed, |()| DemoError::NoAnswer(part)))
    }

    /// What follows `prefix` on the first line that starts with it.
    fn line(&self, prefix: &str, patience: Duration) -> Option<String> {
        let until = Instant::now() + patience;
        loop {
            let line = self.output.recv_timeout(until.saturating_duration_since(Instant::now())).ok()?;
            if let Some(rest) = line.strip_prefix(prefix) {
                return Some(rest.trim().to_owned());
            }
        }
    }

    /// Ends the process: first by the end of its stdin, then by its id, which is its own until it was waited for.
    fn end(&mut self) -> Tally {
        drop(self.process.stdin.take());
        let until = Instant::now() + END;
        while let Ok(None) = self.process.try_wait() {
            if Instant::now() > until {
                // Fails only when it has just ended.
                let _ = self.process.kill();
                let _ = self.process.wait();
                break;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        match self.part {
            Part::Load => self.line(load::TALLY, END).and_then(|line| line.parse().ok()).unwrap_or_default(),
            Part::Mysql | Part::Http => Tally::default(),
        }
    }
}

/// Sends a child's lines as they come, from a thread of its own so that waiting for one can be given up.
fn forward_lines(output: ChildStdout, sender: mpsc::Sender<String>) -> io::Result<()> {
    std::thread::Builder::new().name("demo-output".into()).spawn(move || {
        for line in BufReader::new(output).lines().map_while(Result::ok) {
            if sender.send(line).is_err() {
                break;
            }
        }
    })?;
    Ok(())
}

#[cfg(test)]
mod tests;
