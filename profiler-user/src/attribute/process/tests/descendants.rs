//! Who was started by whom, as the kernel and `/proc` tell it, and as the kernel alone does.

use super::*;

#[test]
fn descendants() {
    let fake = Fake::new();
    fake.start(10, 1, 1, "/bin/cmd");
    fake.start(11, 10, 2, "/bin/a");
    fake.start(12, 11, 3, "/bin/b");
    fake.start(20, 1, 4, "/bin/c");
    let mut table = fake.table();
    assert!(table.is_descendant(10, 10) && table.is_descendant(12, 10));
    assert!(!table.is_descendant(20, 10) && !table.is_descendant(99, 10) && !table.is_descendant(1, 10));
    // Handed to init when its parent ended: the kernel's fork record knows better.
    let mut table = fake.table();
    table.on_fork(10, 31);
    table.on_fork(31, 32);
    fake.start(32, 1, 5, "/bin/d");
    table.on_exit(31);
    assert!(table.is_descendant(32, 10));
    table.lookup_at(32, "d", later(2));
    table.on_fork(32, 33);
    assert!(table.is_descendant(33, 10));
}

#[test]
fn circles_of_parents_end() {
    let fake = Fake::new();
    fake.start(10, 11, 1, "/bin/a");
    fake.start(11, 10, 1, "/bin/b");
    assert!(!fake.table().is_descendant(10, 12));
}

#[test]
fn a_parent_is_not_younger_than_its_child() {
    let fake = Fake::new();
    fake.start(10, 1, 100, "/bin/parent");
    fake.start(11, 10, 200, "/bin/child");
    let mut table = fake.table();
    table.snapshot();
    assert!(table.is_descendant(11, 10));
    // The parent's number is used again, by the command that is recorded: it did not start the child.
    let mut table = fake.table();
    table.snapshot();
    table.on_exit(10);
    fake.start(10, 1, 900, "/bin/command");
    table.on_fork(5, 10);
    table.lookup(10, "");
    assert!(table.is_descendant(10, 10) && !table.is_descendant(11, 10));
}

#[test]
fn without_proc_the_kernels_word_lasts() {
    let mut table = ProcessTable::new("/dev/null".into());
    table.lookup(5, "");
    table.is_descendant(5, 5);
    table.on_fork(5, 10);
    table.on_exec(10, "server", Some("/bin/server".into()), vec!["server".into()]);
    for seconds in [0, 5, 10] {
        assert_eq!(table.lookup_at(10, "x", later(seconds)).exe.as_deref(), Some("/bin/server"));
        assert!(table.lookup_at(77, "x", later(seconds)).gone);
    }
    assert!(table.is_descendant(10, 5) && !table.is_descendant(77, 5));
    table.on_exit(10);
    assert!(table.lookup_at(10, "x", later(5)).gone);
}
