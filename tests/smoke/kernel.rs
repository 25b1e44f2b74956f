//! The kernel that runs, and what it should give.

use std::{fs, process::Command};

use anyhow::{Context as _, Result, ensure};

/// The ways to see sockets, the best first.
pub(crate) const WAYS: [&str; 3] = ["sock-tracepoints", "syscall-exit", "raw-exit"];

/// A version, as far as hooks depend on it, and whether eBPF may read memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Kernel {
    version: (u32, u32),
    confidential: bool,
}

impl Kernel {
    pub(crate) fn running() -> Result<Self> {
        let read = |path: &str| fs::read_to_string(path).with_context(|| format!("failed to read {path}"));
        let release = read("/proc/sys/kernel/osrelease")?;
        let lockdown = read("/sys/kernel/security/lockdown")?;
        Self::parse(&release, &lockdown).with_context(|| format!("no kernel's release: {release}"))
    }

    fn parse(release: &str, lockdown: &str) -> Option<Self> {
        let mut numbers = release.split(|letter: char| !letter.is_ascii_digit()).map(str::parse);
        let version = (numbers.next()?.ok()?, numbers.next()?.ok()?);
        Some(Self { version, confidential: lockdown.contains("[confidentiality]") })
    }

    /// The best way to see sockets; none where nothing can be recorded.
    pub(crate) fn socket_hooks(&self) -> Option<&'static str> {
        WAYS.into_iter().find(|way| self.gives(way))
    }

    /// Whether this hook, by `doctor`'s name for it, should work.
    pub(crate) fn gives(&self, hook: &str) -> bool {
        !self.confidential
            && match hook {
                "sock-tracepoints" | "data_ready" => self.has_arrivals(),
                "syscall-exit" | "loop_switch" => self.names_calls(),
                "raw-exit" => !self.preempts(),
                _ => true,
            }
    }

    /// Whether it tells when data arrive, and of reads and writes (net/core/sock.c: trace_sk_data_ready,
    /// trace_sock_recv_length).
    pub(crate) fn has_arrivals(&self) -> bool {
        self.version >= (6, 3)
    }

    /// Whether programs of raw tracepoints are preempted (include/linux/tracepoint.h: __DECLARE_TRACE).
    fn preempts(&self) -> bool {
        self.version >= (7, 0)
    }

    /// Whether a thread's system call can be known from outside (kernel/trace/bpf_trace.c: bpf_task_pt_regs).
    pub(crate) fn names_calls(&self) -> bool {
        self.version >= (5, 15)
    }
}

/// What the kernel has said since it started.
pub(crate) fn log() -> Result<String> {
    let mut dmesg = Command::new("dmesg");
    let output = dmesg.output().context("failed to run dmesg")?;
    ensure!(output.status.success(), "dmesg failed: {}", String::from_utf8_lossy(&output.stderr));
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_kernel_gives_follows_from_its_version() {
        let of = |release| Kernel::parse(release, "[none] integrity confidentiality\n").unwrap();
        let hooks = |release| of(release).socket_hooks().unwrap();
        assert_eq!(hooks("5.10.0-43-cloud-amd64\n"), "raw-exit");
        assert_eq!(hooks("6.1.0-56-cloud-amd64"), "syscall-exit");
        assert_eq!((hooks("6.12.117+deb12"), hooks("7.2.13")), ("sock-tracepoints", "sock-tracepoints"));
        assert!(of("7.0.4").has_arrivals() && !of("6.1.0").has_arrivals());
        assert!(of("6.1.0").names_calls() && !of("5.10.0").names_calls());
        assert!(of("6.1.0").gives("loop_switch") && !of("5.10.0").gives("loop_switch"));
        assert!(of("6.18.44").gives("raw-exit") && !of("7.0.4").gives("raw-exit"));
        assert!(of("5.10.0").gives("set_state") && !of("6.1.0").gives("data_ready"));
    }

    #[test]
    fn nothing_is_recorded_under_confidentiality() {
        let of = |lockdown| Kernel::parse("6.18.15", lockdown).unwrap().socket_hooks();
        assert_eq!(of("none integrity [confidentiality]\n"), None);
        assert_eq!(of("none [integrity] confidentiality\n"), Some("sock-tracepoints"));
        let confidential = Kernel::parse("6.18.15", "[confidentiality]").unwrap();
        assert!(!confidential.gives("set_state"));
    }
}
