//! The kernel half's tables of event loops: looks at them go in, each loop and the lengths of its turns come out.

use aya::maps::HashMap;
use log::{debug, warn};
use profiler_ebpf::histogram::Histogram;
use profiler_ebpf::loops::Loop;

use super::Session;
use crate::kernel::batch;

impl Session {
    /// Calls `see` with every thread that waits for events.
    pub fn each_loop(&mut self, see: impl FnMut(&Loop)) {
        let Some(fd) = self.ebpf.map("LOOPS").and_then(batch::map_fd) else { return };
        if let Err(e) = self.loops.each(fd, see) {
            warn!("the table of event loops could not be read: {e}");
        }
    }

    /// Forgets who waits on a set where nobody does any more: its thread ended after another one, or left it.
    pub fn keep_sets(&mut self, mut wanted: impl FnMut(u64) -> bool) {
        let map = self.ebpf.map_mut("SETS").and_then(|m| HashMap::<_, u64, [u64; 2]>::try_from(m).ok());
        let Some(mut map) = map else { return };
        let dead: Vec<_> = map.keys().flatten().filter(|key| !wanted(*key)).collect();
        for key in dead {
            // Gone by itself meanwhile, or not: either way nobody misses it.
            let _ = map.remove(&key);
        }
    }

    /// From now on the lengths of this thread's turns are counted.
    pub fn measure(&mut self, task: u64) {
        let map = self.ebpf.map_mut("TURNS").and_then(|m| HashMap::<_, u64, Turns>::try_from(m).ok());
        if let Some(mut map) = map
            && let Err(e) = map.insert(task, Turns(Histogram::default()), 0)
        {
            debug!("the turns of a loop are not measured: {e}");
        }
    }

    /// The lengths of this thread's turns.
    pub fn turns(&self, task: u64) -> Option<Histogram> {
        let map = HashMap::<_, u64, Turns>::try_from(self.ebpf.map("TURNS")?).ok()?;
        map.get(&task, 0).ok().map(|turns| turns.0)
    }
}

/// A histogram as aya takes it.
#[derive(Clone, Copy)]
#[repr(transparent)]
struct Turns(Histogram);

// SAFETY: plain numbers without padding.
unsafe impl aya::Pod for Turns {}
