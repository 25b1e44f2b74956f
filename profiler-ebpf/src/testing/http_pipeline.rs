//! HTTP: requests that do not wait for the reply before them.

use std::format;
use std::string::String;
use std::vec::Vec;

use super::wire::{BOTH, End, Wire, statuses};
use super::world::Sent;
use crate::conn::PIPELINE_DEPTH;
use crate::machine::SETTLE_NS;
use crate::record::{Counter, ERROR_CLOSED, flag};

fn ask(n: usize) -> String {
    format!("GET /{n} HTTP/1.1\r\n\r\n")
}

fn answer(n: usize) -> String {
    format!("HTTP/1.1 {} X\r\nContent-Length: 3\r\n\r\nabc", 400 + n % 100)
}

fn asks(numbers: core::ops::Range<usize>) -> String {
    numbers.map(ask).collect()
}

fn answers(numbers: core::ops::Range<usize>) -> String {
    numbers.map(answer).collect()
}

#[track_caller]
fn agree(records: &[Sent], numbers: &[usize]) {
    assert_eq!(statuses(records), numbers.iter().map(|n| 400 + (*n % 100) as u16).collect::<Vec<_>>());
    for (sent, n) in records.iter().zip(numbers) {
        assert_eq!(sent.head, ask(*n).as_bytes());
        assert_eq!(sent.record.request.bytes as usize, ask(*n).len());
        assert_eq!(sent.record.response_bytes as usize, answer(*n).len());
        assert_eq!(sent.record.error, 0);
    }
}

#[test]
fn three_requests_in_one_segment_are_three_records() {
    for end in BOTH {
        let mut wire = Wire::new(end);
        wire.ask(asks(0..3)).answer(answers(0..3));
        agree(&wire.take(), &[0, 1, 2]);
        wire.ask(asks(3..6)).answer(answer(3)).answer(answer(4)).answer(answer(5));
        agree(&wire.take(), &[3, 4, 5]);
        wire.ask(ask(6)).answer(answer(6));
        agree(&wire.take(), &[6]);
        assert_eq!(wire.world.stored(), 0);
    }
}

#[test]
fn a_request_may_come_while_replies_are_on_their_way() {
    let mut wire = Wire::new(End::Server);
    wire.ask(asks(0..2)).answer(answer(0)).ask(ask(2)).answer(&answer(1)[..20]).ask(asks(3..5));
    wire.answer(&answer(1)[20..]).answer(answers(2..5));
    agree(&wire.take(), &[0, 1, 2, 3, 4]);
}

#[test]
fn sixteen_deep_is_followed() {
    for end in BOTH {
        let mut wire = Wire::new(end);
        for round in 0..3 {
            let from = round * 16;
            wire.ask(asks(from..from + 16)).answer(answers(from..from + 16));
            agree(&wire.take(), &(from..from + 16).collect::<Vec<_>>());
        }
        assert_eq!(wire.counted(Counter::PipelineTooDeep) + wire.counted(Counter::FramingLost), 0);
    }
}

#[test]
fn deeper_is_counted_exactly_and_later_ones_are_right_again() {
    let deep = PIPELINE_DEPTH as usize + 1;
    for end in BOTH {
        let mut wire = Wire::new(end);
        for n in 0..deep + 5 {
            wire.ask(ask(n));
        }
        for n in 0..deep + 5 {
            wire.answer(answer(n));
        }
        agree(&wire.take(), &(0..deep).collect::<Vec<_>>());
        assert_eq!(wire.counted(Counter::PipelineTooDeep), 5);
        wire.ask(asks(50..53)).answer(answers(50..53));
        agree(&wire.take(), &[50, 51, 52]);
        assert_eq!(wire.world.stored(), 0);
        assert_eq!(wire.counted(Counter::HalfSeen), 0);
    }
}

#[test]
fn requests_skipped_in_the_middle_of_their_replies_do_not_shift_later_ones() {
    let deep = PIPELINE_DEPTH as usize + 1;
    let mut wire = Wire::new(End::Server);
    for n in 0..deep + 2 {
        wire.ask(ask(n));
    }
    for n in 0..deep {
        wire.answer(answer(n));
    }
    wire.take();
    wire.ask(ask(30)).answer(answer(deep)).answer(&answer(deep + 1)[..9]).ask(ask(31));
    wire.answer(&answer(deep + 1)[9..]).answer(answer(30)).answer(answer(31)).none();
    assert_eq!(wire.counted(Counter::PipelineTooDeep), 4);
    wire.ask(ask(32)).answer(answer(32));
    agree(&wire.take(), &[32]);
}

#[test]
fn a_full_store_is_counted_and_shifts_nothing() {
    let mut wire = Wire::new(End::Client);
    wire.world.room = 1;
    wire.ask(asks(0..4)).answer(answers(0..4));
    agree(&wire.take(), &[0, 1]);
    // One found no room, the next one waits behind it.
    assert_eq!((wire.counted(Counter::WaitingTableFull), wire.counted(Counter::PipelineTooDeep)), (1, 1));
    wire.ask(asks(4..6)).answer(answers(4..6));
    agree(&wire.take(), &[4, 5]);
}

#[test]
fn a_close_ends_every_waiting_request_with_the_error() {
    let mut wire = Wire::new(End::Client);
    wire.ask(asks(0..4)).answer(answer(0)).answer(&answer(1)[..38]).close();
    let records = wire.take();
    assert_eq!(statuses(&records), [400, 401, 0, 0]);
    let errors: Vec<u8> = records.iter().map(|sent| sent.record.error).collect();
    assert_eq!(errors, [0, ERROR_CLOSED, ERROR_CLOSED, ERROR_CLOSED]);
    assert_eq!(wire.world.stored(), 0);
    for sent in &records[2..] {
        assert_eq!((sent.record.t_first, sent.record.response_bytes), (0, 0));
    }
}

#[test]
fn bodies_and_heads_of_waiting_requests_may_be_split() {
    let post = "POST /p HTTP/1.1\r\nContent-Length: 5\r\n\r\nGET /";
    for size in [1, 7, 40] {
        let mut wire = Wire::new(End::Server);
        wire.ask_by(size, format!("{}{post}{}", ask(0), ask(2)));
        wire.answer_by(size, answers(0..3));
        let records = wire.take();
        assert_eq!(statuses(&records), [400, 401, 402]);
        assert_eq!(records[1].head, post.as_bytes()[..post.len() - 5]);
        assert_eq!(records[1].record.request.bytes as usize, post.len());
        assert_eq!(records[2].head, ask(2).as_bytes());
    }
}

#[test]
fn more_messages_in_one_operation_than_are_followed_are_counted_and_forgotten() {
    for end in BOTH {
        let mut wire = Wire::new(end);
        wire.ask(asks(0..60)).answer(answers(0..60));
        let lost = wire.counted(Counter::FramingLost);
        assert!(lost > 0 && wire.take().len() < 60);
        wire.wait(SETTLE_NS);
        for n in 60..90 {
            wire.ask(ask(n)).answer(answer(n));
        }
        let records = wire.take();
        let last = &records[records.len() - 1];
        assert_eq!(last.head, ask(89).as_bytes(), "the replies are shifted");
        assert_eq!(last.record.status, 489);
        assert_eq!(wire.world.stored(), 0);
    }
}

#[test]
fn many_small_chunks_in_one_operation_lose_no_exchange() {
    for end in BOTH {
        let mut wire = Wire::new(end);
        let body = "1\r\nx\r\n".repeat(100) + "0\r\n\r\n";
        wire.ask(ask(0)).answer(format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{body}"));
        wire.ask(ask(1)).answer(answer(1));
        let records = wire.take();
        assert_eq!(statuses(&records), [200, 401]);
        assert_eq!(records[0].record.response_bytes as usize, 47 + body.len());
        assert_eq!(records[0].record.flags & flag::STREAM, 0);
        assert_eq!(records[1].head, ask(1).as_bytes());
    }
}
