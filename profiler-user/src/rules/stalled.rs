//! The stalls of a service that count: those during which clients waited, without the time for which the process was
//! stopped. What several rules share.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::culprit::{culprit, named};
use crate::report::{LoopRow, Service, StallRow};
use crate::stall::cause::Cause;
use crate::stall::{Confidence, Stall, place};

/// Culprits and loops named in a finding's evidence.
const NAMED: usize = 8;

/// Some stalls of one service, in the order in which they began.
#[derive(Debug, Clone, Default)]
pub(super) struct Stalled<'a> {
    pub rows: Vec<&'a StallRow>,
}

/// What held the loops in some of the stalls, and for how long.
#[derive(Debug, Clone)]
pub(super) struct Part<'a> {
    pub name: String,
    pub stalls: u64,
    pub seconds: f64,
    /// The longest of them.
    pub worst: &'a Stall,
}

/// Whether clients waited for this stall's loop.
pub fn is_told(stall: &Stall) -> bool {
    stall.confidence == Confidence::High
}

/// Seconds for which a stall held its loop; a process that was stopped did not hold it.
pub(super) fn held(stall: &Stall) -> f64 {
    let stopped = stall.blocked_in.iter().filter(|blocked| blocked.syscall == "stopped");
    (stall.seconds - stopped.map(|blocked| blocked.seconds).sum::<f64>()).max(0.0)
}

/// Whether it would have been far from a stall of `threshold` seconds with a CPU at hand.
pub(super) fn is_starved(stall: &Stall, threshold: f64) -> bool {
    matches!(stall.cause, Cause::CpuStarvation | Cause::Throttled)
        && held(stall) - stall.run_queue.max(stall.throttled.unwrap_or(0.0)) < threshold / 2.0
}

impl<'a> Stalled<'a> {
    /// Those of some loops that `wanted` holds for, of all during which clients waited.
    pub(super) fn of(loops: &[&'a LoopRow], wanted: impl Fn(&Stall) -> bool) -> Self {
        let stalls = loops.iter().flat_map(|row| &row.stalls);
        let mut rows: Vec<_> = stalls.filter(|row| is_told(&row.stall) && wanted(&row.stall)).collect();
        // RFC 3339 in one zone and of one length sorts as text.
        rows.sort_by(|one, two| one.start.cmp(&two.start));
        Self { rows }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    pub(super) fn count(&self) -> u64 {
        self.rows.len() as u64
    }

    pub(super) fn stalls(&self) -> impl Iterator<Item = &'a Stall> {
        self.rows.iter().map(|row| &row.stall)
    }

    pub(super) fn sum(&self, part: impl Fn(&Stall) -> f64) -> f64 {
        self.stalls().map(part).sum()
    }

    pub(super) fn longest(&self) -> f64 {
        self.stalls().map(held).fold(0.0, f64::max)
    }

    pub(super) fn ongoing(&self) -> bool {
        self.stalls().any(|stall| stall.ongoing)
    }

    /// From the begin of the first to the end of the last.
    pub(super) fn seen(&self) -> (String, String) {
        let first = self.rows.first().map(|row| row.start.clone()).unwrap_or_default();
        let ends = self.rows.iter().map(|row| end(row));
        (first, ends.max().unwrap_or_default())
    }

    /// The most requests and the most new connections that waited in one of them; None where nobody could look.
    pub(super) fn waiting(&self) -> Option<(u32, u32)> {
        let waiting = self.stalls().filter_map(|stall| stall.waiting);
        waiting.map(|w| (w.requests, w.connections)).reduce(|a, b| (a.0.max(b.0), a.1.max(b.1)))
    }

    /// By what held the loop, most time first.
    pub(super) fn parts(&self) -> Vec<Part<'a>> {
        let mut by_name: BTreeMap<String, Part<'a>> = BTreeMap::new();
        for stall in self.stalls() {
            let name = culprit(stall);
            let part = by_name.entry(name.clone()).or_insert_with(|| Part {
                name,
                stalls: 0,
                seconds: 0.0,
                worst: stall,
            });
            part.stalls += 1;
            part.seconds += held(stall);
            if stall.seconds > part.worst.seconds {
                part.worst = stall;
            }
        }
        let mut parts: Vec<_> = by_name.into_values().collect();
        parts.sort_by(|a, b| b.seconds.total_cmp(&a.seconds).then(a.name.cmp(&b.name)));
        parts
    }

    /// The evidence that all rules about stalls have.
    pub(super) fn evidence(&self) -> BTreeMap<String, Value> {
        let seconds = [
            ("stalled_seconds", self.sum(held)),
            ("longest_seconds", self.longest()),
            ("on_cpu_seconds", self.sum(|stall| stall.on_cpu)),
            ("run_queue_seconds", self.sum(|stall| stall.run_queue)),
            ("blocked_seconds", self.sum(|stall| stall.blocked)),
        ];
        let mut evidence: BTreeMap<_, _> =
            seconds.into_iter().map(|(name, seconds)| (name.to_owned(), json!(seconds))).collect();
        evidence.insert("stalls".into(), json!(self.count()));
        let parts = self.parts();
        let named = parts.iter().take(NAMED).map(|part| {
            let mut value = json!({ "what": part.name, "stalls": part.stalls, "seconds": part.seconds });
            value["cause"] = json!(part.worst.cause);
            if let Some(blocked) = part.worst.blocked_in.first().filter(|_| is_blocked(part.worst)) {
                value["syscall"] = json!(blocked.syscall);
                if let Some(target) = &blocked.target {
                    value["target"] = json!(target);
                }
            }
            if let Some(frame) = place::of(&part.worst.stack) {
                value["code"] = json!(named(frame));
            }
            value
        });
        evidence.insert("held_by".into(), named.collect());
        let mut loops: BTreeMap<(u32, u32), (u64, f64)> = BTreeMap::new();
        for stall in self.stalls() {
            let (stalls, seconds) = loops.entry((stall.pid, stall.tid)).or_default();
            *stalls += 1;
            *seconds += held(stall);
        }
        let loops = loops.into_iter().take(NAMED).map(|((pid, tid), (stalls, seconds))| {
            json!({ "pid": pid, "tid": tid, "stalls": stalls, "seconds": seconds })
        });
        evidence.insert("loops".into(), loops.collect());
        if let Some((requests, connections)) = self.waiting() {
            evidence.insert("waiting_requests_peak".into(), json!(requests));
            evidence.insert("waiting_connections_peak".into(), json!(connections));
        }
        evidence
    }

    /// The process to look at: that of the longest.
    pub(super) fn pid(&self) -> u32 {
        let longest = self.stalls().max_by(|a, b| a.seconds.total_cmp(&b.seconds));
        longest.map_or(0, |stall| stall.pid)
    }
}

/// Whether it was mostly blocked.
fn is_blocked(stall: &Stall) -> bool {
    stall.blocked >= stall.on_cpu.max(stall.run_queue)
}

/// When a stall ended, or when it was last seen to go on; its begin where that is no instant.
fn end(row: &StallRow) -> String {
    let ended = row.start.parse::<jiff::Timestamp>().ok().and_then(|start| {
        let length = jiff::SignedDuration::try_from_secs_f64(row.stall.seconds).ok()?;
        start.checked_add(length).ok()
    });
    ended.map_or_else(|| row.start.clone(), |end| format!("{end:.9}"))
}

/// The executable's name without its folder, or the runtime where that tells more.
pub(super) fn runtime(service: Option<&Service>) -> &str {
    let Some(service) = service else { return "" };
    let exe = || service.exe.as_deref().and_then(|exe| exe.rsplit('/').next());
    service.runtime.as_deref().or_else(exe).unwrap_or_default()
}
