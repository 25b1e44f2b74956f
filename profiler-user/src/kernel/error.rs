//! Why a session could not begin, and what the kernel's errors come down to for a person.

use thiserror::Error;

use super::btf::BtfError;
use super::layout::LayoutError;
use super::object::ObjectError;

/// Why a session could not begin.
#[derive(Debug, Error)]
pub enum StartError {
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

/// One line for an error and its causes, without the verifier's log.
pub(super) fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = String::new();
    let mut next = Some(error);
    while let Some(e) = next {
        let line = e.to_string();
        let line = line.lines().next().unwrap_or_default();
        if !text.contains(line) {
            if !text.is_empty() {
                text.push_str(": ");
            }
            text.push_str(line);
        }
        next = e.source();
    }
    text
}
