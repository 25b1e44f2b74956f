//! Loads the kernel half: reads layouts from BTF, chooses hooks, attaches, talks to maps.

pub mod batch;
pub mod btf;
pub mod caps;
pub mod hooks;
pub mod layout;
pub mod loops;
pub mod memlock;
pub mod object;
pub mod run_time;
pub mod session;
pub mod syscalls;
