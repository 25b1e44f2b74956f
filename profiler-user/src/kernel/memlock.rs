//! The memory lock limit, which bounds BPF maps below Linux 5.11 (later kernels charge them to the cgroup:
//! kernel/bpf/syscall.c, "bpf: Eliminate rlimit-based memory accounting").

use std::io;

use log::debug;
use thiserror::Error;

use super::release;

/// What the maps take at the default sizes, bytes, with room to spare.
const NEEDED: u64 = 128 << 20;

/// The limit is too low and cannot be raised.
#[derive(Debug, Error)]
#[error(
    "this kernel ({kernel}) counts BPF maps against the memory lock limit, which is {limit} bytes and may not be raised \
     without CAP_SYS_RESOURCE; {NEEDED} are needed: `ulimit -l {}` before the start, or run with that right",
    NEEDED / 1024
)]
pub struct TooLow {
    kernel: String,
    limit: u64,
}

/// Lifts the limit. Not being allowed to is an error only where it matters.
pub fn raise() -> Result<(), TooLow> {
    let all = libc::rlimit { rlim_cur: libc::RLIM_INFINITY, rlim_max: libc::RLIM_INFINITY };
    // SAFETY: reads the struct given.
    if unsafe { libc::setrlimit(libc::RLIMIT_MEMLOCK, &raw const all) } == 0 {
        return Ok(());
    }
    debug!("the memory lock limit stays: {}", io::Error::last_os_error());
    let kernel = release::name();
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: writes the struct given.
    unsafe { libc::getrlimit(libc::RLIMIT_MEMLOCK, &raw mut limit) };
    if counts_maps(&kernel) && limit.rlim_cur < NEEDED {
        return Err(TooLow { kernel, limit: limit.rlim_cur });
    }
    Ok(())
}

/// Whether this kernel counts maps against the limit.
pub fn matters() -> bool {
    counts_maps(&release::name())
}

/// True for releases below 5.11.
fn counts_maps(release: &str) -> bool {
    release::version(release).is_some_and(|version| version < (5, 11))
}

#[cfg(test)]
mod tests {
    use super::counts_maps;

    #[test]
    fn only_old_kernels_count_maps() {
        assert!(counts_maps("5.10.0-43-cloud-amd64"));
        assert!(counts_maps("4.19.1"));
        assert!(!counts_maps("5.11.0"));
        assert!(!counts_maps("6.18.44-fc-v595"));
        assert!(!counts_maps("unknown"));
    }
}
