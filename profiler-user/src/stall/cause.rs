//! Why an event loop stalled: a judgement from the parts of its turn, the calls that it was blocked in, how long its
//! control group was throttled, and whether other threads of its interpreter ran meanwhile. Pure.
//!
//! The time of a stall is split among the causes, and the one with most is the stall's. Of two with equal time the one
//! that stands earlier in [`parts`].

use profiler_ebpf::turn::{Blocked, Turn, call};
use serde::{Deserialize, Serialize};

/// Why.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Cause {
    /// The thread computed.
    Cpu,
    /// It waited in a system call.
    BlockingCall,
    /// It waited for other threads of its interpreter.
    InterpreterLock,
    /// It could have run, and other threads had the CPUs.
    CpuStarvation,
    /// Its cgroup had used up its share of the CPUs.
    Throttled,
    /// It waited for memory.
    PageFault,
    /// A signal or a debugger had stopped it.
    Stopped,
    Unknown,
}

/// What is known of a stall beyond its turn.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Evidence {
    /// For how long its control group was throttled, ns; None without a limit.
    pub throttled: Option<u64>,
    pub interpreter: Interpreter,
}

/// Whether there is an interpreter's lock.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub enum Interpreter {
    /// None, or nobody has looked.
    #[default]
    None,
    /// There is one, and it is not known what the process's other threads did.
    Unobserved,
    /// The CPUs that its other threads had, on average, while the stall was looked at.
    Others(f64),
}

/// `futex` (arch/x86/entry/syscalls/syscall_64.tbl).
const FUTEX: u32 = 202;

/// A thread of CPython asks for the lock every 5 ms (`DEFAULT_INTERVAL`, Python/ceval_gil.c): it is blocked often, and
/// for about as long each time. A lock of the application's is waited for in one go.
const LOCK_WAITS: u32 = 10;
const LOCK_WAIT_NS: std::ops::RangeInclusive<u64> = 3_000_000..=8_000_000;
/// Who holds the interpreter's lock computes, unless the CPUs are taken.
const LOCK_OTHERS: f64 = 0.2;

/// Who is blocked often is woken often, and waits each time until a CPU takes it, longer on a busy machine. So much for
/// each time belongs to the call, and only what is beyond it to the lack of CPUs.
const WAKE_NS: u64 = 2_000_000;

/// The cause with most time.
pub fn of(turn: &Turn, evidence: &Evidence) -> Cause {
    let mut found = (Cause::Unknown, 0);
    for (cause, ns) in parts(turn, evidence) {
        if ns > found.1 {
            found = (cause, ns);
        }
    }
    found.0
}

/// The part of a stall during which the group was throttled, ns: while it is, its threads could run and do not.
pub fn throttled(turn: &Turn, evidence: &Evidence) -> Option<u64> {
    evidence.throttled.map(|ns| ns.min(turn.run_queue))
}

/// The time of each cause, ns.
fn parts(turn: &Turn, evidence: &Evidence) -> [(Cause, u64); 8] {
    let of = |nr: u32| calls(turn).filter(|call| call.nr == nr).map(|call| call.ns).sum::<u64>();
    let (stopped, fault, unknown) = (of(call::STOPPED), of(call::FAULT), of(call::UNKNOWN));
    let in_calls = turn.blocked.saturating_sub(stopped + fault + unknown);
    let lock = if is_interpreter_lock(turn, evidence) { of(FUTEX).min(in_calls) } else { 0 };
    let throttled = throttled(turn, evidence).unwrap_or(0);
    let woken = waking(turn).min(turn.run_queue - throttled);
    // To each part of the blocked time its share.
    let with_wakes = |ns: u64| ns + (woken as f64 * ns as f64 / turn.blocked.max(1) as f64) as u64;
    [
        (Cause::Stopped, with_wakes(stopped)),
        (Cause::InterpreterLock, with_wakes(lock)),
        (Cause::BlockingCall, with_wakes(in_calls - lock)),
        (Cause::PageFault, with_wakes(fault)),
        (Cause::Throttled, throttled),
        (Cause::CpuStarvation, turn.run_queue - throttled - woken),
        (Cause::Cpu, turn.on_cpu),
        (Cause::Unknown, with_wakes(unknown)),
    ]
}

/// The part of the run queue's time that followed a wake-up, ns, as far as it is the usual: of the times that the thread
/// had to wait for a CPU only their sum is known, so each counts alike.
fn waking(turn: &Turn) -> u64 {
    let blocks = calls(turn).map(|call| call.count).sum::<u32>().saturating_add(turn.elsewhere_count);
    let share = f64::from(blocks) / f64::from(turn.switches.max(blocks).max(1));
    ((turn.run_queue as f64 * share) as u64).min(u64::from(blocks) * WAKE_NS)
}

fn calls(turn: &Turn) -> impl Iterator<Item = &Blocked> {
    turn.calls.iter().filter(|call| call.count > 0)
}

/// Whether a turn looks as if it had waited for an interpreter's lock: only then it is worth asking for one.
pub fn may_be_interpreter_lock(turn: &Turn) -> bool {
    // The lock's condition variable is two words, which are waited on by turns.
    let waits = calls(turn).filter(|call| call.nr == FUTEX);
    let (count, ns) = waits.fold((0u32, 0u64), |(count, ns), call| (count + call.count, ns + call.ns));
    count >= LOCK_WAITS && LOCK_WAIT_NS.contains(&(ns / u64::from(count))) && ns > turn.blocked / 2
}

fn is_interpreter_lock(turn: &Turn, evidence: &Evidence) -> bool {
    let held = match evidence.interpreter {
        Interpreter::None => false,
        Interpreter::Unobserved => true,
        Interpreter::Others(cpus) => cpus >= LOCK_OTHERS,
    };
    held && may_be_interpreter_lock(turn)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;
    const READ: u32 = 0;
    const SLEEP: u32 = 230;

    /// A turn of these parts, ms, and calls: number, target, times, ms.
    fn turn(on_cpu: u64, run_queue: u64, calls: &[(u32, u64, u32, u64)]) -> Turn {
        let mut turn = Turn { on_cpu: on_cpu * MS, run_queue: run_queue * MS, ..Turn::default() };
        for (slot, (nr, target, count, ms)) in turn.calls.iter_mut().zip(calls) {
            *slot = Blocked { ns: ms * MS, target: *target, nr: *nr, count: *count };
            turn.blocked += ms * MS;
        }
        turn.end = turn.on_cpu + turn.run_queue + turn.blocked;
        turn
    }

    fn alone(turn: Turn) -> Cause {
        of(&turn, &Evidence::default())
    }

    fn python(others: f64) -> Evidence {
        Evidence { interpreter: Interpreter::Others(others), ..Evidence::default() }
    }

    #[test]
    fn the_largest_part_is_the_cause() {
        assert_eq!(alone(turn(300, 10, &[(READ, 7, 1, 20)])), Cause::Cpu);
        assert_eq!(alone(turn(10, 300, &[(READ, 7, 1, 20)])), Cause::CpuStarvation);
        assert_eq!(alone(turn(10, 20, &[(READ, 7, 1, 300)])), Cause::BlockingCall);
        assert_eq!(alone(turn(10, 20, &[(call::FAULT, 0, 9, 300)])), Cause::PageFault);
        assert_eq!(alone(turn(10, 20, &[(call::STOPPED, 0, 1, 300)])), Cause::Stopped);
        assert_eq!(alone(turn(10, 20, &[(call::UNKNOWN, 0, 1, 300)])), Cause::Unknown);
        assert_eq!(alone(Turn::default()), Cause::Unknown);
    }

    #[test]
    fn calls_count_together() {
        let many = turn(100, 0, &[(READ, 7, 1, 60), (SLEEP, 0, 1, 60), (call::FAULT, 0, 1, 90)]);
        assert_eq!(alone(many), Cause::BlockingCall, "120 ms in calls, 100 of CPU, 90 of faults");
        let mut elsewhere = turn(100, 0, &[(READ, 7, 1, 60)]);
        elsewhere.elsewhere = 60 * MS;
        elsewhere.blocked += 60 * MS;
        assert_eq!(alone(elsewhere), Cause::BlockingCall, "beyond the four that are told apart");
    }

    #[test]
    fn of_equals_the_first_of_the_table() {
        assert_eq!(alone(turn(100, 100, &[(READ, 7, 1, 100)])), Cause::BlockingCall);
        assert_eq!(alone(turn(100, 100, &[(READ, 7, 1, 100), (call::STOPPED, 0, 1, 100)])), Cause::Stopped);
        assert_eq!(alone(turn(100, 100, &[])), Cause::CpuStarvation);
    }

    #[test]
    fn a_wake_up_belongs_to_what_was_waited_for() {
        let often = turn(40, 140, &[(READ, 7, 300, 120)]);
        assert_eq!(alone(often), Cause::BlockingCall, "half a millisecond after each of 300");
        let starved = turn(10, 280, &[(READ, 7, 10, 10)]);
        assert_eq!(alone(starved), Cause::CpuStarvation, "28 ms after each of ten");
        let mut preempted = turn(40, 160, &[(READ, 7, 60, 80)]);
        preempted.switches = 300;
        assert_eq!(alone(preempted), Cause::CpuStarvation, "it lost the CPU more often than it was blocked");
    }

    #[test]
    fn throttled_is_a_part_of_the_run_queue() {
        let limited = |ns: Option<u64>| Evidence { throttled: ns, ..Evidence::default() };
        let waiting = turn(50, 200, &[]);
        assert_eq!(of(&waiting, &limited(Some(150 * MS))), Cause::Throttled);
        assert_eq!(of(&waiting, &limited(Some(80 * MS))), Cause::CpuStarvation);
        assert_eq!(of(&waiting, &limited(Some(0))), Cause::CpuStarvation, "a limit that was not reached");
        assert_eq!(of(&waiting, &limited(None)), Cause::CpuStarvation);
        // Throttled on two CPUs.
        assert_eq!(throttled(&waiting, &limited(Some(400 * MS))), Some(200 * MS));
        // The group was, this thread was blocked meanwhile.
        assert_eq!(of(&turn(50, 0, &[(READ, 7, 1, 200)]), &limited(Some(150 * MS))), Cause::BlockingCall);
    }

    #[test]
    fn many_short_waits_for_others_of_the_interpreter() {
        let contended = turn(20, 5, &[(FUTEX, 0x70, 30, 150), (FUTEX, 0x74, 30, 152)]);
        assert_eq!(of(&contended, &python(0.95)), Cause::InterpreterLock);
        assert_eq!(
            of(&contended, &Evidence { interpreter: Interpreter::Unobserved, ..Evidence::default() }),
            Cause::InterpreterLock
        );
        assert_eq!(of(&contended, &Evidence::default()), Cause::BlockingCall, "no interpreter");
        assert_eq!(of(&contended, &python(0.01)), Cause::BlockingCall, "nobody computed meanwhile");
    }

    #[test]
    fn other_locks_are_calls() {
        for calls in [
            &[(FUTEX, 0x70, 1, 300)][..],
            &[(FUTEX, 0x70, 9, 45)],
            &[(FUTEX, 0x70, 300, 300)],
            &[(FUTEX, 0x70, 20, 240)],
            &[(FUTEX, 0x70, 20, 100), (READ, 7, 1, 101)],
        ] {
            assert_eq!(of(&turn(5, 5, calls), &python(1.0)), Cause::BlockingCall, "{calls:?}");
        }
    }
}
