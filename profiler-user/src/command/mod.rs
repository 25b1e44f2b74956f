//! The verbs of the binary: each wires the stages together.

pub mod capture;
pub mod demo;
pub mod doctor;
pub mod filter;
pub mod inquiry;
pub mod log;
pub mod lookout;
pub mod pipeline;
pub mod record;
mod signals;
pub mod trace;

/// An error and its causes on one line, none said twice.
pub fn one_line(error: &anyhow::Error) -> String {
    let mut text = String::new();
    for cause in error.chain() {
        let cause = cause.to_string();
        let line = cause.lines().next().unwrap_or_default();
        if !text.contains(line) {
            if !text.is_empty() {
                text.push_str(": ");
            }
            text.push_str(line);
        }
    }
    text
}

/// True when what failed is a write to a pipe that nobody reads any more.
pub fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error
        .chain()
        .filter_map(|cause| cause.downcast_ref::<std::io::Error>())
        .any(|io| io.kind() == std::io::ErrorKind::BrokenPipe)
}
