//! The demo's database: speaks enough of the MySQL protocol for ordinary clients, accepts any user, stores nothing.
//!
//! One thread for each connection with blocking reads, like the real server.

use std::collections::HashMap;
use std::io::{self, Write as _};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use super::child;
use super::packet::{self, AUTH_PLUGIN, CHARSET, Packets, capability, command, put_string};
use super::statements::{AUTOCOMMIT, Reply, answer};

const VERSION: &str = "8.0.36-hostprof-demo";
/// As `max_connections` of the real server: a load gone wild gets the real server's error.
const MOST_CONNECTIONS: u32 = 151;
const CAPABILITIES: u32 = capability::LONG_PASSWORD
    | capability::LONG_FLAG
    | capability::CONNECT_WITH_DB
    | capability::PROTOCOL_41
    | capability::TRANSACTIONS
    | capability::SECURE_CONNECTION
    | capability::MULTI_RESULTS
    | capability::PLUGIN_AUTH;

/// A connection's prepared statements by their number.
type Prepared = HashMap<u32, String>;

/// Listens on a free port and serves until the process ends.
pub(super) fn run() -> io::Result<()> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    child::attend(c"demo-mysql", || ())?;
    child::announce(listener.local_addr()?.port())?;
    serve(&listener)
}

/// Accepts for ever.
pub(super) fn serve(listener: &TcpListener) -> io::Result<()> {
    let live = Arc::new(AtomicU32::new(0));
    for number in 1.. {
        let Ok((stream, _)) = listener.accept() else {
            // The client was gone again, or we have no descriptor left: neither ends a database.
            std::thread::sleep(Duration::from_millis(10));
            continue;
        };
        let counted = Arc::clone(&live);
        let full = live.fetch_add(1, Ordering::Relaxed) >= MOST_CONNECTIONS;
        std::thread::Builder::new().name(format!("demo-mysql-{number}")).spawn(move || {
            // A client that goes away in the middle is nothing that the database would tell anybody.
            let _ = converse(stream, number, full);
            counted.fetch_sub(1, Ordering::Relaxed);
        })?;
    }
    Ok(())
}

/// One connection, from the greeting to its end.
fn converse(mut stream: TcpStream, number: u32, full: bool) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut packets = Packets::from(0);
    if full {
        packets.push(&error(1040, "08004", "Too many connections"));
        return stream.write_all(packets.bytes());
    }
    packets.push(&greeting(number));
    stream.write_all(packets.bytes())?;
    let Some((sequence, _)) = packet::read(&mut stream)? else { return Ok(()) };
    let mut packets = Packets::from(sequence.wrapping_add(1));
    packets.push(&ok());
    stream.write_all(packets.bytes())?;

    let mut prepared = Prepared::new();
    while let Some((sequence, payload)) = packet::read(&mut stream)? {
        let Some((command, argument)) = payload.split_first() else { return Ok(()) };
        if *command == command::QUIT {
            return Ok(());
        }
        let mut packets = Packets::from(sequence.wrapping_add(1));
        execute(*command, argument, &mut prepared, &mut packets);
        stream.write_all(packets.bytes())?;
    }
    Ok(())
}

/// Puts a command's reply into packets; closing a statement has none.
fn execute(command: u8, argument: &[u8], prepared: &mut Prepared, packets: &mut Packets) {
    let number = argument.first_chunk::<4>().map_or(0, |bytes| u32::from_le_bytes(*bytes));
    match command {
        command::QUERY => {
            let answer = answer(&String::from_utf8_lossy(argument));
            std::thread::sleep(answer.delay);
            reply(&answer.reply, false, packets);
        }
        command::STMT_PREPARE => {
            let sql = String::from_utf8_lossy(argument).into_owned();
            prepare(&sql, prepared.len() as u32 + 1, packets);
            prepared.insert(prepared.len() as u32 + 1, sql);
        }
        command::STMT_EXECUTE => match prepared.get(&number) {
            Some(sql) => {
                let answer = answer(sql);
                std::thread::sleep(answer.delay);
                reply(&answer.reply, true, packets);
            }
            None => packets.push(&error(1243, "HY000", "Unknown prepared statement handler")),
        },
        // Its number stays taken, so that numbers are never given twice.
        command::STMT_CLOSE => {}
        command::PING | command::INIT_DB | command::STMT_RESET | command::RESET_CONNECTION => {
            packets.push(&ok())
        }
        command::FIELD_LIST | command::SET_OPTION => packets.push(&eof(AUTOCOMMIT)),
        _ => packets.push(&error(1047, "08S01", "Unknown command")),
    }
}

/// A statement's number, the count of its columns and parameters, and their definitions.
fn prepare(sql: &str, number: u32, packets: &mut Packets) {
    let columns = match answer(sql).reply {
        Reply::Rows { columns, .. } => columns,
        Reply::Ok => Vec::new(),
        refused @ Reply::Error { .. } => return reply(&refused, false, packets),
    };
    let parameters = vec!["?".to_owned(); sql.matches('?').count()];
    let mut payload = vec![0];
    payload.extend_from_slice(&number.to_le_bytes());
    payload.extend_from_slice(&(columns.len() as u16).to_le_bytes());
    payload.extend_from_slice(&(parameters.len() as u16).to_le_bytes());
    payload.extend_from_slice(&[0, 0, 0]);
    packets.push(&payload);
    for definitions in [parameters, columns] {
        if !definitions.is_empty() {
            definitions.iter().for_each(|name| packets.push(&column(name)));
            packets.push(&eof(AUTOCOMMIT));
        }
    }
}

/// A reply in the text or the binary protocol; all values are strings, which both write alike.
fn reply(reply: &Reply, binary: bool, packets: &mut Packets) {
    match reply {
        Reply::Ok => packets.push(&ok()),
        Reply::Error { number, sqlstate, message } => packets.push(&error(*number, sqlstate, message)),
        Reply::Rows { columns, rows, status } => {
            packets.push(&[columns.len() as u8]);
            columns.iter().for_each(|name| packets.push(&column(name)));
            packets.push(&eof(*status));
            for row in rows {
                // A binary row starts with a 0 and a bitmap of its NULLs, of which there are none.
                let mut payload = vec![0; if binary { 1 + (columns.len() + 9) / 8 } else { 0 }];
                row.iter().for_each(|cell| put_string(&mut payload, cell));
                packets.push(&payload);
            }
            packets.push(&eof(*status));
        }
    }
}

/// The first packet of a connection, protocol version 10.
fn greeting(number: u32) -> Vec<u8> {
    // Any password is accepted, so the salt need not be random; it must only have no NUL in it.
    let salt = b"hostprof-demo-salt-0";
    let mut payload = vec![10];
    payload.extend_from_slice(VERSION.as_bytes());
    payload.push(0);
    payload.extend_from_slice(&number.to_le_bytes());
    payload.extend_from_slice(&salt[..8]);
    payload.push(0);
    payload.extend_from_slice(&CAPABILITIES.to_le_bytes()[..2]);
    payload.push(CHARSET);
    payload.extend_from_slice(&AUTOCOMMIT.to_le_bytes());
    payload.extend_from_slice(&CAPABILITIES.to_le_bytes()[2..]);
    payload.push(salt.len() as u8 + 1);
    payload.extend_from_slice(&[0; 10]);
    payload.extend_from_slice(&salt[8..]);
    payload.push(0);
    payload.extend_from_slice(AUTH_PLUGIN.as_bytes());
    payload.push(0);
    payload
}

fn ok() -> Vec<u8> {
    let mut payload = vec![0, 0, 0];
    payload.extend_from_slice(&AUTOCOMMIT.to_le_bytes());
    payload.extend_from_slice(&[0, 0]);
    payload
}

fn eof(status: u16) -> Vec<u8> {
    let mut payload = vec![0xfe, 0, 0];
    payload.extend_from_slice(&status.to_le_bytes());
    payload
}

fn error(number: u16, sqlstate: &str, message: &str) -> Vec<u8> {
    let mut payload = vec![0xff];
    payload.extend_from_slice(&number.to_le_bytes());
    payload.push(b'#');
    payload.extend_from_slice(sqlstate.as_bytes());
    payload.extend_from_slice(message.as_bytes());
    payload
}

/// The definition of a column of strings.
fn column(name: &str) -> Vec<u8> {
    const VAR_STRING: u8 = 0xfd;
    let mut payload = Vec::new();
    for text in ["def", "shop", "", "", name, ""] {
        put_string(&mut payload, text);
    }
    payload.extend_from_slice(&[0x0c, CHARSET, 0]);
    payload.extend_from_slice(&1020_u32.to_le_bytes());
    payload.extend_from_slice(&[VAR_STRING, 0, 0, 0, 0, 0]);
    payload
}

#[cfg(test)]
mod tests;
