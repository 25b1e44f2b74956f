//! What happens to connections: the kernel's events of their lives come in, are counted in rows and listeners, and told of
//! to whoever follows them one by one.

use std::sync::Arc;

use profiler_ebpf::life::{Event, Life, end, mark, what};

use super::Connections;
use super::protocol::Protocol;
use super::subject::{Subject, ends, is_nameless};
use super::table::{Begun, Entry};
use crate::attribute::service::KERNEL;
use crate::report::Role;

/// Events that wait to be taken at the most.
pub(super) const MOST_TOLD: usize = 8_192;

/// Something has happened to a connection of a service that is wanted.
#[derive(Debug, Clone, PartialEq)]
pub struct Told {
    /// [`profiler_ebpf::life::what`].
    pub what: u8,
    /// When, ns on the monotonic clock.
    pub time: u64,
    pub service: Arc<str>,
    pub pid: u32,
    pub role: Role,
    /// `ip:port`, `[ip6]:port` or `unix:PATH`, both with their ports; `unix:` where the name is not known.
    pub local: String,
    pub peer: String,
    /// As in [`crate::report::ConnectionRow::protocol`]: what is known by now.
    pub protocol: &'static str,
    /// Inode number of the network namespace.
    pub netns: u32,
    pub life: Life,
}

impl Connections {
    /// Something has happened to a connection. `service` is that of the process that has it: None where it is not
    /// wanted, or nobody is known to.
    pub fn event(&mut self, event: &Event, subject: &Subject, service: Option<Arc<str>>) {
        self.exits.at(event.time);
        match event.what {
            what::OPENED => self.opened(event, subject, service),
            what::CLOSED => self.closed(event, subject, service),
            what::FAILED | what::GONE => {
                let known = self.table.get((event.sk, event.born)).map(|entry| entry.row);
                let invalid = self.invalid.remove(&(event.sk, event.born)) || event.life.validated != 0;
                let row = known.or_else(|| self.row(subject, service?));
                let Some(row) = row else { return };
                if event.what == what::FAILED {
                    self.count_in(row, None);
                }
                let begun = self.begun;
                if let Some(found) = self.touch(row, event.time) {
                    if event.what == what::FAILED {
                        // The event may come later than what it tells of: at the sweep.
                        let time = if event.life.t_end != 0 { event.life.t_end } else { event.time };
                        found.failed(event.life.error, time, begun)
                    } else {
                        found.gone(&event.life, begun);
                        found.gone_validated += u64::from(invalid);
                    }
                }
                self.tell(event, subject, row);
            }
            _ => {}
        }
    }

    fn opened(&mut self, event: &Event, subject: &Subject, service: Option<Arc<str>>) {
        let Some(mut service) = service else { return };
        let life = &event.life;
        if is_nameless(event, subject) {
            return;
        }
        let (stood, mut before) = (life.t_open == 0, None);
        // One of the snapshot is counted already.
        if stood && let Some(standing) = self.table.take_standing(&ends(event, subject)) {
            // A thread of the kernel's may work on a process's socket. That process is known.
            if let Some(key) = self.rows.key(standing.row).filter(|_| &*service == KERNEL) {
                service = key.service.clone();
            }
            self.undo(standing.row, Begun::Before);
            before = Some(standing.row);
        }
        let Some(row) = self.row(subject, service.clone()) else { return };
        self.count_in(row, before);
        let is_client = subject.role == Role::Client;
        let begun = self.begun;
        let Some(found) = self.touch(row, event.time) else { return };
        if stood {
            found.stood()
        } else {
            found.opened(life, begun, is_client)
        }
        let listener = if is_client { None } else { self.accepted(event, subject, &service) };
        let mut entry = Entry::new(row, listener, if stood { Begun::Before } else { Begun::Within });
        (entry.role, entry.opened, entry.accepted) = (subject.role, life.t_open, life.t_accept);
        entry.pid = life.pid;
        if self.table.insert((event.sk, event.born), entry) {
            self.note((event.sk, event.born), Protocol::of(event.proto, life.marks));
        }
        self.tell(event, subject, row);
    }

    fn accepted(&mut self, event: &Event, subject: &Subject, service: &Arc<str>) -> Option<u32> {
        let life = &event.life;
        let number = self.listeners.of(life.listener, subject.netns, &subject.local)?;
        self.listeners.told(life.listener, number);
        let listener = self.listeners.get(number)?;
        listener.service = Some(service.clone());
        listener.touched = event.time;
        let waited =
            (life.t_open != 0 && life.t_accept != 0).then(|| life.t_accept.saturating_sub(life.t_open));
        listener.accepted((life.pid, life.tid), waited);
        Some(number)
    }

    fn closed(&mut self, event: &Event, subject: &Subject, service: Option<Arc<str>>) {
        let key = (event.sk, event.born);
        let seen = Protocol::of(event.proto, event.life.marks);
        self.note(key, seen);
        let standing =
            if event.life.t_open == 0 { self.table.take_standing(&ends(event, subject)) } else { None };
        let mut invalid = self.invalid.remove(&key) || event.life.validated != 0;
        let mut event = *event;
        let row = if let Some(entry) = self.table.remove(key) {
            invalid |= entry.invalid;
            event.life = entry.end(&event.life);
            self.sign_in(entry.row, &entry, &event.life);
            self.held.forget(key);
            entry.row
        } else if let Some(before) = standing {
            before.row
        } else {
            // Nobody accepted it, or it was there before us and nobody used it; else there was no room to remember it.
            if event.life.marks & mark::OPENED == 0 || is_nameless(&event, subject) {
                return;
            }
            let Some(row) = service.and_then(|service| self.row(subject, service)) else { return };
            row
        };
        let begun = self.begun;
        let Some(found) = self.touch(row, event.time) else { return };
        let protocol = if seen == Protocol::Unknown { found.spoken.protocol() } else { seen };
        found.closed(&event.life, protocol, begun);
        found.gone_validated += u64::from(invalid && event.life.marks & mark::GONE != 0);
        let ours = matches!(event.life.end, end::OURS | end::ABORTED);
        if ours
            && subject.role == Role::Server
            && event.life.marks & mark::CUT != 0
            && self.exits.cut(event.life.pid, row)
        {
            self.cut_by_exit(row);
        }
        self.tell(&event, subject, row);
    }

    /// A server's process has ended in the middle of an exchange.
    pub(super) fn cut_by_exit(&mut self, row: u32) {
        if let Some(row) = self.rows.get(row) {
            row.cut_by_exit += 1;
        }
    }

    fn tell(&mut self, event: &Event, subject: &Subject, row: u32) {
        if !self.telling {
            return;
        }
        if self.told.len() >= MOST_TOLD {
            self.untold += 1;
            return;
        }
        // Its row knows more of it than its last event.
        let Some((service, role)) = self.rows.key(row).map(|key| (key.service.clone(), key.role)) else {
            return;
        };
        let seen = Protocol::of(event.proto, event.life.marks);
        let known = self.rows.get(row).map(|row| row.spoken.protocol()).unwrap_or_default();
        self.told.push(Told {
            what: event.what,
            time: event.time,
            service,
            pid: event.life.pid,
            role,
            local: subject.local.to_string(),
            peer: subject.peer.to_string(),
            protocol: if seen > Protocol::Other { seen } else { known.max(seen) }.name(),
            netns: event.netns,
            life: event.life,
        });
    }
}
