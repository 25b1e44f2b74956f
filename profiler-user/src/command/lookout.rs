//! The lookout for event loops: reads the kernel half's table every few milliseconds, puts what the watch says of it,
//! and the stalls that have ended, through the filters, and keeps what the report will say.

mod told;

use std::time::{Duration, Instant};

use profiler_ebpf::claim;
use profiler_ebpf::loops::Loop;
use rustc_hash::{FxHashMap, FxHashSet};

pub use self::told::Told;
use self::told::Untaken;
use super::inquiry::Inquiry;
use super::pipeline::Pipeline;
use crate::aggregate::Series;
use crate::aggregate::loops::Loops;
use crate::clock::{WallClock, monotonic, thread_cpu};
use crate::config::Protocol;
use crate::kernel::own;
use crate::kernel::session::Session;
use crate::report::{LoopRow, StallRow};
use crate::stack::{Counts, Long, Stacks};
use crate::stall::Stall;
use crate::watch::census::Census;
use crate::watch::sight::Descriptors;
use crate::watch::{Sight, Watch};

/// Programs of processes that are read at one look, at the most: they may be on a slow disk.
const PROGRAMS: usize = 4;
/// The table is read so often; less where reading it takes long.
const EVERY: Duration = Duration::from_millis(25);
/// The lengths of turns are read so often: a thread that has ended takes what was not read with it.
const TURNS_EVERY: Duration = Duration::from_secs(1);
/// Sets that nobody waits on are forgotten so often.
const SETS_EVERY: Duration = Duration::from_secs(60);
/// Reading may take this share of a CPU. Not of the time: who waits for a CPU for long would look the less.
const SHARE: u32 = 50;
/// A stall that clients wait for and that was not told of for so long is over.
const STALE_NS: u64 = 2_500_000_000;
/// A turn of so long may become a stall, ns.
const LONG_NS: u64 = 20_000_000;
/// Control groups are read so often at the most, ns: the kernel sums up over all CPUs for it.
const GROUPS_EVERY_NS: u64 = 90_000_000;

/// The watch, what it sees with, and what it has seen.
#[derive(Debug)]
pub struct Lookout {
    watch: Watch,
    sight: Descriptors,
    census: Census,
    table: Vec<Loop>,
    loops: Loops,
    stacks: Stacks,
    inquiry: Inquiry,
    told: Untaken,
    /// Those under way when last told of.
    open: Vec<Stall>,
    next: Instant,
    next_turns: Instant,
    next_sets: Instant,
    /// CPU time of the last reading.
    cost: Duration,
}

impl Lookout {
    /// Turns of `threshold` and more are stalls. `stacks`: whether their stacks are taken.
    pub fn new(threshold: Duration, stacks: bool) -> Self {
        let numbered = own::numbers_are_the_kernels();
        Self {
            watch: Watch::new(threshold.as_nanos() as u64),
            sight: Descriptors::new(numbered),
            census: Census::default(),
            table: Vec::new(),
            loops: Loops::default(),
            stacks: Stacks::new(stacks && numbered, threshold.as_nanos() as u64),
            inquiry: Inquiry::default(),
            told: Untaken::default(),
            open: Vec::new(),
            next: Instant::now(),
            next_turns: Instant::now() + TURNS_EVERY,
            cost: Duration::ZERO,
            next_sets: Instant::now() + SETS_EVERY,
        }
    }

    /// Stalls that began, went on or ended since the last call.
    pub fn take(&mut self) -> Vec<Told> {
        self.told.take()
    }

    /// Stalls that found no room in the report.
    pub fn overflowed(&self) -> u64 {
        self.loops.overflowed
    }

    /// What happened to looks at stalled threads.
    pub fn stacks(&self) -> Counts {
        self.stacks.counts
    }

    /// When it is time to look again.
    pub fn next(&self) -> Instant {
        self.next
    }

    /// Looks, if it is time to.
    pub fn turn(&mut self, session: &mut Session, pipeline: &mut Pipeline, clock: &WallClock) {
        if !session.watches_loops {
            // There will be nothing to look at.
            self.next = Instant::now() + SETS_EVERY;
            return;
        }
        let begun = Instant::now();
        self.stacks.collect();
        self.ended(session, pipeline, clock);
        if begun < self.next {
            return;
        }
        self.read(session, pipeline);
        if begun >= self.next_turns {
            self.turns(session);
            self.name(pipeline);
            self.next_turns = begun + TURNS_EVERY.max(begun.elapsed() * SHARE);
        }
        self.sample(monotonic());
        if begun >= self.next_sets {
            let sets: FxHashSet<_> = self.table.iter().map(|l| claim::key(l.turn.pid, l.turn.set)).collect();
            session.keep_sets(|set| sets.contains(&set));
            self.next_sets = begun + SETS_EVERY;
        }
        let now = monotonic();
        let mut running = self.watch.look(&self.table, now, &mut self.sight);
        self.table.iter().for_each(|l| self.loops.closed(l, self.watch.is_closed(l)));
        self.inquiry.of_running(&self.watch.asking(now), session, pipeline, now);
        running.retain(|stall| pipeline.wants_stall(stall));
        running.iter_mut().for_each(|stall| pipeline.queries.dress(stall));
        running.iter_mut().for_each(|stall| self.stacks.dress(stall));
        self.open.retain(|open| {
            now.saturating_sub(open.turn.end) < STALE_NS
                && self.watch.is_loops(&open.turn)
                && !running.iter().any(|stall| is_same(open, stall))
        });
        self.open.extend(running.iter().cloned());
        self.told.add(running, pipeline);
        self.forget(pipeline);
        self.ask(pipeline);
        self.next = begun + EVERY.max(self.cost * SHARE);
    }

    /// The last look at the loops, while the hooks are attached.
    pub fn last_look(&mut self, session: &mut Session, pipeline: &mut Pipeline) {
        if !session.watches_loops {
            return;
        }
        self.read(session, pipeline);
        self.turns(session);
        self.name(pipeline);
        let now = monotonic();
        self.sample(now);
        self.open = self.watch.running(&self.table, now, &mut self.sight);
        self.table.iter().for_each(|l| self.loops.closed(l, self.watch.is_closed(l)));
        self.inquiry.of_running(&self.watch.asking(now), session, pipeline, now);
        self.open.retain(|stall| pipeline.wants_stall(stall));
        self.stacks.collect();
        self.open.iter_mut().for_each(|stall| self.stacks.dress(stall));
    }

    /// The rows of the report, once the last records have come. Stalls that still went on at the last look are in it.
    pub fn finish(&mut self, pipeline: &mut Pipeline, clock: &WallClock) -> (Vec<LoopRow>, Vec<Series>) {
        self.add_ended(pipeline, clock);
        for stall in &self.open {
            self.loops.stall(stall, start(stall, clock));
        }
        // Replies that have come since are known by now.
        self.loops.each_stall(|stall| pipeline.queries.dress(stall));
        self.loops.rows(|pid, comm| pipeline.service_of_loop(pid, comm))
    }

    /// The loops that have stalled for the last `span`, with those stalls; what is older is forgotten.
    pub fn recent(&mut self, span: Duration, pipeline: &mut Pipeline, clock: &WallClock) -> Vec<LoopRow> {
        let since = monotonic().saturating_sub(span.as_nanos() as u64);
        let open =
            self.open.iter().map(|stall| StallRow { start: start(stall, clock), stall: stall.clone() });
        let open: Vec<_> = open.collect();
        self.loops.recent(since, &open, |pid, comm| pipeline.service_of_loop(pid, comm))
    }

    fn ended(&mut self, session: &mut Session, pipeline: &mut Pipeline, clock: &WallClock) {
        if pipeline.stalls.is_empty() {
            return;
        }
        self.sight.sample(pipeline.stalls.iter().map(|stall| stall.pid), 0, monotonic());
        self.inquiry.of_ended(session, pipeline);
        self.add_ended(pipeline, clock);
    }

    fn add_ended(&mut self, pipeline: &mut Pipeline, clock: &WallClock) {
        let mut stalls = pipeline.stalls.take();
        stalls.retain(|stall| !pipeline.pools.has(stall.pid) && pipeline.wants_stall(stall));
        stalls.retain_mut(|stall| self.watch.ended(stall, monotonic(), &mut self.sight));
        for stall in &mut stalls {
            pipeline.queries.over(stall);
            pipeline.queries.dress(stall);
            self.stacks.dress(stall);
            self.loops.stall(stall, start(stall, clock));
            self.open.retain(|open| !is_same(open, stall));
        }
        self.told.add(stalls, pipeline);
    }

    /// What no stall can ask for any more.
    fn forget(&self, pipeline: &mut Pipeline) {
        let open = self.table.iter().filter(|l| l.open != 0).map(|l| (l.turn.tid, l.turn.start));
        let open: FxHashMap<_, _> = open.collect();
        pipeline.queries.forget(monotonic(), |tid| open.get(&tid).copied());
    }

    /// The lengths of the turns of loops that serve.
    fn turns(&mut self, session: &Session) {
        let Self { table, loops, .. } = self;
        for l in table.iter() {
            if loops.serves(l)
                && let Some(turns) = session.turns(l.task)
            {
                loops.turns(l, turns);
            }
        }
    }

    /// Names the services of the loops that are there: some time after its end a process's number may be another's.
    fn name(&mut self, pipeline: &mut Pipeline) {
        for l in &self.table {
            self.loops.name(l, |pid, comm| pipeline.service_of_loop(pid, comm));
        }
    }

    /// Has the stacks of long turns looked at.
    fn ask(&mut self, pipeline: &mut Pipeline) {
        let now = monotonic();
        let mut long = self.watch.long(&self.table, now, self.stacks.least());
        long.retain(|(turn, _)| Stall::of(*turn, true).is_some_and(|stall| pipeline.wants_stall(&stall)));
        let long: Vec<_> = long
            .into_iter()
            .map(|(turn, serves)| Long {
                turn,
                serves: serves || pipeline.serves(turn.tid) == Some(Protocol::Http),
            })
            .collect();
        self.stacks.look(&long, now);
    }

    /// Notes for how long the control groups of loops have been throttled that serve, or are in a long turn.
    fn sample(&mut self, now: u64) {
        let Self { table, loops, sight, .. } = self;
        let wanted = table
            .iter()
            .filter(|l| loops.serves(l) || l.open != 0 && now.saturating_sub(l.turn.start) >= LONG_NS);
        sight.sample(wanted.map(|l| l.turn.pid), GROUPS_EVERY_NS, now);
    }

    fn read(&mut self, session: &mut Session, pipeline: &mut Pipeline) {
        let before = thread_cpu();
        self.table.clear();
        let Self { table, .. } = self;
        let mut unread = PROGRAMS;
        session.each_loop(|l| {
            if !pipeline.pools.may_have(l.turn.pid, &mut unread) {
                table.push(*l);
            }
        });
        self.cost = thread_cpu().saturating_sub(before);
        let now = monotonic();
        for l in &self.table {
            if self.loops.see(l, pipeline.serves(l.turn.tid) == Some(Protocol::Http), now) {
                session.measure(l.task);
            }
        }
        self.watch.note(&self.table, |tid| pipeline.serves(tid));
        for l in self.census.pick(&self.table, |l| self.loops.serves(l), now) {
            let found = self.sight.connections(l.turn.pid, l.turn.set).unwrap_or_default();
            if found.are_a_servers(pipeline.serves(l.turn.tid)) && self.loops.see(&l, true, now) {
                session.measure(l.task);
            }
        }
    }
}

fn is_same(one: &Stall, other: &Stall) -> bool {
    (one.tid, one.turn.start) == (other.tid, other.turn.start)
}

fn start(stall: &Stall, clock: &WallClock) -> String {
    format!("{:.9}", clock.at(stall.turn.start))
}
