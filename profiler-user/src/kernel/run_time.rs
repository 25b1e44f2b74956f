//! Time spent in our own probes, sampled: the kernel measures it only while asked to, and measuring costs something
//! with every run, so it is asked for a moment in each second.

use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use aya::sys::{Stats, enable_stats};
use log::debug;

use super::session::Session;

/// One sample of this length in each period.
const SAMPLE: Duration = Duration::from_millis(50);
const PERIOD: Duration = Duration::from_secs(1);

/// The samples so far.
#[derive(Debug, Default)]
pub struct RunTime {
    begun: Option<Instant>,
    sample: Option<(OwnedFd, Instant, Duration)>,
    next: Option<Instant>,
    sampled: Duration,
    spent: Duration,
    refused: bool,
}

impl RunTime {
    /// Begins or ends a sample when it is time to.
    pub fn tick(&mut self, session: &Session) {
        let now = Instant::now();
        self.begun.get_or_insert(now);
        if let Some((_, since, _)) = &self.sample {
            if now.duration_since(*since) >= SAMPLE {
                self.end(session);
                self.next = Some(now + PERIOD - SAMPLE);
            }
        } else if !self.refused && self.next.is_none_or(|next| now >= next) {
            match enable_stats(Stats::RunTime) {
                Ok(fd) => self.sample = Some((fd, now, session.run_time())),
                Err(e) => {
                    debug!("the kernel does not measure run time: {e}");
                    self.refused = true;
                }
            }
        }
    }

    /// Ends the sample that runs, if one does. To be called before the programs go.
    pub fn end(&mut self, session: &Session) {
        if let Some((_, since, before)) = self.sample.take() {
            self.spent += session.run_time().saturating_sub(before);
            self.sampled += since.elapsed();
        }
    }

    /// Seconds of CPU in our probes since the start, scaled up from the samples. None before the first sample ended.
    pub fn seconds(&self) -> Option<f64> {
        let total = self.begun?.elapsed().as_secs_f64();
        (!self.sampled.is_zero()).then(|| self.spent.as_secs_f64() / self.sampled.as_secs_f64() * total)
    }
}
