//! Stacks of native code, and of code that a runtime has made: Node, redis, nginx, tokio. A thread in a system call is
//! read where it waits; one on the CPU is sampled.

use lru::LruCache;

use super::mapping::{Mapping, mappings};
use super::perf_map::PerfMap;
use super::process::{Identity, Process};
use super::start::{Start, blocked};
use super::symbols::{Symbols, plain};
use super::unwind::Image;
use super::{FRAMES, Problem, sampler};
use crate::clock::monotonic;
use crate::stall::Frame;

/// Processes kept at the most.
const MOST: usize = 16;
/// Looks at a thread that is now in a call and now is not.
const TRIES: usize = 3;
/// A thread on the CPU is waited for so long, ms: it may have to share the CPU.
const PATIENCE: i32 = 15;

/// What is known of a process.
struct Known {
    identity: Identity,
    /// As they were when the image was made.
    mappings: Vec<Mapping>,
    image: Image,
    perf_map: PerfMap,
}

/// A call on a stack.
pub(super) enum Call {
    Named(Frame),
    /// In a file.
    At(Mapping, u64),
}

/// The calls on a stack, innermost first.
pub(super) struct Calls {
    pub(super) calls: Vec<Call>,
    /// When the thread was there for the last time, ns: its registers had been read, and its stack.
    pub(super) ended: u64,
}

/// The native programs looked at so far.
pub(super) struct Natives {
    known: LruCache<u32, Known>,
}

impl Default for Natives {
    fn default() -> Self {
        let most = std::num::NonZeroUsize::new(MOST).unwrap_or(std::num::NonZeroUsize::MIN);
        Self { known: LruCache::new(most) }
    }
}

impl Natives {
    /// The stack of one thread, as far as it can be had at once.
    pub(super) fn look(&mut self, process: &Process, tid: u32) -> Result<Calls, Problem> {
        if cfg!(not(target_arch = "x86_64")) {
            return Err(Problem::Unreadable);
        }
        let start = start(process, tid)?;
        // What a process has in files may take long to read, and is no part of the look.
        let ended = monotonic();
        let mappings = mappings(process).ok_or(Problem::Unreadable)?;
        let same = |known: &Known| known.identity == process.identity && known.mappings == mappings;
        if !self.known.get(&process.pid).is_some_and(same) {
            let image = Image::of(process, mappings.clone());
            let known = Known { identity: process.identity, mappings, image, perf_map: PerfMap::default() };
            self.known.put(process.pid, known);
        }
        let known = self.known.get_mut(&process.pid).ok_or(Problem::Torn)?;
        let addresses = known.image.unwind(process.pid, &start);
        known.perf_map.update(process);
        let call = |address| match known.image.mapping(address) {
            Some(mapping) => Call::At(mapping.clone(), address),
            None => Call::Named(made(&known.perf_map, address)),
        };
        Ok(Calls { calls: addresses.into_iter().take(FRAMES).map(call).collect(), ended })
    }
}

/// The calls by name. What takes long, the first time for a file.
pub(super) fn named(calls: &[Call], process: &Process, symbols: &mut Symbols) -> Vec<Frame> {
    let mut frames = Vec::new();
    for call in calls {
        match call {
            Call::Named(frame) => frames.push(frame.clone()),
            Call::At(mapping, address) => frames.extend(symbols.frames(process, mapping, *address)),
        }
        if frames.len() >= FRAMES {
            break;
        }
    }
    frames
}

/// A function that a runtime has made.
fn made(perf_map: &PerfMap, address: u64) -> Frame {
    perf_map.frame(address).unwrap_or_else(|| plain("[unknown]".to_owned()))
}

fn start(process: &Process, tid: u32) -> Result<Start, Problem> {
    for _ in 0..TRIES {
        if let Some(start) = blocked(process, tid) {
            return Ok(start);
        }
        match sampler::sample(tid, PATIENCE) {
            Ok(Some(start)) => return Ok(start),
            Ok(None) => {}
            Err(_) => return Err(Problem::Torn),
        }
    }
    Err(Problem::Torn)
}
