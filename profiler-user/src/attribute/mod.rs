//! Whose exchange it is: processes and services.

pub mod process;
pub mod service;
