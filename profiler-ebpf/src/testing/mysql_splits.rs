//! MySQL: any cut of the bytes into calls gives the same exchanges.

use std::vec::Vec;

use proptest::collection::vec;
use proptest::prelude::*;

use super::packets::{CAPS, command, end, eof, err, greeting, ok, packet, prepared, query, rows, sign_in};
use super::traffic::{Cut, Expected, Turn, cut, play, times_are_in_order};
use super::wire::{BOTH, Wire};
use crate::conn::Conn;
use crate::machine::SETTLE_NS;
use crate::record::{COMMAND_HANDSHAKE, Counter, REPLY_TAIL};

/// A command with its reply; `before` are commands without one that come with it.
#[derive(Clone, Debug)]
struct Exchange {
    before: Vec<u8>,
    ask: Vec<u8>,
    answer: Vec<u8>,
    /// LOAD DATA LOCAL: the file, and what the server says then.
    file: Option<(Vec<u8>, Vec<u8>)>,
}

fn exchange() -> impl Strategy<Value = Exchange> {
    let text = || "[ -~]{1,60}";
    let cells = || vec("[a-z]{0,30}", 0..20);
    let both = prop_oneof![
        (text(), cells(), any::<bool>()).prop_map(|(sql, cells, new)| {
            let cells: Vec<&str> = cells.iter().map(|c| &c[..]).collect();
            let last = |n| if new { end(n, 0x22) } else { eof(n, 0x22) };
            (query(&sql), rows(1, &cells, new, last), None)
        }),
        (text(), 1u16..4).prop_map(|(sql, n)| (query(&sql), ok(1, n & 2), None)),
        (text(), 1000u16..4000, "[a-z ]{1,300}").prop_map(|(sql, code, says)| (
            query(&sql),
            err(1, code, &says),
            None
        )),
        (text(), cells()).prop_map(|(sql, cells)| {
            let cells: Vec<&str> = cells.iter().map(|c| &c[..]).collect();
            (query(&sql), rows(1, &cells, true, |n| err(n, 1317, "interrupted")), None)
        }),
        (text(), 0u8..4, 0u8..4, any::<bool>()).prop_map(|(sql, p, c, new)| (
            command(0x16, sql.as_bytes()),
            prepared(p, c, new),
            None
        )),
        (1000usize..40_000).prop_map(|n| (command(3, &std::vec![b'x'; n]), ok(1, 2), None)),
        (1usize..9000).prop_map(|n| {
            let file = [packet(2, &std::vec![7; n]), packet(3, b"")].concat();
            (query("LOAD DATA LOCAL INFILE 'f' INTO TABLE t"), packet(1, b"\xfbf"), Some((file, ok(4, 2))))
        }),
        Just((command(0x0e, b""), ok(1, 2), None)),
    ];
    let before = prop_oneof![
        4 => Just(Vec::new()),
        1 => Just(command(0x19, b"\x01\0\0\0")),
        1 => (1usize..900).prop_map(|n| command(0x18, &std::vec![3; n])),
    ];
    (before, both).prop_map(|(before, (ask, answer, file))| Exchange { before, ask, answer, file })
}

/// What is recognised wherever it stands.
fn plain() -> Exchange {
    Exchange { before: Vec::new(), ask: query("SELECT 1"), answer: ok(1, 2), file: None }
}

impl Exchange {
    fn turns(&self) -> Vec<Turn> {
        let mut turns = std::vec![
            Turn { client: true, bytes: [&self.before[..], &self.ask].concat() },
            Turn { client: false, bytes: self.answer.clone() },
        ];
        if let Some((file, verdict)) = &self.file {
            turns.push(Turn { client: true, bytes: file.clone() });
            turns.push(Turn { client: false, bytes: verdict.clone() });
        }
        turns
    }

    fn expected(&self) -> Expected {
        let file = self.file.as_ref();
        let said = file.map_or(&self.answer, |(_, verdict)| verdict);
        let all = [&self.answer[..], file.map_or(&[], |(_, verdict)| verdict)].concat();
        Expected {
            status: 0,
            command: self.ask[4],
            head: Expected::head_of(&self.ask[4..]),
            request_bytes: (self.ask.len() + file.map_or(0, |(file, _)| file.len())) as u64,
            response_bytes: all.len() as u64,
            error: 0,
            flags: 0,
            reply: Some((
                said[..said.len().min(64)].to_vec(),
                all[all.len().saturating_sub(REPLY_TAIL)..].to_vec(),
            )),
        }
    }
}

fn check(
    exchanges: &[Exchange],
    cuts: &[Cut],
    login: bool,
    joined: bool,
    sweep: bool,
) -> Result<(), TestCaseError> {
    for end in BOTH {
        let mut wire = if joined { Wire::joined(end) } else { Wire::new(end) };
        if login {
            let turns = [
                Turn { client: false, bytes: greeting() },
                Turn { client: true, bytes: sign_in(CAPS) },
                Turn { client: false, bytes: ok(2, 2) },
            ];
            play(&mut wire, &turns, cuts);
        }
        for exchange in exchanges {
            play(&mut wire, &exchange.turns(), cuts);
            if sweep {
                let before = wire.world.records.len();
                wire.wait(SETTLE_NS).sweep();
                prop_assert_eq!(wire.world.records.len(), before + 1, "not settled: {:?}", exchange);
            }
        }
        play(&mut wire, &[Turn { client: true, bytes: command(1, b"") }], cuts);
        wire.close();
        let mut records = wire.take();
        for sent in &records {
            times_are_in_order(&sent.record, end)?;
        }
        if login {
            let first = records.remove(0);
            prop_assert_eq!((first.record.request.command, first.record.caps), (COMMAND_HANDSHAKE, CAPS));
            prop_assert_eq!(first.record.response_bytes as usize, greeting().len() + 11);
            prop_assert_eq!(&first.head[..], &sign_in(CAPS)[4..]);
        }
        prop_assert_eq!(records.len(), exchanges.len());
        for (sent, exchange) in records.iter().zip(exchanges) {
            prop_assert_eq!(Expected::from(sent, true), exchange.expected());
        }
        for counter in
            [Counter::HalfSeen, Counter::PipelineTooDeep, Counter::FramingLost, Counter::Unsolicited]
        {
            prop_assert_eq!(wire.counted(counter), 0, "{:?}", counter);
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_cut_gives_the_same_exchanges(
        exchanges in vec(exchange(), 1..6), cuts in vec(cut(), 1..5), login: bool, sweep: bool,
    ) {
        let first = if login { Vec::new() } else { std::vec![plain()] };
        check(&[&first[..], &exchanges[..]].concat(), &cuts, login, false, sweep)?;
    }

    #[test]
    fn any_cut_gives_the_same_exchanges_when_we_join_between_two(
        exchanges in vec(exchange(), 1..6), cuts in vec(cut(), 1..5), sweep: bool,
    ) {
        check(&[&[plain()], &exchanges[..]].concat(), &cuts, false, true, sweep)?;
    }

    #[test]
    fn a_reply_is_never_settled_before_its_end(exchange in exchange(), size in 1usize..2000) {
        for turn_end in BOTH {
            let mut wire = Wire::new(turn_end);
            wire.ask(&exchange.ask);
            let mut sent = 0;
            for piece in exchange.answer.chunks(size) {
                wire.answer(piece);
                sent += piece.len();
                // Without the handshake we do not know whether an EOF follows a PREPARE's last definition.
                let undecidable = exchange.ask[4] == 0x16 && sent + 9 == exchange.answer.len();
                if sent < exchange.answer.len() && !undecidable {
                    let before: Conn = *wire.conn;
                    wire.wait(SETTLE_NS).sweep();
                    prop_assert!(wire.world.records.is_empty(), "settled after {} of {:?}", sent, exchange);
                    *wire.conn = before;
                }
            }
        }
    }
}
