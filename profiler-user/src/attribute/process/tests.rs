//! On trees made by hand, where time and pids do as told, and on the real `/proc`.

mod descendants;
mod snapshot;

use std::fs;
use std::os::unix::fs::symlink;

use proptest::prelude::*;
use tempfile::TempDir;

use super::*;

/// A `/proc` made by hand.
struct Fake(TempDir);

impl Fake {
    fn new() -> Self {
        let fake = Self(tempfile::tempdir().unwrap());
        fs::write(fake.0.path().join("stat"), "cpu 1 2\nbtime 1700000000\nprocesses 1\n").unwrap();
        fake
    }

    fn start(&self, pid: u32, ppid: u32, ticks: u64, exe: &str) {
        let dir = self.0.path().join(pid.to_string());
        fs::create_dir_all(&dir).unwrap();
        let comm = exe.rsplit('/').next().unwrap();
        let stat = format!("{pid} ({comm}) S {ppid} 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 {ticks} 0");
        fs::write(dir.join("stat"), stat).unwrap();
        fs::write(dir.join("cmdline"), format!("{exe}\0--port\08080\0")).unwrap();
        fs::write(dir.join("cgroup"), format!("0::/docker/{}", "ab".repeat(32))).unwrap();
        let _ = fs::remove_file(dir.join("exe"));
        symlink(exe, dir.join("exe")).unwrap();
    }

    fn start_kernel_thread(&self, pid: u32) {
        self.start(pid, 2, 9, "kworker");
        let stat = format!("{pid} (kworker/0:1) I 2 0 0 0 -1 2129984 0 0 0 0 0 0 0 0 20 0 1 0 9 0");
        fs::write(self.0.path().join(format!("{pid}/stat")), stat).unwrap();
    }

    /// What is left of a process that has begun to end.
    fn begin_end(&self, pid: u32, comm: &str) {
        let dir = self.0.path().join(pid.to_string());
        fs::create_dir_all(&dir).unwrap();
        fs::write(
            dir.join("stat"),
            format!("{pid} ({comm}) R 1 0 0 0 0 4194308 0 0 0 0 0 0 0 0 0 0 0 0 700 0"),
        )
        .unwrap();
        fs::write(dir.join("cmdline"), "").unwrap();
        let _ = fs::remove_file(dir.join("exe"));
    }

    fn end(&self, pid: u32) {
        fs::remove_dir_all(self.0.path().join(pid.to_string())).unwrap();
    }

    fn table(&self) -> ProcessTable {
        ProcessTable::new(self.0.path().into())
    }
}

fn later(seconds: u64) -> Instant {
    Instant::now() + Duration::from_secs(seconds)
}

#[test]
fn a_living_process_is_read() {
    let fake = Fake::new();
    fake.start(10, 1, 250, "/usr/bin/server");
    let process = fake.table().lookup(10, "worker-3");
    let want = Process {
        pid: 10,
        ppid: 1,
        comm: "server".into(),
        exe: Some("/usr/bin/server".into()),
        cmdline: vec!["/usr/bin/server".into(), "--port".into(), "8080".into()],
        started: Some(SystemTime::UNIX_EPOCH + Duration::from_millis(1_700_000_002_500)),
        start_ticks: Some(250),
        container: Some("ab".repeat(32)),
        of_kernel: false,
        gone: false,
    };
    assert_eq!(*process, want);
}

#[test]
fn a_thread_of_the_kernel_is_known_as_one() {
    let fake = Fake::new();
    fake.start_kernel_thread(11);
    let mut table = fake.table();
    assert!(table.lookup(11, "").of_kernel);
    // It may begin a program (call_usermodehelper() in kernel/umh.c), and what it has forked is of the kernel too.
    table.on_fork(11, 12);
    assert!(table.lookup(12, "").of_kernel);
    table.on_exec(12, "modprobe", Some("/sbin/modprobe".into()), vec!["modprobe".into()]);
    assert!(!table.lookup(12, "").of_kernel);
}

#[test]
fn who_is_unknown_is_gone_and_has_only_a_name() {
    let process = Fake::new().table().lookup(10, "curl");
    assert_eq!(*process, Process { pid: 10, comm: "curl".into(), gone: true, ..Process::default() });
}

#[test]
fn what_may_not_be_read_is_left_out() {
    let fake = Fake::new();
    fake.start(10, 1, 250, "/usr/bin/server");
    fs::remove_file(fake.0.path().join("10/exe")).unwrap();
    fs::remove_file(fake.0.path().join("10/cgroup")).unwrap();
    let process = fake.table().lookup(10, "x");
    assert!(process.exe.is_none() && process.container.is_none() && !process.gone);
    assert_eq!(process.cmdline[0], "/usr/bin/server");
}

#[test]
fn a_title_over_the_arguments_is_one_argument() {
    let fake = Fake::new();
    fake.start(10, 1, 250, "/usr/sbin/nginx");
    fs::write(fake.0.path().join("10/cmdline"), "nginx: worker process\0\0\0\0").unwrap();
    assert_eq!(fake.table().lookup(10, "nginx").cmdline, ["nginx: worker process"]);
}

#[test]
fn an_ended_process_is_remembered() {
    let fake = Fake::new();
    fake.start(10, 1, 250, "/usr/bin/server");
    let mut table = fake.table();
    let living = table.lookup(10, "server");
    fake.end(10);
    assert_eq!(table.lookup_at(10, "server", later(5)), living);
    let now = Instant::now();
    table.exited_at(10, now);
    assert_eq!(table.lookup_at(10, "server", now), living);
}

#[test]
fn a_used_again_pid_is_another_process() {
    let fake = Fake::new();
    fake.start(10, 1, 250, "/usr/bin/server");
    let mut table = fake.table();
    let now = Instant::now();
    let after = |seconds| now + Duration::from_secs(seconds);
    table.lookup_at(10, "server", now);
    fake.start(10, 1, 900, "/usr/bin/other");
    assert_eq!(table.lookup_at(10, "server", now).comm, "server", "not looked at again within a second");
    assert_eq!(table.lookup_at(10, "server", after(2)).comm, "other");
    // After its exit late records are still the old one's, later ones are not.
    table.exited_at(10, after(2));
    fake.start(10, 1, 1900, "/usr/bin/third");
    assert_eq!(table.lookup_at(10, "x", after(2)).comm, "other");
    assert_eq!(table.lookup_at(10, "x", after(5)).comm, "third");
}

#[test]
fn an_exec_without_a_record_is_found_by_its_name() {
    let fake = Fake::new();
    fake.start(10, 1, 250, "/bin/sh");
    let mut table = fake.table();
    table.lookup(10, "sh");
    fake.start(10, 1, 250, "/usr/bin/python3");
    assert_eq!(table.lookup_at(10, "sh", later(2)).exe.as_deref(), Some("/usr/bin/python3"));
}

#[test]
fn a_child_has_its_parents_identity() {
    let fake = Fake::new();
    fake.start(10, 1, 250, "/usr/bin/server");
    let mut table = fake.table();
    table.lookup(10, "server");
    table.on_fork(10, 11);
    let child = table.lookup(11, "x");
    assert_eq!(
        (child.pid, child.ppid, child.exe.as_deref(), child.gone),
        (11, 10, Some("/usr/bin/server"), false)
    );
    assert_eq!(child.start_ticks, None);
    // Also when the parent had not been looked up.
    let mut table = fake.table();
    table.on_fork(10, 12);
    assert_eq!(table.lookup(12, "x").exe.as_deref(), Some("/usr/bin/server"));
    // A child that lives is read.
    let mut table = fake.table();
    fake.start(13, 10, 300, "/usr/bin/child");
    table.on_fork(10, 13);
    assert_eq!(table.lookup(13, "x").comm, "child");
}

#[test]
fn an_exec_record_tells_who_a_short_lived_process_was() {
    let fake = Fake::new();
    fake.start(10, 1, 250, "/bin/sh");
    let mut table = fake.table();
    table.lookup(10, "sh");
    table.on_fork(10, 11);
    table.on_exec(11, "curl", Some("/usr/bin/curl".into()), vec!["curl".into(), "http://x/".into()]);
    let now = Instant::now();
    table.exited_at(11, now);
    let process = table.lookup_at(11, "curl", now);
    assert_eq!((process.exe.as_deref(), process.ppid, process.gone), (Some("/usr/bin/curl"), 10, false));
    assert_eq!(process.cmdline, ["curl", "http://x/"]);
    assert_eq!(process.container, Some("ab".repeat(32)), "by inheritance");
}

#[test]
fn what_is_left_of_an_ending_process_does_not_hide_who_it_was() {
    let fake = Fake::new();
    let mut table = fake.table();
    table.on_exec(11, "curl", Some("/usr/bin/curl".into()), vec!["curl".into(), "http://x/".into()]);
    fake.begin_end(11, "curl");
    assert_eq!(table.lookup(11, "curl").cmdline, ["curl", "http://x/"]);
    // Of one that nothing was told of there is at least the name.
    fake.begin_end(12, "wget");
    let process = table.lookup(12, "x");
    assert_eq!((&process.comm[..], process.gone), ("wget", false));
}

#[test]
fn a_fork_takes_over_the_pid() {
    let fake = Fake::new();
    fake.start(10, 1, 250, "/usr/bin/server");
    fake.start(11, 1, 260, "/usr/bin/old");
    let mut table = fake.table();
    table.lookup(11, "old");
    table.lookup(10, "server");
    fake.end(11);
    table.on_exit(11);
    table.on_fork(10, 11);
    assert_eq!(table.lookup(11, "x").comm, "server");
}

#[test]
fn the_table_is_bounded_and_drops_the_ended_first() {
    let fake = Fake::new();
    fake.start(10, 1, 1, "/usr/bin/server");
    let mut table = fake.table();
    table.capacity = 64;
    table.lookup(10, "server");
    for pid in 100..1000 {
        table.on_exec(pid, "x", Some("/bin/x".into()), Vec::new());
        table.on_exit(pid);
        assert!(table.len() <= 64);
    }
    assert!(table.entries.contains_key(&10));
    for pid in 1000..2000 {
        table.on_fork(10, pid);
        assert!(table.len() <= 64);
    }
    assert!(table.entries.contains_key(&10));
}

#[test]
fn this_process_is_read_from_the_real_proc() {
    let mut table = ProcessTable::default();
    let process = table.lookup(std::process::id(), "x");
    assert_eq!(process.exe.as_deref().map(PathBuf::from), std::env::current_exe().ok());
    assert_eq!(process.ppid, std::os::unix::process::parent_id());
    assert_eq!(process.cmdline, procfs::bounded(std::env::args()));
    assert!(process.started.unwrap() <= SystemTime::now() + Duration::from_secs(2));
    assert!(table.is_descendant(std::process::id(), process.ppid));
}

#[derive(Debug, Clone)]
enum Event {
    Lookup(u32),
    Fork(u32, u32),
    Exec(u32),
    Exit(u32),
    Descends(u32, u32),
}

fn event() -> impl Strategy<Value = Event> {
    let pid = 2..20u32;
    prop_oneof![
        pid.clone().prop_map(Event::Lookup),
        (pid.clone(), pid.clone()).prop_map(|(parent, child)| Event::Fork(parent, child)),
        pid.clone().prop_map(Event::Exec),
        pid.clone().prop_map(Event::Exit),
        (pid.clone(), pid).prop_map(|(pid, root)| Event::Descends(pid, root)),
    ]
}

proptest! {
    /// No order of records breaks the table: it stays bounded, and a pid's process has that pid.
    #[test]
    fn any_order_of_records(events in prop::collection::vec(event(), 0..60)) {
        let mut table = ProcessTable::new("/nonexistent".into());
        table.capacity = 8;
        for event in events {
            match event {
                Event::Lookup(pid) => prop_assert_eq!(table.lookup(pid, "x").pid, pid),
                Event::Fork(parent, child) => table.on_fork(parent, child),
                Event::Exec(pid) => table.on_exec(pid, "y", Some("/bin/y".into()), vec!["y".into()]),
                Event::Exit(pid) => table.on_exit(pid),
                Event::Descends(pid, root) => prop_assert!(table.is_descendant(pid, root) || pid != root),
            }
            prop_assert!(table.len() <= 8);
        }
    }
}
