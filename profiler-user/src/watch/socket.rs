//! What a socket of another process says of itself, through a copy of its descriptor that is held for a moment.

use std::io;
use std::mem::MaybeUninit;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

/// `tcpi_unacked` of `struct tcp_info` (include/uapi/linux/tcp.h): of a listening socket the connections that wait to
/// be accepted (`tcp_get_info` in net/ipv4/tcp.c).
const UNACKED: usize = 24;

/// An end of a socket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Address {
    Inet(SocketAddr),
    /// Empty where it has no name.
    Unix(String),
}

pub(super) type Name =
    unsafe extern "C" fn(libc::c_int, *mut libc::sockaddr, *mut libc::socklen_t) -> libc::c_int;

pub(super) fn address(socket: &OwnedFd, name: Name) -> Option<Address> {
    // SAFETY: all zeros are a valid sockaddr_storage.
    let mut storage: libc::sockaddr_storage = unsafe { std::mem::zeroed() };
    let mut length = size_of::<libc::sockaddr_storage>() as libc::socklen_t;
    // SAFETY: the kernel writes at most `length` bytes to the storage.
    let rc = unsafe { name(socket.as_raw_fd(), (&raw mut storage).cast(), &raw mut length) };
    if rc != 0 {
        return None;
    }
    let at = &raw const storage;
    match i32::from(storage.ss_family) {
        libc::AF_INET => {
            // SAFETY: the family says which struct it is, and the storage is large enough for each.
            let v4 = unsafe { &*at.cast::<libc::sockaddr_in>() };
            let ip = Ipv4Addr::from(u32::from_be(v4.sin_addr.s_addr));
            Some(Address::Inet((ip, u16::from_be(v4.sin_port)).into()))
        }
        libc::AF_INET6 => {
            // SAFETY: as above.
            let v6 = unsafe { &*at.cast::<libc::sockaddr_in6>() };
            let ip = Ipv6Addr::from(v6.sin6_addr.s6_addr);
            Some(Address::Inet((ip.to_canonical(), u16::from_be(v6.sin6_port)).into()))
        }
        libc::AF_UNIX => {
            // SAFETY: as above.
            let path = unsafe { &(*at.cast::<libc::sockaddr_un>()).sun_path };
            let given = (length as usize).saturating_sub(std::mem::offset_of!(libc::sockaddr_un, sun_path));
            let bytes: Vec<u8> = path.iter().take(given).map(|c| *c as u8).collect();
            let text = String::from_utf8_lossy(&bytes).replace('\0', "@");
            Some(Address::Unix(text.trim_end_matches('@').to_owned()))
        }
        _ => None,
    }
}

/// Bytes that wait to be read.
pub(super) fn unread(socket: &OwnedFd) -> i32 {
    let mut bytes = 0;
    // SAFETY: the kernel writes one int.
    let rc = unsafe { libc::ioctl(socket.as_raw_fd(), libc::FIONREAD, &raw mut bytes) };
    if rc == 0 { bytes } else { 0 }
}

pub(super) fn backlog(listener: &OwnedFd) -> Option<u32> {
    let mut info = [0u8; UNACKED + 4];
    let mut length = info.len() as libc::socklen_t;
    // SAFETY: the kernel writes at most `length` bytes: it cuts the struct off there.
    let rc = unsafe {
        libc::getsockopt(
            listener.as_raw_fd(),
            libc::SOL_TCP,
            libc::TCP_INFO,
            info.as_mut_ptr().cast(),
            &raw mut length,
        )
    };
    let word = info.last_chunk::<4>().filter(|_| rc == 0 && length as usize == info.len())?;
    Some(u32::from_ne_bytes(*word))
}

pub(super) fn option(socket: &OwnedFd, level: i32, name: i32) -> Option<i32> {
    let mut value = MaybeUninit::<i32>::uninit();
    let mut length = size_of::<i32>() as libc::socklen_t;
    // SAFETY: the kernel writes one int, or fails and the value is not read.
    unsafe {
        let rc =
            libc::getsockopt(socket.as_raw_fd(), level, name, value.as_mut_ptr().cast(), &raw mut length);
        (rc == 0 && length as usize == size_of::<i32>()).then(|| value.assume_init())
    }
}

/// Names a process so that its number cannot come to mean another one.
pub(super) fn open(pid: u32) -> io::Result<OwnedFd> {
    // SAFETY: numbers only.
    owned(unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) })
}

/// A copy of a process's descriptor.
pub(super) fn borrow(process: &OwnedFd, descriptor: i32) -> io::Result<OwnedFd> {
    // SAFETY: numbers only.
    owned(unsafe { libc::syscall(libc::SYS_pidfd_getfd, process.as_raw_fd(), descriptor, 0) })
}

fn owned(result: libc::c_long) -> io::Result<OwnedFd> {
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: a new descriptor that nobody else has.
    Ok(unsafe { OwnedFd::from_raw_fd(result as i32) })
}
