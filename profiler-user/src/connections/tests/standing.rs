//! What was there before the hooks, and what is left at the end.

use std::net::Ipv4Addr;

use super::*;
use crate::attribute::service::KERNEL;
use crate::connections::address::Address;
use crate::connections::snapshot::{Listening, Open, Snapshot};
use crate::connections::standing::Left;

#[test]
fn a_server_that_was_there_before_is_found_by_its_listener() {
    let mut stage = stage();
    let own: std::net::SocketAddr = (Ipv4Addr::new(10, 0, 0, 1), 80).into();
    let peer: std::net::SocketAddr = (Ipv4Addr::new(10, 0, 0, 2), 5).into();
    let any = Address::Inet((Ipv4Addr::UNSPECIFIED, 80).into());
    let snapshot = Snapshot {
        open: vec![Open::tcp(NETNS, own, peer, 9)],
        listening: vec![Listening { address: any, netns: NETNS, backlog: 2, pid: Some(42), inode: 8 }],
    };
    stage.stood(&snapshot, |_, _| Some("web".into()));
    stage.name_listeners(|pid, _| Some(format!("of {pid}").into()));
    let row = only(&stage);
    assert_eq!((row.role, row.peer.as_str(), row.preexisting, row.live), (Role::Server, "10.0.0.2", 1, 1));
    let listeners = stage.listener_rows(0, 2 * SECOND, |_| true, |_| None);
    assert_eq!((listeners[0].service.as_str(), listeners[0].backlog), ("of 42", 2));
    // Its first use is not another connection, and its role was not known to the kernel half.
    let stood = Life { t_open: 0, pid: 42, ..Life::default() };
    let mut first = event(what::OPENED, role::SERVER, 5, stood);
    first.role = role::UNKNOWN;
    feed(&mut stage, &first, Some("web"));
    let row = only(&stage);
    assert_eq!((row.role, row.preexisting, row.live, row.peak), (Role::Server, 1, 1, 1));
    feed(&mut stage, &event(what::CLOSED, role::SERVER, 5, stood), Some("web"));
    assert_eq!((only(&stage).live, only(&stage).closed), (0, 1));
}

#[test]
fn a_connection_of_the_snapshot_stays_its_processs_when_the_kernel_uses_it() {
    let mut stage = stage();
    let (own, peer) = ((Ipv4Addr::new(10, 0, 0, 1), 5), (Ipv4Addr::new(10, 0, 0, 2), 3_306));
    let open = vec![Open::tcp(NETNS, own.into(), peer.into(), 9)];
    stage.stood(&Snapshot { open, listening: Vec::new() }, |_, _| Some("nbd-client".into()));
    let stood = Life { t_open: 0, pid: 7, ..Life::default() };
    for number in [5, 6] {
        feed(&mut stage, &event(what::OPENED, role::CLIENT, number, stood), Some(KERNEL));
    }
    let mut rows: Vec<_> = all(&stage).into_iter().map(|row| (row.service, row.preexisting)).collect();
    rows.sort();
    assert_eq!(rows, [("kernel".to_owned(), 1), ("nbd-client".to_owned(), 1)]);
}

#[test]
fn one_of_the_snapshot_that_nobody_uses_still_ends() {
    let mut stage = stage();
    let (own, peer) = ((Ipv4Addr::new(10, 0, 0, 1), 5), (Ipv4Addr::new(10, 0, 0, 2), 3_306));
    let other = (Ipv4Addr::new(10, 0, 0, 1), 6);
    let open = [own, other].map(|own| Open::tcp(NETNS, own.into(), peer.into(), 9));
    let snapshot = Snapshot { open: open.to_vec(), listening: Vec::new() };
    stage.stood(&snapshot, |_, _| Some("app".into()));
    let life = Life { end: end::PEERS, ..Life::default() };
    feed(&mut stage, &event(what::CLOSED, role::CLIENT, 5, life), None);
    let row = only(&stage);
    assert_eq!((row.preexisting, row.live, row.closed, row.closed_by.peer), (2, 1, 1, 1));
    // The other one was gone before the hooks spoke.
    stage.left(&Left::default());
    let row = only(&stage);
    assert_eq!((row.preexisting, row.live, row.time_wait), (1, 0, Some(0)));
}

#[test]
fn the_ends_of_a_unix_connection_that_was_there_before_are_told_apart_by_their_number() {
    let mut stage = stage();
    let name: Arc<str> = "unix:/run/x".into();
    let address = Address::Unix(name.clone());
    let listens = Listening { address: address.clone(), netns: NETNS, backlog: 0, pid: Some(42), inode: 8 };
    let open = vec![Open::unix(NETNS, address, 9)];
    stage.stood(&Snapshot { open, listening: vec![listens] }, |_, _| Some("web".into()));
    let stood = Life { t_open: 0, pid: 42, ..Life::default() };
    for (inode, sk) in [(9_u64, 5), (10, 6)] {
        let mut first = event(what::OPENED, role::UNKNOWN, sk, stood);
        (first.family, first.laddr, first.raddr) = (libc::AF_UNIX as u16, [0; 16], [0; 16]);
        first.laddr[..8].copy_from_slice(&inode.to_ne_bytes());
        let subject = stage.subject_of(&first, &name);
        stage.event(&first, &subject, Some("web".into()));
    }
    let mut rows: Vec<_> = all(&stage).into_iter().map(|r| (r.role, r.peer, r.preexisting, r.live)).collect();
    rows.sort();
    let path = || "unix:/run/x".to_owned();
    assert_eq!(rows, [(Role::Server, path(), 1, 1), (Role::Client, path(), 1, 1)]);
}

#[test]
fn a_unix_socket_with_a_name_that_nobody_listens_on_may_be_of_either_end() {
    let mut stage = stage();
    let name: Arc<str> = "unix:/run/client-7".into();
    let open = vec![Open::unix(NETNS, Address::Unix(name.clone()), 9)];
    stage.stood(&Snapshot { open, listening: Vec::new() }, |_, _| Some("app".into()));
    assert!(all(&stage).is_empty());
    let stood = Life { t_open: 0, pid: 42, ..Life::default() };
    let mut first = event(what::OPENED, role::CLIENT, 5, stood);
    (first.family, first.laddr, first.raddr) = (libc::AF_UNIX as u16, [0; 16], [0; 16]);
    first.laddr[..8].copy_from_slice(&9_u64.to_ne_bytes());
    let subject = stage.subject_of(&first, &name);
    stage.event(&first, &subject, Some("app".into()));
    let row = only(&stage);
    assert_eq!((row.role, row.preexisting), (Role::Client, 1), "its first use tells");
}
