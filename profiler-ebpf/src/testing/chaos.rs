//! Anything at all: no bytes in any order make the machines panic, loop, or contradict themselves.

use std::vec::Vec;

use proptest::collection::vec;
use proptest::prelude::*;

use super::packets::{CAPS, command, err, greeting, ok, query, sign_in};
use super::traffic::times_are_in_order;
use super::wire::{BOTH, Wire};
use super::world::Memory;
use crate::conn::PIPELINE_DEPTH;
use crate::record::{Counter, flag};

#[derive(Clone, Debug)]
enum Event {
    Bytes { client: bool, bytes: Vec<u8>, memory: Memory },
    Wait(u64),
    Sweep,
    End(u8),
}

fn piece() -> impl Strategy<Value = Vec<u8>> {
    let known = prop::sample::select(std::vec![
        b"GET / HTTP/1.1\r\n\r\n".to_vec(),
        b"POST / HTTP/1.1\r\nContent-Length: 10\r\n\r\n".to_vec(),
        b"PUT / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec(),
        b"HEAD / HTTP/1.1\r\n\r\n".to_vec(),
        b"CONNECT a HTTP/1.1\r\n\r\n".to_vec(),
        b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc".to_vec(),
        b"HTTP/1.1 200 OK\r\n\r\n".to_vec(),
        b"HTTP/1.1 100 Continue\r\n\r\n".to_vec(),
        b"HTTP/1.1 101 Up\r\n\r\n".to_vec(),
        b"HTTP/1.1 99999999999999999999999 OK\r\nContent-Length: 99999999999999999999999\r\n\r\n".to_vec(),
        b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec(),
        b"5\r\nhello\r\n".to_vec(),
        b"ffffffffffffffff\r\n".to_vec(),
        b"fffffffffffffffe\r\n".to_vec(),
        b"0\r\n\r\n".to_vec(),
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(),
        b"\x16\x03\x01\x02\0\x01".to_vec(),
        query("SELECT 1"),
        command(0x12, b"x"),
        command(0x19, b"1234"),
        command(1, b""),
        ok(1, 2),
        ok(2, 8),
        err(0, 4031, "bye"),
        err(1, 1064, "no"),
        greeting(),
        sign_in(CAPS),
        sign_in(CAPS | 32),
        b"\xff\xff\xff\0\x03".to_vec(),
        b"\0\0\0\x01".to_vec(),
        b"\0\0\0\0".to_vec(),
    ]);
    prop_oneof![4 => known, 1 => vec(any::<u8>(), 1..40), 1 => (1usize..70_000).prop_map(|n| std::vec![b'x'; n])]
}

fn event() -> impl Strategy<Value = Event> {
    let memory = prop_oneof![
        6 => Just(Memory::Whole),
        1 => Just(Memory::Unreadable),
        2 => vec(1usize..30, 1..5).prop_map(Memory::Segments),
    ];
    let bytes = (any::<bool>(), vec(piece(), 1..5), any::<prop::sample::Index>(), memory).prop_map(
        |(client, pieces, cut, memory)| {
            let all = pieces.concat();
            // Often a beginning only, or an end.
            let at = cut.index(all.len() * 2);
            let bytes =
                if at < all.len() / 2 { all[at..].to_vec() } else { all[..at.min(all.len())].to_vec() };
            Event::Bytes { client, bytes, memory }
        },
    );
    prop_oneof![20 => bytes, 1 => (0u64..2_000_000_000).prop_map(Event::Wait), 1 => Just(Event::Sweep), 1 => any::<u8>().prop_map(Event::End)]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 600, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn nothing_makes_the_machines_panic_or_contradict_themselves(events in vec(event(), 1..60), joined: bool) {
        for end in BOTH {
            let mut wire = if joined { Wire::joined(end) } else { Wire::new(end) };
            for event in &events {
                match event {
                    Event::Bytes { client, bytes, memory } => { wire.operation(*client, bytes, memory.clone()); }
                    Event::Wait(ns) => { wire.wait(*ns); }
                    Event::Sweep => { wire.sweep(); }
                    Event::End(errno) => { wire.fail(*errno); }
                }
                prop_assert!(wire.world.stored() <= PIPELINE_DEPTH as usize);
                prop_assert_eq!(wire.world.stored(), wire.conn.waiting as usize);
            }
            wire.close();
            prop_assert_eq!(wire.world.stored(), 0);
            for sent in &wire.world.records {
                // A role that was guessed may have been the other.
                if sent.record.flags & flag::RACED == 0 && !joined {
                    times_are_in_order(&sent.record, end)?;
                }
            }
            prop_assert_eq!(wire.counted(Counter::Emitted), wire.world.records.len() as u64);
        }
    }
}
