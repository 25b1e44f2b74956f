//! The sweep: user space names a connection that looks idle (BPF_PROG_TEST_RUN, the address as argument), and a reply
//! whose end only the next command would show is sent. A socket that is gone without a word is ended here too: no
//! tracepoint tells of a Unix socket's close, nor of the close of one that TCP had closed before. In the kernel, so
//! that one place moves exchanges on.

use aya_ebpf::macros::raw_tracepoint;
use aya_ebpf::programs::RawTracePointContext;
use profiler_ebpf::conn::state;
use profiler_ebpf::machine;

use super::connection;
use super::life;
use super::maps::CONNS;
use super::memory::now;
use super::socket::argument;
use super::world::Kernel;

/// Arguments: the socket's address, and 1 when no more will come. Returns 1 when an exchange was sent.
#[raw_tracepoint]
fn sweep(ctx: RawTracePointContext) -> i32 {
    let (sk, last) = (argument(&ctx, 0), argument(&ctx, 1));
    let Some(conn) = CONNS.get_ptr_mut(sk) else { return 0 };
    // SAFETY: a value of CONNS.
    let c = unsafe { &mut *conn };
    // In the end nothing is concluded from a close: the hooks were silent already.
    if last == 0 && connection::is_gone(c) {
        let open = c.state == state::REQUEST || c.state == state::RESPONSE;
        let time = if c.t_closed != 0 { c.t_closed } else { now() };
        life::over(c, c.closed_error, time);
        return open as i32;
    }
    let time = if last != 0 { now() + machine::SETTLE_NS } else { now() };
    let sent = machine::idle(c, &mut Kernel(core::ptr::null_mut()), time);
    if last == 0 && c.t_closed != 0 && c.state == state::IDLE && !c.life.is_attempt() {
        life::closed(c);
    }
    sent as i32
}
