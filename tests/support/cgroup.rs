//! A control group of our own, for processes that a filter is to find by it. A container's is one with its name.

use std::{fs, path::PathBuf};

use anyhow::{Context as _, Result};

/// Where control groups are mounted.
#[derive(Debug)]
struct Mount {
    point: PathBuf,
    /// `cgroup` or `cgroup2`.
    kind: String,
    options: String,
}

/// Version 2 and the hierarchies of version 1.
fn mounts() -> Result<Vec<Mount>> {
    let text = fs::read_to_string("/proc/mounts").context("failed to read /proc/mounts")?;
    let mounts = text.lines().filter_map(|line| {
        let [_, point, kind, options, ..] = line.split(' ').collect::<Vec<_>>()[..] else { return None };
        let mount = Mount { point: point.into(), kind: kind.to_owned(), options: options.to_owned() };
        kind.starts_with("cgroup").then_some(mount)
    });
    Ok(mounts.collect())
}

/// A control group, gone when dropped.
#[derive(Debug)]
pub struct Cgroup {
    root: PathBuf,
    path: PathBuf,
}

impl Cgroup {
    /// Makes one of this path below the root of a hierarchy.
    pub fn make(path: &str) -> Result<Self> {
        let mounts = mounts()?;
        let root = mounts.iter().find(|mount| mount.kind == "cgroup2").or_else(|| mounts.first());
        let root = root.context("no control groups are mounted")?.point.clone();
        Self::below(root, path)
    }

    /// Makes one that may use so many hundredths of a CPU.
    pub fn limited(path: &str, percent: u32) -> Result<Self> {
        const PERIOD_US: u32 = 100_000;
        let quota = PERIOD_US / 100 * percent;
        let mounts = mounts()?;
        let read = |file: PathBuf| fs::read_to_string(file).unwrap_or_default();
        let two = mounts.iter().find(|mount| {
            mount.kind == "cgroup2" && {
                let controllers = read(mount.point.join("cgroup.controllers"));
                controllers.split_whitespace().any(|controller| controller == "cpu")
            }
        });
        if let Some(two) = two {
            let control = two.point.join("cgroup.subtree_control");
            fs::write(&control, "+cpu").with_context(|| format!("failed to write {}", control.display()))?;
            let group = Self::below(two.point.clone(), path)?;
            group.set("cpu.max", &format!("{quota} {PERIOD_US}"))?;
            return Ok(group);
        }
        let one = mounts.iter().find(|mount| mount.options.split(',').any(|option| option == "cpu"));
        let one =
            one.context("no control group of this machine limits CPU time: neither version has `cpu`")?;
        let group = Self::below(one.point.clone(), path)?;
        group.set("cpu.cfs_period_us", &PERIOD_US.to_string())?;
        group.set("cpu.cfs_quota_us", &quota.to_string())?;
        Ok(group)
    }

    fn below(root: PathBuf, path: &str) -> Result<Self> {
        let path = root.join(path);
        fs::create_dir_all(&path).with_context(|| format!("failed to create {}", path.display()))?;
        Ok(Self { root, path })
    }

    fn set(&self, file: &str, value: &str) -> Result<()> {
        let file = self.path.join(file);
        fs::write(&file, value).with_context(|| format!("failed to write {value} to {}", file.display()))
    }

    /// Moves processes into it.
    pub fn take(&self, pids: &[u32]) -> Result<()> {
        for pid in pids {
            fs::write(self.path.join("cgroup.procs"), pid.to_string())
                .with_context(|| format!("failed to move process {pid}"))?;
        }
        Ok(())
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        // One that still has processes cannot be removed: back to where all others are.
        for pid in fs::read_to_string(self.path.join("cgroup.procs")).unwrap_or_default().lines() {
            let _ = fs::write(self.root.join("cgroup.procs"), pid);
        }
        let mut path = self.path.clone();
        while path != self.root && fs::remove_dir(&path).is_ok() {
            path.pop();
        }
    }
}
