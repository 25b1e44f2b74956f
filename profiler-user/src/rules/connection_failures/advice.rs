//! What to do about connections that fail: an error goes in, words out.

use std::net::IpAddr;

use super::super::peer::Peer;

/// What there is to advise on where a server has hung up: in place of an error's name.
pub(super) const HUNG_UP: &str = "hung up";

/// Where to look for what ended a server's process, or made it hang up.
pub(super) const HANGS_UP: &str = "The server's log says more for that time: gunicorn `WORKER TIMEOUT` (`--timeout`), a proxy that its \
                        own upstream went away, any a crash or a restart. On its host `journalctl -k | grep -i 'killed \
                        process'` shows what the kernel has killed for want of memory, `coredumpctl list` what crashed.";

/// An error in words.
pub(super) fn meaning(error: &str) -> String {
    let words = match error {
        "ECONNREFUSED" => "refused",
        "ETIMEDOUT" => "no answer",
        "abandoned" => return "given up before there was an answer".into(),
        "EHOSTUNREACH" | "ENETUNREACH" | "EHOSTDOWN" | "ENETDOWN" => "unreachable",
        "EADDRNOTAVAIL" => "no free port, or no address to connect from",
        "ENOENT" => "no such socket",
        "EAGAIN" => "the server's backlog is full",
        "EACCES" | "EPERM" => "not allowed",
        "ECONNRESET" => "reset",
        other => return other.to_owned(),
    };
    format!("{words} ({error})")
}

pub(super) fn is_loopback(host: &str) -> bool {
    host.parse::<IpAddr>().is_ok_and(|ip| ip.to_canonical().is_loopback())
}

/// What shows more, by [`super::failures::Failures::worst`].
pub(super) fn advice(error: &str, peer: &Peer<'_>) -> String {
    let (host, port) = peer.address.rsplit_once(':').unwrap_or((peer.address, ""));
    let host = host.trim_start_matches('[').trim_end_matches(']');
    match error {
        "ECONNREFUSED" | "ENOENT" if peer.is_unix() => format!(
            "No server has this socket open: `ss -xl | grep {}`. Start it, or correct the path in the settings of either.",
            peer.address.trim_start_matches("unix:")
        ),
        "ECONNREFUSED" => {
            let wider = if is_loopback(host) { "" } else { ", or have it listen on more than 127.0.0.1" };
            format!(
                "Nothing listens there, or a firewall turns connections away: `ss -tlnp 'sport = :{port}'` on {host}. \
                 Start the server, or correct the address{wider}."
            )
        }
        "EADDRNOTAVAIL" => {
            "Keep connections in place of opening new ones; `ss -s` counts those in TIME_WAIT. For a while \
             `sysctl net.ipv4.tcp_tw_reuse=1` and a wider `net.ipv4.ip_local_port_range` help."
                .into()
        }
        "EHOSTUNREACH" | "ENETUNREACH" | "EHOSTDOWN" | "ENETDOWN" => {
            format!("`ip route get {host}` shows where packets would go, `ip neigh` who answers.")
        }
        "EAGAIN" => format!(
            "The server does not accept as fast as connections come: `ss -xl | grep {}` shows its backlog (Recv-Q). More \
             workers, or a larger backlog (`net.core.somaxconn` bounds it).",
            peer.address.trim_start_matches("unix:")
        ),
        "EACCES" | "EPERM" => {
            "Look at the socket's rights, the firewall's output rules and the audit log (SELinux, AppArmor)."
                .into()
        }
        HUNG_UP => format!("{HANGS_UP} A FIN within microseconds of the request is its keep-alive timeout."),
        "" | "ECONNRESET" => format!(
            "The peer closed with data unread, crashed, or something between cut it off: look into its log. `tcpdump -ni any \
             'tcp[tcpflags] & tcp-rst != 0 and port {port}'` shows who sends the resets."
        ),
        _ => format!(
            "Packets are dropped on the way (a firewall, a host that is down, a full backlog): `ss -tn state syn-sent` shows \
             who waits; on {host} `nstat -az TcpExtListenDrops TcpExtListenOverflows` counts what was turned away."
        ),
    }
}
