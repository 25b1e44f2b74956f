//! The pure half: what kernel and user space share.
//!
//! In come the reads and writes of a connection ([`world::Op`]), out go finished exchanges ([`record::Record`]). In come
//! the waits and switches of a thread ([`loops::Loop`]), out go the stalls of event loops ([`turn::Turn`]). The
//! same code is compiled for the kernel, where the programs in `kernel/` feed it from socket hooks, and for user
//! space, where unit tests, property tests and offline readers feed it from byte strings. So it has no allocation, no
//! panic, no unbounded loop, and reaches everything outside itself through the trait [`world::World`].
#![no_std]

pub mod claim;
pub mod classify;
pub mod config;
pub mod conn;
pub mod histogram;
pub mod http;
pub mod life;
pub mod listener;
pub mod loops;
pub mod machine;
pub mod mysql;
pub mod recognise;
pub mod record;
pub mod scan;
pub mod turn;
pub mod wait;
pub mod world;

#[cfg(test)]
extern crate std;
#[cfg(test)]
mod testing;
