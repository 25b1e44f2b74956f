//! A control group of our own, for processes that a filter is to find by it. A container's is one with its name.

use std::{fs, path::PathBuf};

use anyhow::{Context as _, Result};

/// A control group, gone when dropped.
#[derive(Debug)]
pub struct Cgroup {
    root: PathBuf,
    path: PathBuf,
}

impl Cgroup {
    /// Makes one of this path below the root of a hierarchy.
    pub fn make(path: &str) -> Result<Self> {
        let mounts = fs::read_to_string("/proc/mounts").context("failed to read /proc/mounts")?;
        let mount = |kind: &str| {
            let mut fields = mounts.lines().map(|line| line.split(' ').collect::<Vec<_>>());
            fields.find(|fields| fields.get(2) == Some(&kind)).map(|fields| PathBuf::from(fields[1]))
        };
        let root = mount("cgroup2").or_else(|| mount("cgroup")).context("no control groups are mounted")?;
        let path = root.join(path);
        fs::create_dir_all(&path).with_context(|| format!("failed to create {}", path.display()))?;
        Ok(Self { root, path })
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
