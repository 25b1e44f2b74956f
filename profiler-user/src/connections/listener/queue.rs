//! The queues of a listener's sockets: connections that wait to be accepted, and those that were turned away for want of
//! room. What the kernel half, `/proc` and the namespace's counter tell goes in.

use super::Listener;

/// Ends of its sockets that are kept, the last ones.
const MOST_CLOSED: usize = 16;

/// What waits to be accepted at one socket.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Queue {
    backlog: u32,
    peak: u32,
    room: u32,
    drops: u32,
    /// The kernel half has told of it at its last reading.
    told: bool,
}

impl Listener {
    /// Its queue before we came.
    pub(in crate::connections) fn stood(&mut self, backlog: u64) {
        self.standing = Some(self.standing.unwrap_or(0) + backlog);
        self.peak_backlog = self.peak_backlog.max(self.backlog());
    }

    /// The kernel half's table is read `now`: true once all of it has been.
    pub(in crate::connections) fn reading(&mut self, done: bool, now: u64) {
        if done {
            // What is not there any more is closed.
            let gone = self.sockets.extract_if(|_, queue| !queue.told);
            let drops: Vec<_> = gone.map(|(_, queue)| u64::from(queue.drops)).collect();
            self.drops_before += drops.iter().sum::<u64>();
            if !self.sockets.is_empty() {
                self.room = self.queues_room();
            }
            if !drops.is_empty() {
                self.closed.truncate(MOST_CLOSED - 1);
                self.closed.insert(0, now);
            }
        } else {
            self.sockets.values_mut().for_each(|queue| queue.told = false);
        }
    }

    /// What the kernel half says of one of its sockets. Clients of Unix sockets that find no room wait, or are told to
    /// try again: none of them is dropped.
    pub(in crate::connections) fn socket(&mut self, socket: &profiler_ebpf::listener::Listener) {
        // What stood at the start is in the kernel's numbers as soon as it has some.
        self.standing = None;
        let queue = Queue {
            backlog: socket.backlog,
            peak: socket.peak_backlog,
            room: socket.backlog_max,
            drops: socket.drops.wrapping_sub(socket.drops_before),
            told: true,
        };
        self.sockets.insert(socket.sk, queue);
        self.peak_backlog = self.peak_backlog.max(self.backlog()).max(u64::from(queue.peak));
    }

    /// Whether the kernel half, or `/proc`, has told of it.
    pub(in crate::connections) fn is_told(&self) -> bool {
        self.standing.is_some() || !self.sockets.is_empty()
    }

    /// Connections that wait to be accepted.
    pub(in crate::connections) fn backlog(&self) -> u64 {
        let told: u64 = self.sockets.values().map(|queue| u64::from(queue.backlog)).sum();
        told + self.standing.unwrap_or(0)
    }

    pub(super) fn queues_room(&self) -> u64 {
        self.sockets.values().map(|queue| u64::from(queue.room)).sum()
    }

    /// The namespace's own count of what was turned away here.
    pub(in crate::connections) fn overflowed(&mut self, overflows: u64) {
        self.overflows = Some(overflows);
    }

    pub(super) fn overflows(&self) -> u64 {
        self.overflows.unwrap_or_else(|| self.dropped())
    }

    /// What its sockets have dropped: what was turned away for want of room, the last packet of its handshake counted too
    /// (`discard_and_relse` in net/ipv4/tcp_ipv4.c).
    pub(in crate::connections) fn dropped(&self) -> u64 {
        self.drops_before + self.sockets.values().map(|queue| u64::from(queue.drops)).sum::<u64>()
    }
}
