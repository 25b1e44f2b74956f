//! What a capture cannot do, in words for a person: an error of the start or the rights of this process go in, advice
//! or sentences for the report come out.

use crate::kernel::caps::{Capabilities, Capability};
use crate::kernel::error::StartError;

/// What a failed start means for a person.
pub(super) fn explain(error: StartError) -> anyhow::Error {
    let advice = match &error {
        StartError::Btf(_) => {
            Some("hostprof needs a kernel with CONFIG_DEBUG_INFO_BTF; see `hostprof doctor`")
        }
        StartError::NoSocketHooks { reasons, .. } if reasons.iter().any(|r| r.contains("tracefs")) => {
            Some("tracefs is not mounted, or may not be read: `mount -t tracefs tracefs /sys/kernel/tracing`")
        }
        e if e.is_permission() => {
            Some("the kernel refused: see `hostprof doctor` for which right or lock is the cause")
        }
        _ => None,
    };
    let error = anyhow::Error::new(error);
    match advice {
        Some(advice) => error.context(advice),
        None => error,
    }
}

/// What missing rights leave out, in sentences for the report (the rights table of the docs).
pub(super) fn rights(caps: Capabilities) -> Vec<String> {
    let table = [
        (
            Capability::SysPtrace,
            "Without CAP_SYS_PTRACE there are no executables of other users' processes: services go by their command line. \
             Nor is it known what their event loops were blocked on, where in the code, and who waited for them: their stalls are of low \
             confidence.",
        ),
        (
            Capability::DacReadSearch,
            "Without CAP_DAC_READ_SEARCH processes of other users are known only as far as /proc allows.",
        ),
        (Capability::SysAdmin, "Without CAP_SYS_ADMIN the time spent in hostprof's own probes is not known."),
    ];
    table.iter().filter(|(c, _)| !caps.has(*c)).map(|(_, text)| (*text).to_owned()).collect()
}
