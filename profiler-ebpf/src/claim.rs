//! Who waits on a set: one thread, whose loop it is, or several that share it (Go's and tokio's workers), for none of
//! which the time between two waits means anything.

/// A set that several threads have waited on counts as shared for so long after the last change of hands.
pub const SHARED_NS: u64 = 10_000_000_000;
/// A thread tells so often that it waits on its set.
pub const CLAIM_NS: u64 = 1_000_000_000;

/// The threads of one set.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Claim {
    /// When another thread than the one before was last seen to wait on it, ns; 0: never.
    pub shared: u64,
    /// The thread that waited last.
    pub tid: u32,
    pub pad: u32,
}

const _: () = assert!(size_of::<Claim>() == 16);

impl Claim {
    /// A thread waits on the set.
    #[inline(always)]
    pub fn by(&mut self, tid: u32, now: u64) {
        if self.tid != tid {
            self.tid = tid;
            self.shared = now;
        }
    }

    /// Whether several threads wait on it.
    #[inline(always)]
    pub fn is_shared(&self, now: u64) -> bool {
        self.shared != 0 && now.saturating_sub(self.shared) < SHARED_NS
    }
}

/// Names a set in the kernel's table: a descriptor of a process.
#[inline(always)]
pub fn key(pid: u32, set: i32) -> u64 {
    (pid as u64) << 32 | set as u32 as u64
}
