//! Looks at listening sockets while a capture runs: the kernel half's table goes in once a second, the pipeline gets
//! each queue, whose the sockets are, and the CPU time of who works for them. Owners are searched for meanwhile, since
//! that takes its time.

use std::path::Path;
use std::time::{Duration, Instant};

use crate::clock::monotonic;
use crate::command::pipeline::Pipeline;
use crate::connections::cpu::Cpu;
use crate::connections::owners::Owners;
use crate::kernel::session::Session;

/// The kernel half's table of listeners is read so often, and the CPU time of who works for them.
const EVERY: Duration = Duration::from_secs(1);
/// The end of a recording waits so long for who owns its listeners: a process whose /proc hangs would hold it up.
const OWNERS_WAIT: Duration = Duration::from_secs(3);

/// What is needed to look at them, and when that is due.
#[derive(Debug)]
pub(super) struct Listeners {
    cpu: Cpu,
    owners: Owners,
    next: Instant,
}

impl Listeners {
    pub(super) fn new(proc_root: &Path) -> Self {
        Self { cpu: Cpu::new(proc_root), owners: Owners::new(proc_root), next: Instant::now() }
    }

    /// CPU time of these processes.
    pub(super) fn used(&self, processes: &mut dyn Iterator<Item = u32>) -> Option<u64> {
        self.cpu.used(processes)
    }

    /// Looks, if it is time to.
    pub(super) fn turn(&mut self, session: &mut Session, pipeline: &mut Pipeline) {
        if Instant::now() >= self.next {
            self.look(session, pipeline);
            self.next = Instant::now() + EVERY;
        }
    }

    /// Reads what the kernel half says of listeners, and what else is to be known of them.
    fn look(&mut self, session: &mut Session, pipeline: &mut Pipeline) {
        let now = monotonic();
        pipeline.connections.reading_listeners(false, now);
        session.each_listener(|listener| pipeline.listener(listener));
        pipeline.connections.reading_listeners(true, now);
        self.cpu.look(pipeline.connections.workers());
        let now = Instant::now();
        pipeline.connections.owners(&self.owners.take(now));
        if pipeline.connections.wants_owners() && self.owners.may_search(now) {
            self.owners.search(now);
            pipeline.connections.asked_for_owners();
        }
        // While its process lives: it has no name afterwards.
        pipeline.name_listeners();
    }

    /// The last look at listeners: what is being found out of them is waited for, but not for ever.
    pub(super) fn last_look(&mut self, session: &mut Session, pipeline: &mut Pipeline) {
        self.look(session, pipeline);
        let until = Instant::now() + OWNERS_WAIT;
        let connections = &mut pipeline.connections;
        connections.owners(&self.owners.wait(Instant::now(), until));
        if connections.wants_owners() {
            self.owners.search(Instant::now());
            connections.asked_for_owners();
            connections.owners(&self.owners.wait(Instant::now(), until));
        }
        pipeline.name_listeners();
    }
}
