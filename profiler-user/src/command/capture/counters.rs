//! What a capture counts by name: the kernel half's counters and those of the stages go in, the report's `lost`,
//! `not_parsed` and `loop_events` come out. What is zero is left out.

use profiler_ebpf::record::Counter;

use super::Capture;
use crate::report::Counters;

impl Capture {
    /// What should have been shown and was not, by reason.
    pub fn lost(&self) -> Counters {
        let c = |counter| self.source.session.counter(counter);
        named([
            ("ring_full", c(Counter::RingFull)),
            ("connection_table_full", c(Counter::ConnectionTableFull)),
            ("untracked_operations", c(Counter::Untracked)),
            ("head_unreadable", c(Counter::HeadUnreadable)),
            ("pipeline_too_deep", c(Counter::PipelineTooDeep)),
            ("waiting_table_full", c(Counter::WaitingTableFull)),
            ("framing_lost", c(Counter::FramingLost)),
            ("probe_missed", self.source.session.missed()),
            ("notice_lost", c(Counter::NoticeLost)),
            ("loop_table_full", c(Counter::LoopTableFull)),
            ("listener_table_full", c(Counter::ListenerTableFull)),
            ("connection_event_lost", c(Counter::ConnectionEventLost) + self.pipeline.connections.untold),
            (
                "stall_lost",
                c(Counter::StallLost) + self.pipeline.stalls.overflowed + self.lookout.overflowed(),
            ),
            ("identity_gone", self.pipeline.identity_gone),
            ("series_overflow", self.pipeline.aggregator.overflowed + self.pipeline.connections.overflowed()),
        ])
    }

    /// Connections recognised but not read, by reason.
    pub(super) fn not_parsed(&self) -> Counters {
        let c = |counter| self.source.session.counter(counter);
        named([
            ("tls", c(Counter::NotParsedTls)),
            ("http2", c(Counter::NotParsedHttp2)),
            ("mysql_compressed", c(Counter::NotParsedMysqlCompressed)),
            ("io_uring", c(Counter::NotParsedIoUring)),
            ("other_protocol", c(Counter::NotParsedOther)),
            // Looked like a request of ours at first, and was none by its reply or by its first line.
            ("unconfirmed", c(Counter::Demoted) + self.pipeline.other_protocol),
        ])
    }

    /// How well event loops were seen.
    pub(super) fn loop_events(&self) -> Counters {
        let c = |counter| self.source.session.counter(counter);
        let stacks = self.lookout.stacks();
        named([
            ("stalls", c(Counter::Stalls)),
            ("shared_turns", c(Counter::SharedTurns)),
            ("switch_lost", c(Counter::SwitchLost)),
            ("wait_lost", c(Counter::WaitLost)),
            ("queries_forgotten", self.pipeline.queries.forgotten),
            ("probe_missed", self.source.session.missed_of_loops()),
            ("stacks_taken", stacks.taken),
            ("stacks_skipped", stacks.skipped),
            ("stacks_failed", stacks.failed),
            ("stacks_late", stacks.late),
        ])
    }
}

/// Those that are not zero, by name.
fn named<const N: usize>(all: [(&str, u64); N]) -> Counters {
    all.into_iter().filter(|(_, n)| *n > 0).map(|(name, n)| (name.to_owned(), n)).collect()
}
