//! How processes group to services.

mod names;

use proptest::prelude::*;

use super::*;

fn process(pid: u32, exe: &str, cmdline: &str) -> Arc<Process> {
    let args = if cmdline.is_empty() {
        Vec::new()
    } else {
        cmdline.split(' ').map(|arg| arg.replace('~', " ")).collect()
    };
    Arc::new(Process {
        pid,
        ppid: 1,
        comm: exe.rsplit('/').next().unwrap().chars().take(15).collect(),
        exe: Some(exe.into()),
        cmdline: args,
        ..Process::default()
    })
}

fn services() -> Services {
    Services::new("/nonexistent".into())
}

#[test]
fn workers_are_one_service_instances_are_not() {
    let mut services = services();
    let mut assign = |pid, cmdline: &str, container: Option<&str>| {
        let mut process = (*process(pid, "/usr/bin/python3", cmdline)).clone();
        process.container = container.map(Into::into);
        services.assign(&Arc::new(process), |_| None).to_string()
    };
    let uvicorn = "python /usr/bin/uvicorn main:app --port 8000";
    assert_eq!(assign(1, uvicorn, None), "uvicorn main:app");
    assert_eq!(assign(2, uvicorn, None), "uvicorn main:app");
    assert_eq!(assign(3, "python /usr/bin/uvicorn main:app --port=8001", None), "uvicorn main:app#2");
    assert_eq!(assign(4, uvicorn, Some("c1")), "uvicorn main:app#3");
    assert_eq!(assign(5, "python /a/app.py", None), "app.py (python)");
    assert_eq!(assign(6, "python /b/app.py", None), "app.py (python)#2");
    assert_eq!(assign(7, "python /b/app.py --user x", None), "app.py (python)#2");
    let rows = services.rows();
    assert_eq!(rows.iter().map(|row| row.pids.len()).collect::<Vec<_>>(), [2, 1, 1, 1, 2]);
    assert_eq!(rows[2].container, Some(Container { id: "c1".into() }));
}

#[test]
fn helpers_work_for_their_parent() {
    let mut services = services();
    let parent = process(10, "/usr/bin/python3", "python /usr/bin/uvicorn main:app --workers 4");
    let spawn =
        "python3 -c from~multiprocessing.spawn~import~spawn_main;~spawn_main() --multiprocessing-fork";
    let child = process(11, "/usr/bin/python3", spawn);
    assert_eq!(&*services.assign(&child, |_| Some(parent.clone())), "uvicorn main:app");
    assert_eq!(&*services.assign(&parent, |_| None), "uvicorn main:app");
    assert_eq!(services.rows()[0].pids, [10, 11]);
    assert_eq!(&*services.assign(&process(12, "/usr/bin/python3", spawn), |_| None), "python3 -c");
}

#[test]
fn the_row_has_addresses_the_oldest_start_and_no_secrets() {
    let mut services = services();
    let mut old = (*process(7, "/srv/api", "/srv/api --db postgres://u:hunter2@h/db")).clone();
    old.started = Some(SystemTime::UNIX_EPOCH + std::time::Duration::from_millis(1_700_000_000_250));
    let mut new = Process { pid: 8, ..old.clone() };
    new.started = Some(SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(1_800_000_000));
    services.assign(&Arc::new(new.clone()), |_| None);
    services.assign(&Arc::new(old), |_| None);
    services.listens(&new, "0.0.0.0:80");
    services.listens(&new, "0.0.0.0:80");
    let row = services.rows().remove(0);
    assert_eq!(row.started.as_deref(), Some("2023-11-14T22:13:20.250000000Z"));
    assert_eq!(row.listens, ["0.0.0.0:80"]);
    assert_eq!(row.cmdline.as_deref(), Some("/srv/api --db postgres://u:***@h/db"));
}

/// A process of which the file is not known.
fn noticed(pid: u32, cmdline: &str) -> Arc<Process> {
    let first = cmdline.split(' ').next().unwrap();
    Arc::new(Process { exe: None, ..(*process(pid, first, cmdline)).clone() })
}

#[test]
fn a_service_is_one_however_its_processes_were_learned_of() {
    // As /proc tells a process, and as it was called.
    for (exe, calls) in [
        ("/usr/bin/curl", &["curl -s http://127.0.0.1:80/", "/usr/bin/curl -s http://127.0.0.1:80/"][..]),
        (
            "/usr/bin/curl",
            &["curl -b session=1 http://h/", "curl -b session=2 http://h/", "curl -b s=3 http://h/"],
        ),
        ("/usr/bin/mariadb", &["mysql -e select~1"]),
        ("/usr/bin/mariadb", &["/usr/bin/mysql -e select~1"]),
        ("/usr/bin/python3.11", &["/usr/bin/python3 /srv/app.py"]),
        ("/usr/bin/python3.11", &["python3 /srv/app.py"]),
        ("/usr/bin/python3.11", &["python3 -c print(1)"]),
        ("/srv/api", &["./api --verbose", "api"]),
    ] {
        let known = calls.iter().map(|call| process(1, exe, call));
        let all: Vec<_> = known.chain(calls.iter().map(|call| noticed(1, call))).collect();
        // Each may come first, the others in either order.
        for first in 0..all.len() {
            for backwards in [false, true] {
                let mut order: Vec<_> = all.iter().collect();
                if backwards {
                    order.reverse();
                }
                order.rotate_left(first);
                let mut services = services();
                for (pid, process) in order.into_iter().enumerate() {
                    services
                        .assign(&Arc::new(Process { pid: pid as u32 + 2, ..(**process).clone() }), |_| None);
                }
                let rows = services.rows();
                assert_eq!(rows.len(), 1, "{calls:?} from {first}: {rows:?}");
                assert_eq!(rows[0].exe.as_deref(), Some(exe), "{calls:?} from {first}");
                assert_eq!(rows[0].pids.len(), all.len());
            }
        }
    }
}

#[test]
fn what_a_program_was_called_is_not_its_executable() {
    let mut services = services();
    services.assign(&noticed(7, "curl -s http://h/"), |_| None);
    let row = services.rows().remove(0);
    assert_eq!((row.name.as_str(), row.exe), ("curl", None));
}

#[test]
fn programs_at_other_places_stay_apart() {
    let mut services = services();
    let mut assign = |process: Arc<Process>| services.assign(&process, |_| None).to_string();
    assert_eq!(assign(noticed(2, "api")), "api");
    assert_eq!(assign(process(3, "/a/api", "api")), "api");
    assert_eq!(assign(process(4, "/b/api", "api")), "api#2");
    assert_eq!(assign(noticed(5, "/b/api")), "api#2");
    assert_eq!(assign(noticed(6, "api")), "api", "one of them; the first is as good as any");
    // Whatever calls itself again is called by the same link.
    assert_eq!(assign(process(7, "/usr/bin/dockerd", "/proc/self/exe run")), "dockerd");
    assert_eq!(assign(process(8, "/usr/bin/chrome", "/proc/self/exe run")), "chrome");
    assert_eq!(assign(noticed(9, "/proc/self/exe run")), "exe");
}

#[test]
fn the_pool_of_celery_works_for_its_parent() {
    let mut services = services();
    let python = "/usr/bin/python3.11";
    let main = process(10, python, "[celeryd:~celery@vm:MainProcess]~-active-~(-A~tasks2~worker~-c~2)");
    let child = process(11, python, "[celeryd:~celery@vm:ForkPoolWorker-1]");
    assert_eq!(&*services.assign(&child, |_| Some(main.clone())), "celery tasks2");
    assert_eq!(&*services.assign(&main, |_| unreachable!("it works for itself")), "celery tasks2");
}

#[test]
fn services_are_bounded() {
    let mut services = services();
    for n in 0..MAX_SERVICES as u32 + 50 {
        services.assign(&process(n + 2, &format!("/bin/p{n}"), "x --password=y"), |_| None);
    }
    let rows = services.rows();
    assert_eq!(rows.len(), MAX_SERVICES + 1);
    let last = &rows[MAX_SERVICES];
    assert_eq!((last.id.as_str(), last.pids.len(), &last.exe), (OTHERS, 50, &None));
}

#[test]
fn threads_of_the_kernel_are_one_service() {
    let mut services = services();
    let thread = |pid, comm: &str, of_kernel| {
        Arc::new(Process { pid, ppid: 2, comm: comm.into(), of_kernel, ..Process::default() })
    };
    for (pid, comm) in [(7, "nfsd"), (8, "kworker/0:1"), (8, "kworker/0:1-rpciod"), (9, "ksoftirqd/0")] {
        assert_eq!(&*services.assign(&thread(pid, comm, true), |_| None), KERNEL, "{comm}");
    }
    // A program may have that name.
    assert_eq!(&*services.assign(&thread(10, "kernel", false), |_| None), "kernel#2");
    assert_eq!(services.rows()[0].pids, [7, 8, 9]);
}

#[test]
fn an_exec_moves_a_process_to_another_service() {
    let mut services = services();
    services.assign(&process(7, "/bin/sh", "sh"), |_| None);
    assert_eq!(&*services.assign(&process(7, "/srv/api", "/srv/api"), |_| None), "api");
}

proptest! {
    #[test]
    fn any_command_line_has_a_short_name(
        exe in "(/usr/bin/)?(python3|node|java|nginx|ruby|\\PC{0,10})",
        args in prop::collection::vec("-[a-z-]{1,4}|\\PC{0,20}|-m|-jar|run", 0..6),
        comm in "\\PC{0,15}",
    ) {
        let process = Process { pid: 7, exe: Some(exe), cmdline: args, comm, ..Process::default() };
        let id = services().assign(&Arc::new(process), |_| None);
        prop_assert!(!id.is_empty() && id.chars().count() <= 80 && !id.contains(char::is_control));
    }
}

#[test]
fn go_is_told_by_its_file() {
    // A program that Go linked, where this machine has one; the fake tree's `exe` points to it.
    let programs =
        ["/usr/local/bin/docker", "/usr/bin/docker", "/usr/bin/containerd", "/usr/local/go/bin/go"];
    let Some(program) = programs.iter().find(|path| std::path::Path::new(path).exists()) else {
        eprintln!("skipped: no Go program here");
        return;
    };
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir(dir.path().join("7")).unwrap();
    std::os::unix::fs::symlink(program, dir.path().join("7/exe")).unwrap();
    let mut services = Services::new(dir.path().into());
    services.assign(&process(7, program, program), |_| None);
    assert_eq!(services.rows()[0].runtime.as_deref(), Some("go"));
}
