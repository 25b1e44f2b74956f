//! The first root of a guest: busybox, modules, the command, and an init that makes the host's files its root.
//!
//! In come a kernel, busybox and a script, out comes an archive. The host's root is mounted read-only, and what the
//! guest writes goes to memory above it. The command's output, its complaints and its status leave by three serial
//! ports of their own, so nothing has to be told apart.

use super::cpio::Cpio;

/// What the guest says on the port of the status, besides the status itself.
pub(super) const STARTED: &str = "started";

const INIT: &str = r#"#!/bin/busybox sh
# The first process of a guest. A step that fails is told on the console; without a status the host knows.
fail() {
    echo "hostprof-vm: $1 failed" >/dev/console
    busybox reboot -f
}
export PATH=/bin
/bin/busybox --install -s /bin
mount -t proc proc /proc && mount -t devtmpfs dev /dev || fail "mounting /dev"
for module in /modules/*.ko; do
    [ ! -e "$module" ] || insmod "$module" || fail "loading $module"
done
mount -t virtiofs -o ro host /host || fail "mounting the host's files"
mount -t tmpfs -o size=80% memory /memory && mkdir /memory/upper /memory/work || fail "making room"
mount -t overlay -o lowerdir=/host,upperdir=/memory/upper,workdir=/memory/work root /root || fail "the overlay"
cd /root
mount -t proc proc proc && mount -t sysfs sys sys && mount -t devtmpfs dev dev || fail "mounting /proc"
mkdir -p dev/pts dev/shm
mount -t devpts -o ptmxmode=0666 devpts dev/pts
mount -t tmpfs shm dev/shm
mount -t tmpfs run run
mount -t tracefs tracefs sys/kernel/tracing
mount -t debugfs debugfs sys/kernel/debug
mount -t securityfs securityfs sys/kernel/security
mount -t bpf bpf sys/fs/bpf
mount -t cgroup2 cgroup2 sys/fs/cgroup
ip link set lo up || fail "bringing up lo"
hostname guest
cp /task run/hostprof-vm-task || fail "copying the command"
for port in 1 2 3; do
    stty -F /dev/ttyS$port raw -echo || fail "setting up ttyS$port"
done
# Through pipes: the command is not to take the ports for terminals.
mkfifo /output /complaints
cat /output >/dev/ttyS1 &
output=$!
cat /complaints >/dev/ttyS3 &
complaints=$!
echo started >/dev/ttyS2
chroot /root /bin/sh /run/hostprof-vm-task </dev/null >/output 2>/complaints
status=$?
# Both end with the command, unless a program that outlives it holds a pipe open.
for try in 0 1 2 3 4 5 6 7 8 9; do
    kill -0 $output 2>/dev/null || kill -0 $complaints 2>/dev/null || break
    sleep 0.1
done
# Changing a port's settings waits for what it has yet to send.
for port in 1 3; do
    stty -F /dev/ttyS$port cooked
done
echo "status $status" >/dev/ttyS2
stty -F /dev/ttyS2 cooked
reboot -f
"#;

/// The archive: `modules` in the order of loading.
pub(super) fn build(busybox: &[u8], modules: &[Vec<u8>], script: &[u8]) -> Vec<u8> {
    let mut cpio = Cpio::default();
    for folder in ["bin", "dev", "proc", "modules", "host", "memory", "root"] {
        cpio.folder(folder);
    }
    cpio.program("bin/busybox", busybox);
    cpio.program("init", INIT.as_bytes());
    cpio.file("task", script);
    for (at, module) in modules.iter().enumerate() {
        cpio.file(&format!("modules/{at:02}.ko"), module);
    }
    cpio.finish()
}

/// What the guest said on the port of the status.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Said {
    /// The command runs.
    Started,
    /// It has ended like this.
    Ended(u8),
}

impl Said {
    pub(super) fn parse(line: &str) -> Option<Self> {
        let line = line.trim_end();
        if line == STARTED {
            return Some(Self::Started);
        }
        line.strip_prefix("status ")?.parse().ok().map(Self::Ended)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statuses_are_read_and_nothing_else() {
        assert_eq!(Said::parse("started\n"), Some(Said::Started));
        assert_eq!(Said::parse("status 7\r\n"), Some(Said::Ended(7)));
        for line in ["", "status", "status 256", "status 7 8", "7"] {
            assert_eq!(Said::parse(line), None, "{line}");
        }
        assert!(INIT.contains(&format!("echo {STARTED} >")) && INIT.contains("echo \"status $status\""));
    }

    #[test]
    fn everything_that_init_needs_is_in_the_archive() {
        let modules = [b"first".to_vec(), b"second".to_vec()];
        let archive = build(b"busybox's bytes", &modules, b"the command");
        let has = |bytes: &[u8]| archive.windows(bytes.len()).any(|window| window == bytes);
        for bytes in
            [&b"busybox's bytes"[..], b"the command", b"modules/00.ko\0", b"modules/01.ko\0", b"second"]
        {
            assert!(has(bytes), "{}", String::from_utf8_lossy(bytes));
        }
        for folder in ["host", "memory", "root", "proc", "dev"] {
            assert!(has(format!("{folder}\0").as_bytes()), "{folder}");
        }
    }

    #[test]
    fn a_shell_can_read_init() {
        let mut shell = std::process::Command::new("sh");
        assert!(shell.args(["-n", "-c", INIT]).status().unwrap().success());
    }
}
