//! What connections speak: what was seen of each goes in, the one name of all that go to the same place comes out.

use profiler_ebpf::life::mark;
use profiler_ebpf::record::proto;

/// What was seen of a connection, least first.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Protocol {
    #[default]
    Unknown,
    Other,
    Tls,
    Http2,
    Http,
    Mysql,
}

const ALL: [Protocol; 6] =
    [Protocol::Unknown, Protocol::Other, Protocol::Tls, Protocol::Http2, Protocol::Http, Protocol::Mysql];

impl Protocol {
    /// Of the kernel half's number and marks ([`mark`]).
    pub(super) fn of(number: u8, marks: u8) -> Self {
        match number {
            _ if marks & mark::MYSQL != 0 => Self::Mysql,
            proto::MYSQL => Self::Mysql,
            proto::HTTP => Self::Http,
            _ if marks & mark::TLS != 0 => Self::Tls,
            _ if marks & mark::HTTP2 != 0 => Self::Http2,
            proto::IGNORED => Self::Other,
            _ => Self::Unknown,
        }
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Other => "other",
            Self::Tls => "tls",
            Self::Http2 => "http2",
            Self::Http => "http",
            Self::Mysql => "mysql",
        }
    }
}

/// How many connections spoke what.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Spoken([u64; ALL.len()]);

impl Spoken {
    /// One of them was seen to speak `now`, where it seemed to speak `before`.
    pub(super) fn note(&mut self, before: Protocol, now: Protocol) {
        self.0[before as usize] = self.0[before as usize].saturating_sub(1);
        self.0[now as usize] += 1;
    }

    pub(super) fn merge(&mut self, other: &Self) {
        self.0.iter_mut().zip(other.0).for_each(|(ours, theirs)| *ours += theirs);
    }

    /// What most of those speak of which it is known. One that failed, or was never used, would have spoken the same.
    pub(super) fn protocol(&self) -> Protocol {
        let known = ALL.into_iter().filter(|p| *p > Protocol::Other && self.0[*p as usize] > 0);
        let other = (self.0[Protocol::Other as usize] > 0).then_some(Protocol::Other);
        known.max_by_key(|p| self.0[*p as usize]).or(other).unwrap_or_default()
    }

    pub(super) fn name(&self) -> &'static str {
        self.protocol().name()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_encrypted_may_still_be_known() {
        assert_eq!(Protocol::of(proto::IGNORED, mark::TLS | mark::MYSQL), Protocol::Mysql);
        assert_eq!(Protocol::of(proto::IGNORED, mark::TLS), Protocol::Tls);
        assert_eq!(Protocol::of(proto::IGNORED, mark::HTTP2), Protocol::Http2);
        assert_eq!(Protocol::of(proto::IGNORED, 0), Protocol::Other);
        assert_eq!(Protocol::of(proto::HTTP, 0), Protocol::Http);
        assert_eq!(Protocol::of(proto::UNKNOWN, 0), Protocol::Unknown);
    }

    #[test]
    fn those_that_never_spoke_take_the_protocol_of_the_others() {
        let mut spoken = Spoken::default();
        assert_eq!(spoken.name(), "unknown");
        for _ in 0..3 {
            spoken.note(Protocol::Unknown, Protocol::Unknown);
        }
        spoken.note(Protocol::Unknown, Protocol::Other);
        assert_eq!(spoken.name(), "other");
        spoken.note(Protocol::Unknown, Protocol::Http);
        assert_eq!(spoken.name(), "http");
        spoken.note(Protocol::Http, Protocol::Mysql);
        assert_eq!(spoken.name(), "mysql", "seen better");
    }
}
