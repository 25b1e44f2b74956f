//! MySQL packets: three bytes of length, one of sequence, the payload. Shared by the demo's database and its client.

use std::io::{self, Read};

/// Nothing in the demo is longer; a longer packet comes from somebody else.
const LONGEST: usize = 1 << 20;

/// What the demo's two ends can do, all of it old: no TLS, no compression, EOF packets.
pub(super) mod capability {
    pub(in super::super) const LONG_PASSWORD: u32 = 1;
    pub(in super::super) const LONG_FLAG: u32 = 1 << 2;
    pub(in super::super) const CONNECT_WITH_DB: u32 = 1 << 3;
    pub(in super::super) const PROTOCOL_41: u32 = 1 << 9;
    pub(in super::super) const TRANSACTIONS: u32 = 1 << 13;
    pub(in super::super) const SECURE_CONNECTION: u32 = 1 << 15;
    pub(in super::super) const MULTI_RESULTS: u32 = 1 << 17;
    pub(in super::super) const PLUGIN_AUTH: u32 = 1 << 19;
}

/// The commands that the demo's database answers.
pub(super) mod command {
    pub(in super::super) const QUIT: u8 = 0x01;
    pub(in super::super) const INIT_DB: u8 = 0x02;
    pub(in super::super) const QUERY: u8 = 0x03;
    pub(in super::super) const FIELD_LIST: u8 = 0x04;
    pub(in super::super) const PING: u8 = 0x0e;
    pub(in super::super) const STMT_PREPARE: u8 = 0x16;
    pub(in super::super) const STMT_EXECUTE: u8 = 0x17;
    pub(in super::super) const STMT_CLOSE: u8 = 0x19;
    pub(in super::super) const STMT_RESET: u8 = 0x1a;
    pub(in super::super) const SET_OPTION: u8 = 0x1b;
    pub(in super::super) const RESET_CONNECTION: u8 = 0x1f;
}

/// utf8mb4_general_ci.
pub(super) const CHARSET: u8 = 45;
pub(super) const AUTH_PLUGIN: &str = "mysql_native_password";

/// Packets to send, one behind the other.
#[derive(Debug)]
pub(super) struct Packets {
    bytes: Vec<u8>,
    sequence: u8,
}

impl Packets {
    /// `sequence` is that of the first packet: 0 for a command, the request's plus one for a reply.
    pub(super) fn from(sequence: u8) -> Self {
        Self { bytes: Vec::new(), sequence }
    }

    /// Adds a packet; the demo's payloads are far below the 16 MB that one can hold.
    pub(super) fn push(&mut self, payload: &[u8]) {
        self.bytes.extend_from_slice(&(payload.len() as u32).to_le_bytes()[..3]);
        self.bytes.push(self.sequence);
        self.bytes.extend_from_slice(payload);
        self.sequence = self.sequence.wrapping_add(1);
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}

/// The first packet of a buffer, its sequence and what follows it; `None` while it is incomplete.
pub(super) fn split(buffer: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (head, rest) = buffer.split_first_chunk::<4>()?;
    let (payload, rest) = rest.split_at_checked(length(*head))?;
    Some((head[3], payload, rest))
}

/// Reads one packet: its sequence and payload. `None` when the other end has closed between two packets.
pub(super) fn read(stream: &mut impl Read) -> io::Result<Option<(u8, Vec<u8>)>> {
    let mut head = [0; 4];
    match stream.read(&mut head)? {
        0 => return Ok(None),
        read => stream.read_exact(&mut head[read..])?,
    }
    let length = length(head);
    if length > LONGEST {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "a packet longer than the demo's"));
    }
    let mut payload = vec![0; length];
    stream.read_exact(&mut payload)?;
    Ok(Some((head[3], payload)))
}

fn length(head: [u8; 4]) -> usize {
    u32::from_le_bytes([head[0], head[1], head[2], 0]) as usize
}

/// A string behind its length as a length-encoded integer.
pub(super) fn put_string(payload: &mut Vec<u8>, text: &str) {
    match text.len() {
        length @ 0..=250 => payload.push(length as u8),
        length @ 251..=0xffff => {
            payload.push(0xfc);
            payload.extend_from_slice(&(length as u16).to_le_bytes());
        }
        length => {
            payload.push(0xfd);
            payload.extend_from_slice(&(length as u32).to_le_bytes()[..3]);
        }
    }
    payload.extend_from_slice(text.as_bytes());
}

/// Whether a packet in the place of a row ends the rows.
pub(super) fn is_eof(payload: &[u8]) -> bool {
    payload.first() == Some(&0xfe) && payload.len() < 9
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packets_are_split_as_they_were_put() {
        let mut packets = Packets::from(255);
        packets.push(b"one");
        packets.push(&[7; 300]);
        let bytes = packets.bytes();
        assert_eq!(bytes[..8], [3, 0, 0, 255, b'o', b'n', b'e', 44]);
        let (sequence, payload, rest) = split(bytes).unwrap();
        assert_eq!((sequence, payload), (255, &b"one"[..]));
        let (sequence, payload, rest) = split(rest).unwrap();
        assert_eq!((sequence, payload.len(), rest.len()), (0, 300, 0));
        assert!((0..7).all(|cut| split(&bytes[..cut]).is_none()));
    }

    #[test]
    fn reading_ends_between_packets_only() {
        assert!(read(&mut &b""[..]).unwrap().is_none());
        assert!(read(&mut &b"\x02\0\0\0x"[..]).is_err());
        assert!(read(&mut &b"\xff\xff\xff\0"[..]).is_err());
        assert_eq!(read(&mut &b"\x01\0\0\x05x"[..]).unwrap().unwrap(), (5, b"x".to_vec()));
    }

    #[test]
    fn strings_carry_their_length() {
        for (length, head) in [(1, vec![1]), (300, vec![0xfc, 44, 1]), (70_000, vec![0xfd, 112, 17, 1])] {
            let mut payload = Vec::new();
            put_string(&mut payload, &"x".repeat(length));
            assert_eq!(payload[..head.len()], head);
            assert_eq!(payload.len(), head.len() + length);
        }
    }
}
