//! The host's files for a guest: virtiofsd, which sees them read-only.
//!
//! The guest mounts them read-only, but its root may mount them anew; so the daemon is put into a mount namespace of
//! its own, in which every mount is read-only. What answers to a guest can then change nothing.

use std::{
    fs::File,
    io,
    os::{
        fd::{AsRawFd as _, RawFd},
        unix::{net::UnixListener, process::CommandExt as _},
    },
    path::Path,
    process::{Child, Command, Stdio},
};

use anyhow::{Context as _, Result};

/// Where the daemon is: that of qemu's own package (up to Debian 12), and that of a package of its own.
const DAEMONS: [(&str, &[&str]); 2] = [
    ("/usr/lib/qemu/virtiofsd", &["-f", "-o", "source=/,sandbox=chroot,cache=always,log_level=err"]),
    (
        "/usr/libexec/virtiofsd",
        // An overlay refuses folders that are announced as mounts (fs/overlayfs/util.c, `ovl_dentry_weird`).
        &[
            "--shared-dir=/",
            "--sandbox=none",
            "--cache=always",
            "--no-announce-submounts",
            "--log-level=error",
        ],
    ),
];

/// Whether a daemon is installed.
pub(super) fn installed() -> bool {
    DAEMONS.iter().any(|(path, _)| Path::new(path).exists())
}

/// Starts the daemon for the one guest that connects to `listener`; what it says goes to `log`.
pub(super) fn start(listener: UnixListener, log: File) -> Result<Child> {
    let (path, arguments) = DAEMONS
        .iter()
        .find(|(path, _)| Path::new(path).exists())
        .context("virtiofsd is missing: it is in Debian's package qemu-system-common or virtiofsd")?;
    let socket = listener.as_raw_fd();
    let mut command = Command::new(path);
    command.args(*arguments).arg(format!("--fd={socket}"));
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).process_group(0);
    // SAFETY: system calls alone between fork and exec, on constants and numbers.
    unsafe {
        command.pre_exec(move || {
            hand_over(socket)?;
            end_with_parent()?;
            read_only()
        });
    }
    command.spawn().with_context(|| format!("failed to run {command:?}"))
}

/// Lets a descriptor outlive exec. Between fork and exec.
pub(super) fn hand_over(fd: RawFd) -> io::Result<()> {
    // SAFETY: a system call on numbers.
    checked(unsafe { libc::fcntl(fd, libc::F_SETFD, 0) }.into())
}

/// Has the process killed when we are. Between fork and exec.
pub(super) fn end_with_parent() -> io::Result<()> {
    // SAFETY: a system call on numbers.
    checked(unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) }.into())
}

/// Leaves the mounts of all others and makes every one of its own read-only. Between fork and exec.
fn read_only() -> io::Result<()> {
    /// `struct mount_attr` of include/uapi/linux/mount.h.
    #[repr(C)]
    struct Attributes {
        set: u64,
        clear: u64,
        propagation: u64,
        user_namespace: u64,
    }
    const RDONLY: u64 = 1;
    let attributes = Attributes { set: RDONLY, clear: 0, propagation: libc::MS_PRIVATE, user_namespace: 0 };
    // SAFETY: the path is a constant with its end, the attributes have the size that is said; both are only read.
    unsafe {
        checked(libc::unshare(libc::CLONE_NEWNS).into())?;
        checked(libc::syscall(
            libc::SYS_mount_setattr,
            libc::AT_FDCWD,
            c"/".as_ptr(),
            libc::AT_RECURSIVE,
            &raw const attributes,
            size_of::<Attributes>(),
        ))
    }
}

fn checked(result: i64) -> io::Result<()> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}
