//! The machine, and what hostprof itself takes of it: the kernel's files and counters go in, the report's `host` and
//! the cost of the capture come out. What cannot be read stays unknown.

use crate::report::Host;

/// CPU time and peak memory of this process.
pub(super) fn usage() -> (Option<f64>, Option<u64>) {
    // SAFETY: getrusage fills the struct given; all zeros are valid for it.
    let usage = unsafe {
        let mut usage: libc::rusage = std::mem::zeroed();
        (libc::getrusage(libc::RUSAGE_SELF, &raw mut usage) == 0).then_some(usage)
    };
    let seconds = |t: libc::timeval| t.tv_sec as f64 + t.tv_usec as f64 / 1e6;
    (usage.map(|usage| seconds(usage.ru_utime) + seconds(usage.ru_stime)), peak_rss())
}

/// Not rusage's ru_maxrss, which begins with that of the process which has started us (exec_mmap(), fs/exec.c).
fn peak_rss() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok().map(|kib| kib * 1024)
}

/// The machine.
pub(super) fn host() -> Host {
    let line = |path: &str| std::fs::read_to_string(path).ok().map(|s| s.trim().to_owned());
    Host {
        name: line("/proc/sys/kernel/hostname").unwrap_or_default(),
        kernel: line("/proc/sys/kernel/osrelease").unwrap_or_default(),
        cpus: cpus(),
        boot_id: line("/proc/sys/kernel/random/boot_id"),
    }
}

/// CPUs that there are; 0 if nobody knows.
pub(super) fn cpus() -> u32 {
    std::thread::available_parallelism().map_or(0, |n| n.get() as u32)
}
