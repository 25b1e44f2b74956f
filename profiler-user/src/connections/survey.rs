//! What one connection of the kernel's table says at one moment: is a request under way on it, for how long, and does
//! anybody work on it? Pure.

use profiler_ebpf::conn::{Conn, mark, state};
use profiler_ebpf::life;
use profiler_ebpf::mysql::settled;
use profiler_ebpf::record::{flag, proto, role};
use profiler_ebpf::scan;

/// A reply whose bytes still came so shortly ago is on its way, ns.
const FLOWING_NS: u64 = 1_000_000_000;

/// A request without an end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct UnderWay {
    /// With those that wait behind it.
    pub(super) requests: u64,
    /// Its begin, ns.
    pub(super) since: u64,
    /// When it was read or written first; None where nobody has read it yet.
    pub(super) read: Option<u64>,
    /// The last byte of its answer so far, 0 where none came.
    pub(super) answered: u64,
}

/// The request under way on a connection; streams, which go on by their nature, are none, nor is what a client has not yet
/// sent to its end. `serves`: ours is the server's end.
pub(super) fn under_way(conn: &Conn, serves: bool) -> Option<UnderWay> {
    if is_over(conn) || serves && conn.t_ready == 0 && is_coming(conn) {
        return None;
    }
    let record = &conn.record;
    if is_readable(conn)
        && (conn.state == state::REQUEST || conn.state == state::RESPONSE && !is_complete(conn))
    {
        if record.flags & (flag::STREAM | flag::ORPHAN) != 0 || record.request.t_start == 0 {
            return None;
        }
        let start = record.request.t_start;
        let arrived = record.request.t_arrive;
        return Some(UnderWay {
            requests: 1 + u64::from(conn.waiting),
            since: if arrived != 0 { arrived } else { start },
            read: Some(start),
            answered: if conn.state == state::RESPONSE { record.t_last } else { 0 },
        });
    }
    // A FIN announces itself as data do: it is no request.
    let ended = conn.life.t_end;
    let unread = serves
        && conn.t_ready != 0
        && record.flags & flag::STREAM == 0
        && (ended == 0 || conn.t_ready < ended);
    unread.then_some(UnderWay { requests: 1, since: conn.t_ready, read: None, answered: 0 })
}

/// For how long a client has been waiting for this answer, ns: since it sent its last byte, or since the last byte of the
/// answer came. None while that is on its way, or there and not read.
pub(super) fn waiting(conn: &Conn, request: &UnderWay, now: u64) -> Option<u64> {
    let sent = request.since.max(conn.record.request.t_end);
    let waits = now.saturating_sub(sent.max(request.answered));
    let is_there = conn.t_ready > sent;
    // A response that is as long as it gets is a stream, whatever it is called: events of Docker, say.
    let responses = &conn.halves[usize::from(conn.record.role != role::CLIENT)];
    let open_ended = scan::phase::CHUNK_SIZE..=scan::phase::TRAILER_END;
    let endless = conn.record.proto == proto::HTTP
        && request.answered != 0
        && (open_ended.contains(&responses.phase) || responses.phase == scan::phase::OPAQUE);
    (!is_there && !endless && (request.answered == 0 || waits >= FLOWING_NS)).then_some(waits)
}

/// Whether a client's connect() has no answer yet.
pub(super) fn is_connecting(conn: &Conn) -> bool {
    conn.life.t_connect != 0 && conn.life.t_open == 0 && !is_over(conn)
}

fn is_over(conn: &Conn) -> bool {
    conn.t_closed != 0 || conn.life.marks & life::mark::CLOSED != 0
}

/// What it carries can be read.
pub(super) fn is_readable(conn: &Conn) -> bool {
    (conn.record.proto == proto::HTTP || conn.record.proto == proto::MYSQL)
        && !conn.has(mark::OPAQUE)
        && conn.life.marks & life::mark::TLS == 0
}

/// An open connection that carries something, and nobody knows what: encrypted, HTTP/2, upgraded, another protocol.
pub(super) fn is_hidden(conn: &Conn) -> bool {
    conn.record.proto != proto::UNKNOWN && !is_readable(conn) && !is_over(conn)
}

/// Whether the client is still sending its HTTP request.
fn is_coming(conn: &Conn) -> bool {
    let requests = &conn.halves[usize::from(conn.record.role == role::CLIENT)];
    conn.record.proto == proto::HTTP && conn.state == state::REQUEST && requests.phase != scan::phase::START
}

/// Whether the reply has ended as far as its last bytes tell: what follows will say so, or the sweep.
fn is_complete(conn: &Conn) -> bool {
    if conn.record.proto == proto::MYSQL {
        return settled(conn);
    }
    let replies = &conn.halves[usize::from(conn.record.role == role::SERVER)];
    replies.phase == scan::phase::UNFRAMED && scan::is_last_chunk(replies)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn conn(role: u8, state: u8) -> Conn {
        // SAFETY: plain numbers.
        let mut conn: Conn = unsafe { std::mem::zeroed() };
        (conn.record.proto, conn.record.role, conn.state) = (proto::HTTP, role, state);
        (conn.record.request.t_arrive, conn.record.request.t_start) = (100, 120);
        conn
    }

    #[test]
    fn a_request_that_is_worked_on() {
        let mut c = conn(role::SERVER, state::REQUEST);
        c.waiting = 2;
        let want = UnderWay { requests: 3, since: 100, read: Some(120), answered: 0 };
        assert_eq!(under_way(&c, c.record.role == role::SERVER), Some(want));
        (c.state, c.record.t_last) = (state::RESPONSE, 300);
        assert_eq!(under_way(&c, c.record.role == role::SERVER).map(|request| request.answered), Some(300));
        c.record.flags |= flag::STREAM;
        assert_eq!(under_way(&c, c.record.role == role::SERVER), None, "a stream");
        assert_eq!(under_way(&conn(role::SERVER, state::IDLE), true), None);
    }

    #[test]
    fn half_a_request_is_none_until_somebody_could_read_more() {
        let mut c = conn(role::SERVER, state::REQUEST);
        c.halves[0].phase = scan::phase::NAME;
        assert_eq!(under_way(&c, true), None, "the client is waited for");
        c.t_ready = 400;
        assert!(under_way(&c, true).is_some(), "the server is");
    }

    #[test]
    fn a_request_that_nobody_has_read() {
        let mut c = conn(role::SERVER, state::IDLE);
        (c.record.proto, c.t_ready) = (proto::UNKNOWN, 200);
        let unread = UnderWay { requests: 1, since: 200, read: None, answered: 0 };
        assert_eq!(under_way(&c, c.record.role == role::SERVER), Some(unread));
        c.life.t_end = 200;
        assert_eq!(under_way(&c, c.record.role == role::SERVER), None, "the peer has closed it, that is all");
        c.life.t_end = 201;
        assert_eq!(under_way(&c, c.record.role == role::SERVER), Some(unread), "closed after it was asked");
        c.record.role = role::CLIENT;
        assert_eq!(under_way(&c, c.record.role == role::SERVER), None, "an answer is no request");
    }

    #[test]
    fn what_is_over_has_no_request() {
        let mut c = conn(role::CLIENT, state::REQUEST);
        assert!(under_way(&c, c.record.role == role::SERVER).is_some());
        c.t_closed = 500;
        assert_eq!(under_way(&c, c.record.role == role::SERVER), None);
    }

    #[test]
    fn a_client_waits_when_no_byte_comes() {
        let mut c = conn(role::CLIENT, state::REQUEST);
        c.record.request.t_arrive = 0;
        let waits = |c: &Conn, now| waiting(c, &under_way(c, false).unwrap(), now);
        assert_eq!(waits(&c, 121), Some(1));
        c.record.request.t_end = 140;
        assert_eq!(waits(&c, 141), Some(1), "it was still sending");
        (c.state, c.record.t_last) = (state::RESPONSE, 150);
        c.halves[0].phase = scan::phase::BODY;
        assert_eq!(waits(&c, 151), None);
        assert_eq!(waits(&c, 150 + FLOWING_NS), Some(FLOWING_NS), "not since it was sent");
        c.t_ready = 160;
        assert_eq!(waits(&c, 150 + FLOWING_NS), None, "it has come, and nobody reads it");
        c.t_ready = 139;
        assert_eq!(waits(&c, 150 + FLOWING_NS), Some(FLOWING_NS), "of the answer before");
        for phase in [scan::phase::CHUNK_SIZE, scan::phase::OPAQUE] {
            c.halves[0].phase = phase;
            assert_eq!(waits(&c, 150 + FLOWING_NS), None, "it is as long as it gets");
        }
    }

    #[test]
    fn connections_that_carry_what_cannot_be_read() {
        let mut c = conn(role::SERVER, state::IDLE);
        assert!(!is_hidden(&c));
        c.life.marks = life::mark::TLS;
        assert!(is_hidden(&c));
        c.life.marks |= life::mark::CLOSED;
        assert!(!is_hidden(&c), "no more");
        let mut c = conn(role::SERVER, state::IDLE);
        c.record.proto = proto::UNKNOWN;
        assert!(!is_hidden(&c), "nothing has come yet");
        c.record.proto = proto::IGNORED;
        assert!(is_hidden(&c));
    }

    #[test]
    fn connects_under_way() {
        let mut c = conn(role::CLIENT, state::IDLE);
        assert!(!is_connecting(&c));
        c.life.t_connect = 5;
        assert!(is_connecting(&c));
        c.life.t_open = 6;
        assert!(!is_connecting(&c));
    }
}
