//! The database on the wire, byte by byte.

use super::super::packet::split;
use super::super::statements::{EVENTS, INVOICES, ITEMS, ORDER};
use super::*;

fn connect() -> TcpStream {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || serve(&listener));
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(std::time::Duration::from_secs(10))).unwrap();
    stream
}

fn send(stream: &mut TcpStream, sequence: u8, payload: &[u8]) {
    let mut packets = Packets::from(sequence);
    packets.push(payload);
    stream.write_all(packets.bytes()).unwrap();
}

fn receive(stream: &mut TcpStream) -> (u8, Vec<u8>) {
    packet::read(stream).unwrap().unwrap()
}

fn logged_in() -> TcpStream {
    let mut stream = connect();
    receive(&mut stream);
    send(&mut stream, 1, &[0x0d, 0xa2, 0x08, 0, 0, 0, 0, 1, 45]);
    assert_eq!(receive(&mut stream), (2, vec![0, 0, 0, 2, 0, 0, 0]));
    stream
}

/// All packets of a result, up to its second EOF.
fn result(stream: &mut TcpStream) -> Vec<Vec<u8>> {
    let mut packets = Vec::new();
    let mut ends = 0;
    while ends < 2 {
        let (sequence, payload) = receive(stream);
        assert_eq!(usize::from(sequence), (packets.len() + 1) % 256);
        ends += usize::from(packet::is_eof(&payload));
        packets.push(payload);
    }
    packets
}

#[test]
fn the_greeting_is_that_of_protocol_10() {
    let (sequence, payload) = receive(&mut connect());
    assert_eq!(sequence, 0);
    assert_eq!(payload[..22], *b"\x0a8.0.36-hostprof-demo\0");
    let rest = &payload[22..];
    assert_eq!(rest[..4], 1_u32.to_le_bytes());
    assert_eq!(rest[12], 0);
    // Lower capabilities, character set, status, upper capabilities, length of the salt.
    assert_eq!(rest[13..21], [0x0d, 0xa2, 45, 2, 0, 0x0a, 0, 21]);
    assert_eq!(rest[21..31], [0; 10]);
    assert!(rest.ends_with(b"\0mysql_native_password\0"));
    assert_eq!(rest.len(), 31 + 13 + AUTH_PLUGIN.len() + 1);
}

#[test]
fn a_query_has_columns_rows_and_two_ends() {
    let mut stream = logged_in();
    send(&mut stream, 0, &[&[command::QUERY], ORDER.as_bytes(), b"7"].concat());
    let packets = result(&mut stream);
    assert_eq!(packets.len(), 1 + 4 + 1 + 1 + 1);
    assert_eq!(packets[0], [4]);
    assert_eq!(packets[1][..13], *b"\x03def\x04shop\0\0\x02i");
    assert_eq!(packets[5], [0xfe, 0, 0, 2, 0]);
    assert_eq!(packets[6], b"\x041000\x041000\x08status 0\x07total 0");
}

#[test]
fn a_scan_sets_the_servers_flags() {
    let mut stream = logged_in();
    send(&mut stream, 0, &[&[command::QUERY], EVENTS.as_bytes(), b"'%x%'"].concat());
    let packets = result(&mut stream);
    assert_eq!(packets.len(), 1 + 2 + 1 + 200 + 1);
    assert_eq!(packets.last().unwrap(), &[0xfe, 0, 0, 0x22, 0x08]);
}

#[test]
fn errors_carry_number_and_state() {
    let mut stream = logged_in();
    send(&mut stream, 0, &[&[command::QUERY], INVOICES.as_bytes(), b"7"].concat());
    assert_eq!(receive(&mut stream).1, b"\xff\x7a\x04#42S02Table 'shop.invoices_2019' doesn't exist");
    send(&mut stream, 0, &[command::PING]);
    assert_eq!(receive(&mut stream), (1, ok()));
    send(&mut stream, 0, &[0x70]);
    assert_eq!(receive(&mut stream).1[..3], [0xff, 0x17, 0x04]);
    send(&mut stream, 0, &[command::QUIT]);
    assert!(packet::read(&mut stream).unwrap().is_none());
}

#[test]
fn statements_are_prepared_and_executed() {
    let mut stream = logged_in();
    send(&mut stream, 0, &[&[command::STMT_PREPARE], ITEMS.as_bytes(), b"?"].concat());
    // Number 1, three columns, one parameter.
    assert_eq!(receive(&mut stream), (1, vec![0, 1, 0, 0, 0, 3, 0, 1, 0, 0, 0, 0]));
    let definitions: Vec<Vec<u8>> = (0..6).map(|_| receive(&mut stream).1).collect();
    let ends = definitions.iter().map(|payload| packet::is_eof(payload)).collect::<Vec<_>>();
    assert_eq!(ends, [false, true, false, false, false, true]);

    send(&mut stream, 0, &[command::STMT_EXECUTE, 1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0xfd, 0, 1, b'7']);
    let packets = result(&mut stream);
    assert_eq!(packets.len(), 1 + 3 + 1 + 3 + 1);
    // A binary row: 0, one byte of NULL bits, the values.
    assert_eq!(packets[5], b"\0\0\x05sku 0\x0aquantity 0\x07price 0");

    send(&mut stream, 0, &[command::STMT_EXECUTE, 9, 0, 0, 0]);
    assert_eq!(receive(&mut stream).1[0], 0xff);
    // Closing has no reply: the next packet answers the ping.
    send(&mut stream, 0, &[command::STMT_CLOSE, 1, 0, 0, 0]);
    send(&mut stream, 0, &[command::PING]);
    assert_eq!(receive(&mut stream).1, ok());
}

#[test]
fn what_is_no_client_is_left_alone() {
    let mut stream = connect();
    receive(&mut stream);
    stream.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    // "GET " is the head of a packet of 5.5 MB: the connection is closed.
    assert!(!matches!(packet::read(&mut stream), Ok(Some(_))));
}

#[test]
fn a_packet_in_pieces_is_one() {
    let mut packets = Packets::from(0);
    packets.push(&[1, 2, 3]);
    assert_eq!(split(packets.bytes()).unwrap().1, [1, 2, 3]);
    let mut stream = logged_in();
    for byte in [1, 0, 0, 0, command::PING] {
        stream.write_all(&[byte]).unwrap();
    }
    assert_eq!(receive(&mut stream).1, ok());
}
