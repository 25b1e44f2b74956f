//! From registers and a stack to the addresses of the calls on it: by the unwind information of each program file
//! (`.eh_frame`), and by frame pointers where there is none, as in code that a runtime made.

use std::fs;
use std::ops::{Deref, Range};
use std::sync::Arc;

use framehop::x86_64::{CacheX86_64, UnwindRegsX86_64, UnwinderX86_64};
use framehop::{ExplicitModuleSectionInfo, FrameAddress, Module, Unwinder};
use memmap2::Mmap;
use object::{Object, ObjectSection, ObjectSegment, SegmentFlags};

use super::memory;
use super::process::Process;

/// Frames looked for at the most.
const FRAMES: usize = 64;
/// Stack read at once, bytes.
const STACK: usize = 64 << 10;
/// A frame is not larger, bytes.
const FRAME: u64 = 16 << 10;
/// A frame pointer that is not known. Nothing can be read there.
const UNKNOWN: u64 = 1;
/// Mapped files looked at, at the most.
const FILES: usize = 512;

/// The registers that matter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Registers {
    pub(super) fp: u64,
    pub(super) sp: u64,
    pub(super) pc: u64,
}

/// Where a stack begins, and what is known of it.
#[derive(Debug)]
pub(super) struct Start {
    pub(super) registers: Registers,
    /// The bytes from the stack pointer on.
    pub(super) stack: Vec<u8>,
}

/// Code of a file in a process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Mapping {
    pub(super) range: Range<u64>,
    /// Where in the file it begins.
    pub(super) offset: u64,
    /// The file, by the number of its device and its own; 0 where there is none, as for the vDSO.
    pub(super) file: (String, u64),
    pub(super) path: String,
}

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

impl Mapping {
    /// Whether it is a file's, or the vDSO. Other code is made by a runtime.
    fn is_named(&self) -> bool {
        self.file.1 != 0 || self.path == "[vdso]"
    }
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

/// The stack of a thread that is in a system call; None if it is on the CPU, or moved while it was read.
pub(super) fn blocked(process: &Process, tid: u32) -> Option<Start> {
    let file = process.file(&format!("task/{tid}/syscall"));
    let before = fs::read_to_string(&file).ok()?;
    let registers = waiting(&before)?;
    let mut stack = vec![0; STACK];
    // Up to its end, which the kernel finds by itself: what is beyond is not mapped.
    let page = 4_096 - (registers.sp as usize % 4_096);
    let mut got = memory::read_into(process.pid, registers.sp, &mut stack[..page]);
    if got == page {
        got += memory::read_into(process.pid, registers.sp + page as u64, &mut stack[page..]);
    }
    stack.truncate(got);
    (fs::read_to_string(&file).ok()? == before).then_some(Start { registers, stack })
}

/// A thread's place in a system call: its number, six arguments, the stack pointer and the program counter
/// (`proc_pid_syscall`, fs/proc/base.c); `running` where it is in none.
fn waiting(text: &str) -> Option<Registers> {
    let mut words = text.split_whitespace().rev();
    let mut number = || u64::from_str_radix(words.next()?.strip_prefix("0x")?, 16).ok();
    let (pc, sp) = (number()?, number()?);
    // The frame pointer is not told; the callers' unwind information finds it where one of them has saved it.
    (pc != 0).then_some(Registers { fp: UNKNOWN, sp, pc })
}

/// The mappings with code out of `/proc/PID/maps`.
pub(super) fn mappings(process: &Process) -> Option<Vec<Mapping>> {
    let text = fs::read_to_string(process.file("maps")).ok()?;
    Some(text.lines().filter_map(mapping).collect())
}

fn mapping(line: &str) -> Option<Mapping> {
    let mut words = line.splitn(6, ' ');
    let (start, end) = words.next()?.split_once('-')?;
    let hex = |text: &str| u64::from_str_radix(text, 16).ok();
    let range = hex(start)?..hex(end)?;
    let is_code = words.next()?.contains('x');
    let offset = hex(words.next()?)?;
    let (device, inode) = (words.next()?.to_owned(), words.next()?.parse().ok()?);
    let path = words.next().unwrap_or_default().trim_start().to_owned();
    is_code.then_some(Mapping { range, offset, file: (device, inode), path })
}

/// A part of a file.
pub(super) struct Section {
    of: Arc<Bytes>,
    part: Range<usize>,
}

enum Bytes {
    Mapped(Mmap),
    Copied(Vec<u8>),
}

impl Deref for Section {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        self.of.get(self.part.clone()).unwrap_or_default()
    }
}

impl Deref for Bytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Self::Mapped(map) => map,
            Self::Copied(bytes) => bytes,
        }
    }
}

fn is_code(flags: SegmentFlags) -> bool {
    matches!(flags, SegmentFlags::Elf { p_flags } if p_flags & object::elf::PF_X != 0)
}

fn module(process: &Process, mapping: &Mapping) -> Option<Module<Section>> {
    let bytes = Arc::new(if mapping.file.1 == 0 {
        let mut copied = vec![0; usize::try_from(mapping.range.end - mapping.range.start).ok()?.min(1 << 20)];
        let got = memory::read_into(process.pid, mapping.range.start, &mut copied);
        copied.truncate(got);
        Bytes::Copied(copied)
    } else {
        let file = super::symbols::open(process, mapping)?;
        // SAFETY: nobody writes through the mapping. That the file may shrink meanwhile, which ends this process, is
        // one of the reasons why it is a process of its own.
        Bytes::Mapped(unsafe { Mmap::map(&file) }.ok()?)
    });
    let object = object::File::parse(&**bytes).ok()?;
    let segment = object.segments().find(|segment| {
        let (offset, size) = segment.file_range();
        // The last page of the segment before it may be the first one of this.
        is_code(segment.flags()) && (offset & !0xfff..offset + size).contains(&mapping.offset)
    })?;
    // Where the file's address 0 is in the process.
    let stated = mapping.offset.wrapping_sub(segment.file_range().0).wrapping_add(segment.address());
    let bias = mapping.range.start.wrapping_sub(stated);
    let part = |name: &str| {
        let section = object.section_by_name(name)?;
        let (offset, size) = section.file_range()?;
        let (offset, size) = (usize::try_from(offset).ok()?, usize::try_from(size).ok()?);
        let range = section.address()..section.address().checked_add(section.size())?;
        let data = Section { of: Arc::clone(&bytes), part: offset..offset.checked_add(size)? };
        Some((range, data))
    };
    let (eh_frame_svma, eh_frame) = part(".eh_frame").unzip();
    let (eh_frame_hdr_svma, eh_frame_hdr) = part(".eh_frame_hdr").unzip();
    let sections = ExplicitModuleSectionInfo {
        base_svma: 0,
        text_svma: part(".text").map(|(range, _)| range),
        text: None,
        stubs_svma: None,
        stub_helper_svma: None,
        got_svma: part(".got").map(|(range, _)| range),
        unwind_info: None,
        eh_frame_svma,
        eh_frame,
        eh_frame_hdr_svma,
        eh_frame_hdr,
        debug_frame: None,
        text_segment_svma: None,
        text_segment: None,
    };
    Some(Module::new(mapping.path.clone(), mapping.range.clone(), bias, sections))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_in_a_call() {
        let text = "230 0x0 0x0 0x7ffc1 0x7ffc2 0x0 0x0 0x7ffc00001000 0x7f0000002000\n";
        assert_eq!(
            waiting(text),
            Some(Registers { fp: UNKNOWN, sp: 0x7ffc_0000_1000, pc: 0x7f00_0000_2000 })
        );
        assert_eq!(waiting("running\n"), None);
        // Blocked, but not in a call.
        assert_eq!(waiting("-1 0x7ffc00001000 0x7f0000002000\n").map(|r| r.pc), Some(0x7f00_0000_2000));
    }

    #[test]
    fn code_is_what_is_mapped_to_run() {
        let line = "55d0a000-55d0c000 r-xp 00002000 fd:01 1234                     /usr/bin/my app";
        let found = mapping(line).unwrap();
        assert_eq!((found.range, found.offset), (0x55d0_a000..0x55d0_c000, 0x2000));
        assert_eq!((found.file.1, found.path.as_str()), (1234, "/usr/bin/my app"));
        assert_eq!(mapping(&line.replace("r-xp", "r--p")), None);
        let named = |line: &str| mapping(line).is_some_and(|mapping| mapping.is_named());
        assert!(!named("7f00-7f01 r-xp 00000000 00:00 0 "), "made by a runtime");
        assert!(named("7f00-7f01 r-xp 00000000 00:00 0                  [vdso]"));
    }

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
        let wait = Arc::new(std::sync::Barrier::new(2));
        let there = Arc::clone(&wait);
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
