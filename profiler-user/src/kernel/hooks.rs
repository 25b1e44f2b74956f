//! The hook table: which programs there are, what each gives, where it attaches, and what takes its place.
//!
//! Every hook is optional; one that cannot attach costs only what it gives.

mod loops;

pub use loops::{BEGINS, BLOCKING_CALL, Wait, Watched, loops, needs, watches_loops};

use serde::{Deserialize, Serialize};

/// How reads and writes of sockets are seen. In order of preference.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum SocketHooks {
    /// Tracepoints of the socket layer: no cost for other system calls (Linux 6.3 and newer).
    SockTracepoints,
    /// Exit tracepoints of the calls that move bytes (Linux 5.15 and newer, tracefs).
    SyscallExit,
    /// The exit of every system call (Linux 5.10 and newer).
    RawExit,
}

impl SocketHooks {
    pub const ALL: [Self; 3] = [Self::SockTracepoints, Self::SyscallExit, Self::RawExit];

    pub fn name(self) -> &'static str {
        match self {
            Self::SockTracepoints => "sock-tracepoints",
            Self::SyscallExit => "syscall-exit",
            Self::RawExit => "raw-exit",
        }
    }
}

/// Where a program attaches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Point {
    /// A raw tracepoint by name.
    Raw(&'static str),
    /// Classic tracepoints of one category; those that this kernel lacks are passed over.
    Classic { category: &'static str, names: &'static [&'static str] },
    /// Called by other programs through a program array.
    Stage { array: &'static str, index: u32 },
    /// Run by us; attached nowhere.
    None,
}

/// One program of the kernel half.
#[derive(Debug, Clone, Copy)]
pub struct Hook {
    /// The program's name in the object.
    pub program: &'static str,
    pub point: Point,
    /// What it gives, in words.
    pub gives: &'static str,
    /// What that means for a report.
    pub without: &'static str,
}

/// System calls whose end is a read or a write. `sendfile64` is the tracepoint's name of sendfile.
const CALLS: &[&str] = &[
    "sys_exit_write",
    "sys_exit_writev",
    "sys_exit_sendto",
    "sys_exit_sendmsg",
    "sys_exit_sendfile64",
    "sys_exit_splice",
    "sys_exit_pwritev2",
    "sys_exit_read",
    "sys_exit_readv",
    "sys_exit_recvfrom",
    "sys_exit_recvmsg",
    "sys_exit_preadv2",
];

/// A program that takes steps of an operation (kernel/run.rs in the kernel half has the places).
const fn stage(program: &'static str, array: &'static str, index: u32) -> Hook {
    Hook {
        program,
        point: Point::Stage { array, index },
        gives: "what was read and written",
        without: "nothing is recorded",
    }
}

/// The programs of each way to see sockets; `preempted`: of a kernel that runs those of raw tracepoints with preemption on.
/// Writes come before reads: a server that is seen to read but not yet to write would leave exchanges open.
pub fn socket_programs(hooks: SocketHooks, preempted: bool) -> &'static [Hook] {
    match hooks {
        SocketHooks::SockTracepoints if preempted => {
            const {
                &[
                    stage("call_recognise", "NEXT_CLASSIC", 0),
                    stage("call_http", "NEXT_CLASSIC", 1),
                    stage("call_mysql", "NEXT_CLASSIC", 2),
                    stage("call_replies", "NEXT_CLASSIC", 3),
                    Hook {
                        program: "sock_send_classic",
                        point: Point::Classic { category: "sock", names: &["sock_send_length"] },
                        gives: "writes of sockets",
                        without: "nothing is recorded",
                    },
                    Hook {
                        program: "sock_recv_classic",
                        point: Point::Classic { category: "sock", names: &["sock_recv_length"] },
                        gives: "reads of sockets",
                        without: "nothing is recorded",
                    },
                ]
            }
        }
        SocketHooks::SockTracepoints => {
            const {
                &[
                    stage("sock_recognise", "NEXT_RAW", 0),
                    stage("sock_http", "NEXT_RAW", 1),
                    stage("sock_mysql", "NEXT_RAW", 2),
                    stage("sock_replies", "NEXT_RAW", 3),
                    Hook {
                        program: "sock_send",
                        point: Point::Raw("sock_send_length"),
                        gives: "writes of sockets",
                        without: "nothing is recorded",
                    },
                    Hook {
                        program: "sock_recv",
                        point: Point::Raw("sock_recv_length"),
                        gives: "reads of sockets",
                        without: "nothing is recorded",
                    },
                ]
            }
        }
        SocketHooks::SyscallExit => {
            const {
                &[
                    stage("call_recognise", "NEXT_CLASSIC", 0),
                    stage("call_http", "NEXT_CLASSIC", 1),
                    stage("call_mysql", "NEXT_CLASSIC", 2),
                    stage("call_replies", "NEXT_CLASSIC", 3),
                    Hook {
                        program: "call_exit",
                        point: Point::Classic { category: "syscalls", names: CALLS },
                        gives: "reads and writes of sockets",
                        without: "nothing is recorded",
                    },
                ]
            }
        }
        SocketHooks::RawExit => {
            const {
                &[
                    stage("sock_recognise", "NEXT_RAW", 0),
                    stage("sock_http", "NEXT_RAW", 1),
                    stage("sock_mysql", "NEXT_RAW", 2),
                    stage("sock_replies", "NEXT_RAW", 3),
                    stage("raw_accept", "NEXT_RAW", 4),
                    stage("raw_connect", "NEXT_RAW", 5),
                    Hook {
                        program: "sys_exit",
                        point: Point::Raw("sys_exit"),
                        gives: "reads and writes of sockets",
                        without: "nothing is recorded",
                    },
                ]
            }
        }
    }
}

/// Programs that go with any of them, each on its own.
pub const OTHERS: [Hook; 5] = [
    Hook {
        program: "set_state",
        point: Point::Raw("inet_sock_set_state"),
        gives: "begin and end of TCP connections",
        without: "the last exchange of a connection may be missing, and the first has no arrival time",
    },
    Hook {
        program: "process_fork",
        point: Point::Raw("sched_process_fork"),
        gives: "new processes",
        without: "short-lived processes may have no name, and `record -- CMD` may miss descendants",
    },
    Hook {
        program: "process_exec",
        point: Point::Raw("sched_process_exec"),
        gives: "new programs",
        without: "short-lived processes may have no name",
    },
    Hook {
        program: "process_exit",
        point: Point::Raw("sched_process_exit"),
        gives: "ends of processes",
        without: "a process number that is used again may be taken for its last owner for a second",
    },
    Hook {
        program: "data_ready",
        point: Point::Raw("sk_data_ready"),
        gives: "arrival times of requests",
        without: "durations start at the first read, and there is no queue time",
    },
];

/// The ends of connect() and accept(). System calls' tracepoints: they cost every system call of the host, so they are
/// attached only where others of that kind are. The way `raw-exit` sees these calls by itself.
pub const CONNECTS: [Hook; 2] = [
    Hook {
        program: "accept_exit",
        point: Point::Classic { category: "syscalls", names: &["sys_exit_accept4", "sys_exit_accept"] },
        gives: "who accepts connections, and when",
        without: "there is no accept wait, and a server's connection is told of at its first read",
    },
    Hook {
        program: "connect_exit",
        point: Point::Classic { category: "syscalls", names: &["sys_exit_connect"] },
        gives: "connects that fail before a packet was sent, and those of Unix sockets",
        without: "connects without a route or a free port, and failed ones of Unix sockets, are not told of",
    },
];

/// Brings a listening socket's queue up to date: run by us, attached nowhere.
pub const LISTENER: Hook = Hook {
    program: "listener_look",
    point: Point::None,
    gives: "the backlog of listening sockets",
    without: "it is known as of the last connection",
};

/// The sweep: run by us, attached nowhere.
pub const SWEEP: Hook = Hook {
    program: "sweep",
    point: Point::None,
    gives: "the last query of an idle connection",
    without: "it is reported when the next one comes, or not at all",
};
