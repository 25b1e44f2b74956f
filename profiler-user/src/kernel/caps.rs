//! Which rights this process has: `/proc/self/status` goes in, a set of capabilities comes out.
//!
//! Commands ask before they try, so that what is missing is said by name and not as EPERM of some system call. Source:
//! include/uapi/linux/capability.h; proc_pid_status(5), `CapEff`.

use std::fmt;

use thiserror::Error;

/// The capabilities that hostprof has a use for, by their number in the kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum Capability {
    /// Files of other users, write access included.
    DacOverride = 1,
    /// Files and directories of other users, to read.
    DacReadSearch = 2,
    /// What other users' processes map and hold open.
    SysPtrace = 19,
    /// In place of `Bpf` and `Perfmon`, and on every kernel below 5.8.
    SysAdmin = 21,
    /// Past the limit of locked memory, which counts maps below Linux 5.11.
    SysResource = 24,
    /// Probes (Linux 5.8).
    Perfmon = 38,
    /// Programs and maps (Linux 5.8).
    Bpf = 39,
}

impl Capability {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::DacOverride,
        Self::DacReadSearch,
        Self::SysPtrace,
        Self::SysAdmin,
        Self::SysResource,
        Self::Perfmon,
        Self::Bpf,
    ];

    /// The kernel's name, as `setcap` and systemd take it.
    pub fn name(self) -> &'static str {
        match self {
            Self::DacOverride => "CAP_DAC_OVERRIDE",
            Self::DacReadSearch => "CAP_DAC_READ_SEARCH",
            Self::SysPtrace => "CAP_SYS_PTRACE",
            Self::SysAdmin => "CAP_SYS_ADMIN",
            Self::SysResource => "CAP_SYS_RESOURCE",
            Self::Perfmon => "CAP_PERFMON",
            Self::Bpf => "CAP_BPF",
        }
    }
}

impl fmt::Display for Capability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A set of capabilities, as the kernel's bit mask.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Capabilities(u64);

/// Why the rights are not known.
#[derive(Debug, Error)]
pub enum CapsError {
    #[error("cannot read /proc/self/status: {source}; is /proc mounted?")]
    Unreadable { source: std::io::Error },
    #[error("/proc/self/status has no CapEff line that is a hexadecimal number")]
    NoCapEff,
}

impl Capabilities {
    /// The effective ones of this process.
    pub fn current() -> Result<Self, CapsError> {
        let status = std::fs::read_to_string("/proc/self/status");
        Self::parse(&status.map_err(|source| CapsError::Unreadable { source })?)
    }

    /// The effective ones of a `/proc/PID/status`.
    pub fn parse(status: &str) -> Result<Self, CapsError> {
        let mask = status.lines().find_map(|line| line.strip_prefix("CapEff:")).ok_or(CapsError::NoCapEff)?;
        u64::from_str_radix(mask.trim(), 16).map(Self).map_err(|_| CapsError::NoCapEff)
    }

    /// Whether a capability is in the set. `Bpf` and `Perfmon` count as had with `SysAdmin`, as in the kernel
    /// (bpf_capable() and perfmon_capable(), include/linux/capability.h).
    pub fn has(self, capability: Capability) -> bool {
        let in_place = match capability {
            Capability::Bpf | Capability::Perfmon => self.bit(Capability::SysAdmin),
            _ => false,
        };
        self.bit(capability) || in_place
    }

    /// Those of the given ones that are missing.
    pub fn missing(self, needed: &[Capability]) -> Vec<Capability> {
        needed.iter().copied().filter(|capability| !self.has(*capability)).collect()
    }

    fn bit(self, capability: Capability) -> bool {
        self.0 >> (capability as u8) & 1 == 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(mask: &str) -> Capabilities {
        Capabilities::parse(&format!("Name:\thostprof\nCapPrm:\tffff\nCapEff:\t{mask}\nCapBnd:\t0\n"))
            .unwrap()
    }

    #[test]
    fn each_bit_is_its_capability() {
        for capability in Capability::ALL {
            let only = of(&format!("{:016x}", 1u64 << capability as u8));
            assert!(only.has(capability));
            if capability != Capability::SysAdmin {
                let others =
                    Capability::ALL.into_iter().filter(|other| *other != capability).collect::<Vec<_>>();
                assert_eq!(only.missing(&others), others);
            }
        }
    }

    #[test]
    fn root_has_all_and_nobody_none() {
        assert_eq!(of("000001ffffffffff").missing(&Capability::ALL), []);
        assert_eq!(of("0000000000000000").missing(&Capability::ALL), Capability::ALL);
    }

    #[test]
    fn admin_stands_for_bpf_and_perfmon_only() {
        let admin = of("0000000000200000");
        assert!(admin.has(Capability::Bpf) && admin.has(Capability::Perfmon));
        assert!(!admin.has(Capability::SysPtrace));
    }

    #[test]
    fn strange_files_are_errors() {
        for status in ["", "CapEff:", "CapEff:\txyz", "CapEff:\t1ffffffffffffffff", "CapPrm:\t0"] {
            assert!(matches!(Capabilities::parse(status), Err(CapsError::NoCapEff)), "{status}");
        }
    }

    #[test]
    fn this_process_has_a_set() {
        assert!(Capabilities::current().is_ok());
    }
}
