//! Random conversations and random ways to cut them up, and what must come out whatever the cut.

use std::vec::Vec;

use proptest::collection::vec;
use proptest::prelude::*;

use super::wire::{End, Wire};
use super::world::{HEAD_BYTES, Memory, Sent};
use crate::record::{REPLY_TAIL, Record, flag};

/// Bytes of one side, in the order of the conversation.
#[derive(Clone, Debug)]
pub(super) struct Turn {
    pub(super) client: bool,
    pub(super) bytes: Vec<u8>,
}

/// What must be reported of one exchange.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Expected {
    pub(super) status: u16,
    pub(super) command: u8,
    pub(super) head: Vec<u8>,
    pub(super) request_bytes: u64,
    pub(super) response_bytes: u64,
    pub(super) error: u8,
    pub(super) flags: u16,
    /// MySQL: the beginning and the end of the reply.
    pub(super) reply: Option<(Vec<u8>, Vec<u8>)>,
}

impl Expected {
    pub(super) fn head_of(bytes: &[u8]) -> Vec<u8> {
        bytes[..bytes.len().min(HEAD_BYTES)].to_vec()
    }

    /// What a record says, in the same words.
    pub(super) fn from(sent: &Sent, with_reply: bool) -> Self {
        let r = &sent.record;
        let bytes = r.response_bytes;
        let tail =
            (bytes.saturating_sub(REPLY_TAIL as u64)..bytes).map(|at| r.reply_tail[at as usize % REPLY_TAIL]);
        Self {
            status: r.status,
            command: r.request.command,
            head: sent.head.clone(),
            request_bytes: r.request.bytes,
            response_bytes: bytes,
            error: r.error,
            flags: r.flags & !flag::TRUNCATED,
            reply: with_reply.then(|| (r.reply_head[..r.reply_head_len as usize].to_vec(), tail.collect())),
        }
    }
}

/// How a turn's bytes are divided into calls, and each call's into segments.
#[derive(Clone, Debug)]
pub(super) enum Cut {
    Whole,
    /// Calls of this many bytes, over and over.
    Calls(Vec<usize>),
    /// One call, its buffer in segments of so many bytes.
    Segments(Vec<usize>),
    /// Calls whose buffers are segments.
    Both(Vec<usize>, Vec<usize>),
}

pub(super) fn cut() -> impl Strategy<Value = Cut> {
    let sizes = || vec(prop_oneof![3 => 1usize..8, 2 => 1usize..100, 1 => 1usize..2000], 1..6);
    // Never so many segments in a call that it takes more steps than an operation has.
    let segments = || vec(200usize..1000, 1..4);
    let both = prop_oneof![
        (vec(1usize..8, 1..6), vec(1usize..4, 1..4)),
        (vec(1usize..400, 1..6), vec(40usize..300, 1..4)),
    ];
    prop_oneof![
        1 => Just(Cut::Whole),
        4 => sizes().prop_map(Cut::Calls),
        1 => segments().prop_map(Cut::Segments),
        2 => both.prop_map(|(calls, segments)| Cut::Both(calls, segments)),
    ]
}

/// Plays the turns over the wire.
pub(super) fn play(wire: &mut Wire, turns: &[Turn], cuts: &[Cut]) {
    for (turn, cut) in turns.iter().zip(cuts.iter().cycle()) {
        let (calls, memory) = match cut {
            Cut::Whole => (std::vec![usize::MAX], Memory::Whole),
            Cut::Calls(calls) => (calls.clone(), Memory::Whole),
            Cut::Segments(lengths) => (std::vec![2000], Memory::Segments(lengths.clone())),
            Cut::Both(calls, lengths) => (calls.clone(), Memory::Segments(lengths.clone())),
        };
        let mut rest = &turn.bytes[..];
        for size in calls.iter().cycle() {
            if rest.is_empty() {
                break;
            }
            let (piece, more) = rest.split_at((*size).min(rest.len()));
            wire.operation(turn.client, piece, memory.clone());
            rest = more;
        }
    }
}

/// Times that contradict each other.
pub(super) fn times_are_in_order(r: &Record, end: End) -> Result<(), TestCaseError> {
    let q = &r.request;
    if r.flags & flag::RACED != 0 {
        return Ok(());
    }
    prop_assert!(q.t_start > 0 && q.t_start <= q.t_end, "start {} end {}", q.t_start, q.t_end);
    prop_assert!(q.t_arrive <= q.t_start);
    prop_assert!((q.t_arrive == 0) == (end == End::Client) || q.command == 0xf0);
    prop_assert!(r.t_first <= r.t_last && q.t_start <= r.t_last, "first {} last {}", r.t_first, r.t_last);
    prop_assert!(r.t_first == 0 || q.t_start <= r.t_first);
    Ok(())
}
