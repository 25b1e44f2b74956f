//! Ctrl-C and its like while guests run: noted, so that what was started can be ended first.

use std::sync::atomic::{AtomicI32, Ordering};

use anyhow::{Context as _, Result};

const SIGNALS: [i32; 3] = [libc::SIGINT, libc::SIGTERM, libc::SIGHUP];

/// The signal that came, or zero.
static CAME: AtomicI32 = AtomicI32::new(0);

extern "C" fn note(signal: i32) {
    CAME.store(signal, Ordering::Relaxed);
}

/// From here on these signals only tell [`came`].
pub(super) fn catch() -> Result<()> {
    for signal in SIGNALS {
        // SAFETY: all zeros is a valid action; the handler stores into an atomic, which any thread may at any time.
        let failed = unsafe {
            let mut action: libc::sigaction = std::mem::zeroed();
            action.sa_sigaction = note as *const () as usize;
            libc::sigaction(signal, &action, std::ptr::null_mut())
        };
        if failed != 0 {
            return Err(std::io::Error::last_os_error()).context("failed to catch signals");
        }
    }
    Ok(())
}

/// The signal that asked us to end.
pub(super) fn came() -> Option<i32> {
    Some(CAME.load(Ordering::Relaxed)).filter(|signal| *signal != 0)
}
