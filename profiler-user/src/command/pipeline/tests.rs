//! Tests of the stages in a row: records as the kernel half sends them.

use profiler_ebpf::life::{Life, end};
use profiler_ebpf::record::{UNIX_PATH, UnixName, kind, proto, role};

use super::*;

fn pipeline() -> Pipeline {
    Pipeline::new(&Settings::default(), Path::new("/nonexistent"))
}

/// The record's bytes, as they leave the ring.
fn bytes<T: Copy>(record: &T) -> &[u8] {
    // SAFETY: the records are `repr(C)` with their padding as fields: every byte is written.
    unsafe { std::slice::from_raw_parts(std::ptr::from_ref(record).cast(), size_of::<T>()) }
}

/// A client's connect() to this path has come to this, on the socket with this number.
fn connects(pipeline: &mut Pipeline, sk: u64, to: &str, what: u8, life: Life) {
    let mut path = [0; UNIX_PATH];
    path[..to.len()].copy_from_slice(to.as_bytes());
    let len = to.len() as u32;
    pipeline.feed(bytes(&UnixName { kind: kind::UNIX_NAME, len, sk, born: 7, path, pad: 0 }));
    let mut laddr = [0; 16];
    laddr[..8].copy_from_slice(&sk.to_ne_bytes());
    pipeline.feed(bytes(&Event {
        kind: kind::CONNECTION,
        netns: 1,
        sk,
        born: 7,
        laddr,
        raddr: [0; 16],
        family: libc::AF_UNIX as u16,
        lport: 0,
        rport: 0,
        proto: proto::UNKNOWN,
        role: role::CLIENT,
        what,
        pad: [0; 7],
        time: 1,
        life,
    }));
}

#[test]
fn names_of_failed_connects_do_not_displace_those_of_connections() {
    let mut pipeline = pipeline();
    let open = Life { t_open: 1, pid: 42, tid: 42, ..Life::default() };
    connects(&mut pipeline, 1, "/run/db.sock", what::OPENED, open);
    let refused = Life { t_connect: 1, t_end: 1, end: end::ERROR, error: 111, pid: 42, ..Life::default() };
    for sk in 2..40_000 {
        connects(&mut pipeline, sk, "/run/gone.sock", what::FAILED, refused);
        assert_eq!(&*pipeline.parser.unix_name(sk, 7), "");
    }
    assert_eq!(&*pipeline.parser.unix_name(1, 7), "unix:/run/db.sock");
    let rows = pipeline.connections.rows(|_| true);
    let failed = rows.iter().find(|row| row.peer == "unix:/run/gone.sock").unwrap();
    assert_eq!((failed.failed["ECONNREFUSED"], failed.attempted), (39_998, 39_998));
}
