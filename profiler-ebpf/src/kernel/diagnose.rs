//! Diagnostics of the kernel half, by aya-log: only under `--log-kernel` (the flag is a frozen constant, so without it
//! the verifier throws this code away).

use aya_ebpf::EbpfContext;
use aya_log_ebpf::{debug, warn};
use profiler_ebpf::record::proto;

use super::config::CFG;
use super::maps::{CONNS, SCRATCH};

/// What was made of the connection whose operation is in this CPU's scratch.
#[inline(always)]
pub(crate) fn recognised(ctx: &impl EbpfContext) {
    if CFG.log() == 0 {
        return;
    }
    let Some(scratch) = SCRATCH.get_ptr(0) else { return };
    // SAFETY: a per-CPU value.
    let (sk, pid) = unsafe { ((*scratch).sk, (*scratch).op.pid) };
    let Some(conn) = CONNS.get_ptr(sk) else { return };
    // SAFETY: a value of CONNS.
    let (protocol, role) = unsafe { ((*conn).record.proto, (*conn).record.role) };
    if protocol != proto::UNKNOWN {
        debug!(ctx, "socket {:x} of process {}: protocol {}, role {}", sk, pid, protocol, role);
    }
}

/// An operation had more messages than can be followed.
#[inline(always)]
pub(crate) fn framing_lost(ctx: &impl EbpfContext) {
    if CFG.log() != 0 {
        warn!(ctx, "an operation of process {} had too many messages to follow", ctx.tgid());
    }
}
