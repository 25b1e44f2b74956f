//! hostprof's user half: from the kernel's records to a report.
//!
//! One module per stage of the data's way (docs/ARCHITECTURE.md): `kernel` loads and attaches, `source` reads records,
//! `parse` gives them names, `attribute` finds whose they are, `aggregate` sums them up, `output` shows them, and
//! `command` wires the stages for each of the binary's verbs.

pub mod aggregate;
pub mod attribute;
pub mod cli;
pub mod clock;
pub mod command;
pub mod config;
pub mod connections;
pub mod exchange;
pub mod kernel;
pub mod output;
pub mod parse;
pub mod report;
pub mod rules;
pub mod source;
pub mod stack;
pub mod stall;
pub mod watch;
