//! Files that are either complete or as they were: a temporary file beside the target, renamed when all is on disk.
//!
//! A reader (a dashboard, node_exporter's textfile collector) never sees half a report, and a full disk never costs
//! the report of the run before.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

/// A file that could not be written; what was there before is unchanged.
#[derive(Debug, thiserror::Error)]
#[error("cannot write {}: {}", path.display(), reason(source))]
pub struct WriteError {
    pub path: PathBuf,
    pub source: io::Error,
}

/// Writes `content` to `path`. Devices and pipes (`/dev/stdout`) are written to directly; a symbolic link stays one
/// and its target is replaced; an existing file keeps its permissions.
pub fn write(path: &Path, content: &[u8]) -> Result<(), WriteError> {
    try_write(path, content).map_err(|source| WriteError { path: path.to_owned(), source })
}

fn try_write(path: &Path, content: &[u8]) -> io::Result<()> {
    let existing = match fs::metadata(path) {
        Ok(metadata) if metadata.is_dir() => return Err(io::ErrorKind::IsADirectory.into()),
        Ok(metadata) if !metadata.is_file() => {
            return OpenOptions::new().write(true).open(path)?.write_all(content);
        }
        Ok(metadata) => Some(metadata),
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(error) => return Err(error),
    };
    let target = if existing.is_some() { fs::canonicalize(path)? } else { path.to_owned() };
    let (mut file, temporary) = create_beside(&target)?;
    let written = file
        .write_all(content)
        .and_then(|()| existing.map_or(Ok(()), |metadata| file.set_permissions(metadata.permissions())))
        // A full disk of a network file system may only tell here.
        .and_then(|()| file.sync_all())
        .and_then(|()| fs::rename(&temporary, &target));
    if written.is_err() {
        // The error that matters is the first; a leftover is harmless and has a name that says whose it is.
        let _ = fs::remove_file(&temporary);
    }
    written
}

/// A new file in the target's folder. Only ever created, never opened: in a folder such as /tmp another user may have
/// put a link where we would write.
fn create_beside(target: &Path) -> io::Result<(File, PathBuf)> {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let name = target.file_name().ok_or(io::ErrorKind::InvalidInput)?;
    loop {
        let mut hidden = std::ffi::OsString::from(".");
        // Long names leave no room for an ending: the temporary file's name starts with at most a part of it.
        hidden.push(&*name.to_string_lossy().chars().take(40).collect::<String>());
        hidden.push(format!(
            ".hostprof-{}-{}.tmp",
            std::process::id(),
            NUMBER.fetch_add(1, Ordering::Relaxed)
        ));
        let temporary = target.with_file_name(hidden);
        match OpenOptions::new().write(true).create_new(true).open(&temporary) {
            Ok(file) => return Ok((file, temporary)),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
        }
    }
}

/// The error in words that say what to do.
fn reason(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::NotFound => "its folder does not exist".into(),
        io::ErrorKind::PermissionDenied => "no permission to create files in its folder".into(),
        io::ErrorKind::StorageFull => "the disk is full".into(),
        io::ErrorKind::QuotaExceeded => "the disk quota is used up".into(),
        io::ErrorKind::ReadOnlyFilesystem => "the file system is read-only".into(),
        io::ErrorKind::IsADirectory => "it is a folder".into(),
        io::ErrorKind::InvalidInput => "that is no file name".into(),
        _ => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    use super::*;

    fn names(folder: &Path) -> Vec<String> {
        let mut names: Vec<String> = fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    #[test]
    fn a_file_is_replaced_and_nothing_is_left_beside_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("report.json");
        write(&path, b"one").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        write(&path, b"two").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"two");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o640);
        assert_eq!(names(folder.path()), ["report.json"]);
    }

    #[test]
    fn a_link_stays_a_link() {
        let folder = tempfile::tempdir().unwrap();
        let (real, link) = (folder.path().join("real"), folder.path().join("link"));
        write(&real, b"one").unwrap();
        symlink("real", &link).unwrap();
        write(&link, b"two").unwrap();
        assert_eq!(fs::read(&real).unwrap(), b"two");
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
    }

    #[test]
    fn devices_are_written_to() {
        write(Path::new("/dev/null"), b"x").unwrap();
        let full = write(Path::new("/dev/full"), b"x").unwrap_err();
        assert_eq!(full.to_string(), "cannot write /dev/full: the disk is full");
    }

    #[test]
    fn failures_name_the_path_and_the_reason() {
        let folder = tempfile::tempdir().unwrap();
        let missing = folder.path().join("no/such/report.json");
        let error = write(&missing, b"x").unwrap_err().to_string();
        assert_eq!(error, format!("cannot write {}: its folder does not exist", missing.display()));
        let error = write(folder.path(), b"x").unwrap_err().to_string();
        assert!(error.ends_with(": it is a folder"), "{error}");
        assert!(write(Path::new(""), b"x").is_err());
        assert!(names(folder.path()).is_empty());
    }

    #[test]
    fn the_longest_name_has_room_for_the_temporary_one() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("n".repeat(255));
        write(&path, b"x").unwrap();
        assert_eq!(names(folder.path()).len(), 1);
    }
}
