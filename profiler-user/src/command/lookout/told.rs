//! Stalls that wait to be told of: those that passed the filters go in, with their services come out, for who takes
//! them.

use std::sync::Arc;

use crate::command::pipeline::Pipeline;
use crate::stall::Stall;

/// Stalls that wait to be taken at the most.
const MOST: usize = 4_096;

/// A stall that passed the filters, and its service.
#[derive(Debug)]
pub struct Told {
    pub stall: Stall,
    pub service: Arc<str>,
}

/// Those that nobody has taken yet.
#[derive(Debug, Default)]
pub(super) struct Untaken(Vec<Told>);

impl Untaken {
    pub(super) fn take(&mut self) -> Vec<Told> {
        std::mem::take(&mut self.0)
    }

    /// Where nobody takes them, as in `record`, the first stay.
    pub(super) fn add(&mut self, stalls: Vec<Stall>, pipeline: &mut Pipeline) {
        let room = MOST.saturating_sub(self.0.len());
        let told = stalls.into_iter().take(room).map(|stall| {
            let service = pipeline.service_of(stall.pid, &stall.comm);
            Told { stall, service }
        });
        self.0.extend(told);
    }
}
