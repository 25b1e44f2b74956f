//! TCP over IPv6 and over IPv4 in IPv6: both ends are seen, with the addresses that `ss` and a user would write.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    process,
};

use hostprof_tests::{
    Recording, Report, Trace,
    peer::{between_at, read_head, read_until, write},
};
use serde_json::Value;

const GET: &[u8] = b"GET /six HTTP/1.1\r\nHost: test\r\n\r\n";
const OK: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

/// Two exchanges with a server at one address by a client that connects to another, both seen as at `shown`.
fn assert_seen(listen: IpAddr, to: IpAddr, shown: &str) {
    let ours = ["--pid", &process::id().to_string()];
    let recording = Recording::start(&ours).unwrap();
    let trace = Trace::start(&ours).unwrap();
    let mut client_port = 0;
    let server_port = between_at(
        listen,
        to,
        |stream| {
            client_port = stream.local_addr()?.port();
            (0..2).try_for_each(|_| {
                write(&stream, GET)?;
                read_until(&stream, b"ok").map(drop)
            })
        },
        |stream| {
            (0..2).try_for_each(|_| {
                read_head(&stream)?;
                write(&stream, OK)
            })
        },
    )
    .unwrap();
    let lines = trace.finish().unwrap();
    let report = recording.finish().unwrap();

    let [server, client] = [server_port, client_port].map(|port| format!("{shown}:{port}"));
    for (role, local, peer) in [("server", &server, &client), ("client", &client, &server)] {
        let seen: Vec<_> = lines.iter().filter(|line| line["role"] == role).collect();
        assert_eq!(seen.len(), 2, "{role}: {lines:#?}");
        for line in seen {
            assert_eq!((&line["local"], &line["peer"]), (&json(local), &json(peer)), "{role}");
            assert_eq!((&line["path"], line["status"].as_u64()), (&"/six".into(), Some(200)));
        }
        let row = report.rows("http").role(role).only().unwrap();
        assert_eq!((row["status"].as_u64(), row["count"].as_u64()), (Some(200), Some(2)), "{role}");
        assert_eq!(row["clock"] == "arrival", role == "server", "{row}");
    }
    let called = report.rows("http").role("client").only().unwrap();
    assert_eq!(called["peer"], server);
    assert_eq!(listens(&report), [server]);
    assert!(report.lost().is_empty(), "{:?}", report.lost());
}

fn json(text: &str) -> Value {
    text.into()
}

/// Where the services of the report listen.
fn listens(report: &Report) -> Vec<&str> {
    let services = report.json()["services"].as_array().into_iter().flatten();
    services.flat_map(|service| service["listens"].as_array()).flatten().filter_map(Value::as_str).collect()
}

#[test]
fn ipv6_addresses_are_in_brackets() {
    assert_seen(Ipv6Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into(), "[::1]");
    // A server on all addresses is shown by the one that its client reached.
    assert_seen(Ipv6Addr::UNSPECIFIED.into(), Ipv6Addr::LOCALHOST.into(), "[::1]");
}

#[test]
fn ipv4_that_reaches_an_ipv6_socket_is_ipv4() {
    assert_seen(Ipv6Addr::UNSPECIFIED.into(), Ipv4Addr::LOCALHOST.into(), "127.0.0.1");
    // Both ends have sockets of IPv6.
    let mapped = Ipv4Addr::LOCALHOST.to_ipv6_mapped();
    assert_seen(Ipv6Addr::UNSPECIFIED.into(), mapped.into(), "127.0.0.1");
}
