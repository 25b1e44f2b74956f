//! Lines of `/proc/net/tcp`, `tcp6`, `unix` and `netstat` (proc_pid_net(5)): text goes in, sockets and a counter come out.
//! Pure.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// States of include/net/tcp_states.h that a socket's line can have.
const SYN_SENT: u8 = 2;
const SYN_RECV: u8 = 3;
const TIME_WAIT: u8 = 6;
const CLOSE: u8 = 7;
const LISTEN: u8 = 10;
const NEW_SYN_RECV: u8 = 12;
/// `__SO_ACCEPTCON` of include/linux/net.h: a Unix socket that listens.
const ACCEPTS: u32 = 1 << 16;
/// `SOCK_STREAM`, and `SS_CONNECTED` of include/uapi/linux/net.h.
const STREAM: u32 = 1;
const CONNECTED: u32 = 3;

/// What a TCP socket does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// With so many connections that wait to be accepted (`get_tcp4_sock` in net/ipv4/tcp_ipv4.c).
    Listen(u64),
    TimeWait,
    /// Established, or half closed.
    Open,
    /// None of these: the handshake is under way, or it is over.
    Other,
}

/// A line of `tcp` or `tcp6`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tcp {
    pub local: SocketAddr,
    pub remote: SocketAddr,
    pub state: State,
    /// 0 where no process holds it.
    pub inode: u64,
}

/// A line of `unix`, of a stream socket with a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unix<'a> {
    pub listens: bool,
    pub connected: bool,
    pub inode: u64,
    /// With `@` first where it is abstract.
    pub path: &'a str,
}

/// The counter `ListenOverflows` in a line of values of `netstat`, whose names the line before it has.
pub fn listen_overflows(names: &str, values: &str) -> Option<u64> {
    let (mut names, mut values) = (names.split_ascii_whitespace(), values.split_ascii_whitespace());
    if (names.next(), values.next()) != (Some("TcpExt:"), Some("TcpExt:")) {
        return None;
    }
    values.nth(names.position(|name| name == "ListenOverflows")?)?.parse().ok()
}

/// `sl local remote st tx:rx tr:when retrnsmt uid timeout inode ...`; None for the heading and what it does not know.
pub fn tcp(line: &str) -> Option<Tcp> {
    let mut fields = line.split_ascii_whitespace().skip(1);
    let (local, remote) = (address(fields.next()?)?, address(fields.next()?)?);
    let state = u8::from_str_radix(fields.next()?, 16).ok()?;
    let (_, unread) = fields.next()?.split_once(':')?;
    let inode = fields.nth(4)?.parse().ok()?;
    let state = match state {
        LISTEN => State::Listen(u64::from_str_radix(unread, 16).ok()?),
        TIME_WAIT => State::TimeWait,
        SYN_SENT | SYN_RECV | NEW_SYN_RECV | CLOSE => State::Other,
        _ => State::Open,
    };
    Some(Tcp { local, remote, state, inode })
}

/// `Num: RefCount Protocol Flags Type St Inode Path`.
pub fn unix(line: &str) -> Option<Unix<'_>> {
    let mut rest = line;
    let mut field = || {
        let (first, after) = rest.trim_start().split_once(' ')?;
        rest = after;
        Some(first)
    };
    let _ = (field()?, field()?, field()?);
    let mut hex = || u32::from_str_radix(field()?, 16).ok();
    let (flags, kind, state) = (hex()?, hex()?, hex()?);
    let inode = field()?.trim().parse().ok()?;
    // A path may hold spaces.
    let path = rest;
    (kind == STREAM && !path.is_empty()).then_some(Unix {
        listens: flags & ACCEPTS != 0,
        connected: state == CONNECTED,
        inode,
        path,
    })
}

/// `0100007F:1F90`: words of the address as the machine has them in memory, the port as a number. IPv4 in IPv6 as IPv4.
fn address(text: &str) -> Option<SocketAddr> {
    let (ip, port) = text.split_once(':')?;
    let port = u16::from_str_radix(port, 16).ok()?;
    let word = |at: usize| Some(u32::from_str_radix(ip.get(at..at + 8)?, 16).ok()?.to_ne_bytes());
    let ip: IpAddr = match ip.len() {
        8 => Ipv4Addr::from(word(0)?).into(),
        32 => {
            let mut bytes = [0; 16];
            for (at, four) in bytes.chunks_exact_mut(4).enumerate() {
                four.copy_from_slice(&word(8 * at)?);
            }
            Ipv6Addr::from(bytes).to_canonical()
        }
        _ => return None,
    };
    Some(SocketAddr::new(ip, port))
}

#[cfg(all(test, target_endian = "little"))]
mod tests {
    use super::*;

    #[test]
    fn lines_of_tcp() {
        let listen = "   0: 0100007F:1F90 00000000:0000 0A 00000000:00000005 00:00000000 00000000     0        0 20391 1 0000000000000000 100 0 0 10 0";
        let want = Tcp {
            local: "127.0.0.1:8080".parse().unwrap(),
            remote: "0.0.0.0:0".parse().unwrap(),
            state: State::Listen(5),
            inode: 20_391,
        };
        assert_eq!(tcp(listen), Some(want));
        let open = "  12: 0200A8C0:CEB2 0101A8C0:0CEA 01 00000000:00000000 02:000000A1 00000000  1000        0 40312 2 0000000000000000 20 4 30 10 -1";
        let open = tcp(open).unwrap();
        assert_eq!((open.state, open.inode), (State::Open, 40_312));
        assert_eq!(
            (open.local.to_string(), open.remote.to_string()),
            ("192.168.0.2:52914".into(), "192.168.1.1:3306".into())
        );
        let wait = "  13: 0100007F:CEB2 0100007F:0CEA 06 00000000:00000000 03:00000F5E 00000000     0        0 0 3 0000000000000000";
        assert_eq!(tcp(wait).unwrap().state, State::TimeWait);
        let heading = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode";
        assert_eq!(tcp(heading), None);
        assert_eq!(tcp(""), None);
        assert_eq!(tcp("  1: 0100007F:1F90 00000000"), None, "cut");
    }

    #[test]
    fn lines_of_tcp6() {
        let line = |local: &str| {
            format!(
                "   0: {local}:0050 00000000000000000000000000000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 7 1 0000000000000000 100 0 0 10 0"
            )
        };
        let local = |text: &str| tcp(&line(text)).unwrap().local.to_string();
        assert_eq!(local("00000000000000000000000001000000"), "[::1]:80");
        assert_eq!(local("0000000000000000FFFF00000100007F"), "127.0.0.1:80", "IPv4 in IPv6");
        assert_eq!(local("B80D01200000000067452301EFCDAB89"), "[2001:db8::123:4567:89ab:cdef]:80");
    }

    #[test]
    fn lines_of_unix() {
        let listens = "0000000000000000: 00000002 00000000 00010000 0001 01 16534 /run/my sql/mysqld.sock";
        let want = Unix { listens: true, connected: false, inode: 16_534, path: "/run/my sql/mysqld.sock" };
        assert_eq!(unix(listens), Some(want));
        let accepted =
            unix("0000000000000000: 00000003 00000000 00000000 0001 03 16535 @/tmp/.X11-unix/X0").unwrap();
        assert!(accepted.connected && !accepted.listens && accepted.path.starts_with('@'));
        for other in [
            "Num       RefCount Protocol Flags    Type St Inode Path",
            "0000000000000000: 00000003 00000000 00000000 0001 03 16536",
            "0000000000000000: 00000002 00000000 00000000 0002 01 16537 /run/systemd/notify",
        ] {
            assert_eq!(unix(other), None, "{other}");
        }
    }

    #[test]
    fn a_counter_goes_by_the_line_of_names_before_it() {
        let names = "TcpExt: SyncookiesSent ListenOverflows ListenDrops";
        assert_eq!(listen_overflows(names, "TcpExt: 0 24 32"), Some(24));
        assert_eq!(listen_overflows("IpExt: InOctets", "IpExt: 7"), None);
        assert_eq!(listen_overflows(names, "TcpExt: 0"), None);
        assert_eq!(listen_overflows("TcpExt: 0 24 32", names), None);
    }
}
