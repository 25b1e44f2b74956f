//! The outside of the machines, made of vectors: bytes of the current operation, waiting requests, records, counters.

use std::boxed::Box;
use std::collections::BTreeMap;
use std::vec::Vec;

use crate::conn::Conn;
use crate::record::{Counter, Record, Request};
use crate::world::{Op, WINDOW, World};

/// Bytes kept of each head, as `--head-bytes` has it by default.
pub(super) const HEAD_BYTES: usize = 512;
/// What lies in the window behind the bytes that were fetched: a machine that looks there is wrong.
const JUNK: u8 = 0xff;

/// How an operation's bytes lie in the caller's memory.
#[derive(Clone, Debug, Default)]
pub(super) enum Memory {
    /// One buffer.
    #[default]
    Whole,
    /// Segments of an I/O vector; the last length repeats.
    Segments(Vec<usize>),
    /// Nowhere (sendfile, splice).
    Unreadable,
}

/// A record that was sent, with the head behind it.
#[derive(Clone, Debug)]
pub(super) struct Sent {
    pub(super) record: Record,
    pub(super) head: Vec<u8>,
}

pub(super) struct TestWorld {
    pub(super) bytes: Vec<u8>,
    pub(super) memory: Memory,
    pub(super) records: Vec<Sent>,
    /// Waiting requests that can be stored.
    pub(super) room: usize,
    pub(super) fetches: u64,
    waiting: BTreeMap<u32, (Box<Request>, Vec<u8>)>,
    head: Vec<u8>,
    window: [u8; WINDOW],
    counters: [u64; Counter::COUNT],
}

impl TestWorld {
    pub(super) fn new() -> Self {
        Self {
            bytes: Vec::new(),
            memory: Memory::Whole,
            records: Vec::new(),
            room: usize::MAX,
            fetches: 0,
            waiting: BTreeMap::new(),
            head: Vec::new(),
            window: [JUNK; WINDOW],
            counters: [0; Counter::COUNT],
        }
    }

    pub(super) fn counted(&self, counter: Counter) -> u64 {
        self.counters[counter as usize]
    }

    /// Waiting requests that are stored now.
    pub(super) fn stored(&self) -> usize {
        self.waiting.len()
    }

    /// The head that belongs to this request.
    fn head_of(&mut self, request: *const Request) -> &mut Vec<u8> {
        for (waiting, head) in self.waiting.values_mut() {
            if core::ptr::eq(&raw const **waiting, request) {
                return head;
            }
        }
        &mut self.head
    }
}

impl World for TestWorld {
    fn fetch(&mut self, op: &Op, off: u32) -> u32 {
        assert!(off <= op.len, "fetch behind the operation's end");
        self.fetches += 1;
        let off = off as usize;
        let mut end = self.bytes.len();
        match &self.memory {
            Memory::Whole => {}
            Memory::Unreadable => return 0,
            Memory::Segments(lengths) => {
                let mut at = 0;
                for i in 0.. {
                    at += lengths.get(i).or(lengths.last()).map_or(usize::MAX / 2, |l| *l.max(&1));
                    if at > off {
                        end = end.min(at);
                        break;
                    }
                }
            }
        }
        let from = &self.bytes[off..end.max(off)];
        let n = from.len().min(WINDOW);
        self.window = [JUNK; WINDOW];
        self.window[..n].copy_from_slice(&from[..n]);
        n as u32
    }

    fn window(&self) -> &[u8; WINDOW] {
        &self.window
    }

    fn head_room(&self, request: &Request) -> bool {
        (request.head_len as usize) < HEAD_BYTES
    }

    fn append_head(&mut self, request: &mut Request, len: u32) {
        let bytes = self.window[..len as usize].to_vec();
        let head = self.head_of(request);
        head.truncate(request.head_len as usize);
        assert_eq!(head.len(), request.head_len as usize, "a head is begun before it is gone on with");
        let room = HEAD_BYTES - head.len();
        head.extend_from_slice(&bytes[..bytes.len().min(room)]);
        request.head_len = head.len() as u32;
        if bytes.len() > room {
            request.truncated = 1;
        }
    }

    fn start_head(&mut self, request: &mut Request, pre: u64, len: u32) {
        assert!(len < 8);
        let head = self.head_of(request);
        *head = pre.to_le_bytes()[..len as usize].to_vec();
        request.head_len = len;
    }

    fn emit(&mut self, conn: &mut Conn) {
        conn.tally();
        let record = conn.record;
        let head = self.head[..record.request.head_len as usize].to_vec();
        self.records.push(Sent { record, head });
    }

    fn push_waiting(&mut self, _: &Conn, number: u32) -> *mut Request {
        if self.waiting.len() >= self.room {
            return core::ptr::null_mut();
        }
        let entry = self.waiting.entry(number).or_default();
        &raw mut *entry.0
    }

    fn waiting(&mut self, _: &Conn, number: u32) -> *mut Request {
        self.waiting.get_mut(&number).map_or(core::ptr::null_mut(), |entry| &raw mut *entry.0)
    }

    fn take_waiting(&mut self, conn: &mut Conn, number: u32) -> bool {
        let Some((request, head)) = self.waiting.remove(&number) else { return false };
        conn.record.request = *request;
        self.head = head;
        true
    }

    fn count(&mut self, counter: Counter) {
        self.counters[counter as usize] += 1;
    }
}
