//! Stacks of native code.

use super::Problem;
use super::process::Process;
use crate::stall::Frame;

#[derive(Default)]
pub(super) struct Natives;

impl Natives {
    pub(super) fn look(&mut self, _: &Process, _: u32) -> Result<Vec<Frame>, Problem> {
        Err(Problem::Unreadable)
    }
}
