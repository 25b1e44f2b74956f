//! A terminal for a program: what a person would see of it, and the keys that a person would press.

use std::{
    fs::File,
    io::{Read as _, Write as _},
    os::{
        fd::{FromRawFd as _, OwnedFd},
        unix::process::CommandExt as _,
    },
    process::{Child, Command, ExitStatus, Stdio},
    sync::{Arc, Mutex, PoisonError},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};

use crate::process::PATIENCE;

/// A program whose controlling terminal this is.
#[derive(Debug)]
pub struct Terminal {
    master: File,
    child: Child,
    seen: Arc<Mutex<Vec<u8>>>,
    reader: Option<JoinHandle<()>>,
}

impl Terminal {
    /// Starts `command` with all its streams on a terminal of so many columns.
    pub fn start(command: &mut Command, columns: u16) -> Result<Self> {
        let (mut master, mut slave) = (-1, -1);
        let size = libc::winsize { ws_row: 50, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
        // SAFETY: openpty writes two descriptors and reads one winsize; name and attributes may be null.
        let opened = unsafe {
            libc::openpty(
                &raw mut master,
                &raw mut slave,
                std::ptr::null_mut(),
                std::ptr::null(),
                &raw const size,
            )
        };
        ensure!(opened == 0, "no pseudo terminal: {}", std::io::Error::last_os_error());
        // SAFETY: both descriptors were just opened and nobody else has them.
        let (master, slave) = unsafe { (File::from_raw_fd(master), OwnedFd::from_raw_fd(slave)) };
        let end = || slave.try_clone().map(Stdio::from).context("failed to copy a descriptor");
        command.stdin(end()?).stdout(end()?).stderr(end()?);
        if !command.get_envs().any(|(name, _)| name == "TERM") {
            command.env("TERM", "xterm");
        }
        // SAFETY: setsid and ioctl may be called between fork and exec.
        unsafe {
            command.pre_exec(|| {
                if libc::setsid() < 0 || libc::ioctl(libc::STDIN_FILENO, libc::TIOCSCTTY, 0) < 0 {
                    return Err(std::io::Error::last_os_error());
                }
                Ok(())
            });
        }
        let child = command.spawn().with_context(|| format!("failed to start {command:?}"))?;
        // The command still holds copies of the slave: the terminal's end would never be seen.
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        drop(slave);
        let seen = Arc::new(Mutex::new(Vec::new()));
        let (mut source, sink) =
            (master.try_clone().context("failed to copy a descriptor")?, Arc::clone(&seen));
        let reader = thread::spawn(move || {
            let mut buffer = [0; 4096];
            // EIO is the end: the last process has left the terminal.
            while let Ok(count @ 1..) = source.read(&mut buffer) {
                sink.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(&buffer[..count]);
            }
        });
        Ok(Self { master, child, seen, reader: Some(reader) })
    }

    /// Everything shown so far, escape sequences included.
    pub fn seen(&self) -> String {
        String::from_utf8_lossy(&self.seen.lock().unwrap_or_else(PoisonError::into_inner)).into_owned()
    }

    /// Waits until this is shown.
    pub fn wait_for(&self, text: &str) -> Result<()> {
        let begun = Instant::now();
        while !self.seen().contains(text) {
            ensure!(begun.elapsed() < PATIENCE, "{text:?} is not shown:\n{}", self.seen());
            thread::sleep(Duration::from_millis(5));
        }
        Ok(())
    }

    /// Presses keys: `"\x03"` is Ctrl-C.
    pub fn press(&mut self, keys: &str) -> Result<()> {
        self.master.write_all(keys.as_bytes()).context("failed to write to the terminal")
    }

    /// Waits for the program's end.
    pub fn wait(mut self) -> Result<(ExitStatus, String)> {
        let begun = Instant::now();
        let status = loop {
            match self.child.try_wait().context("failed to wait for a child")? {
                Some(status) => break status,
                None => ensure!(begun.elapsed() < PATIENCE, "it did not end:\n{}", self.seen()),
            }
            thread::sleep(Duration::from_millis(5));
        };
        if let Some(reader) = self.reader.take() {
            reader.join().map_err(|_| anyhow::anyhow!("the terminal's reader panicked"))?;
        }
        Ok((status, self.seen()))
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        // Both fail only when it has ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
