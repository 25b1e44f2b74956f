//! The hooks that watch event loops: the chosen kinds of waits, and the scheduler.

use serde::{Deserialize, Serialize};

use super::{Hook, Point};

/// What an event loop waits with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Wait {
    Epoll,
    Poll,
    Select,
    IoUring,
}

/// A value of `--loops`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "snake_case")]
pub enum Watched {
    /// No event loops: nothing is attached for them.
    Off,
    Epoll,
    Poll,
    Select,
    #[value(name = "io_uring")]
    IoUring,
}

impl Watched {
    /// The waits that these values name, each once; `off` goes before all others.
    pub fn waits(chosen: &[Self]) -> Vec<Wait> {
        if chosen.contains(&Self::Off) {
            return Vec::new();
        }
        let has = |value: Self| chosen.contains(&value);
        let all = [
            (Self::Epoll, Wait::Epoll),
            (Self::Poll, Wait::Poll),
            (Self::Select, Wait::Select),
            (Self::IoUring, Wait::IoUring),
        ];
        all.into_iter().filter(|(value, _)| has(*value)).map(|(_, wait)| wait).collect()
    }
}

impl Wait {
    const ALL: [Self; 4] = [Self::Epoll, Self::Poll, Self::Select, Self::IoUring];

    /// By the number that the kernel half gives it.
    pub fn of(kind: u32) -> Option<Self> {
        use profiler_ebpf::wait::kind;
        match kind {
            kind::EPOLL => Some(Self::Epoll),
            kind::POLL => Some(Self::Poll),
            kind::SELECT => Some(Self::Select),
            kind::IO_URING => Some(Self::IoUring),
            _ => None,
        }
    }

    pub fn name(self) -> &'static str {
        match self {
            Self::Epoll => "epoll",
            Self::Poll => "poll",
            Self::Select => "select",
            Self::IoUring => "io_uring",
        }
    }
}

/// Not a program: what `loop_switch` takes from `bpf_task_pt_regs` where the kernel has it.
pub const BLOCKING_CALL: Hook = Hook {
    program: "loop_switch",
    point: Point::None,
    gives: "the calls that block an event loop",
    without: "a stall says how long it was blocked, not in what",
};

/// The programs with which the watch over a thread begins.
pub const BEGINS: [&str; 2] = ["wait_enter", "ring_enter"];

/// What no loop is watched without: turns without an end, or those of ended threads, would be stalls that nobody has.
const NEEDED: [&str; 2] = ["loop_exit", "wait_exit"];

/// Whether a program begins to watch loops, and is of no use, or of harm, when this other one is missing.
pub fn needs(begin: &str, other: &str) -> bool {
    BEGINS.contains(&begin) && NEEDED.contains(&other)
}

/// Whether this program sees event loops, and no exchanges.
pub fn watches_loops(program: &str) -> bool {
    loops(&Wait::ALL).iter().any(|hook| hook.program == program)
}

const WITHOUT: &str = "event loops are not watched";

/// The hooks for these kinds of waits, in the order in which they are to be attached: a wait's end before its begin, and
/// both after the scheduler, so that no turn is seen that has lost its beginning.
pub fn loops(waits: &[Wait]) -> Vec<Hook> {
    if waits.is_empty() {
        return Vec::new();
    }
    let mut hooks = vec![
        Hook {
            program: "loop_exit",
            point: Point::Raw("sched_process_exit"),
            gives: "ends of threads with event loops",
            without: WITHOUT,
        },
        Hook {
            program: "loop_exec",
            point: Point::Raw("sched_process_exec"),
            gives: "threads with event loops that run another program",
            without: "the start of the other program may look like a stall",
        },
        Hook {
            program: "loop_switch",
            point: Point::Raw("sched_switch"),
            gives: "what an event loop's turn was spent on",
            without: "all of it counts as time on the CPU",
        },
        Hook {
            program: "loop_wake",
            point: Point::Raw("sched_wakeup"),
            gives: "when a thread that waits could run again",
            without: "the wait for a CPU after a call counts as part of that call",
        },
    ];
    let mut begins = Vec::new();
    for wait in waits {
        let (exits, enters): (&'static [_], &'static [_]) = match wait {
            Wait::Epoll => (
                &["sys_exit_epoll_wait", "sys_exit_epoll_pwait", "sys_exit_epoll_pwait2"],
                &["sys_enter_epoll_wait", "sys_enter_epoll_pwait", "sys_enter_epoll_pwait2"],
            ),
            Wait::Poll => (&["sys_exit_poll", "sys_exit_ppoll"], &["sys_enter_poll", "sys_enter_ppoll"]),
            Wait::Select => {
                (&["sys_exit_select", "sys_exit_pselect6"], &["sys_enter_select", "sys_enter_pselect6"])
            }
            Wait::IoUring => (&["sys_exit_io_uring_enter"], &["sys_enter_io_uring_enter"]),
        };
        let hook = |program, names, gives| Hook {
            program,
            point: Point::Classic { category: "syscalls", names },
            gives,
            without: WITHOUT,
        };
        hooks.push(hook("wait_exit", exits, "ends of waits for events"));
        let program = if *wait == Wait::IoUring { "ring_enter" } else { "wait_enter" };
        begins.push(hook(program, enters, "begins of waits for events"));
    }
    hooks.extend(begins);
    hooks
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_waits_end_is_attached_before_any_begin() {
        let hooks = loops(&[Wait::Epoll, Wait::IoUring]);
        let programs: Vec<_> = hooks.iter().map(|hook| hook.program).collect();
        let expected = [
            "loop_exit",
            "loop_exec",
            "loop_switch",
            "loop_wake",
            "wait_exit",
            "wait_exit",
            "wait_enter",
            "ring_enter",
        ];
        assert_eq!(programs, expected);
        assert!(loops(&[]).is_empty());
    }

    #[test]
    fn off_goes_before_all_others() {
        let waits = |chosen: &[Watched]| Watched::waits(chosen);
        assert_eq!(waits(&[Watched::Poll, Watched::Epoll, Watched::Poll]), [Wait::Epoll, Wait::Poll]);
        assert_eq!(waits(&[Watched::Epoll, Watched::Off]), []);
        assert!(watches_loops("wait_exit") && !watches_loops("sock_recv"));
    }

    #[test]
    fn nothing_begins_to_be_watched_that_is_not_seen_to_end() {
        assert!(needs("wait_enter", "loop_exit") && needs("ring_enter", "wait_exit"));
        assert!(!needs("wait_enter", "loop_wake") && !needs("sock_recv", "loop_exit"));
    }
}
