//! The lookout for stalls: reads the kernel half's table of loops every few milliseconds and puts what the watch says
//! of it, and the stalls that have ended, through the filters.

use std::time::{Duration, Instant};

use profiler_ebpf::loops::Loop;

use super::pipeline::Pipeline;
use crate::clock::monotonic;
use crate::kernel::session::Session;
use crate::stall::Stall;
use crate::watch::Watch;
use crate::watch::sight::Descriptors;

/// The table is read so often; less where reading it takes long.
const EVERY: Duration = Duration::from_millis(25);
/// Reading may take this share of the time.
const SHARE: u32 = 50;

/// The watch, and what it sees with.
#[derive(Debug)]
pub struct Lookout {
    watch: Watch,
    sight: Descriptors,
    loops: Vec<Loop>,
    next: Instant,
}

impl Lookout {
    pub fn new(threshold: Duration) -> Self {
        Self {
            watch: Watch::new(threshold.as_nanos() as u64),
            sight: Descriptors::default(),
            loops: Vec::new(),
            next: Instant::now(),
        }
    }

    /// Stalls under way that are to be told of, and those that have ended since the last call.
    pub fn stalls(&mut self, session: &mut Session, pipeline: &mut Pipeline) -> Vec<Stall> {
        let begun = Instant::now();
        let mut stalls = pipeline.stalls.take();
        for stall in &mut stalls {
            self.watch.ended(stall, monotonic(), &mut self.sight);
        }
        if begun >= self.next {
            self.loops.clear();
            session.each_loop(|l| self.loops.push(*l));
            stalls.extend(self.watch.look(&self.loops, monotonic(), &mut self.sight));
            self.next = begun + EVERY.max(begun.elapsed() * SHARE);
        }
        stalls.retain(|stall| pipeline.wants_stall(stall));
        stalls
    }
}
