//! From registers and a stack to the addresses of the calls on it: by the unwind information of each program file
//! (`.eh_frame`), and by frame pointers where there is none, as in code that a runtime made.

use std::ops::Range;

use framehop::x86_64::{CacheX86_64, UnwindRegsX86_64, UnwinderX86_64};
use framehop::{FrameAddress, Unwinder};

use super::mapping::Mapping;
use super::memory;
use super::module::{Section, module};
use super::process::Process;
use super::start::{Registers, Start, UNKNOWN};

/// Frames looked for at the most.
const FRAMES: usize = 64;
/// A frame is not larger, bytes.
const FRAME: u64 = 16 << 10;
/// Mapped files looked at, at the most.
const FILES: usize = 512;

/// The mappings with code of one process, and how to unwind it.
pub(super) struct Image {
    pub(super) mappings: Vec<Mapping>,
    /// All memory that can be run, what a runtime has made included.
    code: Vec<Range<u64>>,
    unwinder: UnwinderX86_64<Section>,
    cache: CacheX86_64,
}

/// A way along a stack.
struct Walk {
    addresses: Vec<u64>,
    /// Where it ended, and the registers there.
    at: FrameAddress,
    registers: UnwindRegsX86_64,
    /// That is where the stack ends.
    whole: bool,
}

impl Image {
    /// The process as it is mapped now.
    pub(super) fn of(process: &Process, mappings: Vec<Mapping>) -> Self {
        let code = mappings.iter().map(|mapping| mapping.range.clone()).collect();
        let mappings = mappings.into_iter().filter(Mapping::is_named).collect();
        let mut image = Self { mappings, code, unwinder: UnwinderX86_64::new(), cache: CacheX86_64::new() };
        for mapping in image.mappings.iter().take(FILES) {
            if let Some(module) = module(process, mapping) {
                image.unwinder.add_module(module);
            }
        }
        image
    }

    /// The addresses to look symbols up for, innermost first.
    pub(super) fn unwind(&mut self, pid: u32, start: &Start) -> Vec<u64> {
        let Registers { fp, sp, pc } = start.registers;
        let mut read = |address: u64| {
            let at = address.checked_sub(sp).and_then(|at| usize::try_from(at).ok());
            let known = at.and_then(|at| start.stack.get(at..)?.first_chunk::<8>());
            let bytes = known.copied().or_else(|| memory::read::<8>(pid, address));
            bytes.map(u64::from_ne_bytes).ok_or(())
        };
        let first = FrameAddress::from_instruction_pointer(pc);
        let mut walk = self.walk(first, UnwindRegsX86_64::new(pc, sp, fp), &mut read);
        if !walk.whole && walk.registers.bp() == UNKNOWN {
            let rest = self.guess(&walk, &mut read);
            walk.addresses.extend(rest.into_iter().skip(1));
        }
        walk.addresses
    }

    fn walk(
        &mut self,
        first: FrameAddress,
        mut registers: UnwindRegsX86_64,
        read: &mut impl FnMut(u64) -> Result<u64, ()>,
    ) -> Walk {
        let mut at = first;
        let mut addresses = vec![first.address_for_lookup()];
        let whole = loop {
            if addresses.len() >= FRAMES {
                break true;
            }
            let before = registers;
            match self.unwinder.unwind_frame(at, &mut registers, &mut self.cache, read) {
                Ok(Some(address)) => match FrameAddress::from_return_address(address) {
                    Some(next) => at = next,
                    // No stack ends so.
                    None => {
                        registers = before;
                        break false;
                    }
                },
                Ok(None) => break true,
                Err(_) => {
                    registers = before;
                    break false;
                }
            }
            addresses.push(at.address_for_lookup());
        };
        Walk { addresses, at, registers, whole }
    }

    /// Goes on where a frame pointer is needed that nobody has told: it points to where the caller's own is saved, and
    /// above that lies an address to return to. Of the places from which each call is one and the stack ends as stacks
    /// do the one with the longest way: those further up are on it.
    fn guess(&mut self, stuck: &Walk, read: &mut impl FnMut(u64) -> Result<u64, ()>) -> Vec<u64> {
        let sp = stuck.registers.sp();
        let mut longest = Vec::new();
        for candidate in (sp..sp.saturating_add(FRAME)).step_by(8) {
            let Ok(back) = read(candidate + 8) else { break };
            if self.mapping(back).is_none() {
                continue;
            }
            let mut registers = stuck.registers;
            registers.set_bp(candidate);
            let walk = self.walk(stuck.at, registers, read);
            let is_code = |address: &u64| self.code.iter().any(|range| range.contains(address));
            if walk.whole && walk.addresses.len() > longest.len() && walk.addresses.iter().all(is_code) {
                longest = walk.addresses;
            }
        }
        longest
    }

    pub(super) fn mapping(&self, address: u64) -> Option<&Mapping> {
        self.mappings.iter().find(|mapping| mapping.range.contains(&address))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stack::reader::mapping::mappings;
    use crate::stack::reader::start::blocked;

    #[test]
    fn our_own_stack() {
        #[inline(never)]
        fn inner(tids: &std::sync::mpsc::Sender<u32>, wait: &std::sync::Barrier) {
            // SAFETY: no arguments.
            let _ = tids.send(unsafe { libc::gettid() } as u32);
            wait.wait();
            std::hint::black_box(());
        }
        let (tids, tid) = std::sync::mpsc::channel();
        let wait = std::sync::Arc::new(std::sync::Barrier::new(2));
        let there = std::sync::Arc::clone(&wait);
        let thread = std::thread::spawn(move || inner(&tids, &there));
        let tid = tid.recv().unwrap();
        let own = Process::of(std::process::id()).unwrap();
        let start = loop {
            if let Some(start) = blocked(&own, tid) {
                break start;
            }
            std::thread::yield_now();
        };
        let mut image = Image::of(&own, mappings(&own).unwrap());
        let addresses = image.unwind(own.pid, &start);
        let our = inner as *const () as u64;
        let within = |address: &u64| (our..our + 1_024).contains(address);
        assert!(addresses.iter().any(within), "{our:x}: {addresses:x?}");
        wait.wait();
        thread.join().unwrap();
    }
}
