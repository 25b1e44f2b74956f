//! nginx with one worker, a given configuration, and an access log that is read back line by line.

use std::{fs, path::PathBuf, process::Command};

use anyhow::{Context as _, Result};
use tempfile::TempDir;

use crate::{
    address::Address,
    install::program,
    process::{Process, temp_dir},
};

/// The parts that every configuration needs; everything that nginx writes stays in DIR.
const TEMPLATE: &str = r#"
daemon off;
user root;
worker_processes 1;
pid DIR/nginx.pid;
error_log stderr;
events { worker_connections 4096; }
http {
    log_format fields '$msec $request_time $status $body_bytes_sent $bytes_sent $request_length '
        '$upstream_response_time $upstream_bytes_sent $upstream_bytes_received $request';
    access_log DIR/access.log fields;
    client_max_body_size 64m;
    client_body_temp_path DIR/body;
    proxy_temp_path DIR/proxy;
    fastcgi_temp_path DIR/fastcgi;
    uwsgi_temp_path DIR/uwsgi;
    scgi_temp_path DIR/scgi;
    SERVERS
}
"#;

/// A running nginx.
#[derive(Debug)]
pub struct Nginx {
    process: Process,
    address: Address,
    dir: TempDir,
}

/// What nginx wrote about one request.
#[derive(Debug, Clone, PartialEq)]
pub struct AccessLine {
    /// When the line was written: seconds since 1970, in steps of a millisecond.
    pub written: f64,
    /// Seconds, in steps of a millisecond, from the first byte read to the last byte sent.
    pub request_time: f64,
    pub status: u16,
    pub body_bytes_sent: u64,
    pub bytes_sent: u64,
    pub request_length: u64,
    /// Of the server behind nginx, if one was asked: seconds, and all bytes sent to it and received from it.
    pub upstream: Option<Upstream>,
    /// The request line.
    pub request: String,
}

/// What the server behind nginx took. With one try: nginx lists several with commas, which are no numbers.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Upstream {
    pub response_time: f64,
    pub bytes_sent: u64,
    pub bytes_received: u64,
}

impl Nginx {
    /// Starts nginx with these `server` blocks, in which PORT stands for its port and DIR for its folder.
    pub fn start(servers: &str) -> Result<Self> {
        let dir = temp_dir()?;
        let address = Address::free_port()?;
        let config = TEMPLATE
            .replace("SERVERS", servers)
            .replace("PORT", &address.port()?.to_string())
            .replace("DIR", &dir.path().display().to_string());
        let path = dir.path().join("nginx.conf");
        fs::write(&path, config).with_context(|| format!("failed to write {}", path.display()))?;
        let mut command = Command::new(program("nginx")?);
        command.args(["-e", "stderr", "-c"]).arg(&path);
        let mut process = Process::start("nginx", &mut command, dir.path())?;
        // The master listens before there is a worker.
        process.wait_until("it accepted a connection", |process| {
            process.pids().len() == 2 && address.connect().is_ok()
        })?;
        Ok(Self { process, address, dir })
    }

    /// Starts nginx in front of another server, with kept-alive connections to it.
    pub fn in_front_of(upstream: &Address) -> Result<Self> {
        Self::start(&format!(
            "upstream app {{ server {upstream}; keepalive 8; }}
             server {{
                 listen 127.0.0.1:PORT;
                 location / {{
                     proxy_pass http://app;
                     proxy_http_version 1.1;
                     proxy_set_header Connection '';
                 }}
             }}"
        ))
    }

    pub fn address(&self) -> &Address {
        &self.address
    }

    /// Its folder, the DIR of the configuration.
    pub fn dir(&self) -> PathBuf {
        self.dir.path().to_owned()
    }

    /// The master and its worker.
    pub fn pids(&self) -> Vec<u32> {
        self.process.pids()
    }

    /// How many requests it has logged so far; quicker than reading what they were.
    pub fn served(&self) -> usize {
        let log = fs::read(self.dir.path().join("access.log")).unwrap_or_default();
        log.iter().filter(|byte| **byte == b'\n').count()
    }

    /// Everything logged so far.
    pub fn access_log(&self) -> Result<Vec<AccessLine>> {
        let path = self.dir.path().join("access.log");
        let text = fs::read_to_string(&path).with_context(|| format!("failed to read {}", path.display()))?;
        // A line that is still being written is left out.
        let whole = text.rsplit_once('\n').map_or("", |(whole, _)| whole);
        whole
            .lines()
            .map(|line| {
                AccessLine::parse(line).with_context(|| format!("no access-log line of ours: {line}"))
            })
            .collect()
    }

    /// Stops it and checks that no process is left.
    pub fn stop(self) -> Result<()> {
        self.process.stop()
    }
}

impl AccessLine {
    fn parse(line: &str) -> Option<Self> {
        let mut fields = line.splitn(10, ' ');
        Some(Self {
            written: fields.next()?.parse().ok()?,
            request_time: fields.next()?.parse().ok()?,
            status: fields.next()?.parse().ok()?,
            body_bytes_sent: fields.next()?.parse().ok()?,
            bytes_sent: fields.next()?.parse().ok()?,
            request_length: fields.next()?.parse().ok()?,
            upstream: Upstream::parse(fields.next()?, fields.next()?, fields.next()?)?,
            request: fields.next()?.to_owned(),
        })
    }
}

impl Upstream {
    /// `Some(None)` for a request that nginx answered by itself.
    #[expect(clippy::option_option, reason = "unreadable is not the same as absent")]
    fn parse(time: &str, sent: &str, received: &str) -> Option<Option<Self>> {
        if time == "-" {
            return Some(None);
        }
        Some(Some(Self {
            response_time: time.parse().ok()?,
            bytes_sent: sent.parse().ok()?,
            bytes_received: received.parse().ok()?,
        }))
    }
}
