//! For how long control groups with a limit on CPU time have been throttled: sampled while loops run, so that there is
//! something to compare a stall's end with.
//!
//! `throttled_usec` of `cpu.stat` (version 2) and `throttled_time` (version 1) sum up over the CPUs that a group was
//! throttled on, and only once it goes on there (`unthrottle_cfs_rq`, kernel/sched/fair.c): it may be more than the time
//! that one thread waited, never less but for the throttling under way.

use std::collections::VecDeque;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use rustc_hash::FxHashMap;

/// Processes and groups that are looked at.
const PROCESSES: usize = 1_024;
const GROUPS: usize = 256;
/// Groups above one another.
const DEPTH: usize = 16;
/// The group of a process, and its limit, are read anew after so long, ns.
const RENEW_NS: u64 = 2_000_000_000;
/// Changes remembered of one group.
const CHANGES: usize = 512;

/// The groups of the loops' processes.
#[derive(Debug, Default)]
pub(super) struct Quotas {
    roots: Option<Roots>,
    processes: FxHashMap<u32, Process>,
    groups: FxHashMap<PathBuf, Group>,
}

/// Where groups are mounted, by version.
#[derive(Debug, Default, PartialEq, Eq)]
struct Roots {
    one: Option<PathBuf>,
    two: Option<PathBuf>,
}

#[derive(Debug)]
struct Process {
    read: u64,
    /// Its groups with a limit.
    limited: Vec<PathBuf>,
}

#[derive(Debug)]
struct Group {
    stat: File,
    sampled: u64,
    history: History,
}

/// A number that only grows: since when it has been what it is, the latest last.
#[derive(Debug, Default)]
struct History(VecDeque<(u64, u64)>);

impl Quotas {
    /// Notes what the groups of these processes say now; one that was read less than `every` ns ago is passed over.
    pub(super) fn sample(&mut self, pids: impl Iterator<Item = u32>, every: u64, now: u64) {
        let roots = self
            .roots
            .get_or_insert_with(|| Roots::of(&fs::read_to_string("/proc/self/mounts").unwrap_or_default()));
        if self.processes.len() >= PROCESSES {
            self.processes.retain(|_, process| now.saturating_sub(process.read) < 2 * RENEW_NS);
        }
        for pid in pids {
            let known = self.processes.get(&pid);
            // Not all at once.
            let renew = RENEW_NS + u64::from(pid % 64) * (RENEW_NS / 64);
            if known.is_none_or(|process| now.saturating_sub(process.read) >= renew)
                && (known.is_some() || self.processes.len() < PROCESSES)
            {
                self.processes.insert(pid, Process { read: now, limited: roots.limited(pid) });
            }
            for path in self.processes.get(&pid).into_iter().flat_map(|process| &process.limited) {
                if self.groups.len() >= GROUPS && !self.groups.contains_key(path) {
                    continue;
                }
                if !self.groups.contains_key(path) {
                    let Ok(stat) = File::open(path.join("cpu.stat")) else { continue };
                    self.groups.insert(path.clone(), Group { stat, sampled: 0, history: History::default() });
                }
                if let Some(group) = self.groups.get_mut(path)
                    && (group.sampled == 0 || now.saturating_sub(group.sampled) >= every.max(1))
                    && let Some(value) = read(&group.stat).ok().as_deref().and_then(throttled)
                {
                    group.sampled = now;
                    group.history.add(now, value);
                }
            }
        }
        self.groups.retain(|_, group| now.saturating_sub(group.sampled) < 2 * RENEW_NS);
    }

    /// For how long the group of a process that was throttled most was so between two instants, ns, as far as it was
    /// sampled; None for a process without a limit.
    pub(super) fn during(&self, pid: u32, start: u64, end: u64) -> Option<u64> {
        let limited = &self.processes.get(&pid)?.limited;
        limited.iter().filter_map(|path| self.groups.get(path)?.history.growth(start, end)).max()
    }
}

impl Roots {
    /// From /proc/mounts.
    fn of(mounts: &str) -> Self {
        let mut roots = Self::default();
        for line in mounts.lines() {
            let mut words = line.split(' ').skip(1);
            let (Some(point), Some(kind), Some(options)) = (words.next(), words.next(), words.next()) else {
                continue;
            };
            match kind {
                "cgroup2" => roots.two = Some(point.into()),
                "cgroup" if options.split(',').any(|option| option == "cpu") => {
                    roots.one = Some(point.into())
                }
                _ => {}
            }
        }
        roots
    }

    /// The groups of a process that have a limit, its own first.
    fn limited(&self, pid: u32) -> Vec<PathBuf> {
        let text = fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap_or_default();
        let groups = text.lines().filter_map(|line| self.group(line));
        let all = groups.flat_map(|(root, path)| {
            let up = path.ancestors().take(DEPTH).take_while(|above| *above != root);
            up.map(Path::to_path_buf).collect::<Vec<_>>()
        });
        all.filter(|path| is_limited(path)).collect()
    }

    /// The folder of a line of /proc/PID/cgroup, below its root, if it is about the CPUs.
    fn group(&self, line: &str) -> Option<(&Path, PathBuf)> {
        let mut parts = line.splitn(3, ':');
        let (number, controllers, path) = (parts.next()?, parts.next()?, parts.next()?);
        let root = if number == "0" && controllers.is_empty() {
            self.two.as_deref()?
        } else if controllers.split(',').any(|controller| controller == "cpu") {
            self.one.as_deref()?
        } else {
            return None;
        };
        // Outside of what our own namespace shows.
        let path = path.trim_start_matches('/');
        (!path.split('/').any(|part| part == "..")).then(|| (root, root.join(path)))
    }
}

impl History {
    fn add(&mut self, at: u64, value: u64) {
        if self.0.back().is_some_and(|(_, last)| *last == value) {
            return;
        }
        if self.0.len() >= CHANGES {
            self.0.pop_front();
        }
        self.0.push_back((at, value));
    }

    fn growth(&self, start: u64, end: u64) -> Option<u64> {
        let (_, first) = self.0.iter().rev().find(|(at, _)| *at <= start).or(self.0.front())?;
        // What was throttled up to the end is told of once it is over: the next sample may have it.
        let (_, last) = self.0.iter().find(|(at, _)| *at >= end).or(self.0.back())?;
        Some(last.saturating_sub(*first))
    }
}

fn is_limited(group: &Path) -> bool {
    let text = |name: &str| fs::read_to_string(group.join(name)).ok();
    match text("cpu.max") {
        Some(max) => !max.starts_with("max"),
        None => {
            text("cpu.cfs_quota_us").is_some_and(|quota| quota.trim().parse::<i64>().is_ok_and(|n| n > 0))
        }
    }
}

fn read(stat: &File) -> io::Result<String> {
    let mut bytes = [0; 1_024];
    let len = stat.read_at(&mut bytes, 0)?;
    Ok(String::from_utf8_lossy(&bytes[..len]).into_owned())
}

/// ns, of a `cpu.stat` of either version.
fn throttled(stat: &str) -> Option<u64> {
    stat.lines().find_map(|line| match line.split_once(' ')? {
        ("throttled_usec", value) => Some(value.parse::<u64>().ok()? * 1_000),
        ("throttled_time", value) => value.parse().ok(),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_groups_are() {
        let roots = Roots::of(
            "cgroup /sys/fs/cgroup/cpuset cgroup rw,cpuset 0 0\n\
             cgroup /sys/fs/cgroup/cpu,cpuacct cgroup rw,relatime,cpu,cpuacct 0 0\n\
             cgroup2 /sys/fs/cgroup/unified cgroup2 rw 0 0\n",
        );
        let group = |line: &str| roots.group(line).map(|(_, path)| path.display().to_string());
        assert_eq!(group("4:cpu,cpuacct:/a/b").as_deref(), Some("/sys/fs/cgroup/cpu,cpuacct/a/b"));
        assert_eq!(group("0::/a:b").as_deref(), Some("/sys/fs/cgroup/unified/a:b"));
        assert_eq!(group("3:cpuset:/a"), None);
        assert_eq!(group("0::/../other"), None);
        assert_eq!(Roots::of("").group("0::/a"), None);
    }

    #[test]
    fn both_versions() {
        assert_eq!(throttled("usage_usec 5\nnr_throttled 2\nthrottled_usec 70\n"), Some(70_000));
        assert_eq!(throttled("nr_periods 5\nnr_throttled 2\nthrottled_time 70\n"), Some(70));
        assert_eq!(throttled("usage_usec 5\n"), None);
    }

    #[test]
    fn growth_between_two_instants() {
        let mut history = History::default();
        assert_eq!(history.growth(0, 10), None);
        for (at, value) in [(10, 100), (20, 100), (30, 150), (40, 190), (50, 190)] {
            history.add(at, value);
        }
        assert_eq!(history.growth(10, 25), Some(50), "as it was at the sample after the end");
        assert_eq!(history.growth(25, 30), Some(50));
        assert_eq!(history.growth(30, 60), Some(40));
        assert_eq!(history.growth(45, 60), Some(0));
        assert_eq!(history.growth(1, 60), Some(90), "no more than was sampled");
    }

    #[test]
    fn a_process_without_a_limit() {
        let mut quotas = Quotas::default();
        quotas.sample([std::process::id()].into_iter(), 0, 1);
        let limited = quotas.roots.as_ref().unwrap().limited(std::process::id());
        assert_eq!(quotas.during(std::process::id(), 0, 2).is_some(), !limited.is_empty());
        assert_eq!(quotas.during(0, 0, 2), None);
    }
}
