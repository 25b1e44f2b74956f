//! A turn on the wire: a client's request and all of the server's reply.
//!
//! Clients send the next request only when they have the reply to the last. So a turn can be told from the direction
//! of its segments alone, without a dissector that might share a mistake with us: from the client's first segment to
//! the server's last before the client speaks again.

use std::{collections::HashMap, fmt};

/// A MySQL command that has no reply, COM_STMT_CLOSE, as a whole packet: length 5, sequence 0, command, statement.
const CLOSE: ([u8; 5], usize) = ([5, 0, 0, 0, 0x19], 9);

/// How much of a request is kept.
const HEAD: usize = 600;

/// A request and its reply.
#[derive(Clone, PartialEq)]
pub struct Turn {
    /// tshark's number of the connection.
    pub stream: u64,
    /// The client's port.
    pub client: u16,
    /// The first segment of the request: seconds since 1970.
    pub begun: f64,
    /// From there to the reply's first segment.
    pub first_byte: f64,
    /// From there to the reply's last segment.
    pub duration: f64,
    pub request_bytes: u64,
    pub response_bytes: u64,
    /// How the request begins.
    pub head: Vec<u8>,
}

/// A segment with data.
#[derive(Debug, Clone)]
pub(crate) struct Segment {
    time: f64,
    stream: u64,
    from_port: u16,
    to_port: u16,
    /// Where it begins in its direction's byte stream.
    begin: u64,
    length: u64,
    /// Its first bytes.
    data: Vec<u8>,
}

/// The parts of a byte stream that were seen, apart from each other.
#[derive(Debug, Default)]
struct Seen(Vec<(u64, u64)>);

impl Turn {
    /// Joins segments to turns. What a server says unasked, such as a greeting, belongs to none; nor does a
    /// statement's close.
    pub(crate) fn join(segments: &[Segment], server: u16) -> Vec<Self> {
        let mut turns: Vec<Self> = Vec::new();
        let mut current: HashMap<u64, usize> = HashMap::new();
        let mut seen: HashMap<(u64, u16), Seen> = HashMap::new();
        for segment in segments {
            let seen = seen.entry((segment.stream, segment.to_port)).or_default();
            // The kernel sends some bytes twice, on loopback too, when the receiver is slow.
            let fresh = seen.add(segment.begin, segment.begin + segment.length);
            if fresh == 0 || segment.is_close() {
                continue;
            }
            let turn = current.get(&segment.stream).map(|index| &mut turns[*index]);
            if segment.to_port != server {
                if let Some(turn) = turn {
                    turn.replied(segment, fresh);
                }
                continue;
            }
            match turn.filter(|turn| turn.response_bytes == 0) {
                Some(turn) => turn.asked(segment, fresh),
                None => {
                    current.insert(segment.stream, turns.len());
                    turns.push(Self::begin(segment));
                }
            }
        }
        turns
    }

    fn begin(segment: &Segment) -> Self {
        Self {
            stream: segment.stream,
            client: segment.from_port,
            begun: segment.time,
            first_byte: 0.0,
            duration: 0.0,
            request_bytes: segment.length,
            response_bytes: 0,
            head: segment.data.clone(),
        }
    }

    fn asked(&mut self, segment: &Segment, fresh: u64) {
        self.request_bytes += fresh;
        if self.head.len() < HEAD {
            self.head.extend_from_slice(&segment.data);
        }
    }

    fn replied(&mut self, segment: &Segment, fresh: u64) {
        self.duration = segment.time - self.begun;
        if self.response_bytes == 0 {
            self.first_byte = self.duration;
        }
        self.response_bytes += fresh;
    }

    /// The MySQL command of this turn and the text that follows it; none for a login.
    pub fn statement(&self) -> Option<(u8, String)> {
        let mut packets = self.head.as_slice();
        // Closes that share a segment with the command.
        while packets.starts_with(&CLOSE.0) {
            packets = packets.get(CLOSE.1..)?;
        }
        let (header, packet) = packets.split_at_checked(4)?;
        let length = usize::from(header[0]) | usize::from(header[1]) << 8 | usize::from(header[2]) << 16;
        let (command, text) = packet.split_first()?;
        // A login answers the greeting, so it is not the first packet of its exchange.
        if header[3] != 0 {
            return None;
        }
        let text = &text[..text.len().min(length.saturating_sub(1))];
        // With CLIENT_QUERY_ATTRIBUTES two counts stand before a query: no parameters, one set.
        let text = if *command == 3 { text.strip_prefix(&[0, 1]).unwrap_or(text) } else { text };
        Some((*command, String::from_utf8_lossy(text).into_owned()))
    }

    /// The first line of the request, for HTTP.
    pub fn request_line(&self) -> String {
        let line = self.head.split(|byte| *byte == b'\r').next().unwrap_or_default();
        String::from_utf8_lossy(line).into_owned()
    }
}

/// Shows how the request begins, not its whole head.
impl fmt::Debug for Turn {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let begin = String::from_utf8_lossy(&self.head[..self.head.len().min(60)]);
        formatter
            .debug_struct("Turn")
            .field("head", &begin)
            .field("begun", &self.begun)
            .field("duration", &self.duration)
            .field("request_bytes", &self.request_bytes)
            .field("response_bytes", &self.response_bytes)
            .finish_non_exhaustive()
    }
}

impl Segment {
    /// Reads a line of tshark's: time, stream, ports, sequence number, length, payload in hexadecimal.
    pub(crate) fn parse(line: &str) -> Option<Self> {
        let mut fields = line.split('\t');
        Some(Self {
            time: fields.next()?.parse().ok()?,
            stream: fields.next()?.parse().ok()?,
            from_port: fields.next()?.parse().ok()?,
            to_port: fields.next()?.parse().ok()?,
            begin: fields.next()?.parse().ok()?,
            length: fields.next()?.parse().ok()?,
            data: unhex(fields.next()?)?,
        })
    }

    /// Whether it is a MySQL statement's close and nothing else.
    fn is_close(&self) -> bool {
        self.data.len() == CLOSE.1 && self.data.starts_with(&CLOSE.0)
    }
}

impl Seen {
    /// Adds a range and returns how much of it was new.
    fn add(&mut self, begin: u64, end: u64) -> u64 {
        let mut fresh = end - begin;
        let mut joined = (begin, end);
        self.0.retain(|&(from, to)| {
            fresh -= to.min(end).saturating_sub(from.max(begin));
            let apart = to < begin || from > end;
            if !apart {
                joined = (joined.0.min(from), joined.1.max(to));
            }
            apart
        });
        self.0.push(joined);
        fresh
    }
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    text.as_bytes()
        .chunks(2)
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_sent_twice_or_out_of_order_count_once() {
        let mut seen = Seen::default();
        assert_eq!(seen.add(100, 200), 100);
        assert_eq!(seen.add(300, 400), 100, "a hole is left");
        assert_eq!(seen.add(350, 400), 0);
        assert_eq!(seen.add(150, 350), 100, "the hole is filled");
        assert_eq!(seen.0, [(100, 400)]);
    }

    #[test]
    fn a_close_in_a_segment_of_its_own_begins_no_turn() {
        let close = "1.0\t0\t4000\t3306\t1\t9\t050000001901000000";
        let ask = "2.0\t0\t4000\t3306\t10\t13\t090000000353454c4543542031";
        let reply = "2.5\t0\t3306\t4000\t1\t2\t0000";
        let segments: Vec<_> = [close, ask, reply].into_iter().filter_map(Segment::parse).collect();
        let turns = Turn::join(&segments, 3306);
        assert_eq!(turns.len(), 1);
        assert_eq!(turns[0].statement(), Some((3, "SELECT 1".to_owned())));
        assert_eq!((turns[0].begun, turns[0].duration), (2.0, 0.5));
        assert_eq!((turns[0].request_bytes, turns[0].response_bytes), (13, 2));
    }
}
