//! Loads the kernel half: reads layouts from BTF, chooses hooks, attaches, talks to maps.

pub mod batch;
mod bpf;
pub mod btf;
pub mod caps;
pub mod error;
pub mod hooks;
pub mod layout;
pub mod load;
pub mod lockdown;
pub mod loops;
pub mod memlock;
mod misses;
pub mod object;
pub mod own;
mod program;
pub mod release;
pub mod run_time;
pub mod session;
pub mod syscalls;
