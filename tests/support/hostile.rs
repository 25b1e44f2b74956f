//! Traffic of somebody who wants the agent's memory: no two requests and no two statements alike. Both ends are ours,
//! so what was sent is known; the numbers behind the names come from a fixed seed.

use std::io::Write as _;
use std::net::TcpStream;

use anyhow::Result;

use crate::peer::{between, read_until, write};

const OK: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

/// An xorshift generator: the same numbers each time.
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }

    /// A word of letters that looks like a name and not like a value.
    fn word(&mut self) -> String {
        const SYLLABLES: [&str; 16] =
            ["ba", "co", "du", "fe", "gi", "ho", "ju", "ka", "le", "mi", "no", "pu", "ra", "se", "ti", "vo"];
        (0..2 + self.below(3)).map(|_| SYLLABLES[self.below(16) as usize]).collect()
    }
}

/// The path of request `number`: shallow and deep, short and long, names, numbers, escapes, bytes that are no text.
fn path(number: u64, numbers: &mut Numbers) -> Vec<u8> {
    let depth = 1 + numbers.below(20);
    let mut path: Vec<u8> = Vec::new();
    for _ in 0..depth {
        path.push(b'/');
        match numbers.below(8) {
            0 => write!(path, "{}", numbers.next()),
            1 => write!(path, "{:032x}", numbers.next()),
            2 => path.write_all(&[0xff, 0xfe, 0xc3, 0x28, 0x80 | numbers.next() as u8]),
            3 => write!(path, "%2e%2e%00{}", numbers.word()),
            4 => path.write_all(numbers.word().repeat(1 + numbers.below(40) as usize).as_bytes()),
            _ => path.write_all(numbers.word().as_bytes()),
        }
        .unwrap_or(());
    }
    write!(path, "/{}{number}?token={}", numbers.word(), numbers.next()).unwrap_or(());
    path
}

/// Sends so many requests, each for a path of its own and with one of many methods, over one connection.
pub fn http(requests: u64) -> Result<()> {
    const METHODS: [&str; 8] = ["GET", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "PROPFIND", "REPORT"];
    between(
        |stream| {
            let mut numbers = Numbers(0x9e37_79b9_7f4a_7c15);
            for number in 0..requests {
                let method = METHODS[numbers.below(8) as usize];
                let mut request = format!("{method} ").into_bytes();
                request.extend(path(number, &mut numbers));
                request.extend(b" HTTP/1.1\r\nHost: test\r\nContent-Length: 0\r\n\r\n");
                write(&stream, &request)?;
                read_until(&stream, b"ok")?;
            }
            Ok(())
        },
        |stream| {
            for _ in 0..requests {
                read_until(&stream, b"\r\n\r\n")?;
                write(&stream, OK)?;
            }
            Ok(())
        },
    )
    .map(drop)
}

/// Sends so many statements over one MySQL connection, each with names of its own; some longer than what is kept.
pub fn mysql(statements: u64) -> Result<()> {
    between(
        |stream| {
            read_packet(&stream)?;
            // CLIENT_PROTOCOL_41 | CLIENT_SECURE_CONNECTION, the largest packet, utf8mb4, no password.
            let mut login = vec![0x00, 0x82, 0, 0, 0, 0, 0, 1, 45];
            login.extend([0; 23]);
            login.extend(b"app\0\0");
            send_packet(&stream, 1, &login)?;
            read_packet(&stream)?;
            let mut numbers = Numbers(0x2545_f491_4f6c_dd1d);
            for number in 0..statements {
                let (table, column) = (numbers.word(), numbers.word());
                let more = match numbers.below(10) {
                    0 => format!(" AND note LIKE '{}'", "x".repeat(2_000)),
                    1 => (0..100).map(|n| format!(", {column}_{n}")).collect(),
                    _ => String::new(),
                };
                let statement = format!(
                    "\x03UPDATE {table}_{number} SET {column}_{number} = {} WHERE id = 7{more}",
                    numbers.next()
                );
                send_packet(&stream, 0, statement.as_bytes())?;
                read_packet(&stream)?;
            }
            Ok(())
        },
        |stream| {
            let mut greeting =
                b"\x0a8.0.0-hostile\0\x07\0\0\0saltsalt\0\x00\x82\x2d\x02\0\x00\0\x15".to_vec();
            greeting.extend([0; 10]);
            greeting.extend(b"saltsaltsalt\0");
            send_packet(&stream, 0, &greeting)?;
            read_packet(&stream)?;
            send_packet(&stream, 2, &[0, 0, 0, 2, 0, 0, 0])?;
            for _ in 0..statements {
                read_packet(&stream)?;
                // OK: one row affected.
                send_packet(&stream, 1, &[0, 1, 0, 2, 0, 0, 0])?;
            }
            Ok(())
        },
    )
    .map(drop)
}

fn send_packet(stream: &TcpStream, sequence: u8, payload: &[u8]) -> Result<()> {
    let length = (payload.len() as u32).to_le_bytes();
    let mut packet = vec![length[0], length[1], length[2], sequence];
    packet.extend_from_slice(payload);
    write(stream, &packet)
}

fn read_packet(mut stream: &TcpStream) -> Result<()> {
    use std::io::Read as _;
    let mut head = [0; 4];
    stream.read_exact(&mut head)?;
    let length = u32::from_le_bytes([head[0], head[1], head[2], 0]) as usize;
    stream.read_exact(&mut vec![0; length])?;
    Ok(())
}
