//! What comes from the source, on its way to the stages: records and looks at connections go in, finished exchanges
//! come out to who wants to see them.

use profiler_ebpf::conn::Conn;

use crate::clock::{WallClock, monotonic};
use crate::command::pipeline::{Finished, Pipeline};
use crate::source::Sink;

/// What comes from the source goes to the stages.
pub(super) struct Feed<'a, S> {
    pub(super) pipeline: &'a mut Pipeline,
    pub(super) clock: &'a WallClock,
    pub(super) see: &'a mut S,
}

impl<S: FnMut(&Finished, &WallClock)> Sink for Feed<'_, S> {
    fn record(&mut self, bytes: &[u8]) {
        if let Some(finished) = self.pipeline.feed(bytes) {
            (self.see)(&finished, self.clock);
        }
    }

    fn survey(&mut self) {
        self.pipeline.connections.survey();
    }

    fn connection(&mut self, conn: &Conn, head: &[u8]) {
        self.pipeline.see(conn, head, monotonic());
    }

    fn surveyed(&mut self) {
        self.pipeline.connections.surveyed(monotonic());
    }
}
