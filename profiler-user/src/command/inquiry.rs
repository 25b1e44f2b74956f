//! Asks the kernel's connection table what a stalled thread waits for: MySQL commands that it has sent and whose
//! exchange has no end yet, or none that was told of. The table is read a few times a second at the most, and only while
//! a stall is blocked on a connection, or has just been.

use std::time::{Duration, Instant};

use profiler_ebpf::conn::{Conn, state};
use profiler_ebpf::mysql::settled;
use profiler_ebpf::record::{COMMAND_HANDSHAKE, proto, role};

use super::pipeline::Pipeline;
use crate::connections::address;
use crate::kernel::session::Session;
use crate::stall::kind::{self, Ends};
use crate::watch::Asking;

/// Reading takes place so often at the most, and takes this share of the time.
const PAUSE: Duration = Duration::from_millis(250);
const SHARE: u32 = 50;

/// When the table may be read again: for stalls under way, and for those that have ended.
#[derive(Debug, Default)]
pub struct Inquiry {
    next_running: Option<Instant>,
    next_ended: Option<Instant>,
}

/// A stall, under way unless it has an end.
#[derive(Debug)]
struct Asker<'a> {
    tid: u32,
    start: u64,
    end: Option<u64>,
    ends: &'a [Ends],
}

impl Inquiry {
    /// Of stalls under way.
    pub fn of_running(
        &mut self,
        asking: &[Asking],
        session: &mut Session,
        pipeline: &mut Pipeline,
        now: u64,
    ) {
        let askers = asking.iter().map(|a| Asker { tid: a.tid, start: a.start, end: None, ends: &a.ends });
        let askers: Vec<_> = askers.collect();
        self.next_running = ask(&askers, self.next_running, session, pipeline, now).or(self.next_running);
    }

    /// Of stalls that have ended and are still with the pipeline: their last reply's end may be told of later.
    pub fn of_ended(&mut self, session: &mut Session, pipeline: &mut Pipeline) {
        let askers = pipeline.stalls.iter().filter(|stall| {
            stall
                .blocked_in
                .iter()
                .any(|b| kind::may_read_socket(b.call.0) && b.seconds > stall.seconds / 10.0)
        });
        let askers = askers.map(|stall| Asker {
            tid: stall.tid,
            start: stall.turn.start,
            end: Some(stall.turn.end),
            ends: &[],
        });
        let askers: Vec<_> = askers.collect();
        self.next_ended = ask(&askers, self.next_ended, session, pipeline, 0).or(self.next_ended);
    }
}

/// Reads the table if somebody asks and it is time to; returns when the next time is.
fn ask(
    askers: &[Asker<'_>],
    next: Option<Instant>,
    session: &mut Session,
    pipeline: &mut Pipeline,
    now: u64,
) -> Option<Instant> {
    let begun = Instant::now();
    if askers.is_empty() || next.is_some_and(|next| begun < next) {
        return None;
    }
    let mut found = Vec::new();
    session.each_exchange(|conn, head| {
        let tid = conn.record.request.tid;
        for asker in askers.iter().filter(|asker| asker.tid == tid) {
            if let Some(last) = waited(conn, asker, now) {
                found.push((asker.tid, asker.start, last, *conn, head.to_vec()));
            }
        }
    });
    for (tid, start, last, conn, head) in found {
        let asked = pipeline.asked(&conn, &head, last);
        pipeline.queries.under_way(tid, start, asked);
    }
    Some(Instant::now() + PAUSE.max(begun.elapsed() * SHARE))
}

/// Up to when a thread has waited for an exchange in its stall; None where it did not. Who writes a command and does not
/// block reads the reply in a later turn.
fn waited(conn: &Conn, asker: &Asker<'_>, now: u64) -> Option<u64> {
    let record = &conn.record;
    let request = &record.request;
    let ours = record.proto == proto::MYSQL
        && record.role == role::CLIENT
        && request.command != COMMAND_HANDSHAKE
        && request.t_start >= asker.start
        && asker.end.is_none_or(|end| request.t_start <= end);
    if !ours {
        return None;
    }
    let blocked = asker.end.is_none() && asker.ends.iter().any(|ends| is(conn, ends));
    if conn.state == state::RESPONSE && record.t_first >= asker.start {
        if settled(conn) || !blocked {
            return Some(record.t_last).filter(|last| asker.end.is_none_or(|end| *last <= end));
        }
        return Some(now);
    }
    blocked.then_some(now)
}

/// Whether a connection is the one with these ends.
fn is(conn: &Conn, ends: &Ends) -> bool {
    let record = &conn.record;
    match *ends {
        Ends::Unix(inode) => i32::from(record.family) == libc::AF_UNIX && conn.inode == inode,
        Ends::Inet { local, peer } => {
            address::socket(record.family, &record.laddr, record.lport) == Some(local)
                && address::socket(record.family, &record.raddr, record.rport) == Some(peer)
        }
    }
}

#[cfg(test)]
mod tests {
    use profiler_ebpf::mysql::command;

    use super::*;

    const START: u64 = 1_000;
    const END: u64 = 2_000;

    /// A connection on which a query was sent within the turn.
    fn conn(state: u8) -> Conn {
        // SAFETY: plain numbers.
        let mut conn: Conn = unsafe { std::mem::zeroed() };
        conn.state = state;
        let r = &mut conn.record;
        (r.proto, r.role, r.family) = (proto::MYSQL, role::CLIENT, libc::AF_INET as u16);
        (r.lport, r.rport) = (50_000, 3_306);
        (r.laddr[0], r.raddr[0]) = (127, 10);
        r.request.command = command::QUERY;
        r.request.t_start = START + 100;
        conn
    }

    fn ends() -> Ends {
        Ends::Inet { local: "127.0.0.0:50000".parse().unwrap(), peer: "10.0.0.0:3306".parse().unwrap() }
    }

    fn asker(end: Option<u64>, ends: &[Ends]) -> Asker<'_> {
        Asker { tid: 7, start: START, end, ends }
    }

    #[test]
    fn a_query_that_the_thread_is_blocked_on() {
        let sent = conn(state::REQUEST);
        assert_eq!(waited(&sent, &asker(None, &[ends()]), 1_500), Some(1_500));
        let other =
            Ends::Inet { local: "127.0.0.0:50001".parse().unwrap(), peer: "10.0.0.0:3306".parse().unwrap() };
        assert_eq!(waited(&sent, &asker(None, &[other]), 1_500), None, "a driver that does not block");
        assert_eq!(waited(&sent, &asker(Some(END), &[]), 0), None, "the reply came in a later turn");
        let mut before = sent;
        before.record.request.t_start = START - 1;
        assert_eq!(waited(&before, &asker(None, &[ends()]), 1_500), None, "sent in an earlier turn");
    }

    #[test]
    fn a_query_whose_reply_was_read_in_the_turn() {
        let mut read = conn(state::RESPONSE);
        (read.record.t_first, read.record.t_last) = (START + 300, START + 400);
        assert_eq!(waited(&read, &asker(Some(END), &[]), 0), Some(START + 400));
        assert_eq!(waited(&read, &asker(None, &[]), 1_900), Some(START + 400));
        assert_eq!(waited(&read, &asker(None, &[ends()]), 1_900), Some(1_900), "the rest is to come");
        read.record.t_last = END + 1;
        assert_eq!(waited(&read, &asker(Some(END), &[]), 0), None, "read on in a later turn");
    }

    #[test]
    fn other_connections_are_none() {
        for change in [
            (|c: &mut Conn| c.record.role = role::SERVER) as fn(&mut Conn),
            |c| c.record.proto = proto::HTTP,
            |c| c.record.request.command = COMMAND_HANDSHAKE,
        ] {
            let mut other = conn(state::REQUEST);
            change(&mut other);
            assert_eq!(waited(&other, &asker(None, &[ends()]), 1_500), None);
        }
    }

    #[test]
    fn unix_sockets_by_inode() {
        let mut unix = conn(state::REQUEST);
        (unix.record.family, unix.inode) = (libc::AF_UNIX as u16, 77);
        assert!(is(&unix, &Ends::Unix(77)) && !is(&unix, &Ends::Unix(78)) && !is(&unix, &ends()));
    }
}
