//! Listeners by their sockets and by the addresses of connections, and the bounds.

use std::sync::Arc;

use super::*;

fn inet(text: &str) -> Address {
    Address::Inet(text.parse().unwrap())
}

#[test]
fn by_its_socket_its_address_or_all_addresses() {
    let mut all = Listeners::default();
    let any4 = all.on(1, &inet("0.0.0.0:80")).unwrap();
    let any6 = all.on(1, &inet("[::]:81")).unwrap();
    let one = all.on(1, &inet("10.0.0.1:80")).unwrap();
    assert_eq!(all.of(0, 1, &inet("10.0.0.1:80")), Some(one), "its own first");
    assert_eq!(all.of(0, 1, &inet("10.0.0.2:80")), Some(any4));
    assert_eq!(all.of(0, 1, &inet("10.0.0.2:81")), Some(any6), "IPv4 comes to IPv6's as well");
    assert_ne!(all.of(0, 1, &inet("[::1]:80")), Some(any4));
    assert_ne!(all.of(0, 2, &inet("10.0.0.2:80")), Some(any4), "another namespace");
    let mut socket = profiler_ebpf::listener::Listener {
        sk: 77,
        netns: 1,
        family: libc::AF_INET as u16,
        lport: 80,
        ..Default::default()
    };
    all.socket(&socket);
    assert_eq!(all.of(77, 1, &inet("10.0.0.1:80")), Some(any4), "the kernel knows it");
    (socket.sk, socket.family, socket.inode, socket.backlog) = (78, libc::AF_UNIX as u16, 99, 3);
    all.socket(&socket);
    assert!(all.has_nameless(), "without a name it is none yet");
    all.asked();
    all.socket(&socket);
    assert!(!all.has_nameless(), "asked for once");
    let unix = Address::Unix("unix:/run/x".into());
    let number = all.on(1, &unix).unwrap();
    all.numbered(99, number);
    all.socket(&socket);
    assert_eq!(all.of(0, 1, &unix), Some(number));
    assert_eq!(all.get(number).unwrap().backlog(), 3);
}

#[test]
fn connections_that_came_before_their_socket_was_told_of_stay_with_it() {
    let mut all = Listeners::default();
    let first = all.of(77, 1, &inet("10.0.0.1:80")).unwrap();
    all.told(77, first);
    assert_eq!(all.of(77, 1, &inet("10.0.0.2:80")), Some(first), "by its socket");
    let other = all.of(0, 1, &inet("10.0.0.1:81")).unwrap();
    for (sk, lport) in [(77, 80), (78, 81)] {
        let family = libc::AF_INET as u16;
        all.socket(&profiler_ebpf::listener::Listener { sk, netns: 1, family, lport, ..Default::default() });
    }
    assert_eq!(all.of(0, 1, &inet("10.0.0.3:80")), Some(first));
    assert_eq!(all.of(0, 1, &inet("10.0.0.3:81")), Some(other));
    let names: Vec<_> = all.iter().map(|l| l.address.to_string()).collect();
    assert_eq!(names, ["0.0.0.0:80", "0.0.0.0:81"]);
}

#[test]
fn bounded() {
    let mut all = Listeners::default();
    for n in 0..2 * MOST {
        let name: Arc<str> = format!("unix:/run/{n}").into();
        let number = all.of(0, 1, &Address::Unix(name));
        if let Some(listener) = number.filter(|_| n != 7).and_then(|number| all.get(number)) {
            listener.accepted((1, 1), None);
        }
    }
    // One takes the place of that which nothing came to; there is no room for the others, however often they are asked for.
    for n in MOST + 1..2 * MOST {
        assert_eq!(all.of(0, 1, &Address::Unix(format!("unix:/run/{n}").into())), None);
    }
    assert_eq!((all.all.len(), all.numbers.len(), all.left_out()), (MOST, MOST, MOST as u64 - 1));
    assert!(all.find(1, &Address::Unix("unix:/run/7".into())).is_none());
    assert!(all.find(1, &Address::Unix(format!("unix:/run/{MOST}").into())).is_some());
}

#[test]
fn a_place_says_who_serves_though_it_has_no_listener() {
    let mut all = Listeners::default();
    all.place(1, &inet("0.0.0.0:80"));
    assert!(all.listens(1, &inet("10.0.0.3:80")) && !all.listens(2, &inet("10.0.0.3:80")));
}
