//! The kernel half's table of connections: looks at it go in, each connection and what is under way on it come out; and
//! the sweep, which ends what no event would end.

use aya::programs::{RawTracePoint, RawTracePointRunOptions, TestRun};
use log::{debug, warn};
use profiler_ebpf::conn::{Conn, state};
use profiler_ebpf::machine;
use profiler_ebpf::record::proto;

use super::Session;
use crate::clock::monotonic;
use crate::kernel::{batch, hooks};

/// A Unix connection that was not used for so long is looked at, ns.
const COLD_NS: u64 = 1_000_000_000;

/// Which connections a sweep visits, of those that no event ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Which {
    /// Those that were not used for a while.
    Cold,
    /// All of them: the recording is about to end.
    All,
    /// All of them, for what is complete, and no more: the hooks are silent already.
    Last,
}

/// What a look at the connection table has found.
#[derive(Debug, Default)]
pub struct Survey {
    /// Exchanges under way.
    pub in_flight: u64,
    /// Sockets that [`Session::visit`] is to look at.
    pub idle: Vec<u64>,
}

/// Whether a Unix connection has not been used for a while: it may be closed, which no hook tells. One whose memory is
/// used again at once is found so by its successor, and must not be ended at that moment.
fn is_cold(conn: &Conn, now: u64) -> bool {
    let used = conn.life.t_used.max(conn.life.t_open).max(conn.record.born);
    now.saturating_sub(used) >= COLD_NS
}

impl Session {
    /// Looks at every connection. `see` gets each, with the kept beginning of its request where one is under way.
    pub fn survey(&mut self, which: Which, mut see: impl FnMut(&Conn, &[u8])) -> Survey {
        self.misses.look(&self.ebpf);
        let mut found = Survey::default();
        let now = monotonic();
        let Some(fd) = self.ebpf.map("CONNS").and_then(batch::map_fd) else { return found };
        let result = batch::for_each(fd, &mut self.sweep_buffer, size_of::<Conn>(), |value| {
            let (conn, head) = entry(value);
            see(&conn, head.unwrap_or_default());
            let known = conn.record.proto == proto::HTTP || conn.record.proto == proto::MYSQL;
            if known && (conn.state == state::REQUEST || conn.state == state::RESPONSE) {
                found.in_flight += 1 + u64::from(conn.waiting);
            }
            let lingers = machine::lingers(&conn);
            let is_unix = i32::from(conn.record.family) == libc::AF_UNIX;
            let is_due = is_unix && (which != Which::Cold || is_cold(&conn, now));
            if lingers || conn.t_closed != 0 || is_due {
                found.idle.push(conn.record.sk);
            }
        });
        if let Err(e) = result {
            warn!("the connection table could not be read: {e}");
        }
        found
    }

    /// Has the kernel half look at these; at the last it sends whatever is complete. Each may
    /// send an exchange and an end: the caller has to take them before there is no room for more. Returns how many
    /// exchanges were sent.
    pub fn visit(&self, sockets: &[u64], which: Which) -> u64 {
        let sweep = self.ebpf.program(hooks::SWEEP.program).and_then(|p| <&RawTracePoint>::try_from(p).ok());
        let Some(sweep) = sweep else { return 0 };
        let mut sent = 0;
        for sk in sockets {
            let mut run = RawTracePointRunOptions::new();
            run.args = [*sk, u64::from(which == Which::Last), 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
            match sweep.test_run(run) {
                // The program says 1 when the exchange was sent.
                Ok(result) => sent += u64::from(result.return_value),
                Err(e) => {
                    debug!("sweep: {e}");
                    break;
                }
            }
        }
        sent
    }

    /// Calls `see` with every connection that has an exchange under way, and the kept beginning of its request. What
    /// happens on it meanwhile may be seen before or after.
    pub fn each_exchange(&mut self, mut see: impl FnMut(&Conn, &[u8])) {
        let Some(fd) = self.ebpf.map("CONNS").and_then(batch::map_fd) else { return };
        let result = batch::for_each(fd, &mut self.sweep_buffer, size_of::<Conn>(), |value| {
            if let (conn, Some(head)) = entry(value) {
                see(&conn, head);
            }
        });
        if let Err(e) = result {
            warn!("the connection table could not be read: {e}");
        }
    }
}

/// A value of the map of connections: the connection, and the kept beginning of its request if one is under way.
fn entry(value: &[u8]) -> (Conn, Option<&[u8]>) {
    // SAFETY: the value is at least a Conn long, plain data of any bit pattern.
    let conn = unsafe { value.as_ptr().cast::<Conn>().read_unaligned() };
    let is_asked = conn.state == state::REQUEST || conn.state == state::RESPONSE;
    let head = is_asked.then(|| {
        let kept = value.get(size_of::<Conn>()..).unwrap_or_default();
        kept.get(..conn.record.request.head_len as usize).unwrap_or(kept)
    });
    (conn, head)
}
