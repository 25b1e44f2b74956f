//! Whose exchange it is: processes and services.

pub mod names;
pub mod pools;
pub mod process;
pub mod service;
