//! Where records come from: the ring buffer, read as it fills, and the sweep that brings out the last of each idle
//! connection.

use std::time::{Duration, Instant};

use aya::maps::{MapData, RingBuf};
use profiler_ebpf::conn::Conn;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use crate::kernel::error::StartError;
use crate::kernel::load::Options;
use crate::kernel::session::{Session, Which};

/// The kernel half wakes us only when the ring fills; otherwise it is looked at this often, or more.
const POLL: Duration = Duration::from_millis(50);
/// How often idle connections are looked at; longer where looking takes long.
const SWEEP: Duration = Duration::from_millis(250);
/// So many sockets are visited before what was sent of them is taken from the ring.
const VISITS: usize = 256;
/// The sweep may take this share of the time.
const SWEEP_SHARE: u32 = 20;
/// Records taken before other work gets its turn.
const BATCH: usize = 4_096;

/// The kernel as a source of records.
#[derive(Debug)]
pub struct Source {
    pub session: Session,
    ring: AsyncFd<Ring>,
    next_sweep: Instant,
    /// The last turn left records in the ring.
    behind: bool,
    /// Exchanges under way when the sweep last looked.
    pub in_flight: u64,
    /// Records taken so far.
    pub records: u64,
}

/// Who takes what the source has.
pub trait Sink {
    /// A record of the ring.
    fn record(&mut self, bytes: &[u8]);

    /// A survey of the connection table begins.
    fn survey(&mut self);

    /// A connection of the table, as it was just now, and the kept beginning of its request under way.
    fn connection(&mut self, conn: &Conn, head: &[u8]);

    /// That was all of them.
    fn surveyed(&mut self);
}

/// The ring, which aya gives no Debug.
struct Ring(RingBuf<MapData>);

impl std::fmt::Debug for Ring {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Ring")
    }
}

impl std::os::fd::AsRawFd for Ring {
    fn as_raw_fd(&self) -> std::os::fd::RawFd {
        self.0.as_raw_fd()
    }
}

impl Source {
    /// Loads, attaches and opens the ring. Must be called within a tokio runtime.
    pub fn open(options: &Options) -> Result<Self, StartError> {
        let (session, ring) = Session::start(options)?;
        // SAFETY: the ring keeps its descriptor open, and the same, for as long as it lives.
        let ring = unsafe { AsyncFd::register_with_interest(Ring(ring), Interest::READABLE) }
            .map_err(|e| StartError::Ring { source: e.into() })?;
        Ok(Self {
            session,
            ring,
            next_sweep: Instant::now() + SWEEP,
            behind: false,
            in_flight: 0,
            records: 0,
        })
    }

    /// Waits for records, or a little while, until `next` at the most, and hands what is there to `sink`. Returns after
    /// at most some thousand records, so that the caller can look at its other events. Safe to cancel.
    pub async fn turn(&mut self, next: Instant, sink: &mut impl Sink) {
        let patience = POLL.min(next.saturating_duration_since(Instant::now()));
        if self.behind {
            // There is more already, and the kernel half signals only once: waiting would let the ring run full.
            tokio::task::yield_now().await;
        } else if let Ok(Ok(mut ready)) = tokio::time::timeout(patience, self.ring.readable()).await {
            ready.clear_ready();
        }
        if Instant::now() >= self.next_sweep {
            self.sweep(Which::Cold, sink);
        }
        self.behind = self.take(BATCH, sink);
        self.session.flush_log();
    }

    /// Detaches every program, and takes what is left: after this the window is closed.
    pub fn close(&mut self, sink: &mut impl Sink) {
        // What is gone by now is ended while the hooks still speak; nothing is concluded from what happens later.
        self.sweep(Which::All, sink);
        self.session.detach();
        self.take(usize::MAX, sink);
        self.sweep(Which::Last, sink);
        self.take(usize::MAX, sink);
    }

    /// Takes what is there, `most` records at the most. True when there may be more.
    fn take(&mut self, most: usize, sink: &mut impl Sink) -> bool {
        for _ in 0..most {
            let Some(item) = self.ring.get_mut().0.next() else { return false };
            self.records += 1;
            sink.record(&item);
        }
        true
    }

    fn sweep(&mut self, which: Which, sink: &mut impl Sink) {
        let begun = Instant::now();
        sink.survey();
        let found = self.session.survey(which, |conn, head| sink.connection(conn, head));
        sink.surveyed();
        self.in_flight = found.in_flight;
        // Thousands of Unix sockets may have been closed: what is sent of them would not fit into the ring at once.
        for sockets in found.idle.chunks(VISITS) {
            let sent = self.session.visit(sockets, which);
            self.in_flight = self.in_flight.saturating_sub(sent);
            self.take(BATCH, sink);
        }
        self.next_sweep = Instant::now() + SWEEP.max(begun.elapsed() * SWEEP_SHARE);
    }
}
