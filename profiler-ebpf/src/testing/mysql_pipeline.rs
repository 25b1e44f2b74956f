//! MySQL: commands that do not wait for the reply before them.

use std::format;
use std::string::String;
use std::vec::Vec;

use proptest::collection::vec;
use proptest::prelude::*;

use super::packets::{CAPS, command, end, eof, err, greeting, ok, packet, query, rows, sign_in};
use super::traffic::{Cut, Turn, cut, play, times_are_in_order};
use super::wire::{BOTH, End, Wire};
use super::world::Sent;
use crate::conn::PIPELINE_DEPTH;
use crate::machine::SETTLE_NS;
use crate::record::{Counter, ERROR_CLOSED};

/// A connection that is past its handshake.
fn ready(end: End) -> Wire {
    let mut wire = Wire::new(end);
    wire.answer(greeting()).ask(sign_in(CAPS)).answer(ok(2, 2));
    wire.one();
    wire
}

fn ask(n: u32) -> Vec<u8> {
    query(&format!("SELECT {n}"))
}

/// A result set that tells which command it answers.
fn answer(n: u32) -> Vec<u8> {
    rows(1, &[&format!("{n}")], true, |at| end(at, 2))
}

fn asks(numbers: std::ops::Range<u32>) -> Vec<u8> {
    numbers.flat_map(ask).collect()
}

/// The record's statement and reply are this command's.
#[track_caller]
fn agree(sent: &[Sent], numbers: impl IntoIterator<Item = u32>) {
    let got: Vec<(String, u64)> = sent
        .iter()
        .map(|s| (String::from_utf8_lossy(&s.head[1..]).into_owned(), s.record.response_bytes))
        .collect();
    let want: Vec<(String, u64)> =
        numbers.into_iter().map(|n| (format!("SELECT {n}"), answer(n).len() as u64)).collect();
    assert_eq!(got, want);
}

#[test]
fn every_reply_is_that_of_its_command() {
    for end in BOTH {
        let mut wire = ready(end);
        wire.ask(asks(0..3));
        let asked = wire.time;
        for n in 0..3 {
            wire.wait(50_000).answer(answer(n));
        }
        wire.ask(ask(10)).answer(answer(10)).ask(ask(11)).ask(ask(12)).answer(answer(11)).answer(answer(12));
        wire.wait(SETTLE_NS).sweep();
        let records = wire.take();
        agree(&records, [0, 1, 2, 10, 11, 12]);
        for (n, sent) in records[..3].iter().enumerate() {
            let replied = asked + (n as u64 + 1) * 51_000;
            assert_eq!((sent.record.request.t_start, sent.record.t_first), (asked, replied));
            assert_eq!(sent.record.t_last, replied);
        }
        assert_eq!(wire.counted(Counter::PipelineTooDeep), 0);
        assert_eq!(wire.world.stored(), 0);
    }
}

#[test]
fn replies_may_come_in_one_call_or_byte_by_byte() {
    for end in BOTH {
        for size in [1, 3, 5, 64, 4096] {
            let mut wire = ready(end);
            let replies: Vec<u8> = (0..5).flat_map(answer).collect();
            wire.ask_by(size, asks(0..5)).answer_by(size, replies).wait(SETTLE_NS).sweep();
            agree(&wire.take(), 0..5);
        }
    }
}

#[test]
fn a_quiet_reply_ends_while_the_next_is_worked_on() {
    for end in BOTH {
        let mut wire = ready(end);
        wire.ask(asks(0..2)).answer(answer(0)).wait(SETTLE_NS).sweep();
        agree(&wire.take(), [0]);
        wire.wait(SETTLE_NS).answer(answer(1)).wait(SETTLE_NS).sweep();
        agree(&wire.take(), [1]);
    }
}

#[test]
fn numbers_that_come_round_begin_no_reply() {
    let cells: Vec<String> = (0..600).map(|n| format!("{n}")).collect();
    let cells: Vec<&str> = cells.iter().map(|c| &c[..]).collect();
    let long = rows(1, &cells, false, |n| eof(n, 2));
    for turn_end in BOTH {
        let mut wire = ready(turn_end);
        wire.ask([query("SELECT n FROM t"), ask(1)].concat()).answer_by(200, &long).answer(answer(1));
        wire.wait(SETTLE_NS).sweep();
        let records = wire.take();
        assert_eq!(records[0].record.response_bytes as usize, long.len());
        agree(&records[1..], [1]);
    }
}

#[test]
fn a_reply_may_end_just_where_the_numbers_come_round() {
    // Count, column, EOF, 252 rows: EOF has number 256.
    let long = rows(1, &["1"; 252], false, |n| eof(n, 2));
    assert_eq!(long[long.len() - 6], 0);
    for turn_end in BOTH {
        let mut wire = ready(turn_end);
        wire.ask([query("SELECT n FROM t"), ask(1), ask(2)].concat()).answer_by(150, &long);
        wire.answer(answer(1)).answer(answer(2)).wait(SETTLE_NS).sweep();
        let records = wire.take();
        assert_eq!(records[0].record.response_bytes as usize, long.len());
        agree(&records[1..], [1, 2]);
    }
}

#[test]
fn deeper_is_counted_exactly_and_later_ones_are_right_again() {
    let deep = PIPELINE_DEPTH + 1;
    for end in BOTH {
        let mut wire = ready(end);
        for n in 0..deep + 4 {
            wire.ask(ask(n));
        }
        for n in 0..deep + 3 {
            wire.answer(answer(n));
        }
        // One skipped reply is still to come.
        wire.ask(ask(90)).answer(answer(deep + 3)).answer(answer(90));
        wire.ask(ask(91)).answer(answer(91)).wait(SETTLE_NS).sweep();
        agree(&wire.take(), (0..deep).chain([91]));
        assert_eq!(wire.counted(Counter::PipelineTooDeep), 5);
        assert_eq!(wire.world.stored(), 0);
    }
}

#[test]
fn a_full_store_is_counted_and_shifts_nothing() {
    let mut wire = ready(End::Client);
    wire.world.room = 1;
    wire.ask(asks(0..4)).answer((0..4).flat_map(answer).collect::<Vec<_>>());
    wire.ask(ask(4)).answer(answer(4)).ask(ask(5)).answer(answer(5)).wait(SETTLE_NS).sweep();
    agree(&wire.take(), [0, 1, 4, 5]);
    assert_eq!((wire.counted(Counter::WaitingTableFull), wire.counted(Counter::PipelineTooDeep)), (1, 1));
}

#[test]
fn a_close_ends_every_command_with_the_error() {
    let mut wire = ready(End::Client);
    wire.ask(asks(0..3)).answer(answer(0)).answer(&answer(1)[..9]).close();
    let errors: Vec<u8> = wire.take().iter().map(|sent| sent.record.error).collect();
    assert_eq!(errors, [0, ERROR_CLOSED, ERROR_CLOSED]);
    assert_eq!(wire.world.stored(), 0);
}

#[test]
fn more_rows_in_one_call_than_are_followed_are_counted_and_shift_nothing_for_long() {
    let cells = ["row"; 4000];
    for turn_end in BOTH {
        let mut wire = ready(turn_end);
        wire.ask([query("SELECT n FROM t"), ask(1)].concat());
        wire.answer([rows(1, &cells, true, |n| end(n, 2)), answer(1)].concat());
        assert_eq!(wire.counted(Counter::FramingLost), 1);
        wire.take();
        // Replies may still be on their way: nothing is paired with them.
        wire.ask(ask(9)).answer(answer(1)).answer(answer(9)).none();
        wire.wait(SETTLE_NS);
        for n in 2..5 {
            wire.ask(ask(n)).answer(answer(n));
        }
        wire.wait(SETTLE_NS).sweep();
        agree(&wire.take(), 2..5);
        assert_eq!(wire.world.stored(), 0);
    }
}

/// A command and its reply.
type Pair = (Vec<u8>, Vec<u8>);

#[test]
fn the_rest_of_a_reply_is_not_that_of_a_command_sent_in_its_middle() {
    let long = rows(1, &["xxxxxxxxxxxxxxxxxxxxxxxxx"; 200], true, |at| end(at, 2));
    for turn_end in BOTH {
        let mut wire = ready(turn_end);
        wire.ask(query("SELECT a")).answer(&long[..3000]).ask(query("UPDATE b")).answer(&long[3000..]);
        wire.answer(ok(1, 2)).wait(SETTLE_NS).sweep();
        let heads: Vec<_> = wire.take().iter().map(|sent| sent.head.clone()).collect();
        assert_eq!(heads, [b"\x03SELECT a"]);
        assert_eq!(wire.counted(Counter::HalfSeen), 1);
    }
}

#[test]
fn what_only_looks_like_commands_is_never_reported() {
    for end in BOTH {
        for answered in [false, true] {
            let mut wire = Wire::new(end);
            for n in 0..6 {
                wire.ask(packet(0, &[3, 1, n, 4, 5, 6]));
            }
            if answered {
                for n in 0..6 {
                    wire.answer(packet(0, &[4, 1, 2, 3, 4])).ask(packet(0, &[3, 1, n, 4, 5, 6]));
                }
            }
            wire.close().none();
            assert_eq!(wire.world.stored(), 0);
        }
    }
}

fn exchange() -> impl Strategy<Value = Pair> {
    let text = || "[ -~]{1,60}";
    prop_oneof![
        (text(), vec("[a-z]{0,90}", 0..6), any::<bool>()).prop_map(|(sql, cells, new)| {
            let cells: Vec<&str> = cells.iter().map(|c| &c[..]).collect();
            (query(&sql), rows(1, &cells, new, |n| if new { end(n, 0x22) } else { eof(n, 0x22) }))
        }),
        (text(), 1u16..4).prop_map(|(sql, n)| (query(&sql), ok(1, n & 2))),
        (text(), 1000u16..4000, "[a-z ]{1,300}").prop_map(|(sql, n, says)| (query(&sql), err(1, n, &says))),
        Just((command(0x0e, b""), ok(1, 2))),
    ]
}

fn check(groups: &[Vec<Pair>], cuts: &[Cut]) -> Result<(), TestCaseError> {
    for end in BOTH {
        let mut wire = ready(end);
        for group in groups {
            let side = |which: fn(&Pair) -> &Vec<u8>| group.iter().flat_map(which).copied();
            let asked = Turn { client: true, bytes: side(|exchange| &exchange.0).collect() };
            let answered = Turn { client: false, bytes: side(|exchange| &exchange.1).collect() };
            play(&mut wire, &[asked, answered], cuts);
        }
        wire.wait(SETTLE_NS).sweep();
        let records = wire.take();
        for sent in &records {
            times_are_in_order(&sent.record, end)?;
        }
        prop_assert_eq!(wire.world.stored(), 0);
        if wire.counted(Counter::FramingLost) > 0 {
            prop_assert!(records.len() <= groups.iter().flatten().count());
            continue;
        }
        let got = records.iter().map(|s| (s.head.clone(), s.record.request.bytes, s.record.response_bytes));
        let want = groups
            .iter()
            .flatten()
            .map(|(ask, answer)| (ask[4..].to_vec(), ask.len() as u64, answer.len() as u64));
        prop_assert_eq!(got.collect::<Vec<_>>(), want.collect::<Vec<_>>());
        for counter in [Counter::HalfSeen, Counter::PipelineTooDeep, Counter::Unsolicited] {
            prop_assert_eq!(wire.counted(counter), 0, "{:?}", counter);
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_cut_of_a_pipeline_gives_the_same_exchanges(
        groups in vec(vec(exchange(), 1..8), 1..5), cuts in vec(cut(), 1..5),
    ) {
        check(&groups, &cuts)?;
    }
}
