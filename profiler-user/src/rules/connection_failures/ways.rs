//! What a service has reached, by port and family of the address: whether a peer that failed was reached the other way,
//! as programs do that try all addresses of a name. Built once, as there may be thousands of peers.

use rustc_hash::FxHashMap;

use super::super::peer::Peer;

/// All that services have reached.
#[derive(Debug, Default)]
pub(super) struct Ways<'a> {
    reached: FxHashMap<Way<'a>, Reached<'a>>,
}

/// A service's connections to a port, over IPv6 or not.
type Way<'a> = (&'a str, &'a str, bool);

/// The most connections to one peer there.
#[derive(Debug, Default)]
struct Reached<'a> {
    of_all: u64,
    /// That has no name.
    nameless: u64,
    named: FxHashMap<&'a str, u64>,
}

impl<'a> Ways<'a> {
    pub(super) fn of(peers: &[Peer<'a>]) -> Self {
        let mut ways = Self::default();
        for peer in peers {
            let Some((is_v6, port)) = family_and_port(peer.address) else { continue };
            let established = peer.sum(|row| row.established);
            let reached = ways.reached.entry((peer.service, port, is_v6)).or_default();
            let most = match peer.looked_up() {
                Some(name) => reached.named.entry(name).or_default(),
                None => &mut reached.nameless,
            };
            *most = established.max(*most);
            reached.of_all = established.max(reached.of_all);
        }
        ways
    }

    /// Whether the same was reached by another family's address, at least half as often as it failed here.
    pub(super) fn has_other(&self, peer: &Peer<'_>, failed: u64) -> bool {
        let Some((is_v6, port)) = family_and_port(peer.address) else { return false };
        self.reached.get(&(peer.service, port, !is_v6)).is_some_and(|reached| {
            let most = match peer.looked_up() {
                Some(name) => reached.named.get(name).copied().unwrap_or(0).max(reached.nameless),
                None => reached.of_all,
            };
            2 * most >= failed
        })
    }
}

/// Whether it is IPv6, and the port.
fn family_and_port(address: &str) -> Option<(bool, &str)> {
    let (host, port) = address.rsplit_once(':').filter(|_| !address.starts_with("unix:"))?;
    Some((host.starts_with('['), port))
}
