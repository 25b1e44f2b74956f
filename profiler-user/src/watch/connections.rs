//! The connections of one set: what is in it comes in, whether clients wait for its thread goes out.

use crate::config::Protocol;

/// The connections of one set.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Connections {
    /// Those that the process has accepted.
    pub accepted: u32,
    /// Accepted ones with bytes that nobody has read.
    pub unread: u32,
    /// Those that wait to be accepted.
    pub backlog: u32,
    /// Sockets that are listened on.
    pub listeners: u32,
}

impl Connections {
    /// Whether clients wait for a thread with this set, which has answered in this protocol. One connection, and
    /// nothing that brings another, is a process that works for one client alone (PostgreSQL, smbd). So do threads of a
    /// MySQL server, whoever shares their set.
    pub fn are_a_servers(&self, answers: Option<Protocol>) -> bool {
        match answers {
            Some(Protocol::Http) => self.accepted > 0,
            Some(Protocol::Mysql) => false,
            None => self.accepted > 1 || self.accepted == 1 && self.listeners > 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_works_for_one_client_alone_keeps_nobody_waiting() {
        let (http, mysql) = (Some(Protocol::Http), Some(Protocol::Mysql));
        for (accepted, listeners, answers, expected) in [
            (1, 0, None, false),
            (1, 1, None, true),
            (2, 0, None, true),
            (0, 1, None, false),
            // A worker of a Node cluster gets its connections from another process.
            (1, 0, http, true),
            (0, 1, http, false),
            // A thread of a pool, which runs a query.
            (40, 1, mysql, false),
        ] {
            let connections = Connections { accepted, listeners, ..Connections::default() };
            assert_eq!(connections.are_a_servers(answers), expected, "{connections:?} {answers:?}");
        }
    }
}
