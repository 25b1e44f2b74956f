//! The loop machine: what a thread that waits for events does between its waits.
//!
//! In come the instants at which such a thread begins and ends a wait, leaves the CPU, gets it back, is woken, and
//! ends; each is a function from a [`Loop`] and the event to the loop's next state. Out go the word that a turn was a
//! stall ([`said::STALL`], the turn is in the loop then), totals, and what went wrong. The kernel half keeps one loop
//! for each thread that waits at all; user space reads the turn under way with the same code ([`Loop::at`]).
//!
//! * A thread's loop is one kind of wait on one set. A wait on another set inside a turn (a child process is waited
//!   for, an HTTP client polls its socket) is a call that blocks the turn, not its end.
//! * A wait without patience (timeout 0) ends a turn as well: the loop has asked for what is new and will serve it.
//!   libuv and asyncio wait so for as long as they have work of their own.
//! * Events may be lost (the kernel runs no program of a classic tracepoint inside another one on the same CPU). A turn
//!   whose beginning or end was not seen is dropped and counted; one that lost a switch is kept and marked. How long a
//!   thread ran that was not seen to get a CPU back is by the kernel's own count of its CPU time ([`Loop::ran`]).

use crate::turn::{Call, Turn, flag, phase};
use crate::wait;

/// Waits in a row on one other set of the same rank, and time without a wait on the loop's own, after which that other
/// set is the loop: the thread has closed the first one, or only prepared something with it.
pub const STRAY: u32 = 64;
pub const STRAY_NS: u64 = 10_000_000_000;

/// What the thread is in.
pub mod inside {
    pub const NOTHING: u8 = 0;
    /// The wait of its loop.
    pub const WAIT: u8 = 1;
    /// Another wait.
    pub const OTHER: u8 = 2;
}

/// What an event has brought to light; several may come together.
pub mod said {
    /// The turn in the loop is over and took as long as the threshold, or longer.
    pub const STALL: u32 = 1;
    /// A switch of the thread was not seen.
    pub const SWITCH_LOST: u32 = 2;
    /// Begin or end of a wait was not seen.
    pub const WAIT_LOST: u32 = 4;
    /// The turn in the loop is over.
    pub const TURN: u32 = 8;
}

/// A thread that waits for events.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Loop {
    /// The turn under way, or the last one.
    pub turn: Turn,
    /// In what the thread is blocked.
    pub call: Call,
    /// The thread, as the kernel's tables know it.
    pub task: u64,
    /// When this loop was first seen, ns.
    pub born: u64,
    /// Finished turns: how many, their time, its parts, the longest.
    pub turns: u64,
    pub busy: u64,
    pub on_cpu: u64,
    pub run_queue: u64,
    pub blocked: u64,
    pub longest: u64,
    /// Since when the thread could run again and waited for a CPU, while in a wait; 0: it does not.
    pub woken: u64,
    /// Time and times of that: the loop's events were there, and it could not take them.
    pub late: u64,
    pub lates: u64,
    /// The thread's CPU time when it last left the CPU, ns.
    pub cpu_time: u64,
    /// How long it has run since then, unseen, ns; 0 but for the event at hand.
    pub unseen: u64,
    /// When the set's owner was last looked up.
    pub claimed: u64,
    /// Waits on other sets since the last on its own.
    pub stray: u32,
    pub stalls: u32,
    /// [`phase`].
    pub phase: u8,
    /// [`inside`].
    pub inside: u8,
    /// 1 while a turn is under way.
    pub open: u8,
    pub pad: [u8; 5],
}

const _: () = assert!(size_of::<Loop>() == 336);

impl Loop {
    /// Before an event that shows the thread running: true when it was not seen to get the CPU, and its CPU time so far
    /// is to be told by [`Self::ran`].
    #[inline(always)]
    pub fn lacks_switch_in(&self) -> bool {
        self.phase != phase::RUNNING
    }

    /// The thread's CPU time by now, ns. The kernel brings it up to date at switches and at each tick (`update_curr` in
    /// kernel/sched/fair.c).
    #[inline(always)]
    pub fn ran(&mut self, cpu_time: u64) {
        self.unseen = cpu_time.saturating_sub(self.cpu_time);
    }

    /// A thread begins a wait: its loop's, or another.
    #[inline(always)]
    pub fn wait_enter(&mut self, kind: u32, set: i32, threshold: u64, now: u64) -> u32 {
        let mut said = self.runs(now);
        if self.inside != inside::NOTHING {
            // The end of a wait was not seen, so what came after it was not either.
            said |= said::WAIT_LOST;
            self.inside = inside::NOTHING;
        }
        if self.turn.wait == kind && self.turn.set == set {
            self.inside = inside::WAIT;
            self.stray = 0;
            if self.open != 0 {
                said |= self.finish(threshold, now);
            }
            return said;
        }
        self.stray = self.stray.wrapping_add(1);
        let gone = self.stray > STRAY && now.wrapping_sub(self.turn.start) > STRAY_NS;
        if wait::outranks(kind, self.turn.wait) || (gone && !wait::outranks(self.turn.wait, kind)) {
            self.adopt(kind, set, now);
            self.inside = inside::WAIT;
        } else {
            self.inside = inside::OTHER;
        }
        said
    }

    /// A wait of the thread is over; `failed` when there was no such set.
    #[inline(always)]
    pub fn wait_exit(&mut self, kind: u32, failed: bool, now: u64) -> u32 {
        let mut said = self.runs(now);
        let inside = self.inside;
        self.inside = inside::NOTHING;
        match inside {
            inside::WAIT => {
                self.open = 0;
                if kind != self.turn.wait {
                    said |= said::WAIT_LOST;
                } else if !failed {
                    self.open = 1;
                    self.turn.begin(now);
                }
            }
            inside::NOTHING => {
                // Which wait it was is not known: if the loop's, the turn has ended unseen.
                self.open = 0;
                said |= said::WAIT_LOST;
            }
            _ => {}
        }
        said
    }

    /// The thread leaves the CPU, blocked unless `runnable`; `call` tells in what.
    #[inline(always)]
    pub fn switch_out(
        &mut self,
        runnable: bool,
        call: impl FnOnce() -> Call,
        threshold: u64,
        now: u64,
    ) -> u32 {
        let mut said = self.runs(now);
        self.phase = if runnable { phase::READY } else { phase::BLOCKED };
        if self.open == 0 {
            if runnable {
                self.woken = now;
            }
            return said;
        }
        self.turn.book(phase::RUNNING, &self.call, now);
        self.turn.switches = self.turn.switches.wrapping_add(1);
        if runnable {
            return said;
        }
        self.call = call();
        let kind = wait::of(self.call.nr);
        if kind == self.turn.wait && kind != 0 && wait::set(kind, self.call.target) == self.turn.set {
            // It sleeps in its loop's wait, which was not seen to begin.
            said |= said::WAIT_LOST;
            self.turn.flags |= flag::LATE_END;
            self.inside = inside::WAIT;
            self.stray = 0;
            said |= self.finish(threshold, now);
        }
        said
    }

    /// The thread gets a CPU.
    #[inline(always)]
    pub fn switch_in(&mut self, now: u64) -> u32 {
        let mut said = 0;
        if self.phase == phase::RUNNING {
            said |= said::SWITCH_LOST;
            self.turn.flags |= flag::UNCERTAIN;
        }
        self.resume(now);
        said
    }

    /// Somebody wakes the thread: from now on it waits for a CPU.
    #[inline(always)]
    pub fn wake(&mut self, now: u64) {
        if self.phase != phase::BLOCKED {
            return;
        }
        if self.open != 0 {
            self.turn.book(phase::BLOCKED, &self.call, now);
        } else {
            self.woken = now;
        }
        self.phase = phase::READY;
    }

    /// The thread ends.
    #[inline(always)]
    pub fn exit(&mut self, threshold: u64, now: u64) -> u32 {
        let mut said = self.runs(now);
        if self.open != 0 {
            self.turn.flags |= flag::EXITED;
            said |= self.finish(threshold, now);
        }
        said
    }

    /// The turn under way as it is at this instant; None while the loop waits.
    pub fn at(&self, now: u64) -> Option<Turn> {
        let mut turn = self.turn;
        turn.book(self.phase, &self.call, now);
        (self.open != 0).then_some(turn)
    }

    /// From now on this wait is the thread's loop.
    #[inline(always)]
    pub fn adopt(&mut self, kind: u32, set: i32, now: u64) {
        self.turn.wait = kind;
        self.turn.set = set;
        self.turn.begin(now);
        self.open = 0;
        self.stray = 0;
        self.born = now;
        self.turns = 0;
        self.busy = 0;
        self.on_cpu = 0;
        self.run_queue = 0;
        self.blocked = 0;
        self.longest = 0;
        self.late = 0;
        self.lates = 0;
        self.claimed = 0;
        self.stalls = 0;
    }

    /// The thread evidently runs: if it was not seen to get the CPU, that was lost.
    #[inline(always)]
    fn runs(&mut self, now: u64) -> u32 {
        if self.phase == phase::RUNNING {
            return 0;
        }
        self.turn.flags |= flag::UNCERTAIN;
        let since = now.saturating_sub(self.unseen);
        self.unseen = 0;
        self.resume(since);
        if self.open != 0 {
            self.turn.book(phase::RUNNING, &self.call, now);
        }
        said::SWITCH_LOST
    }

    /// Books what was before the thread had a CPU again.
    #[inline(always)]
    fn resume(&mut self, now: u64) {
        if self.open != 0 {
            self.turn.book(self.phase, &self.call, now);
        } else if self.woken != 0 {
            self.late = self.late.wrapping_add(now.saturating_sub(self.woken));
            self.lates = self.lates.wrapping_add(1);
        }
        self.woken = 0;
        self.phase = phase::RUNNING;
    }

    /// The turn under way is over.
    #[inline(always)]
    fn finish(&mut self, threshold: u64, now: u64) -> u32 {
        // Only a thread that runs ends a turn; where it was found asleep, all is booked.
        self.turn.book(phase::RUNNING, &self.call, now);
        self.open = 0;
        let length = self.turn.length();
        self.turns = self.turns.wrapping_add(1);
        self.busy = self.busy.wrapping_add(length);
        self.on_cpu = self.on_cpu.wrapping_add(self.turn.on_cpu);
        self.run_queue = self.run_queue.wrapping_add(self.turn.run_queue);
        self.blocked = self.blocked.wrapping_add(self.turn.blocked);
        if length > self.longest {
            self.longest = length;
        }
        if length < threshold {
            return said::TURN;
        }
        self.stalls = self.stalls.wrapping_add(1);
        said::TURN | said::STALL
    }
}
