//! A listening socket: how many connections wait to be accepted, how many there is room for, how many were turned away.
//! Kept by the hooks of connections, read by user space once a second.

/// A listening socket.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Listener {
    /// Its address in the kernel: the key.
    pub sk: u64,
    /// First seen, ns.
    pub since: u64,
    /// Unix sockets: the inode, to tell a reused address.
    pub inode: u64,
    pub laddr: [u8; 16],
    /// Inode number of the network namespace.
    pub netns: u32,
    pub family: u16,
    pub lport: u16,
    /// Connections that wait to be accepted, the most that were seen to, and the most that there is room for.
    pub backlog: u32,
    pub peak_backlog: u32,
    pub backlog_max: u32,
    /// Connections turned away for want of room (`sk_drops` of the listener), now and when it was first seen.
    pub drops: u32,
    pub drops_before: u32,
    /// Connections that accept() gave away.
    pub accepted: u32,
}

const _: () = assert!(size_of::<Listener>() == 72);
