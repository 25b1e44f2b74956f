//! Connections of the host's services: the kernel's events of their lives and finished exchanges come in, the report's
//! rows of connections and listeners go out, and [`Told`] for whoever follows them one by one.

pub mod errno;

use std::sync::Arc;

use profiler_ebpf::life::Life;

use crate::report::Role;

/// Something has happened to a connection of a service that is wanted.
#[derive(Debug, Clone, PartialEq)]
pub struct Told {
    /// [`profiler_ebpf::life::what`].
    pub what: u8,
    /// When, ns on the monotonic clock.
    pub time: u64,
    pub service: Arc<str>,
    pub pid: u32,
    pub role: Role,
    /// `ip:port`, `[ip6]:port` or `unix:PATH`, both with their ports; empty where it is not known.
    pub local: String,
    pub peer: String,
    /// As in [`crate::report::ConnectionRow::protocol`]: what is known by now.
    pub protocol: &'static str,
    /// Inode number of the network namespace.
    pub netns: u32,
    pub life: Life,
}
