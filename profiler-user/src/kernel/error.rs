//! Why a session could not begin, and what the kernel's errors come down to for a person.

use thiserror::Error;

use super::btf::BtfError;
use super::layout::LayoutError;
use super::lockdown;
use super::object::ObjectError;

/// Why a session could not begin.
#[derive(Debug, Error)]
pub enum StartError {
    #[error(
        "the kernel is locked down for confidentiality, which forbids eBPF to read its memory: {}",
        lockdown::ADVICE
    )]
    LockedDown,
    #[error("kernel BTF: {0}")]
    Btf(#[from] BtfError),
    #[error(transparent)]
    Layout(#[from] LayoutError),
    #[error(transparent)]
    Object(#[from] ObjectError),
    #[error("the kernel did not take the maps: {source}")]
    Load { source: aya::EbpfError },
    #[error("the ring buffer could not be polled: {source}")]
    Ring { source: std::io::Error },
    #[error("no way to see socket reads and writes on this kernel: {}; `hostprof doctor` says what to do", reasons.join("; "))]
    NoSocketHooks { reasons: Vec<String>, permission: bool },
}

impl StartError {
    /// True when missing rights are the likely cause.
    pub fn is_permission(&self) -> bool {
        match self {
            Self::Load { source } => denied(source),
            Self::NoSocketHooks { permission, .. } => *permission,
            _ => false,
        }
    }
}

/// True when EPERM or EACCES stands somewhere in an error's causes.
pub(super) fn denied(error: &(dyn std::error::Error + 'static)) -> bool {
    let mut next = Some(error);
    while let Some(e) = next {
        if let Some(io) = e.downcast_ref::<std::io::Error>()
            && matches!(io.raw_os_error(), Some(libc::EPERM | libc::EACCES))
        {
            return true;
        }
        next = e.source();
    }
    false
}

/// One line for an error and its causes; of the verifier's log only what it ends with, which is the reason.
pub(super) fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = String::new();
    let mut next = Some(error);
    while let Some(e) = next {
        let line = one_line(&e.to_string());
        if !text.contains(&line) {
            if !text.is_empty() {
                text.push_str(": ");
            }
            text.push_str(&line);
        }
        next = e.source();
    }
    text
}

/// What aya puts between an error and the verifier's log.
const LOG: &str = ". Verifier output: ";

fn one_line(text: &str) -> String {
    let Some((error, log)) = text.split_once(LOG) else {
        return text.lines().next().unwrap_or_default().to_owned();
    };
    // The last line but for the statistics.
    let reason = log
        .lines()
        .map(str::trim)
        .rfind(|line| !line.is_empty() && !STATISTICS.iter().any(|words| line.starts_with(words)));
    match reason {
        Some(reason) => format!("{error} ({reason})"),
        None => error.to_owned(),
    }
}

/// How the lines begin that the verifier prints after its verdict (`print_verification_stats`, kernel/bpf/verifier.c).
const STATISTICS: [&str; 4] = ["processed ", "insns processed ", "verification time ", "stack depth "];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_verifiers_reason_is_what_its_log_ends_with() {
        let text = "the syscall failed. Verifier output: reg type unsupported for arg#0\n0: (85) call 1\nR1 invalid\n\
                    processed 5 insns (limit 1000000)\n";
        assert_eq!(one_line(text), "the syscall failed (R1 invalid)");
        assert_eq!(one_line("the syscall failed. Verifier output: "), "the syscall failed");
        assert_eq!(one_line("first\nsecond"), "first");
    }
}
