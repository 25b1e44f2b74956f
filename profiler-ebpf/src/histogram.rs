//! How long the turns of one loop were: a histogram that the kernel half counts into and user space reads, so that no
//! record leaves for a turn that is no stall.
//!
//! Buckets are 64 ns wide up to 4 us, then 64 to each power of two: a value is known to 1 in 128. Beyond two hours
//! all are one bucket; the longest is kept as it is.

use crate::world::Op;

/// Each power of two has so many buckets.
const PARTS: u64 = 64;
const PARTS_BITS: u32 = 6;
/// Values count in units of 64 ns.
const UNIT_BITS: u32 = 6;
/// A power of two: bounds in bits are what the verifier keeps best.
pub const BUCKETS: usize = 2_048;

/// The lengths of turns.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Histogram {
    pub count: u64,
    /// ns; the least and the greatest as they are.
    pub sum: u64,
    pub min: u64,
    pub max: u64,
    pub buckets: [u32; BUCKETS],
}

const _: () = assert!(size_of::<Histogram>() == 32 + 4 * BUCKETS);

impl Default for Histogram {
    fn default() -> Self {
        Self { count: 0, sum: 0, min: u64::MAX, max: 0, buckets: [0; BUCKETS] }
    }
}

impl Histogram {
    #[inline(always)]
    pub fn add(&mut self, ns: u64) {
        self.count = self.count.wrapping_add(1);
        self.sum = self.sum.wrapping_add(ns);
        if ns < self.min {
            self.min = ns;
        }
        if ns > self.max {
            self.max = ns;
        }
        // Read again as memory holds it, so that the bound that the verifier needs stays in the code.
        let at = Op::fresh(&bucket(ns)) & (BUCKETS - 1);
        self.buckets[at] = self.buckets[at].wrapping_add(1);
    }
}

/// The bucket of a length.
#[inline(always)]
pub fn bucket(ns: u64) -> usize {
    let value = ns >> UNIT_BITS;
    if value < PARTS {
        return value as usize;
    }
    let power = 63 - value.leading_zeros();
    let part = value >> (power - PARTS_BITS) & (PARTS - 1);
    let at = u64::from(power - PARTS_BITS + 1) * PARTS + part;
    if at < BUCKETS as u64 { at as usize } else { BUCKETS - 1 }
}

/// The middle of a bucket, ns.
pub fn middle(bucket: usize) -> u64 {
    let (power, part) = (bucket as u64 / PARTS, bucket as u64 % PARTS);
    let (start, width) = match power {
        0 => (part, 1),
        power => ((PARTS + part) << (power - 1), 1 << (power - 1)),
    };
    (start << UNIT_BITS) + (width << UNIT_BITS) / 2
}
