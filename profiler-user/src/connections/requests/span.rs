//! One HTTP request of a server, from its first read to its end: what is kept of it, and what is said of it where a MySQL
//! command turns out to have been sent for it.

use std::sync::Arc;

use crate::exchange::HttpCall;

/// The thread that read a request, and its begin, ns.
pub(in crate::connections) type Id = (u32, u64);

/// How far a request had come when last looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::connections) enum End {
    UnderWay,
    /// When the last byte of its response was handed to the kernel, ns.
    Answered(u64),
    /// Its connection ended without a whole response.
    Broken,
}

/// The request that a command was sent for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::connections) struct Sender {
    /// Method and route.
    pub(in crate::connections) route: Arc<str>,
    pub(in crate::connections) end: End,
    pub(in crate::connections) id: Id,
}

/// A request from its first read on; `tid` has read it.
#[derive(Debug, Clone)]
pub(super) struct Span {
    pub(super) tid: u32,
    pub(super) start: u64,
    /// Its end, `u64::MAX` where there is none yet.
    pub(super) last: u64,
    pub(super) end: End,
    method: String,
    route: Arc<str>,
}

impl Span {
    pub(super) fn new(tid: u32, start: u64, last: u64, end: End, call: &HttpCall) -> Self {
        Self { tid, start, last, end, method: call.method.clone(), route: call.route.clone() }
    }

    pub(super) fn id(&self) -> Id {
        (self.tid, self.start)
    }

    pub(super) fn sender(&self) -> Sender {
        let name =
            if self.route.is_empty() { &*self.method } else { &format!("{} {}", self.method, self.route) };
        Sender { route: name.into(), end: self.end, id: self.id() }
    }
}
