//! Wall-clock time for instants of the kernel's monotonic clock.

use std::time::Duration;

use jiff::Timestamp;

/// The difference of the two clocks, taken now and then: NTP moves it.
#[derive(Debug, Clone, Copy)]
pub struct WallClock {
    /// Wall clock minus monotonic clock, ns.
    offset: i128,
}

impl WallClock {
    /// Looks at both clocks.
    pub fn now() -> Self {
        Self { offset: read(libc::CLOCK_REALTIME) - read(libc::CLOCK_MONOTONIC) }
    }

    /// The wall-clock time of a monotonic instant in ns.
    pub fn at(&self, monotonic: u64) -> Timestamp {
        Timestamp::from_nanosecond(self.offset + i128::from(monotonic)).unwrap_or(Timestamp::UNIX_EPOCH)
    }
}

/// The monotonic clock that the kernel half reads (`bpf_ktime_get_ns`), ns.
pub fn monotonic() -> u64 {
    read(libc::CLOCK_MONOTONIC) as u64
}

/// CPU time of the calling thread so far.
pub fn thread_cpu() -> Duration {
    Duration::from_nanos(read(libc::CLOCK_THREAD_CPUTIME_ID) as u64)
}

fn read(clock: libc::clockid_t) -> i128 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: writes the struct given.
    unsafe { libc::clock_gettime(clock, &raw mut time) };
    i128::from(time.tv_sec) * 1_000_000_000 + i128::from(time.tv_nsec)
}
