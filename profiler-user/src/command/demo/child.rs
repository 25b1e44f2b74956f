//! What the demo's processes have in common: how they tell their port and when they end.

use std::ffi::CStr;
use std::io::{self, Read as _, Write as _};
use std::time::Duration;

/// No demo outlives this, whatever happened to its parent.
pub(super) const LONGEST: Duration = Duration::from_secs(60);

/// In front of the port on stdout.
pub(super) const PORT: &str = "port ";

/// Gives the process its name, ties its life to the parent's and sees to its end: when stdin ends or after
/// [`LONGEST`], `last` runs and the process exits.
pub(super) fn attend(name: &CStr, last: impl FnOnce() + Send + 'static) -> io::Result<()> {
    // SAFETY: PR_SET_NAME reads a NUL-terminated string, PR_SET_PDEATHSIG takes a number, and ignoring a signal
    // installs no handler.
    unsafe {
        libc::prctl(libc::PR_SET_NAME, name.as_ptr());
        libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL as libc::c_ulong);
        // Ctrl-C goes to the whole foreground group: the parent decides when the demo ends, so that its last
        // requests are not cut.
        libc::signal(libc::SIGINT, libc::SIG_IGN);
    }
    let (ended, end) = std::sync::mpsc::channel::<()>();
    // Detached on purpose: both threads live until the process exits.
    std::thread::Builder::new().name("demo-stdin".into()).spawn(move || {
        let mut ignored = [0; 64];
        let mut stdin = io::stdin().lock();
        while !matches!(stdin.read(&mut ignored), Ok(0) | Err(_)) {}
        drop(ended);
    })?;
    std::thread::Builder::new().name("demo-end".into()).spawn(move || {
        let _ = end.recv_timeout(LONGEST);
        last();
        std::process::exit(0)
    })?;
    Ok(())
}

/// Tells the parent that this part is ready.
pub(super) fn announce(port: u16) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    writeln!(stdout, "{PORT}{port}")?;
    stdout.flush()
}
