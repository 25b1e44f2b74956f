//! Stalls against the handlers that caused them: which stall is which handler's, and whether it says what the handler
//! did. In come trace's lines and what the handlers said, out comes by how much the stalls are longer.

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use crate::{
    stalling::Held,
    times::{nanoseconds, now},
};

/// A handler that holds its loop for so long must be a stall.
pub const LEAST: f64 = 0.120;

/// Where two parts of a handler are this close, either is right as the cause.
const CLOSE: f64 = 0.7;

/// What handlers of one kind do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Does {
    Computes,
    /// Waits in this system call, so many times at least; on a target that begins so, if it has one.
    Waits {
        call: &'static str,
        target: Option<String>,
        least: u64,
    },
}

/// A handler's stall.
#[derive(Debug, Clone, Copy)]
pub struct Pair<'a> {
    pub held: &'a Held,
    pub stall: &'a Value,
}

impl Does {
    pub fn waits(call: &'static str) -> Self {
        Self::Waits { call, target: None, least: 1 }
    }

    pub fn waits_on(call: &'static str, target: impl Into<String>) -> Self {
        Self::Waits { call, target: Some(target.into()), least: 1 }
    }
}

/// A number of a stall's.
pub fn number(stall: &Value, field: &str) -> f64 {
    stall[field].as_f64().unwrap_or(f64::NAN)
}

/// Whether the machine, not the program, is to blame.
pub fn is_starved(stall: &Value) -> bool {
    stall["cause"] == "cpu-starvation" || stall["cause"] == "throttled"
}

/// Finds each handler's stall, and fails where that is not one to one: a handler without a stall, one with several, two
/// in one stall, a stall without a handler. A loop that got no CPU stalls without a handler's doing.
pub fn pair<'a>(held: &'a [Held], stalls: &[&'a Value]) -> Result<Vec<Pair<'a>>> {
    pair_at(held, stalls, ahead())
}

/// The stall in which a handler was.
pub fn stall_of<'a>(held: &Held, stalls: &[&'a Value]) -> Option<&'a Value> {
    let ahead = ahead();
    stalls.iter().find(|stall| covers(stall, held, ahead)).copied()
}

/// By how much the time of day is ahead of the monotonic clock, ns.
fn ahead() -> i128 {
    i128::from(now(libc::CLOCK_REALTIME)) - i128::from(now(libc::CLOCK_MONOTONIC))
}

/// Whether the middle of the handler lies in the stall.
fn covers(stall: &Value, held: &Held, ahead: i128) -> bool {
    let middle = i128::from(held.start.midpoint(held.end)) + ahead;
    let start = stall["start"].as_str().and_then(nanoseconds).unwrap_or(i128::MAX);
    start < middle && middle < start.saturating_add((number(stall, "seconds") * 1e9) as i128)
}

/// The same; the time of day is so many ns ahead of the monotonic clock.
fn pair_at<'a>(held: &'a [Held], stalls: &[&'a Value], ahead: i128) -> Result<Vec<Pair<'a>>> {
    let mut pairs = Vec::new();
    let mut free: Vec<_> = stalls.to_vec();
    for held in held {
        let found: Vec<_> = free.extract_if(.., |stall| covers(stall, held, ahead)).collect();
        ensure!(found.len() <= 1, "several stalls for {held:?}: {found:#?}");
        match found.first() {
            Some(stall) => pairs.push(Pair { held, stall }),
            None => ensure!(held.seconds < LEAST, "no stall for {held:?} among {stalls:#?}"),
        }
    }
    free.retain(|stall| !is_starved(stall));
    ensure!(free.is_empty(), "stalls without a handler: {free:#?}");
    Ok(pairs)
}

impl Pair<'_> {
    /// By how much the stall is longer than the handler: the rest of its turn, but for what that waited for a CPU, which
    /// on a busy machine is as long as other programs please.
    pub fn rest(&self) -> f64 {
        let rest = number(self.stall, "seconds") - self.held.seconds;
        let queued = number(self.stall, "run_queue") - self.held.run_queue;
        rest - queued.max(0.0).min(rest)
    }

    /// Whether it is known what the handler waited on: a stall is looked at while it lasts, if hostprof gets a CPU.
    pub fn is_named(&self, does: &Does) -> bool {
        !matches!(does, Does::Waits { target: Some(_), .. })
            || !self.waited(does)
            || self.stall["blocked_in"][0]["target"].is_string()
    }

    /// Whether the handler was blocked for a good part of its time: not by a disk that is done at once.
    fn waited(&self, does: &Does) -> bool {
        does.causes(self.held).contains(&"blocking-call")
    }

    /// Checks what the stall says of a handler that does this.
    pub fn check(&self, does: &Does) -> Result<()> {
        let Self { held, stall } = self;
        let said = || format!("{held:?}: {stall:#}");
        let [on_cpu, run_queue, blocked] = ["on_cpu", "run_queue", "blocked"].map(|part| number(stall, part));
        let seconds = number(stall, "seconds");
        ensure!(seconds >= held.seconds, "shorter than the handler, {}", said());
        ensure!(
            (on_cpu + run_queue + blocked - seconds).abs() < 1e-6,
            "parts that do not add up, {}",
            said()
        );
        if self.waited(does)
            && let Does::Waits { call, target, least } = does
        {
            let longest = &stall["blocked_in"][0];
            // Which of the two libuv makes depends on its version.
            let same = |name: &str| longest["syscall"] == name;
            ensure!(same(call) || *call == "epoll_pwait" && same("epoll_wait"), "not in {call}, {}", said());
            ensure!(longest["count"].as_u64() >= Some(*least), "not {least} times, {}", said());
            if let (Some(target), Some(found)) = (target, longest["target"].as_str()) {
                ensure!(found.starts_with(target.as_str()), "not on {target}, {}", said());
            }
        }
        let causes = does.causes(held);
        let cause = stall["cause"].as_str().context("no cause")?;
        ensure!(causes.contains(&cause), "its cause is none of {causes:?}, {}", said());
        Ok(())
    }
}

impl Does {
    /// The right causes, by the kernel's own count of the handler's time: whatever took most of it.
    fn causes(&self, held: &Held) -> Vec<&'static str> {
        // Who waits often waits for a CPU after each time.
        let waited = (held.seconds - held.on_cpu).max(0.0);
        let waits: &[&str] = if *self == Self::Computes { &[] } else { &["blocking-call"] };
        let parts = [
            (held.on_cpu, &["cpu"][..]),
            (held.run_queue, &["cpu-starvation", "throttled"]),
            (waited, waits),
        ];
        let most = parts.iter().map(|part| part.0).fold(0.0, f64::max);
        parts.into_iter().filter(|part| part.0 >= CLOSE * most).flat_map(|part| part.1).copied().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const MS: u64 = 1_000_000;

    /// A handler that computed, or waited.
    fn held(start: u64, length: u64, on_cpu: f64, run_queue: f64) -> Held {
        let (start, end) = (start * MS, (start + length) * MS);
        Held { kind: "any".into(), start, end, seconds: length as f64 / 1e3, on_cpu, run_queue }
    }

    /// A stall, in the first minute of 1970.
    fn stall(start: u64, seconds: f64, cause: &str) -> Value {
        let start = format!("1970-01-01T00:00:{:02}.{:03}000000Z", start / 1_000, start % 1_000);
        json!({ "start": start, "seconds": seconds, "cause": cause, "confidence": "high", "on_cpu": 0.0,
            "run_queue": 0.0, "blocked": seconds, "blocked_in": [{ "syscall": "recvfrom", "count": 2 }] })
    }

    #[test]
    fn each_handler_has_its_own_stall() {
        let held = [held(1_000, 200, 0.0, 0.0), held(2_000, 200, 0.0, 0.0), held(3_000, 110, 0.0, 0.0)];
        let [one, two, starved] = [
            stall(999, 0.205, "blocking-call"),
            stall(1_999, 0.205, "blocking-call"),
            stall(5_000, 0.150, "cpu-starvation"),
        ];
        let pairs = pair_at(&held, &[&one, &two, &starved], 0).unwrap();
        assert_eq!(pairs.len(), 2, "the third is too short to need one");
        assert!((pairs[0].rest() - 0.005).abs() < 1e-9);
        let mut queued = one.clone();
        queued["run_queue"] = 0.003.into();
        assert!((Pair { held: &held[0], stall: &queued }.rest() - 0.002).abs() < 1e-9);
        let both = stall(999, 1.300, "blocking-call");
        for wrong in [&[&one][..], &[&one, &one, &two], &[&both], &[&one, &two, &stall(7_000, 0.2, "cpu")]] {
            assert!(pair_at(&held, wrong, 0).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn a_stall_says_what_the_handler_did() {
        let does = Does::waits("recvfrom");
        let check = |held: Held, stall: &Value| Pair { held: &held, stall }.check(&does).is_ok();
        let waited = || held(1_000, 200, 0.001, 0.0);
        assert!(check(waited(), &stall(999, 0.205, "blocking-call")));
        assert!(!check(waited(), &stall(999, 0.205, "cpu")));
        assert!(!check(waited(), &stall(999, 0.199, "blocking-call")), "shorter than the handler");
        assert!(!check(held(1_000, 200, 0.150, 0.0), &stall(999, 0.205, "blocking-call")), "it computed");
        assert!(check(held(1_000, 200, 0.0, 0.150), &stall(999, 0.205, "cpu-starvation")));
        let three = Does::Waits { call: "recvfrom", target: None, least: 3 };
        let held = waited();
        assert!(Pair { held: &held, stall: &stall(999, 0.205, "blocking-call") }.check(&three).is_err());
    }

    #[test]
    fn close_parts_leave_the_cause_open() {
        assert_eq!(Does::Computes.causes(&held(0, 200, 0.150, 0.050)), ["cpu"]);
        assert_eq!(
            Does::Computes.causes(&held(0, 200, 0.105, 0.095)),
            ["cpu", "cpu-starvation", "throttled"]
        );
    }
}
