//! What has to be remembered of a connection between its exchanges: its two ends in words, its schema, its prepared
//! statements. Bounded: what was not used for longest is forgotten first.

use std::num::NonZeroUsize;
use std::sync::Arc;

use lru::LruCache;
use profiler_ebpf::record::Record;

use super::sql::{Backslash, Digest};
use crate::connections::address;

/// Connections and prepared statements remembered at most.
const CONNECTIONS: NonZeroUsize = NonZeroUsize::new(16_384).unwrap();
const STATEMENTS: NonZeroUsize = NonZeroUsize::new(32_768).unwrap();

/// A connection's identity: the socket's address in the kernel, and when it was first seen.
pub type Key = (u64, u64);

/// A connection.
#[derive(Debug, Clone)]
pub struct Connection {
    /// `ip:port`, `[ip6]:port` or `unix:PATH`; empty when a Unix socket's name is not known.
    pub local: Arc<str>,
    pub peer: Arc<str>,
    /// The session's schema, as far as it was seen to be chosen.
    pub schema: Option<Arc<str>>,
    /// SET_OPTION has allowed several statements in one query since the sign-in.
    pub several: bool,
    /// As the server's last reply has it.
    pub backslash: Backslash,
}

impl Connection {
    fn new(local: Arc<str>, peer: Arc<str>) -> Self {
        Self { local, peer, schema: None, several: false, backslash: Backslash::Unknown }
    }
}

/// All connections.
#[derive(Debug)]
pub struct Connections {
    known: LruCache<Key, Connection>,
    statements: LruCache<(Key, u32), Arc<Digest>>,
}

impl Default for Connections {
    fn default() -> Self {
        Self { known: LruCache::new(CONNECTIONS), statements: LruCache::new(STATEMENTS) }
    }
}

impl Connections {
    /// The connection of a record.
    pub fn of(&mut self, record: &Record) -> &mut Connection {
        self.known.get_or_insert_mut((record.sk, record.born), || {
            let local = endpoint(record.family, &record.laddr, record.lport);
            Connection::new(local.into(), endpoint(record.family, &record.raddr, record.rport).into())
        })
    }

    /// A Unix connection's path has become known. Both ends have it: the server's own, and the client's peer.
    pub fn name(&mut self, key: Key, path: &[u8]) {
        let name: Arc<str> = unix_name(path).into();
        self.known.put(key, Connection::new(name.clone(), name));
    }

    /// Nothing will be asked of this connection any more.
    pub fn forget(&mut self, key: Key) {
        self.known.pop(&key);
    }

    /// The path of a Unix connection, `unix:PATH`; empty where it has none or none is known.
    pub fn unix_name(&self, key: Key) -> Arc<str> {
        self.known.peek(&key).map_or_else(|| Arc::from(""), |connection| connection.peer.clone())
    }

    /// A statement was prepared under this number.
    pub fn prepared(&mut self, key: Key, number: u32, statement: Arc<Digest>) {
        self.statements.put((key, LATEST), statement.clone());
        self.statements.put((key, number), statement);
    }

    /// The statement of this number; None when it was prepared before we came, or long ago.
    pub fn statement(&mut self, key: Key, number: u32) -> Option<Arc<Digest>> {
        self.statements.get(&(key, number)).cloned()
    }
}

/// MariaDB's number for the statement that was prepared last: its connectors send EXECUTE behind PREPARE, before they
/// know the statement's own (COM_STMT_EXECUTE in MariaDB's documentation of the protocol).
const LATEST: u32 = u32::MAX;

/// An address in words; empty for what has none.
fn endpoint(family: u16, address: &[u8; 16], port: u16) -> String {
    address::socket(family, address, port).map(|address| address.to_string()).unwrap_or_default()
}

/// `unix:PATH`; an abstract name begins with `@`, as in `ss` and /proc/net/unix.
fn unix_name(path: &[u8]) -> String {
    if let Some(name) = path.strip_prefix(b"\0") {
        return format!("unix:@{}", String::from_utf8_lossy(name));
    }
    let end = path.iter().position(|b| *b == 0).unwrap_or(path.len());
    format!("unix:{}", String::from_utf8_lossy(&path[..end]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unix_names() {
        assert_eq!(unix_name(b"/run/my.sock\0\0"), "unix:/run/my.sock");
        assert_eq!(unix_name(b"\0abstract"), "unix:@abstract");
    }
}
