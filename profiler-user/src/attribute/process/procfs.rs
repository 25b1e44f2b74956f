//! Reads single processes from `/proc` (proc(5)); what may not be read or is not there is `None`.

use std::fs::{self, File};
use std::io::Read;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use super::Process;

/// Of a command line only so much is read: the class of a Java program comes after all of its class path.
const MAX_READ: u64 = 256 * 1024;
/// Of each argument, of their number, and of all together only so much is kept, bytes.
const MAX_ARG: usize = 256;
const MAX_ARGS: usize = 128;
const MAX_CMDLINE: usize = 8 * 1024;
/// Unit of start times: USER_HZ, include/asm-generic/param.h; 100 on all machines that we build for.
const TICKS_PER_SECOND: u64 = 100;
/// In the flags of a task (include/linux/sched.h).
const PF_KTHREAD: u64 = 0x0020_0000;
const PF_EXITING: u64 = 0x4;
/// Digits of the containers' names by docker, podman, containerd and cri-o.
const ID: usize = 64;

#[derive(Debug)]
pub(super) struct Procfs {
    root: PathBuf,
    there: bool,
    booted: Option<SystemTime>,
}

/// Of `/proc/PID/stat`.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Stat {
    pub(super) comm: String,
    pub(super) ppid: u32,
    /// Since boot.
    pub(super) start_ticks: u64,
    /// A thread of the kernel's, which has no program and no sockets of its own.
    pub(super) of_kernel: bool,
    /// On its way out.
    pub(super) is_ending: bool,
}

impl Procfs {
    pub(super) fn new(root: PathBuf) -> Self {
        let booted = fs::read_to_string(root.join("stat")).ok().and_then(|stat| parse_btime(&stat));
        Self { there: root.is_dir(), root, booted }
    }

    /// Whether there is anything to read at all.
    pub(super) fn is_there(&self) -> bool {
        self.there
    }

    /// `None` when there is no such process or it has ended.
    pub(super) fn stat(&self, pid: u32) -> Option<Stat> {
        // Not always UTF-8: the name is whatever the program chose.
        parse_stat(&String::from_utf8_lossy(&fs::read(self.path(pid, "stat")).ok()?))
    }

    /// The processes that there are, in no order.
    pub(super) fn pids(&self) -> impl Iterator<Item = u32> + use<> {
        let entries = fs::read_dir(&self.root).into_iter().flatten().flatten();
        entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
    }

    /// All that is known of a process.
    pub(super) fn process(&self, pid: u32, stat: Stat) -> Process {
        let since_boot = Duration::from_millis(stat.start_ticks * (1000 / TICKS_PER_SECOND));
        Process {
            pid,
            ppid: stat.ppid,
            comm: stat.comm,
            exe: self.exe(pid),
            cmdline: self.cmdline(pid),
            started: self.booted.and_then(|booted| booted.checked_add(since_boot)),
            start_ticks: Some(stat.start_ticks),
            container: fs::read_to_string(self.path(pid, "cgroup")).ok().as_deref().and_then(container_id),
            of_kernel: stat.of_kernel,
            gone: false,
        }
    }

    /// Needs CAP_SYS_PTRACE for other users' processes.
    fn exe(&self, pid: u32) -> Option<String> {
        let target = fs::read_link(self.path(pid, "exe")).ok()?;
        let path = target.to_string_lossy();
        // A replaced file: the program is still the same one to its user.
        Some(path.strip_suffix(" (deleted)").unwrap_or(&path).to_string())
    }

    fn cmdline(&self, pid: u32) -> Vec<String> {
        let mut bytes = Vec::new();
        let read =
            File::open(self.path(pid, "cmdline")).map(|file| file.take(MAX_READ).read_to_end(&mut bytes));
        if !matches!(read, Ok(Ok(_))) {
            return Vec::new();
        }
        // A title that a program has written over its arguments is followed by what was left of them: many zeros.
        let end = bytes.iter().rposition(|b| *b != 0 && *b != b' ').map_or(0, |last| last + 1);
        if end == 0 {
            return Vec::new();
        }
        bounded(bytes[..end].split(|b| *b == 0).map(|arg| String::from_utf8_lossy(arg).into_owned()))
    }

    fn path(&self, pid: u32, file: &str) -> PathBuf {
        self.root.join(pid.to_string()).join(file)
    }
}

/// Arguments within bounds; shortened ones end in `…`.
pub(super) fn bounded(args: impl IntoIterator<Item = String>) -> Vec<String> {
    let mut room = MAX_CMDLINE;
    let mut kept = Vec::new();
    for mut arg in args.into_iter().take(MAX_ARGS) {
        if arg.len() > MAX_ARG {
            arg.truncate(arg.floor_char_boundary(MAX_ARG - '…'.len_utf8()));
            arg.push('…');
        }
        room = room.saturating_sub(arg.len() + 1);
        if room == 0 {
            break;
        }
        arg.shrink_to_fit();
        kept.push(arg);
    }
    kept
}

/// fs/proc/array.c, do_task_stat(): `pid (comm) state ppid ...`, the flags are the 9th, the start time is the 22nd.
fn parse_stat(stat: &str) -> Option<Stat> {
    // The name may hold spaces and parentheses.
    let (head, rest) = stat.rsplit_once(')')?;
    let comm = head.split_once('(')?.1;
    let mut fields = rest.split_ascii_whitespace();
    // A zombie has neither executable nor arguments any more: no more is known of it than of one that is not there.
    if matches!(fields.next()?, "Z" | "X") {
        return None;
    }
    let ppid = fields.next()?.parse().ok()?;
    let flags: u64 = fields.nth(4)?.parse().ok()?;
    let start_ticks = fields.nth(12)?.parse().ok()?;
    let (of_kernel, is_ending) = (flags & PF_KTHREAD != 0, flags & PF_EXITING != 0);
    Some(Stat { comm: comm.into(), ppid, start_ticks, of_kernel, is_ending })
}

fn parse_btime(stat: &str) -> Option<SystemTime> {
    let seconds = stat.lines().find_map(|line| line.strip_prefix("btime "))?.trim().parse().ok()?;
    SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(seconds))
}

/// The container that a `/proc/PID/cgroup` names: the innermost part of a path with 64 hexadecimal digits, as in
/// `/docker/ID`, `docker-ID.scope`, `libpod-ID.scope`, `cri-containerd-ID.scope`, `crio-ID.scope`, `/kubepods/podUID/ID`
/// and `kubepods-podUID.slice:cri-containerd:ID`. On hybrid systems the unified line is often `/` and another one tells.
fn container_id(cgroups: &str) -> Option<String> {
    cgroups.lines().filter_map(|line| line.splitn(3, ':').nth(2)).find_map(|path| {
        // conmon watches over a container from the outside.
        path.rsplit('/').filter(|part| !part.contains("conmon")).find_map(|part| {
            let is_id = |word: &&str| word.len() == ID && word.bytes().all(|b| b.is_ascii_hexdigit());
            part.split(|c: char| !c.is_ascii_alphanumeric()).rev().find(is_id).map(str::to_ascii_lowercase)
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stat_with_a_hostile_name() {
        let tail = "S 7 1 1 0 -1 4194560 1 0 0 0 0 0 0 0 20 0 1 0 12345 1 1";
        for comm in ["python", "a b", "a) R 1 (b", ")(", ""] {
            let want =
                Stat { comm: comm.into(), ppid: 7, start_ticks: 12345, of_kernel: false, is_ending: false };
            assert_eq!(parse_stat(&format!("42 ({comm}) {tail}")), Some(want));
        }
        // As /proc/2/stat of Linux 6.18 has it.
        let kthreadd =
            parse_stat("2 (kthreadd) S 0 0 0 0 -1 2129984 0 0 0 0 0 23 0 0 20 0 1 0 8 0 0").unwrap();
        assert!(kthreadd.of_kernel && kthreadd.start_ticks == 8);
        assert_eq!(parse_stat(&format!("42 (python) {}", tail.replace('S', "Z"))), None);
        for stat in ["", "42", "42 (x", "42 (x)", "42 (x) S", "42 (x) S x"] {
            assert_eq!(parse_stat(stat), None, "{stat}");
        }
    }

    #[test]
    fn containers_by_their_runtime() {
        let id = "0123456789abcdef".repeat(4);
        let other = "f".repeat(64);
        for cgroup in [
            format!("0::/system.slice/docker-{id}.scope"),
            format!("12:memory:/docker/{id}\n11:cpu:/docker/{id}\n0::/"),
            format!("0::/\n1:name=systemd:/docker/{id}"),
            format!("0::/machine.slice/libpod-{id}.scope/container"),
            format!("0::/user.slice/user-1000.slice/user@1000.service/user.slice/libpod-{id}.scope"),
            format!(
                "0::/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod1_2.slice/cri-containerd-{id}.scope"
            ),
            format!("0::/kubepods.slice/kubepods-pod1.slice/crio-{id}.scope"),
            format!("4:memory:/kubepods/besteffort/pod25a8a4b4-3f1e-4e5e-9f6e-aaaaaaaaaaaa/{id}"),
            format!(
                "4:cpu:/system.slice/containerd.service/kubepods-besteffort-pod1.slice:cri-containerd:{id}"
            ),
            format!("0::/docker/{other}/kubelet/kubepods/pod1/{id}"),
            format!("0::/ecs/task/{id}"),
            format!("0::/system.slice/docker-{}.scope", id.to_uppercase()),
        ] {
            assert_eq!(container_id(&cgroup).as_deref(), Some(id.as_str()), "{cgroup}");
        }
        for cgroup in [
            String::new(),
            "0::/".into(),
            "0::/user.slice/user-0.slice/session-1.scope".into(),
            format!("0::/machine.slice/libpod-conmon-{id}.scope"),
            format!("0::/system.slice/{id}0.scope"),
            "garbage".into(),
        ] {
            assert_eq!(container_id(&cgroup), None, "{cgroup}");
        }
    }

    #[test]
    fn long_command_lines_are_bounded() {
        let kept = bounded((0..1000).map(|_| "é".repeat(500)));
        assert!(kept.iter().all(|arg| arg.len() <= MAX_ARG && arg.ends_with('…')));
        assert!(kept.iter().map(String::len).sum::<usize>() <= MAX_CMDLINE);
        assert_eq!(bounded(["a".to_string(), String::new(), "b".into()]), ["a", "", "b"]);
    }
}
