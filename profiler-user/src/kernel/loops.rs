//! The table of event loops as user space sees it: every thread that waits for events, with its totals and the turn
//! under way, read in one go. Nothing is written; only the kernel half changes a loop.

use std::io;
use std::os::fd::BorrowedFd;

use profiler_ebpf::loops::Loop;

use super::batch;

/// Reads the whole table; what a thread changes meanwhile may be seen before or after.
#[derive(Debug, Default)]
pub struct LoopReader {
    buffer: batch::Buffer,
}

impl LoopReader {
    /// Calls `see` with each loop.
    pub fn each(&mut self, table: BorrowedFd<'_>, mut see: impl FnMut(&Loop)) -> io::Result<()> {
        batch::for_each(table, &mut self.buffer, size_of::<Loop>(), |value| {
            // SAFETY: the value is at least a Loop long, plain numbers of any bit pattern.
            see(&unsafe { value.as_ptr().cast::<Loop>().read_unaligned() });
        })
    }
}
