//! Shows a report or a single exchange.

pub mod atomic;
pub mod json;
pub mod prometheus;
pub mod style;
pub mod text;
pub mod trace;
