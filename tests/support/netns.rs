//! A network namespace of our own, made by `ip netns`: loopback alone, addresses that the host does not have, settings
//! and counters of its own.

use std::{
    fs::{self, File},
    os::{fd::AsRawFd as _, linux::fs::MetadataExt as _, unix::process::CommandExt as _},
    path::PathBuf,
    process::{self, Command},
    sync::atomic::{AtomicU16, Ordering},
};

use anyhow::{Context as _, Result};

use crate::{
    install::program,
    process::{PATIENCE, Process},
};

/// A namespace, gone when dropped and when its last process has ended.
#[derive(Debug)]
pub struct Netns {
    name: String,
}

impl Netns {
    /// Makes one whose loopback has these addresses besides its own.
    pub fn make(addresses: &[&str]) -> Result<Self> {
        static NEXT: AtomicU16 = AtomicU16::new(0);
        let name = format!("hostprof-{}-{}", process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        ip(&["netns", "add", &name])?;
        let made = Self { name };
        ip(&["-n", &made.name, "link", "set", "lo", "up"])?;
        for address in addresses {
            ip(&["-n", &made.name, "address", "add", address, "dev", "lo"])?;
        }
        Ok(made)
    }

    /// Has `command` run in it.
    pub fn holds(&self, command: &mut Command) -> Result<()> {
        let path = self.path();
        let file = File::open(&path).with_context(|| format!("failed to open {}", path.display()))?;
        // SAFETY: one system call between fork and exec, on a descriptor that the closure owns.
        unsafe {
            command.pre_exec(move || match libc::setns(file.as_raw_fd(), libc::CLONE_NEWNET) {
                0 => Ok(()),
                _ => Err(std::io::Error::last_os_error()),
            });
        }
        Ok(())
    }

    /// Changes a setting of its own, such as `ipv4/ip_local_port_range`.
    pub fn set(&self, setting: &str, value: &str) -> Result<()> {
        let mut shell = Command::new("sh");
        shell.args(["-c", r#"echo "$1" > "/proc/sys/net/$2""#, "sh", value, setting]);
        self.holds(&mut shell)?;
        Process::run("sh", &mut shell, PATIENCE).with_context(|| format!("failed to set {setting}"))?;
        Ok(())
    }

    /// Its inode number, by which the kernel tells namespaces apart.
    pub fn inode(&self) -> Result<u64> {
        let path = self.path();
        let metadata =
            fs::metadata(&path).with_context(|| format!("failed to look at {}", path.display()))?;
        Ok(metadata.st_ino())
    }

    fn path(&self) -> PathBuf {
        PathBuf::from("/run/netns").join(&self.name)
    }
}

impl Drop for Netns {
    fn drop(&mut self) {
        if let Err(error) = ip(&["netns", "delete", &self.name]) {
            eprintln!("{error:#}");
        }
    }
}

fn ip(arguments: &[&str]) -> Result<()> {
    Process::run("ip", Command::new(program("ip")?).args(arguments), PATIENCE)?;
    Ok(())
}
