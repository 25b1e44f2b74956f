//! Folders of `target/` that several runs share: one run at a time fills them, and none sees them half filled.

use std::{
    fs::{self, File},
    io::ErrorKind,
    path::Path,
};

use anyhow::{Context as _, Result};

/// Makes the folder and waits until no other run fills it. It is ours as long as the file lives.
pub(crate) fn lock(folder: &Path) -> Result<File> {
    fs::create_dir_all(folder).with_context(|| format!("failed to create {}", folder.display()))?;
    let path = folder.join("lock");
    let lock = File::create(&path).with_context(|| format!("failed to create {}", path.display()))?;
    lock.lock().with_context(|| format!("failed to lock {}", path.display()))?;
    Ok(lock)
}

/// Lets `fill` make a folder that appears under its final name only when it is complete.
pub(crate) fn make(folder: &Path, fill: impl FnOnce(&Path) -> Result<()>) -> Result<()> {
    // Not by with_extension, which would take a part of a version for one.
    let mut partial = folder.as_os_str().to_owned();
    partial.push(".partial");
    let partial = Path::new(&partial);
    match fs::remove_dir_all(partial) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            return Err(error).with_context(|| format!("failed to remove {}", partial.display()));
        }
        _ => {}
    }
    fs::create_dir_all(partial).with_context(|| format!("failed to create {}", partial.display()))?;
    fill(partial)?;
    fs::rename(partial, folder).with_context(|| format!("failed to rename {}", partial.display()))
}
