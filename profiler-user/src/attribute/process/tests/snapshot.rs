//! What a snapshot of all processes is good for, and that it breaks nothing else.

use super::*;

/// Longer than records arrive after the end of their process.
const LATE_ENOUGH: Duration = Duration::from_secs(2);

#[test]
fn who_lived_at_the_snapshot_has_a_name_after_its_end() {
    let fake = Fake::new();
    fake.start(10, 1, 250, "/usr/bin/client");
    fake.start_kernel_thread(11);
    let mut table = fake.table();
    table.snapshot();
    assert_eq!(table.len(), 1, "a thread of the kernel's is no process");
    fake.end(10);
    let now = Instant::now();
    let late = table.lookup_at(10, "x", now + Duration::from_secs(60));
    assert_eq!((late.exe.as_deref(), late.gone), (Some("/usr/bin/client"), false));
    // Once its end was told, it answers for late records only.
    let mut table = fake.table();
    fake.start(10, 1, 250, "/usr/bin/client");
    table.snapshot();
    fake.end(10);
    table.exited_at(10, now);
    assert!(!table.lookup_at(10, "x", now).gone);
    assert!(table.lookup_at(10, "x", now + LATE_ENOUGH).gone);
}

#[test]
fn the_snapshot_is_believed_no_longer_than_anything_else() {
    let fake = Fake::new();
    fake.start(10, 1, 250, "/usr/bin/server");
    let mut table = fake.table();
    table.snapshot();
    fake.start(10, 1, 900, "/usr/bin/other");
    assert_eq!(table.lookup_at(10, "x", later(2)).comm, "other", "the number was used again");
    let mut table = fake.table();
    table.snapshot();
    fs::write(fake.0.path().join("10/cmdline"), "other: worker\0").unwrap();
    assert_eq!(table.lookup_at(10, "x", later(2)).cmdline, ["other: worker"], "a title that came later");
}

#[test]
fn a_parent_in_the_snapshot_gives_its_child_a_name_at_once() {
    let fake = Fake::new();
    fake.start(10, 1, 250, "/usr/bin/server");
    let mut table = fake.table();
    table.snapshot();
    table.on_fork(10, 11);
    fake.end(10);
    let child = table.lookup(11, "x");
    assert_eq!((child.exe.as_deref(), child.ppid, child.gone), (Some("/usr/bin/server"), 10, false));
    // Forked while the snapshot was taken, by a parent that ended before it was read: the child's own entry stays.
    fake.start(21, 1, 300, "/usr/bin/child");
    let mut table = fake.table();
    table.snapshot();
    table.on_fork(20, 21);
    fake.end(21);
    assert_eq!(table.lookup_at(21, "x", later(2)).comm, "child");
    assert!(table.is_descendant(21, 20), "the kernel's word, though /proc says 1");
    // But not when the number's owner had ended.
    fake.start(31, 1, 300, "/usr/bin/old");
    let mut table = fake.table();
    table.snapshot();
    table.on_exit(31);
    table.on_fork(21, 31);
    fake.end(31);
    assert!(table.lookup(31, "x").gone);
}

#[test]
fn an_exec_after_the_snapshot_is_the_better_name() {
    let fake = Fake::new();
    fake.start(10, 1, 250, "/bin/sh");
    let mut table = fake.table();
    table.snapshot();
    table.on_exec(10, "curl", Some("/usr/bin/curl".into()), vec!["curl".into()]);
    fake.end(10);
    let process = table.lookup(10, "x");
    assert_eq!((process.comm.as_str(), process.exe.as_deref()), ("curl", Some("/usr/bin/curl")));
}

#[test]
fn a_snapshot_leaves_room_and_who_was_asked_for_stays() {
    let fake = Fake::new();
    for pid in 100..200 {
        fake.start(pid, 1, 1, "/usr/bin/idle");
    }
    let mut table = fake.table();
    table.capacity = 64;
    table.snapshot();
    assert_eq!(table.len(), 48);
    let asked: Vec<u32> = table.entries.keys().copied().take(8).collect();
    for pid in &asked {
        table.lookup(*pid, "idle");
    }
    for pid in 1000..1032 {
        fake.start(pid, 1, 1, "/usr/bin/new");
        table.lookup(pid, "new");
    }
    assert!(table.len() <= 64);
    for pid in asked.into_iter().chain(1000..1032) {
        assert!(table.entries.contains_key(&pid), "{pid}");
    }
}

#[test]
fn a_snapshot_of_the_real_proc_has_this_process() {
    let mut table = ProcessTable::default();
    table.snapshot();
    let me = table.entries.get(&std::process::id()).unwrap();
    assert_eq!(me.process.exe.as_deref().map(PathBuf::from), std::env::current_exe().ok());
    assert!(!table.entries.contains_key(&2) || table.entries[&2].process.comm != "kthreadd");
}
