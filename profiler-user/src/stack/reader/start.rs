//! Where the stack of a thread in a system call begins: its place in the call, as `/proc` tells it, goes in, registers
//! and the stack's bytes come out, if it has not moved meanwhile.

use std::fs;

use super::memory;
use super::process::Process;

/// Stack read at once, bytes.
const STACK: usize = 64 << 10;
/// A frame pointer that is not known. Nothing can be read there.
pub(super) const UNKNOWN: u64 = 1;

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
}
