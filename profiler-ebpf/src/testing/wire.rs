//! One end of a connection: what it reads and writes, piece by piece, and the records that follow from it.

use std::vec::Vec;

use super::world::{Memory, Sent, TestWorld};
use crate::conn::{Conn, mark};
use crate::machine;
use crate::record::{Counter, kind, role};
use crate::world::Op;

/// Between two operations, ns.
pub(super) const TICK: u64 = 1000;

/// Which end we are at. The bytes are the same; which of them we send differs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    Server,
    Client,
}

pub(super) const BOTH: [End; 2] = [End::Server, End::Client];

pub(super) struct Wire {
    pub(super) conn: std::boxed::Box<Conn>,
    pub(super) world: TestWorld,
    pub(super) end: End,
    /// The clock, ns.
    pub(super) time: u64,
}

impl Wire {
    /// A connection that we have seen from its handshake on.
    pub(super) fn new(end: End) -> Self {
        let mut wire = Self::joined(end);
        wire.conn.record.role = if end == End::Server { role::SERVER } else { role::CLIENT };
        wire.conn.marks = mark::SYNCED;
        wire
    }

    /// A connection that was there before us.
    pub(super) fn joined(end: End) -> Self {
        // SAFETY: plain data; the kernel half begins with zeros too.
        let mut conn: std::boxed::Box<Conn> = unsafe { std::boxed::Box::new(core::mem::zeroed()) };
        conn.record.kind = kind::EXCHANGE;
        conn.record.sk = 0xffff_8880_0000_1000;
        conn.record.family = 2;
        Self { conn, world: TestWorld::new(), end, time: 1_000_000_000 }
    }

    /// Bytes of the client, moved by one call.
    pub(super) fn ask(&mut self, bytes: impl AsRef<[u8]>) -> &mut Self {
        self.operation(true, bytes.as_ref(), Memory::Whole)
    }

    /// Bytes of the server, moved by one call.
    pub(super) fn answer(&mut self, bytes: impl AsRef<[u8]>) -> &mut Self {
        self.operation(false, bytes.as_ref(), Memory::Whole)
    }

    /// Bytes of the server that no buffer of the process holds.
    pub(super) fn answer_by_sendfile(&mut self, len: usize) -> &mut Self {
        self.operation(false, &std::vec![0; len], Memory::Unreadable)
    }

    /// Bytes moved in calls of at most `size` bytes.
    pub(super) fn ask_by(&mut self, size: usize, bytes: impl AsRef<[u8]>) -> &mut Self {
        for piece in bytes.as_ref().chunks(size) {
            self.ask(piece);
        }
        self
    }

    pub(super) fn answer_by(&mut self, size: usize, bytes: impl AsRef<[u8]>) -> &mut Self {
        for piece in bytes.as_ref().chunks(size) {
            self.answer(piece);
        }
        self
    }

    /// One call that moves bytes of the client or of the server.
    pub(super) fn operation(&mut self, clients: bool, bytes: &[u8], memory: Memory) -> &mut Self {
        if bytes.is_empty() {
            return self;
        }
        self.time += TICK;
        let send = clients == (self.end == End::Client);
        if !send && self.conn.t_ready == 0 {
            self.conn.t_ready = self.time - TICK / 2;
        }
        self.world.bytes = bytes.to_vec();
        self.world.memory = memory;
        let len = bytes.len() as u32;
        let mut op = Op { len, time: self.time, pid: 100, tid: 101, send: send.into(), ..Op::default() };
        machine::operation(&mut self.conn, &mut op, &mut self.world);
        self
    }

    pub(super) fn wait(&mut self, ns: u64) -> &mut Self {
        self.time += ns;
        self
    }

    /// The connection ends without an error.
    pub(super) fn close(&mut self) -> &mut Self {
        self.fail(0)
    }

    /// The connection ends with this errno.
    pub(super) fn fail(&mut self, errno: u8) -> &mut Self {
        self.time += TICK;
        machine::end(&mut self.conn, &mut self.world, errno, self.time);
        self
    }

    pub(super) fn sweep(&mut self) -> &mut Self {
        machine::idle(&mut self.conn, &mut self.world, self.time);
        self
    }

    pub(super) fn counted(&self, counter: Counter) -> u64 {
        self.world.counted(counter)
    }

    /// The records since the last call.
    pub(super) fn take(&mut self) -> Vec<Sent> {
        core::mem::take(&mut self.world.records)
    }

    /// The only record since the last call.
    #[track_caller]
    pub(super) fn one(&mut self) -> Sent {
        let mut records = self.take();
        assert_eq!(records.len(), 1, "records: {:?}", statuses(&records));
        records.remove(0)
    }

    #[track_caller]
    pub(super) fn none(&mut self) -> &mut Self {
        let records = self.take();
        assert!(records.is_empty(), "records: {:?}", statuses(&records));
        self
    }
}

/// The statuses of some records, in their order.
pub(super) fn statuses(records: &[Sent]) -> Vec<u16> {
    records.iter().map(|sent| sent.record.status).collect()
}
