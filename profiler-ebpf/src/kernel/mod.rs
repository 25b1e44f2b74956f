//! One file per hook family; maps, memory access and the machines' world are shared.

mod config;
mod connect;
mod connection;
mod diagnose;
mod life;
mod listener;
mod lookup;
mod maps;
mod memory;
mod path;
mod process;
mod run;
mod socket;
mod state;
mod sweep;
mod switch;
mod syscall;
mod wait;
mod world;
