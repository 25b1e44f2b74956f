//! A look at the processes around a stalled thread, in `/proc`: its children, what they hold, and how busy the other
//! threads of its process are.

use std::fs;
use std::path::Path;

/// Threads, children and descriptors that are looked at.
const THREADS: usize = 128;
const CHILDREN: usize = 32;
const DESCRIPTORS: usize = 256;
/// A process's start and CPU time are known in ticks of this length, ns (`USER_HZ`, include/asm-generic/param.h).
const TICK_NS: u64 = 10_000_000;
/// The mode's bits of a descriptor's flags (`O_ACCMODE`, include/uapi/asm-generic/fcntl.h).
const MODE: u32 = 3;

/// The children of a process; needs CONFIG_PROC_CHILDREN.
pub(super) fn children(pid: u32) -> Vec<u32> {
    let Ok(threads) = fs::read_dir(format!("/proc/{pid}/task")) else { return Vec::new() };
    let of_threads = threads.flatten().take(THREADS).flat_map(|thread| of_thread(&thread.path()));
    of_threads.take(CHILDREN).collect()
}

/// Those that this thread has made since an instant of the monotonic clock.
pub(super) fn new_children(pid: u32, tid: u32, since: u64) -> Vec<u32> {
    let children = of_thread(Path::new(&format!("/proc/{pid}/task/{tid}"))).into_iter().take(CHILDREN);
    // Both clocks go on alike but for the time that the machine slept.
    let slept = clock(libc::CLOCK_BOOTTIME).saturating_sub(clock(libc::CLOCK_MONOTONIC));
    children.filter(|child| started(*child).is_some_and(|at| at + 2 * TICK_NS >= since + slept)).collect()
}

fn of_thread(thread: &Path) -> Vec<u32> {
    let text = fs::read_to_string(thread.join("children")).unwrap_or_default();
    text.split_whitespace().filter_map(|pid| pid.parse().ok()).collect()
}

/// When a process was started, ns since the boot.
fn started(pid: u32) -> Option<u64> {
    // Field 22.
    let ticks: u64 = fields(pid)?.get(19)?.parse().ok()?;
    Some(ticks * TICK_NS)
}

/// The fields of /proc/PID/stat from the third on, which stand behind the name (Documentation/filesystems/proc.rst).
fn fields(pid: u32) -> Option<Vec<String>> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    Some(stat.rsplit_once(')')?.1.split_whitespace().map(str::to_owned).collect())
}

fn clock(clock: libc::clockid_t) -> u64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: writes the one struct given.
    unsafe { libc::clock_gettime(clock, &raw mut time) };
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

/// The number that a process has in its innermost namespace.
pub(super) fn own_number(pid: u32) -> Option<i32> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let numbers = status.lines().find_map(|line| line.strip_prefix("NSpid:"))?;
    numbers.split_whitespace().last()?.parse().ok()
}

/// `subprocess NAME[pid]`.
pub(super) fn title(pid: u32) -> String {
    let name = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
    format!("subprocess {}[{pid}]", name.trim_end())
}

/// The child that holds the other end of a pipe, of which a process has the descriptor `end`.
pub(super) fn child_behind(pid: u32, end: i32, pipe: &Path) -> Option<u32> {
    let ours = mode(pid, end)?;
    children(pid).into_iter().find(|child| {
        let Ok(entries) = fs::read_dir(format!("/proc/{child}/fd")) else { return false };
        let same = entries
            .flatten()
            .take(DESCRIPTORS)
            .filter(|entry| fs::read_link(entry.path()).is_ok_and(|link| link == pipe));
        let mut numbers = same.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
        numbers.any(|number| mode(*child, number).is_some_and(|theirs| theirs != ours))
    })
}

/// Whether a descriptor is for reading, writing or both.
fn mode(pid: u32, descriptor: i32) -> Option<u32> {
    let info = fs::read_to_string(format!("/proc/{pid}/fdinfo/{descriptor}")).ok()?;
    let flags = info.lines().find_map(|line| line.strip_prefix("flags:"))?;
    u32::from_str_radix(flags.trim(), 8).ok().map(|flags| flags & MODE)
}

/// Whether CPython runs in a process: as its program, or embedded.
pub(super) fn is_python(pid: u32) -> bool {
    let exe = fs::read_link(format!("/proc/{pid}/exe")).unwrap_or_default();
    exe.file_name().is_some_and(|name| name.to_string_lossy().contains("python"))
        || fs::read_to_string(format!("/proc/{pid}/maps")).is_ok_and(|maps| maps.contains("/libpython"))
}

/// CPU time of all threads of a process but one, those that have ended included, ns. None where the kernel does not tell
/// (CONFIG_SCHED_INFO).
pub(super) fn others(pid: u32, tid: u32) -> Option<u64> {
    let stat = fields(pid)?;
    // Fields 14 and 15, in user and in kernel mode.
    let mut all = stat.iter().skip(11).take(2).map(|ticks| ticks.parse::<u64>().ok());
    let all = (all.next()?? + all.next()??) * TICK_NS;
    let own = fs::read_to_string(format!("/proc/{pid}/task/{tid}/schedstat")).ok()?;
    let own = own.split_whitespace().next()?.parse().ok()?;
    Some(all.saturating_sub(own))
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::os::fd::AsRawFd;
    use std::process::{Command, Stdio};

    use super::*;

    fn me() -> u32 {
        std::process::id()
    }

    #[test]
    fn a_child_and_its_pipes() {
        let before = clock(libc::CLOCK_MONOTONIC);
        let mut child = Command::new("cat").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let (mut input, output) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        let link = |fd: i32| fs::read_link(format!("/proc/self/fd/{fd}")).unwrap();
        // SAFETY: no arguments.
        let tid = unsafe { libc::gettid() } as u32;
        assert!(children(me()).contains(&child.id()));
        assert!(new_children(me(), tid, before).contains(&child.id()));
        assert!(!new_children(me(), tid, before + 60_000_000_000).contains(&child.id()));
        assert_eq!(own_number(child.id()), Some(child.id() as i32));
        for fd in [input.as_raw_fd(), output.as_raw_fd()] {
            assert_eq!(child_behind(me(), fd, &link(fd)), Some(child.id()));
        }
        // A pipe's own end, inherited, is not the other one.
        let (_reader, writer) = std::io::pipe().unwrap();
        let fd = writer.as_raw_fd();
        let mut heir =
            Command::new("cat").stdin(Stdio::piped()).stdout(writer.try_clone().unwrap()).spawn().unwrap();
        assert_eq!(child_behind(me(), fd, &link(fd)), None);
        input.write_all(b"x").unwrap();
        drop((input, output, heir.stdin.take()));
        child.wait().unwrap();
        heir.wait().unwrap();
    }

    #[test]
    fn the_time_of_other_threads() {
        // SAFETY: no arguments.
        let tid = unsafe { libc::gettid() } as u32;
        let before = others(me(), tid).unwrap();
        let spin = || {
            let begun = std::time::Instant::now();
            while begun.elapsed() < std::time::Duration::from_millis(100) {}
        };
        // Until it had the CPU for more than a tick; it counts though it has ended.
        while others(me(), tid).unwrap() <= before {
            std::thread::spawn(spin).join().unwrap();
        }
        assert!(!is_python(me()));
    }
}
