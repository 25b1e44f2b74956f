//! `target/services`: where things are installed, and the stamps that say what is complete.
//!
//! A stamp is written when its step has finished and removed before it starts anew, so an interrupted step is
//! repeated from nothing. Its text is the step's key (versions, sources): another key means another installation.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    time::Instant,
};

use anyhow::{Context as _, Result};

use crate::{command, folder};

/// The folder, locked: two installations at once would unpack over each other.
pub(super) struct Place {
    root: PathBuf,
    _lock: File,
}

impl Place {
    /// Makes the folder and waits for any other installation to end.
    pub(super) fn claim() -> Result<Self> {
        let root = command::root().join("target/services");
        let lock = folder::lock(&root)?;
        Ok(Self { root, _lock: lock })
    }

    pub(super) fn root(&self) -> &Path {
        &self.root
    }

    /// Returns the folder called `name`, built by `build` unless its stamp says that it has been, with this key.
    pub(super) fn step(
        &self,
        name: &str,
        key: &str,
        build: impl FnOnce(&Path) -> Result<()>,
    ) -> Result<PathBuf> {
        let dir = self.root.join(name);
        let stamp = self.root.join(format!("{name}.stamp"));
        if dir.is_dir() && fs::read_to_string(&stamp).is_ok_and(|text| text == key) {
            eprintln!("{name}: there ({})", first_line(key));
            return Ok(dir);
        }
        eprintln!("{name}: installing {}", first_line(key));
        let begun = Instant::now();
        remove(&stamp)?;
        remove(&dir)?;
        fs::create_dir(&dir).with_context(|| format!("failed to create {}", dir.display()))?;
        build(&dir).with_context(|| format!("failed to install {name}"))?;
        fs::write(&stamp, key).with_context(|| format!("failed to write {}", stamp.display()))?;
        eprintln!("{name}: installed in {:.1} s", begun.elapsed().as_secs_f64());
        Ok(dir)
    }
}

/// Removes a file or a folder with everything in it; having none is fine.
fn remove(path: &Path) -> Result<()> {
    let removed = if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) };
    match removed {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("failed to remove {}", path.display()))
        }
        _ => Ok(()),
    }
}

fn first_line(text: &str) -> &str {
    text.lines().next().unwrap_or_default()
}
