//! Files as another process names them. In come a path of that process and what may be at its end, out goes an open
//! file. What the process has put there may be anything: a link to a path that means another file outside its root, a
//! FIFO that blocks whoever opens it, a device that acts when it is opened. None of these is ever opened.

use std::ffi::CString;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::{AsRawFd, FromRawFd};
use std::os::unix::fs::OpenOptionsExt;

use super::process::Process;

/// What a path may end in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Last {
    File,
    /// A file, or a symbolic link to one.
    FileOrLink,
}

/// The regular file that a process has at a path. Fails before Linux 5.6, which has no `openat2`.
pub(super) fn open(process: &Process, path: &str, last: Last) -> io::Result<File> {
    under(&place(&process.file("root"), libc::O_DIRECTORY)?, path, last)
}

/// The regular file behind one of the kernel's own links in `/proc`, as `exe`.
pub(super) fn behind(link: &str) -> io::Result<File> {
    regular(&place(link, 0)?)
}

/// A place in the file system: what is there is not opened (`O_PATH`, open(2)).
fn place(path: &str, flags: i32) -> io::Result<File> {
    OpenOptions::new().read(true).custom_flags(libc::O_PATH | flags).open(path)
}

/// No link leads out of `root`, and none of the kernel's own is followed (fs/namei.c, `nd_jump_root`).
fn under(root: &File, path: &str, last: Last) -> io::Result<File> {
    let path = CString::new(path)?;
    let link = if last == Last::File { libc::O_NOFOLLOW } else { 0 };
    // SAFETY: a struct of numbers, of which 0 is each one's default.
    let mut how: libc::open_how = unsafe { std::mem::zeroed() };
    how.flags = (libc::O_PATH | libc::O_CLOEXEC | link) as u64;
    how.resolve = libc::RESOLVE_IN_ROOT | libc::RESOLVE_NO_MAGICLINKS;
    // SAFETY: the kernel reads the path and the struct, of the size given; both outlive the call.
    let fd = unsafe {
        libc::syscall(
            libc::SYS_openat2,
            root.as_raw_fd(),
            path.as_ptr(),
            &raw const how,
            size_of::<libc::open_how>(),
        )
    };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: a new descriptor that nobody else has.
    regular(&unsafe { File::from_raw_fd(fd as i32) })
}

/// Opens what is at a place, if it is a regular file.
fn regular(place: &File) -> io::Result<File> {
    if !place.metadata()?.is_file() {
        return Err(io::Error::other("no regular file"));
    }
    // The same file, whatever has its path by now.
    let same = format!("/proc/self/fd/{}", place.as_raw_fd());
    OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(same)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::io::Read;
    use std::os::unix::ffi::OsStrExt;
    use std::os::unix::fs::symlink;

    use super::*;

    fn read(root: &File, path: &str, last: Last) -> Option<String> {
        let mut text = String::new();
        under(root, path, last).ok()?.read_to_string(&mut text).ok()?;
        Some(text)
    }

    #[test]
    fn a_link_stays_inside() {
        let dir = tempfile::tempdir().unwrap();
        let outside = dir.path().join("secret");
        fs::write(&outside, "outside").unwrap();
        let inside = dir.path().join("root");
        fs::create_dir_all(inside.join("etc")).unwrap();
        fs::write(inside.join("etc/own"), "inside").unwrap();
        symlink("/etc/own", inside.join("own")).unwrap();
        symlink(&outside, inside.join("absolute")).unwrap();
        symlink("../secret", inside.join("relative")).unwrap();
        symlink(&inside, inside.join("folder")).unwrap();
        let root = place(inside.to_str().unwrap(), libc::O_DIRECTORY).unwrap();
        for last in [Last::File, Last::FileOrLink] {
            assert_eq!(read(&root, "/etc/own", last).as_deref(), Some("inside"));
            for path in ["/absolute", "/relative", "/../secret", "/folder/etc/own", "/etc", "/none"] {
                assert_eq!(read(&root, path, last), None, "{path}");
            }
        }
        assert_eq!(read(&root, "/own", Last::FileOrLink).as_deref(), Some("inside"));
        assert_eq!(read(&root, "/own", Last::File), None, "a link");
    }

    #[test]
    fn neither_a_fifo_nor_a_device() {
        let dir = tempfile::tempdir().unwrap();
        let fifo = dir.path().join("fifo");
        let path = CString::new(fifo.as_os_str().as_bytes()).unwrap();
        // SAFETY: the path outlives the call.
        assert_eq!(unsafe { libc::mkfifo(path.as_ptr(), 0o600) }, 0);
        // Whoever opened it would wait for a writer.
        assert!(behind(fifo.to_str().unwrap()).is_err());
        let root = place(dir.path().to_str().unwrap(), libc::O_DIRECTORY).unwrap();
        assert!(under(&root, "/fifo", Last::File).is_err());
        let own = Process::of(std::process::id()).unwrap();
        assert!(open(&own, "/dev/null", Last::FileOrLink).is_err());
        assert!(open(&own, "/proc/self/exe", Last::FileOrLink).is_err(), "a link of the kernel's own");
        assert!(behind("/proc/self/exe").is_ok());
    }
}
