//! Answers of name servers that processes read: which name an address was looked up by. Only from connected UDP sockets,
//! as resolvers have them; nothing is asked.

use aya_ebpf::helpers::generated as h;
use profiler_ebpf::record::{Answer, Counter, kind};

use super::config::CFG;
use super::maps::{RING, count};
use super::memory::{at_most, kernel, user};
use super::run::Buffer;
use super::world::wakeup;

/// `IPPROTO_UDP` of include/uapi/linux/in.h, and the port of name servers (RFC 1035, 4.2.1).
const UDP: u16 = 17;
const NAME_SERVER: u16 = 53;
/// The remote port in `struct sock_common`, big-endian (kernel/connection.rs).
const REMOTE_PORT: u64 = 12;

/// A socket that is no stream has been read; sends the message if a name server has sent it.
#[inline(always)]
pub(crate) fn read(sk: u64, len: u64, buffer: impl FnOnce() -> Buffer) {
    if kernel::<[u8; 2]>(sk + REMOTE_PORT).map(u16::from_be_bytes) != Some(NAME_SERVER)
        || kernel::<u16>(sk + CFG.sock_protocol() as u64) != Some(UDP)
    {
        return;
    }
    let b = buffer();
    let from = if b.iov == 0 { b.buf } else { user::<u64>(b.iov).unwrap_or(0) };
    let Some(mut room) = RING.reserve::<Answer>(0) else {
        count(Counter::NoticeLost);
        return;
    };
    // SAFETY: the room is as large as an answer; all but the unused bytes is written, and the copy is at most as long as
    // its target.
    unsafe {
        let a = &mut *room.as_mut_ptr();
        let n = at_most(len, a.message.len() as u64);
        a.kind = kind::ANSWER;
        let net = kernel::<u64>(sk + CFG.sock_net() as u64).unwrap_or(0);
        a.netns = kernel::<u32>(net + CFG.net_inum() as u64).unwrap_or(0);
        a.pad = 0;
        let failed = h::bpf_probe_read_user(a.message.as_mut_ptr().cast(), n as u32, from as *const _);
        a.len = if failed == 0 { n as u32 } else { 0 };
    }
    room.submit(wakeup());
}
