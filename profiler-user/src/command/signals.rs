//! The signals that end a capture. They are caught before anything is announced: from then on they end the capture
//! and not the process.

use anyhow::{Context, Result};
use tokio::signal::unix::{Signal, SignalKind, signal};

/// What a person or a supervisor asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// Ctrl-C. A terminal sends it to all processes in its foreground, a command of ours included.
    Interrupt,
    /// SIGTERM, or a terminal that is gone.
    Terminate,
}

/// The signals, caught.
#[derive(Debug)]
pub(super) struct Signals {
    interrupt: Signal,
    terminate: Signal,
    /// None where the caller had it ignored, as nohup(1) does: then it stays so.
    hangup: Option<Signal>,
}

impl Signals {
    pub(super) fn catch() -> Result<Self> {
        let ignored = is_ignored(libc::SIGHUP);
        Ok(Self {
            interrupt: signal(SignalKind::interrupt()).context("SIGINT cannot be handled")?,
            terminate: signal(SignalKind::terminate()).context("SIGTERM cannot be handled")?,
            hangup: (!ignored)
                .then(|| signal(SignalKind::hangup()))
                .transpose()
                .context("SIGHUP cannot be handled")?,
        })
    }

    /// Waits for the next one. Safe to cancel.
    pub(super) async fn next(&mut self) -> End {
        let Self { interrupt, terminate, hangup } = self;
        let hangup = async {
            match hangup {
                Some(hangup) => hangup.recv().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            _ = interrupt.recv() => End::Interrupt,
            _ = terminate.recv() => End::Terminate,
            _ = hangup => End::Terminate,
        }
    }
}

fn is_ignored(signal: libc::c_int) -> bool {
    // SAFETY: sigaction only writes the old action to the struct given, for which all zeros are valid.
    unsafe {
        let mut old: libc::sigaction = std::mem::zeroed();
        libc::sigaction(signal, std::ptr::null(), &raw mut old) == 0 && old.sa_sigaction == libc::SIG_IGN
    }
}
