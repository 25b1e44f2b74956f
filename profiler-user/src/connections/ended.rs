//! What ended a connection first: its life goes in, one of six answers out, the same for rows and for single events. Pure.

use profiler_ebpf::life::{Life, end};

use crate::report::ClosedBy;

/// Errors that TCP ends a connection with when packets were repeated in vain: ETIMEDOUT, or what routes and ICMP said
/// meanwhile (`tcp_write_err` in net/ipv4/tcp_timer.c; `icmp_err_convert` in net/ipv4/icmp.c and
/// `icmpv6_err_convert` in net/ipv6/icmp.c): EACCES, ENONET, EPROTO, ENOPROTOOPT, EOPNOTSUPP, ENETDOWN, ENETUNREACH,
/// EHOSTDOWN, EHOSTUNREACH. A refusal by ICMP looks like a reset.
const IN_VAIN: &[u8] = &[13, 64, 71, 92, 95, 100, 101, 110, 112, 113];

/// What ended a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    Us,
    Peer,
    Reset,
    Timeout,
    /// An error that is none of these, as ECONNABORTED of a connection that the host's administrator has destroyed
    /// (`tcp_abort` in net/ipv4/tcp.c).
    Error,
    Unknown,
}

impl Ended {
    pub fn of(life: &Life) -> Self {
        match life.end {
            end::OURS | end::ABORTED => Self::Us,
            end::PEERS => Self::Peer,
            end::RESET => Self::Reset,
            end::TIMEOUT => Self::Timeout,
            end::ERROR if IN_VAIN.contains(&life.error) => Self::Timeout,
            end::ERROR => Self::Error,
            _ => Self::Unknown,
        }
    }

    /// As [`ClosedBy`] calls it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Us => "us",
            Self::Peer => "peer",
            Self::Reset => "reset",
            Self::Timeout => "timeout",
            Self::Error => "error",
            Self::Unknown => "unknown",
        }
    }

    /// Counts it.
    pub(super) fn count(self, ended: &mut ClosedBy) {
        let by = match self {
            Self::Us => &mut ended.us,
            Self::Peer => &mut ended.peer,
            Self::Reset => &mut ended.reset,
            Self::Timeout => &mut ended.timeout,
            Self::Error => &mut ended.error,
            Self::Unknown => &mut ended.unknown,
        };
        *by += 1;
    }
}

/// Adds those of other connections.
pub(super) fn add(to: &mut ClosedBy, from: &ClosedBy) {
    to.us += from.us;
    to.peer += from.peer;
    to.reset += from.reset;
    to.timeout += from.timeout;
    to.error += from.error;
    to.unknown += from.unknown;
}

#[cfg(test)]
mod tests {
    use profiler_ebpf::life::tcp;

    use super::*;

    /// As TCP closes it: with an error and without a FIN before.
    fn closed(error: u8) -> Ended {
        let mut life = Life { t_open: 1, ..Life::default() };
        life.state(tcp::CLOSE, error, 2);
        Ended::of(&life)
    }

    #[test]
    fn an_error_is_a_timeout_only_where_packets_were_repeated_in_vain() {
        let of = |error: i32| closed(u8::try_from(error).unwrap());
        for error in [libc::ETIMEDOUT, libc::EHOSTUNREACH, libc::ENETUNREACH, libc::EHOSTDOWN, libc::EACCES] {
            assert_eq!(of(error), Ended::Timeout, "{error}");
        }
        for error in [libc::ECONNABORTED, libc::EBADMSG, libc::EIO, libc::ENOMEM] {
            assert_eq!(of(error), Ended::Error, "{error}");
        }
        for error in [libc::ECONNRESET, libc::EPIPE, libc::ECONNREFUSED] {
            assert_eq!(of(error), Ended::Reset, "{error}");
        }
        assert_eq!(of(0), Ended::Us, "our reset");
    }

    #[test]
    fn a_fin_before_it_is_what_ended_it() {
        for (fin, ended) in [(tcp::FIN_WAIT1, Ended::Us), (tcp::CLOSE_WAIT, Ended::Peer)] {
            let mut life = Life { t_open: 1, ..Life::default() };
            life.state(fin, 0, 2);
            life.state(tcp::CLOSE, 110, 3);
            assert_eq!(Ended::of(&life), ended);
        }
    }

    #[test]
    fn each_is_counted_where_its_name_says() {
        let lives = [end::OURS, end::PEERS, end::RESET, end::TIMEOUT, end::ERROR, end::UNKNOWN];
        for end in lives {
            let ended = Ended::of(&Life { end, error: 103, ..Life::default() });
            let (mut one, mut two) = (ClosedBy::default(), ClosedBy::default());
            ended.count(&mut one);
            add(&mut two, &one);
            add(&mut two, &one);
            let json = serde_json::to_value(two).unwrap();
            assert_eq!(json[ended.name()], 2, "{json}");
            let sum: u64 = json.as_object().unwrap().values().filter_map(serde_json::Value::as_u64).sum();
            assert_eq!(sum, 2, "{json}");
        }
    }
}
