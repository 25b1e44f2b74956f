//! Timing what takes less than a microsecond: something to do goes in, nanoseconds for each time come out.

use std::{
    io, mem, thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};

/// Something is done so often in a row that the clock's own cost does not count, and not so long that the scheduler
/// steps in; and so many rows are made that some are not disturbed.
const ROW: u32 = 500;
const ENOUGH: Duration = Duration::from_millis(400);

/// Nanoseconds for each time of the row that took least.
pub(super) fn each(mut work: impl FnMut()) -> f64 {
    let mut best = f64::INFINITY;
    let first = Instant::now();
    while first.elapsed() < ENOUGH {
        let begun = Instant::now();
        for _ in 0..ROW {
            work();
        }
        best = best.min(begun.elapsed().as_nanos() as f64 / f64::from(ROW));
    }
    best
}

/// Runs `work` in a thread of its own that stays on the machine's last CPU.
pub(super) fn pinned<T: Send>(work: impl FnOnce() -> Result<T> + Send) -> Result<T> {
    let on_its_cpu = || {
        pin()?;
        work()
    };
    thread::scope(|scope| {
        scope.spawn(on_its_cpu).join().unwrap_or_else(|_| Err(anyhow::anyhow!("a measuring thread panicked")))
    })
}

/// Keeps this thread, and those that it starts, on the machine's last CPU.
fn pin() -> Result<()> {
    let last = thread::available_parallelism().context("failed to count the CPUs")?.get() - 1;
    // SAFETY: a set of zeros is valid and empty; the macro stays inside it, and the call reads no more than its size.
    let failed = unsafe {
        let mut set: libc::cpu_set_t = mem::zeroed();
        libc::CPU_SET(last, &mut set);
        libc::sched_setaffinity(0, size_of::<libc::cpu_set_t>(), &raw const set)
    };
    ensure!(failed == 0, "failed to stay on one CPU: {}", io::Error::last_os_error());
    Ok(())
}
