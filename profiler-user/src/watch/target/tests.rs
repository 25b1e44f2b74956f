//! Tests of what descriptors are called, on this process's own.

use std::fs::File;
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::fd::AsRawFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::process::{Command, Stdio};

use super::*;

fn turn() -> Turn {
    // SAFETY: no arguments.
    let tid = unsafe { libc::gettid() } as u32;
    Turn { pid: std::process::id(), tid, ..Turn::default() }
}

fn name(fd: &impl AsRawFd) -> (String, What) {
    let target = descriptor(&turn(), fd.as_raw_fd(), true).unwrap();
    (target.text, target.what)
}

#[test]
fn sockets_by_their_other_end() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let at = listener.local_addr().unwrap();
    let stream = TcpStream::connect(at).unwrap();
    assert_eq!(name(&stream), (format!("tcp {at}"), What::Socket));
    let ends = Ends::Inet { local: stream.local_addr().unwrap(), peer: at };
    assert_eq!(descriptor(&turn(), stream.as_raw_fd(), true).unwrap().ends, Some(ends));
    assert_eq!(name(&listener), (format!("listening tcp {at}"), What::Socket));
    let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
    assert_eq!(name(&udp), ("udp".into(), What::Socket));
    udp.connect("127.0.0.1:53").unwrap();
    assert_eq!(name(&udp), ("udp 127.0.0.1:53".into(), What::Resolver));
}

#[test]
fn unix_sockets_by_path() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("db.sock");
    let _listener = UnixListener::bind(&path).unwrap();
    let stream = UnixStream::connect(&path).unwrap();
    assert_eq!(name(&stream), (format!("unix:{}", path.display()), What::Socket));
    std::fs::create_dir(dir.path().join("nscd")).unwrap();
    let path = dir.path().join("nscd/socket");
    let _listener = UnixListener::bind(&path).unwrap();
    assert_eq!(name(&UnixStream::connect(&path).unwrap()).1, What::Resolver);
}

#[test]
fn files_pipes_and_children() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let path = file.path().display().to_string();
    assert_eq!(name(&File::open(file.path()).unwrap()), (path, What::File));
    let (reader, writer) = std::io::pipe().unwrap();
    assert_eq!(name(&reader).1, What::Pipe);
    let mut child = Command::new("cat").stdin(reader).stdout(Stdio::null()).spawn().unwrap();
    let title = format!("subprocess cat[{}]", child.id());
    // Its name is the parent's until it has become another program.
    while name(&writer).0 != title {
        assert_eq!(name(&writer).1, What::Subprocess);
    }
    assert_eq!(self::child(turn().pid, child.id() as i32).text, title);
    drop(writer);
    child.wait().unwrap();
    assert_eq!(self::child(turn().pid, child.id() as i32), Target::new("", What::Subprocess));
}

#[test]
fn a_set_is_what_is_in_it_if_that_is_one() {
    // SAFETY: no pointers.
    let set = unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) };
    let events: Vec<_> = (0..2).map(|_| std::io::pipe().unwrap()).collect();
    let add = |fd: i32| {
        let mut event = libc::epoll_event { events: libc::EPOLLIN as u32, u64: 0 };
        // SAFETY: reads the one struct given.
        assert_eq!(unsafe { libc::epoll_ctl(set, libc::EPOLL_CTL_ADD, fd, &raw mut event) }, 0);
    };
    let what = || descriptor(&turn(), set, true).unwrap().what;
    assert_eq!(what(), What::Event);
    add(events[0].0.as_raw_fd());
    assert_eq!(what(), What::Pipe);
    add(events[1].0.as_raw_fd());
    assert_eq!(what(), What::Event);
    // SAFETY: our own.
    unsafe { libc::close(set) };
}

#[test]
fn the_peer_of_a_socket_that_connects() {
    let line =
        "   1: 0200000A:C350 0100000A:0CEA 02 00000001:00000000 01:00000014 00000003  1000        0 4711 2 0";
    assert_eq!(remote_of(line, 4_711).as_deref(), Some("10.0.0.1:3306"));
    assert_eq!(remote_of(line, 4_712), None);
    let six = "   0: 00000000000000000000000001000000:C350 0000000000000000FFFF00000100000A:0CEA 02 0:0 01:14 3 0 0 9";
    assert_eq!(remote_of(six, 9).as_deref(), Some("10.0.0.1:3306"));
    assert_eq!(remote_of("", 9), None);
}
