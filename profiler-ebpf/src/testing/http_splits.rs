//! HTTP: any cut of the bytes into calls gives the same exchanges.

use std::format;
use std::vec::Vec;

use proptest::collection::vec;
use proptest::prelude::*;

use super::traffic::{Cut, Expected, Turn, cut, play, times_are_in_order};
use super::wire::{BOTH, Wire};
use crate::http::method;
use crate::record::{Counter, ERROR_CLOSED, flag};

#[derive(Clone, Debug)]
enum Body {
    None,
    Length(Vec<u8>),
    Chunks(Vec<Vec<u8>>),
}

#[derive(Clone, Debug)]
struct Exchange {
    method: &'static str,
    path: usize,
    headers: u8,
    asks: Body,
    interim: u8,
    status: u16,
    answers: Body,
    stream: bool,
}

fn body_bytes() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        vec(any::<u8>(), 1..40),
        Just(b"GET /fake HTTP/1.1\r\n\r\n".to_vec()),
        Just(b"HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n".to_vec()),
        Just(b"0\r\n\r\n".to_vec()),
        (1usize..3000).prop_map(|n| std::vec![b'x'; n]),
    ]
}

fn body() -> impl Strategy<Value = Body> {
    prop_oneof![
        Just(Body::None),
        body_bytes().prop_map(Body::Length),
        vec(body_bytes(), 0..4).prop_map(Body::Chunks)
    ]
}

fn exchange() -> impl Strategy<Value = Exchange> {
    let method = prop_oneof![
        4 => Just("GET"), 2 => Just("POST"), 2 => Just("HEAD"), 1 => Just("PUT"), 1 => Just("DELETE"), 1 => Just("OPTIONS"),
        1 => Just("PROPFIND"), 1 => Just("PRIMARY"), 1 => Just("HEADING"), 1 => Just("UNSUBSCRIBE"),
    ];
    let status = prop::sample::select(std::vec![200u16, 200, 204, 301, 304, 404, 500]);
    (
        method,
        prop_oneof![4 => 0usize..30, 1 => 0usize..900],
        0u8..16,
        body(),
        prop_oneof![3 => Just(0u8), 1 => 0u8..3],
        status,
        body(),
        any::<bool>(),
    )
        .prop_map(|(method, path, headers, asks, interim, status, answers, stream)| Exchange {
            method,
            path,
            headers,
            asks: if matches!(method, "GET" | "HEAD") { Body::None } else { asks },
            interim,
            status,
            answers,
            stream: stream && headers & 8 != 0,
        })
}

fn message(first: &str, headers: u8, body: &Body, bodiless: bool) -> (Vec<u8>, usize) {
    let mut head = format!("{first}\r\n");
    if headers & 1 != 0 {
        head += "Host: example\r\nX-Long: a: b; c\r\n";
    }
    if headers & 2 != 0 {
        head += "Cache-Control: max-age=5, private\r\nContent-Encoding: chunked\r\nTE: trailers\r\n";
    }
    if headers & 4 != 0 {
        head += "content-type:  application/json; length=77\r\n";
    }
    let mut payload = Vec::new();
    match body {
        Body::None if first.starts_with("HTTP") && !bodiless => head += "Content-Length: 0\r\n",
        Body::None => {}
        Body::Length(bytes) => {
            head += &format!("Content-LENGTH:{} \r\n", bytes.len());
            payload.clone_from(bytes);
        }
        Body::Chunks(chunks) => {
            head += "Transfer-Encoding: gzip, chunked\r\n";
            for chunk in chunks {
                payload.extend(
                    if headers & 1 != 0 {
                        format!("{:x};x=y\r\n", chunk.len())
                    } else {
                        format!("0{:X}\r\n", chunk.len())
                    }
                    .bytes(),
                );
                payload.extend(chunk);
                payload.extend(b"\r\n");
            }
            payload.extend(b"0\r\n");
            if headers & 2 != 0 {
                payload.extend(b"Trailer: x\r\n");
            }
            payload.extend(b"\r\n");
        }
    }
    head += "\r\n";
    let n = head.len();
    let mut out = head.into_bytes();
    if !bodiless {
        out.extend(payload);
    }
    (out, n)
}

impl Exchange {
    fn request(&self) -> (Vec<u8>, usize) {
        message(
            &format!("{} /{} HTTP/1.1", self.method, "p".repeat(self.path)),
            self.headers,
            &self.asks,
            false,
        )
    }

    fn response(&self) -> Vec<u8> {
        let mut out = Vec::new();
        for _ in 0..self.interim {
            out.extend(b"HTTP/1.1 103 Early Hints\r\nContent-Length: 5\r\n\r\n");
        }
        let bodiless = self.method == "HEAD" || self.status == 204 || self.status == 304;
        let kind = if self.stream { "\r\nContent-Type: text/event-stream" } else { "" };
        out.extend(
            message(
                &format!("HTTP/1.1 {} Fine{kind}", self.status),
                self.headers & 3,
                &self.answers,
                bodiless,
            )
            .0,
        );
        out
    }

    fn streams(&self) -> bool {
        let bodiless = self.method == "HEAD" || self.status == 204 || self.status == 304;
        self.stream && !bodiless && !matches!(self.answers, Body::None)
    }

    fn expected(&self) -> Expected {
        let (request, head) = self.request();
        Expected {
            status: self.status,
            command: if self.method == "HEAD" { method::HEAD } else { method::OTHER },
            head: Expected::head_of(&request[..head]),
            request_bytes: request.len() as u64,
            response_bytes: self.response().len() as u64,
            error: 0,
            flags: if self.streams() { flag::STREAM } else { 0 },
            reply: None,
        }
    }
}

/// Groups of requests that are sent before any of them is answered.
fn turns(groups: &[Vec<Exchange>]) -> Vec<Turn> {
    let mut turns = Vec::new();
    for group in groups {
        turns.push(Turn { client: true, bytes: group.iter().flat_map(|e| e.request().0).collect() });
        turns.push(Turn { client: false, bytes: group.iter().flat_map(Exchange::response).collect() });
    }
    turns
}

fn check(groups: &[Vec<Exchange>], cuts: &[Cut], joined: bool) -> Result<(), TestCaseError> {
    for end in BOTH {
        let mut wire = if joined { Wire::joined(end) } else { Wire::new(end) };
        play(&mut wire, &turns(groups), cuts);
        wire.close();
        let records = wire.take();
        let lost = wire.counted(Counter::FramingLost);
        let exchanges: Vec<&Exchange> = groups.iter().flatten().collect();
        for sent in &records {
            times_are_in_order(&sent.record, end)?;
        }
        prop_assert_eq!(wire.counted(Counter::Emitted), records.len() as u64);
        prop_assert_eq!(wire.world.stored(), 0);
        if lost > 0 {
            // More messages in a call than are followed: fewer records, no wrong ones after it.
            prop_assert!(records.len() <= exchanges.len());
            continue;
        }
        prop_assert_eq!(records.len(), exchanges.len());
        for (sent, exchange) in records.iter().zip(exchanges) {
            let mut want = exchange.expected();
            let got = Expected::from(sent, false);
            if want.flags == flag::STREAM {
                // Sent at its head: how much has come by then depends on the cut.
                want.response_bytes = got.response_bytes;
            }
            prop_assert_eq!(got, want);
        }
        prop_assert_eq!(wire.counted(Counter::HalfSeen) + wire.counted(Counter::PipelineTooDeep), 0);
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_cut_gives_the_same_exchanges(groups in vec(vec(exchange(), 1..2), 1..6), cuts in vec(cut(), 1..5), joined: bool) {
        check(&groups, &cuts, joined)?;
    }

    #[test]
    fn any_cut_of_a_pipeline_gives_the_same_exchanges(groups in vec(vec(exchange(), 1..8), 1..4), cuts in vec(cut(), 1..5)) {
        check(&groups, &cuts, false)?;
    }

    #[test]
    fn what_was_lost_is_counted(depth in 1usize..40, size in 20usize..200, rounds in 1usize..4) {
        let request = |n: usize| format!("GET /{n} HTTP/1.1\r\n\r\n");
        for end in BOTH {
            let mut wire = Wire::new(end);
            for _ in 0..rounds {
                for piece in (0..depth).map(request).collect::<Vec<_>>().concat().as_bytes().chunks(size) {
                    wire.ask(piece);
                }
                for n in 0..depth {
                    wire.answer(format!("HTTP/1.1 {} X\r\nContent-Length: 1\r\n\r\nx", 400 + n));
                }
            }
            wire.close();
            let records = wire.take();
            prop_assert_eq!(records.len() as u64 + wire.counted(Counter::PipelineTooDeep), (depth * rounds) as u64);
            for sent in &records {
                let n = usize::from(sent.record.status) - 400;
                prop_assert_eq!(&sent.head, &request(n).into_bytes());
            }
        }
    }

    #[test]
    fn a_close_anywhere_reports_each_request_once(group in vec(exchange(), 1..4), at in any::<prop::sample::Index>(), size in 1usize..400) {
        let turns = turns(core::slice::from_ref(&group));
        let answers = &turns[1].bytes[..at.index(turns[1].bytes.len())];
        for end in BOTH {
            let mut wire = Wire::new(end);
            wire.ask_by(2000, &turns[0].bytes).answer_by(size, answers).close();
            let records = wire.take();
            prop_assert_eq!(records.len(), group.len());
            let mut from = 0;
            for (sent, exchange) in records.iter().zip(&group) {
                times_are_in_order(&sent.record, end)?;
                let to = from + exchange.response().len();
                if to <= answers.len() {
                    prop_assert_eq!((sent.record.status, sent.record.error), (exchange.status, 0));
                } else if sent.record.flags & flag::STREAM == 0 {
                    prop_assert_eq!(sent.record.error, ERROR_CLOSED);
                    prop_assert!(sent.record.status == 0 || sent.record.status == exchange.status);
                    // Up to four bytes are not yet known to be a reply.
                    let unknown = answers.len().saturating_sub(from) - sent.record.response_bytes as usize;
                    prop_assert!(unknown < 5);
                }
                from = to;
            }
        }
    }
}
