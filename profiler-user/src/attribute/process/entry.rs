//! What is kept of one process, and for how long it is believed: where it comes from, when it was last compared with
//! `/proc`, and when it ended.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::Process;

/// What was read is believed for so long before a look at the start time.
const RECHECK: Duration = Duration::from_secs(1);
/// Records of a process arrive until so long after its end; then its pid may be another's.
const LATE: Duration = Duration::from_secs(1);

/// One process of the table.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) process: Arc<Process>,
    pub(super) source: Source,
    /// The parent by the kernel's word, which stays true when the process is handed to init.
    pub(super) forked_by: Option<u32>,
    /// An ancestor that [`super::ProcessTable::is_descendant`] found.
    pub(super) family: Option<u32>,
    pub(super) checked: Option<Instant>,
    pub(super) exited: Option<Instant>,
    /// The table's clock at the last use; 0 for a process that nobody asked for yet.
    pub(super) used: u64,
}

/// Where an identity comes from; the later ones know more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Source {
    /// Not even tried, or tried in vain.
    Nothing,
    /// A copy of the parent's.
    Parent,
    /// The kernel's record of its exec.
    Exec,
    /// Read from `/proc` before anyone asked ([`super::ProcessTable::snapshot`]).
    Snapshot,
    /// Read from `/proc` when asked for.
    Proc,
}

impl Entry {
    /// Whether the entry answers without another look at `/proc`.
    pub(super) fn is_valid(&self, now: Instant) -> bool {
        if self.exited.is_some() && self.source > Source::Nothing {
            return !self.is_past(now);
        }
        self.checked.is_some_and(|checked| now.duration_since(checked) < RECHECK)
    }

    /// Whether the kernel's notices have told something of it.
    pub(super) fn is_told(&self) -> bool {
        self.source > Source::Nothing || self.forked_by.is_some()
    }

    /// Whether it ended so long ago that a record of this pid may be of another process.
    pub(super) fn is_past(&self, now: Instant) -> bool {
        self.exited.is_some_and(|exited| now.duration_since(exited) >= LATE)
    }

    /// Who goes first when room is needed is less: the ended, then what was never compared with `/proc`, then who was
    /// in the snapshot and not asked for, then the longest unused.
    pub(super) fn rank(&self) -> (bool, bool, u64) {
        (self.exited.is_none(), self.checked.is_some(), self.used)
    }
}
