//! Events that the kernel let pass without our programs: one that comes on a CPU while the same program is at work there
//! is skipped (`prog->active` in __bpf_trace_run() and `bpf_prog_active` in trace_call_bpf(), kernel/trace/bpf_trace.c).
//! Only the kernel counts them, for each program (`recursion_misses` in its fdinfo, bpf_prog_show_fdinfo() in
//! kernel/bpf/syscall.c, Linux 5.12 and newer).

use std::os::fd::AsFd;

use aya::Ebpf;

use super::bpf;

/// The count of all programs, since the recording began.
#[derive(Debug, Default)]
pub(super) struct Misses {
    before: u64,
    now: u64,
}

impl Misses {
    /// What was missed so far was missed before the recording.
    pub(super) fn begin(&mut self, ebpf: &Ebpf) {
        let sum = sum(ebpf);
        *self = Self { before: sum, now: sum };
    }

    /// Looks again. Programs take their counts with them when they are unloaded, so look before.
    pub(super) fn look(&mut self, ebpf: &Ebpf) {
        self.see(sum(ebpf));
    }

    fn see(&mut self, sum: u64) {
        self.now = self.now.max(sum);
    }

    /// As of the last look.
    pub(super) fn count(&self) -> u64 {
        self.now - self.before
    }
}

fn sum(ebpf: &Ebpf) -> u64 {
    let loaded = ebpf.programs().filter_map(|(_, program)| program.fd().ok());
    loaded.filter_map(|fd| bpf::fdinfo(fd.as_fd(), "recursion_misses:")).sum()
}

#[cfg(test)]
mod tests {
    use super::Misses;

    #[test]
    fn what_was_seen_stays_when_the_programs_go() {
        let mut misses = Misses { before: 3, now: 3 };
        assert_eq!(misses.count(), 0);
        for (sum, count) in [(3, 0), (5, 2), (0, 2), (6, 3)] {
            misses.see(sum);
            assert_eq!(misses.count(), count);
        }
    }
}
