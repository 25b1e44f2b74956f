//! What the first bytes of a message say about the protocol. Pure: bytes in, a verdict out.

/// The verdict.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Class {
    /// Too few bytes to tell.
    More,
    HttpRequest,
    HttpResponse,
    Http2,
    Tls,
    /// What a proxy says of its client before the client's own bytes, as a line or as a binary header
    /// (HAProxy's PROXY protocol, versions 1 and 2).
    ProxyLine,
    ProxyHeader,
    /// A server's first packet.
    MysqlGreeting,
    /// A server's refusal in place of a greeting (too many connections, host blocked).
    MysqlRefusal,
    MysqlCommand,
    Other,
}

/// Bytes needed at the most.
pub const LONGEST: u8 = 8;

#[inline(always)]
const fn word(text: &[u8; 8]) -> u64 {
    u64::from_le_bytes(*text)
}

#[inline(always)]
fn byte(pre: u64, i: u32) -> u8 {
    (pre >> (i * 8)) as u8
}

/// True when the `len` bytes of `pre` are a beginning of `text` (or begin with it).
#[inline(always)]
fn matches(pre: u64, len: u8, text: u64, text_len: u8) -> bool {
    let n = if len < text_len { len } else { text_len };
    if n == 0 {
        return true;
    }
    let mask = u64::MAX >> (((8 - (n as u32 & 15)) * 8) & 63);
    (pre ^ text) & mask == 0
}

/// Judges an HTTP message's first `len` (1 to 8) bytes.
#[inline(always)]
pub fn http(pre: u64, len: u8) -> Class {
    const RESPONSE: u64 = word(b"HTTP/\0\0\0");
    const PREFACE: u64 = word(b"PRI * HT");
    if matches(pre, len, RESPONSE, 5) {
        // "H", "HTTP": HEAD parts at the second byte, so a longer match is a response already.
        return if len >= 5 { Class::HttpResponse } else { Class::More };
    }
    if matches(pre, len, PREFACE, 8) {
        return if len >= 8 { Class::Http2 } else { Class::More };
    }
    // A method: three or more capitals (HTTP methods are case-sensitive; the registered ones are capitals and '-', some
    // of Microsoft's have '_').
    let mut i = 0u32;
    while i < LONGEST as u32 {
        if i >= len as u32 {
            return Class::More;
        }
        let b = byte(pre, i);
        if b == b' ' {
            return if i >= 3 { Class::HttpRequest } else { Class::Other };
        }
        if b.wrapping_sub(b'A') >= 26 && b != b'-' && b != b'_' {
            return Class::Other;
        }
        i += 1;
    }
    // PROPFIND, UNSUBSCRIBE: the reply will confirm it or not.
    Class::HttpRequest
}

/// Judges a message's first `len` bytes on a connection of unknown protocol; `total` is how many bytes of it have come.
#[inline(always)]
pub fn any(pre: u64, len: u8, total: u32) -> Class {
    // A TLS record: handshake or application data, version 3.0 to 3.4, length in two bytes. A MySQL statement of
    // 0x0316 bytes more than a multiple of 2^16 has sequence number 0 and command 3 where a record's length is.
    let kind = byte(pre, 0);
    if (kind == 0x16 || kind == 0x17) && (len < 2 || byte(pre, 1) == 3) && (len < 3 || byte(pre, 2) <= 4) {
        if len < 5 {
            return Class::More;
        }
        return if byte(pre, 3) == 0 && byte(pre, 4) <= 3 { mysql(pre, len, total) } else { Class::Tls };
    }
    if len >= 4 && byte(pre, 3) == 0 {
        return mysql(pre, len, total);
    }
    const LINE: u64 = word(b"PROXY \0\0");
    const HEADER: u64 = word(b"\r\n\r\n\0\r\nQ");
    if matches(pre, len, LINE, 6) {
        return if len >= 6 { Class::ProxyLine } else { Class::More };
    }
    if matches(pre, len, HEADER, 8) {
        return if len >= 8 { Class::ProxyHeader } else { Class::More };
    }
    let class = http(pre, len);
    if class as u8 == Class::Other as u8 && len < 4 {
        // Perhaps a packet header read byte by byte.
        return Class::More;
    }
    class
}

/// Judges a packet with sequence number 0 (MySQL protocol: length in 3 bytes, number, payload).
#[inline(always)]
fn mysql(pre: u64, len: u8, total: u32) -> Class {
    let packet = (pre & 0xff_ffff) as u32;
    if packet == 0 {
        return Class::Other;
    }
    if len == 4 {
        return Class::More;
    }
    let first = byte(pre, 4);
    let whole = total <= packet.wrapping_add(4);
    if first == 10 && (40..=400).contains(&packet) {
        if len < 6 {
            return Class::More;
        }
        let digit = byte(pre, 5).wrapping_sub(b'0') < 10;
        return if digit && whole { Class::MysqlGreeting } else { Class::Other };
    }
    if first == 0xff && packet > 3 {
        if len < 7 {
            return Class::More;
        }
        let number = byte(pre, 5) as u32 | (byte(pre, 6) as u32) << 8;
        return if (1000..5000).contains(&number) && whole { Class::MysqlRefusal } else { Class::Other };
    }
    if first == 0x19 && packet == 5 {
        // CLOSE of a statement: the next command may follow in the same write.
        return Class::MysqlCommand;
    }
    if !whole {
        return Class::Other;
    }
    if first == 3 || first == 0x16 {
        if packet < 2 {
            return Class::Other;
        }
        if len < 6 {
            return Class::More;
        }
        // A statement's text, or the counts of query attributes before it.
        let c = byte(pre, 5);
        let text = (0x20..0x7f).contains(&c) || (9..=13).contains(&c) || c < 8;
        return if text { Class::MysqlCommand } else { Class::Other };
    }
    if (first == 0x17 && packet >= 10) || (first == 0x0e && packet == 1) {
        return Class::MysqlCommand;
    }
    Class::Other
}
