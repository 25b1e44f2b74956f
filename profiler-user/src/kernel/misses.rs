//! Events that the kernel let pass without our programs: one that comes on a CPU while the same program is at work there
//! is skipped (`prog->active` in __bpf_trace_run() and `bpf_prog_active` in trace_call_bpf(), kernel/trace/bpf_trace.c).
//! Only the kernel counts them, for each program (`recursion_misses` in its fdinfo, bpf_prog_show_fdinfo() in
//! kernel/bpf/syscall.c, Linux 5.12 and newer).

use std::os::fd::AsFd;

use aya::Ebpf;

use super::{bpf, hooks};

/// What was missed since the recording began: of exchanges, and of event loops, whose programs miss nothing else.
#[derive(Debug, Default)]
pub(super) struct Misses {
    exchanges: Count,
    loops: Count,
}

/// The count of some programs.
#[derive(Debug, Default)]
struct Count {
    before: u64,
    now: u64,
}

impl Misses {
    /// What was missed so far was missed before the recording.
    pub(super) fn begin(&mut self, ebpf: &Ebpf) {
        let (exchanges, loops) = sums(ebpf);
        *self = Self {
            exchanges: Count { before: exchanges, now: exchanges },
            loops: Count { before: loops, now: loops },
        };
    }

    /// Looks again. Programs take their counts with them when they are unloaded, so look before.
    pub(super) fn look(&mut self, ebpf: &Ebpf) {
        let (exchanges, loops) = sums(ebpf);
        self.exchanges.see(exchanges);
        self.loops.see(loops);
    }

    /// Events of sockets and processes, as of the last look.
    pub(super) fn exchanges(&self) -> u64 {
        self.exchanges.count()
    }

    /// Events of event loops, as of the last look.
    pub(super) fn loops(&self) -> u64 {
        self.loops.count()
    }
}

impl Count {
    fn see(&mut self, sum: u64) {
        self.now = self.now.max(sum);
    }

    fn count(&self) -> u64 {
        self.now - self.before
    }
}

/// What the programs of exchanges, and those of event loops, have missed so far.
fn sums(ebpf: &Ebpf) -> (u64, u64) {
    let (mut exchanges, mut loops) = (0, 0);
    for (name, program) in ebpf.programs() {
        let missed =
            program.fd().ok().and_then(|fd| bpf::fdinfo(fd.as_fd(), "recursion_misses:")).unwrap_or(0);
        *(if hooks::watches_loops(name) { &mut loops } else { &mut exchanges }) += missed;
    }
    (exchanges, loops)
}

#[cfg(test)]
mod tests {
    use super::Count;

    #[test]
    fn what_was_seen_stays_when_the_programs_go() {
        let mut misses = Count { before: 3, now: 3 };
        assert_eq!(misses.count(), 0);
        for (sum, count) in [(3, 0), (5, 2), (0, 2), (6, 3)] {
            misses.see(sum);
            assert_eq!(misses.count(), count);
        }
    }
}
