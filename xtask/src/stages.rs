//! Stages that all run even when an earlier one fails, and a summary that names the failures.
//!
//! In come named steps, out come their errors as they happen and one table at the end. `lint` and `test` use
//! it: one run shows everything that is wrong.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};

/// What became of the stages so far.
#[derive(Debug, Default)]
pub(crate) struct Stages {
    done: Vec<(&'static str, Outcome, Duration)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    Passed,
    Failed,
    /// It could not run, which is as bad as a failure.
    NotRun(&'static str),
    /// It needs what this machine may lack, which is no failure.
    LeftOut(&'static str),
}

impl Stages {
    /// Runs one stage, reports its error at once, and returns whether it passed.
    pub(crate) fn run(&mut self, name: &'static str, stage: impl FnOnce() -> Result<()>) -> bool {
        eprintln!("=== {name}");
        let start = Instant::now();
        let outcome = match stage() {
            Ok(()) => Outcome::Passed,
            Err(error) => {
                eprintln!("{name}: {error:#}");
                Outcome::Failed
            }
        };
        self.done.push((name, outcome, start.elapsed()));
        outcome == Outcome::Passed
    }

    /// Notes a stage that cannot run; it counts as a failure.
    pub(crate) fn skip(&mut self, name: &'static str, reason: &'static str) {
        self.done.push((name, Outcome::NotRun(reason), Duration::ZERO));
    }

    /// Notes an optional stage that this machine cannot run; it is shown, but it fails nothing.
    pub(crate) fn leave_out(&mut self, name: &'static str, reason: &'static str) {
        self.done.push((name, Outcome::LeftOut(reason), Duration::ZERO));
    }

    /// Prints the summary; an error unless every stage passed or was optional.
    pub(crate) fn finish(self) -> Result<()> {
        let Self { done } = self;
        eprintln!("=== summary");
        for (name, outcome, duration) in &done {
            let seconds = duration.as_secs_f64();
            match outcome {
                Outcome::Passed => eprintln!("passed   {name} ({seconds:.1} s)"),
                Outcome::Failed => eprintln!("FAILED   {name} ({seconds:.1} s)"),
                Outcome::NotRun(reason) => eprintln!("NOT RUN  {name}: {reason}"),
                Outcome::LeftOut(reason) => eprintln!("left out {name}: {reason}"),
            }
        }
        let is_bad = |outcome: &Outcome| matches!(outcome, Outcome::Failed | Outcome::NotRun(_));
        let bad: Vec<&str> =
            done.iter().filter(|(_, outcome, _)| is_bad(outcome)).map(|(name, ..)| *name).collect();
        if !bad.is_empty() {
            bail!("{} of {} stages did not pass: {}", bad.len(), done.len(), bad.join(", "));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_stage_runs_and_failures_are_named() {
        let mut stages = Stages::default();
        assert!(!stages.run("first", || bail!("broken")));
        assert!(stages.run("second", || Ok(())));
        stages.skip("third", "it needs the first");
        let error = stages.finish().expect_err("two stages did not pass").to_string();
        assert_eq!(error, "2 of 3 stages did not pass: first, third");
    }

    #[test]
    fn optional_stages_fail_nothing() {
        let mut stages = Stages::default();
        assert!(stages.run("needed", || Ok(())));
        stages.leave_out("optional", "its tool is not installed");
        assert!(stages.finish().is_ok());
    }
}
