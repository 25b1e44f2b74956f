//! Names of peers: which name the processes of a network namespace have looked an address up by. In come the answers that
//! they have read from name servers, out goes the name of an address. Nothing is asked of anybody.

use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroUsize;
use std::sync::Arc;

use lru::LruCache;
use simple_dns::Packet;
use simple_dns::rdata::RData;

use crate::report::{ConnectionRow, Role};

/// Addresses remembered at the most; what was not seen for longest is forgotten first.
const MOST: NonZeroUsize = NonZeroUsize::new(4_096).unwrap();
/// Addresses of one answer that are taken.
const OF_ONE: usize = 32;

/// Names by network namespace and address.
#[derive(Debug)]
pub struct Names {
    known: LruCache<(u32, IpAddr), Arc<str>>,
}

impl Default for Names {
    fn default() -> Self {
        Self { known: LruCache::new(MOST) }
    }
}

impl Names {
    /// Takes an answer. One that is none, or was cut, says nothing.
    pub fn learn(&mut self, netns: u32, message: &[u8]) {
        let Ok(packet) = Packet::parse(message) else { return };
        let Some(question) = packet.questions.first() else { return };
        let name: Arc<str> = question.qname.to_string().into();
        let addresses = packet.answers.iter().filter_map(|answer| match &answer.rdata {
            RData::A(a) => Some(IpAddr::from(a.address.to_be_bytes())),
            RData::AAAA(a) => Some(IpAddr::from(a.address.to_be_bytes())),
            _ => None,
        });
        for address in addresses.take(OF_ONE) {
            self.known.put((netns, address), name.clone());
        }
    }

    /// Gives a client's row the name of its peer.
    pub fn dress(&mut self, row: &mut ConnectionRow) {
        if row.role == Role::Client
            && let Ok(peer) = row.peer.parse::<SocketAddr>()
        {
            row.peer_name = self.of(row.netns, peer.ip());
        }
    }

    /// The name of an address there.
    fn of(&mut self, netns: u32, address: IpAddr) -> Option<String> {
        self.known.get(&(netns, address)).map(|name| name.to_string())
    }
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, Ipv6Addr};

    use super::*;

    /// `db.shop.internal` is an alias of `mysql-1.internal`, which is 10.0.0.9 (RFC 1035, 4.1).
    const ALIASED: &[u8] = b"\x12\x34\x81\x80\0\x01\0\x02\0\0\0\0\
        \x02db\x04shop\x08internal\0\0\x01\0\x01\
        \xc0\x0c\0\x05\0\x01\0\0\0\x3c\0\x0a\x07mysql-1\xc0\x14\
        \xc0\x2e\0\x01\0\x01\0\0\0\x3c\0\x04\x0a\0\0\x09";

    #[test]
    fn an_address_goes_by_the_name_that_was_asked_for() {
        let mut names = Names::default();
        names.learn(7, ALIASED);
        let address = IpAddr::from(Ipv4Addr::new(10, 0, 0, 9));
        assert_eq!(names.of(7, address).as_deref(), Some("db.shop.internal"));
        assert_eq!(names.of(8, address), None);
        assert_eq!(names.of(7, IpAddr::from(Ipv6Addr::LOCALHOST)), None);
    }

    #[test]
    fn a_clients_row_has_its_peers_name_and_a_servers_has_none() {
        let mut names = Names::default();
        names.learn(7, ALIASED);
        for (role, peer, name) in [
            (Role::Client, "10.0.0.9:3306", Some("db.shop.internal")),
            (Role::Client, "10.0.0.8:3306", None),
            (Role::Client, "unix:/run/db.sock", None),
            (Role::Server, "10.0.0.9", None),
        ] {
            let mut row = ConnectionRow { role, peer: peer.into(), netns: 7, ..ConnectionRow::default() };
            names.dress(&mut row);
            assert_eq!(row.peer_name.as_deref(), name);
        }
    }

    #[test]
    fn what_is_no_answer_says_nothing() {
        let mut names = Names::default();
        for len in 0..ALIASED.len() {
            names.learn(7, &ALIASED[..len]);
        }
        names.learn(7, &[0xff; 512]);
        names.learn(7, &[0xc0; 512]);
        assert!(names.known.is_empty());
    }
}
