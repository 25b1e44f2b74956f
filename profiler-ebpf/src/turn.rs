//! One turn of an event loop: the time between the end of a wait and the next wait, split into what the thread did with
//! it. In come instants at which the thread's state changes, out goes the record of a stall.
//!
//! The split is kept up to [`Turn::end`], and its parts always add up to the time from the start to there.

/// Calls that are told apart in one turn.
pub const CALLS: usize = 4;

/// What the thread does.
pub mod phase {
    pub const RUNNING: u8 = 0;
    /// It could run, and waits for a CPU.
    pub const READY: u8 = 1;
    /// It waits for something else, in [`super::Call`].
    pub const BLOCKED: u8 = 2;
}

/// [`Turn::flags`].
pub mod flag {
    /// A switch of the thread was not seen: time may be booked to the wrong part.
    pub const UNCERTAIN: u32 = 1;
    /// The thread has ended in it.
    pub const EXITED: u32 = 2;
    /// The wait that ended it was not seen to begin, but found when the thread slept in it.
    pub const LATE_END: u32 = 4;
}

/// [`Call::nr`] where no system call has that number.
pub mod call {
    /// None: a signal or a debugger has stopped the thread.
    pub const STOPPED: u32 = 0xfffd;
    /// A fault or an interrupt: the thread was not in a system call.
    pub const FAULT: u32 = 0xfffe;
    /// Not known on this kernel.
    pub const UNKNOWN: u32 = 0xffff;

    /// [`super::Call::target`] of a poll of nothing: a sleep.
    pub const NO_TARGET: u64 = u64::MAX;
}

/// A system call as far as we look at it.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Call {
    /// Its first argument; of poll the first descriptor.
    pub target: u64,
    /// Its number, or [`call`].
    pub nr: u32,
    pub pad: u32,
}

/// Time blocked in one call on one target.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Blocked {
    pub ns: u64,
    pub target: u64,
    pub nr: u32,
    /// Times.
    pub count: u32,
}

/// A turn; as a record in the ring, that of a stall.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Turn {
    /// [`crate::record::kind::STALL`].
    pub kind: u32,
    pub flags: u32,
    pub pid: u32,
    pub tid: u32,
    /// [`crate::wait::kind`] and the descriptor waited on.
    pub wait: u32,
    pub set: i32,
    /// ns.
    pub start: u64,
    /// Up to where the parts are booked; of a finished turn its end.
    pub end: u64,
    pub on_cpu: u64,
    pub run_queue: u64,
    pub blocked: u64,
    /// The part of `blocked` that is not in `calls`.
    pub elsewhere: u64,
    pub elsewhere_count: u32,
    /// Times that the thread left the CPU.
    pub switches: u32,
    pub calls: [Blocked; CALLS],
    pub comm: [u8; 16],
}

const _: () = assert!(size_of::<Turn>() == 192 && size_of::<Blocked>() == 24 && size_of::<Call>() == 16);

impl Turn {
    /// Begins anew; whose turn it is stays.
    #[inline(always)]
    pub fn begin(&mut self, now: u64) {
        self.flags = 0;
        self.start = now;
        self.end = now;
        self.on_cpu = 0;
        self.run_queue = 0;
        self.blocked = 0;
        self.elsewhere = 0;
        self.elsewhere_count = 0;
        self.switches = 0;
        self.calls = [Blocked { ns: 0, target: 0, nr: 0, count: 0 }; CALLS];
    }

    /// Books the time since the last instant to what the thread did in it.
    #[inline(always)]
    pub fn book(&mut self, phase: u8, call: &Call, now: u64) {
        // Clocks of two CPUs may differ by a little.
        if now <= self.end {
            return;
        }
        let ns = now - self.end;
        self.end = now;
        match phase {
            phase::RUNNING => self.on_cpu += ns,
            phase::READY => self.run_queue += ns,
            _ => {
                self.blocked += ns;
                self.block(call, ns);
            }
        }
    }

    /// ns, as far as booked.
    #[inline(always)]
    pub fn length(&self) -> u64 {
        self.end.saturating_sub(self.start)
    }

    /// Time blocked in a call. Of more than four calls those with most time are kept.
    #[inline(always)]
    fn block(&mut self, call: &Call, ns: u64) {
        let mut least = 0;
        let mut i = 0;
        while i < CALLS {
            let slot = &mut self.calls[i];
            if slot.count == 0 || (slot.nr == call.nr && slot.target == call.target) {
                slot.nr = call.nr;
                slot.target = call.target;
                slot.ns += ns;
                slot.count += 1;
                return;
            }
            if slot.ns < self.calls[least & (CALLS - 1)].ns {
                least = i;
            }
            i += 1;
        }
        let slot = &mut self.calls[least & (CALLS - 1)];
        if ns <= slot.ns {
            self.elsewhere += ns;
            self.elsewhere_count += 1;
            return;
        }
        self.elsewhere += slot.ns;
        self.elsewhere_count += slot.count;
        *slot = Blocked { ns, target: call.target, nr: call.nr, count: 1 };
    }
}
