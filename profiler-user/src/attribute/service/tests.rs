//! Names by the table, and how processes group.

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
fn names_a_person_would_use() {
    let python = "/usr/bin/python3.12";
    let beam = "/usr/lib/erlang/erts-13.1.5/bin/beam.smp";
    let ruby = "/usr/bin/ruby3.1";
    let tomcat = "-Djava.util.logging.manager=org.apache.juli.ClassLoaderLogManager -Dignore.endorsed.dirs= -classpath \
                  /usr/share/tomcat10/bin/bootstrap.jar:/usr/share/tomcat10/bin/tomcat-juli.jar";
    let tomcat_main = "-Dcatalina.home=/usr/share/tomcat10 -Djava.io.tmpdir=/tmp org.apache.catalina.startup.Bootstrap start";
    let java = "/opt/jdk/bin/java";
    for (exe, cmdline, name, runtime) in [
        ("/usr/sbin/nginx", "nginx:~worker~process", "nginx", None),
        ("/usr/bin/hostprof", "hostprof demo-part http 4711", "demo: http", None),
        ("/usr/sbin/nginx", "nginx:~master~process~/usr/sbin/nginx~-g~daemon~off;", "nginx", None),
        ("/usr/lib/postgresql/bin/postgres", "postgres:~app~shop~10.0.0.1(5000)~idle", "postgres", None),
        (python, "gunicorn:~worker~[shop]", "gunicorn shop", Some("python")),
        (python, "gunicorn:~master~[shop]", "gunicorn shop", Some("python")),
        ("/usr/sbin/php-fpm8.2", "php-fpm:~pool~www", "php-fpm www", Some("php")),
        ("/usr/bin/ruby3.1", "puma~6.4.0~(tcp://0.0.0.0:3000)~[shop]", "puma shop", Some("ruby")),
        ("/usr/bin/ruby3.1", "puma:~cluster~worker~0:~7~[shop]", "puma shop", Some("ruby")),
        ("/usr/bin/node", "next-server~(v14.1.0)", "next-server", Some("node")),
        (python, "python3 /usr/local/bin/uvicorn main:app --port 8000", "uvicorn main:app", Some("python")),
        (
            python,
            "/v/bin/python /v/bin/uvicorn --host localhost:1 pkg.main:create()",
            "uvicorn pkg.main:create()",
            Some("python"),
        ),
        (python, "python -m uvicorn main:app", "uvicorn main:app", Some("python")),
        (
            python,
            "python /usr/bin/gunicorn -w 4 -b 0.0.0.0:80 -b unix:/run/x shop.wsgi:app",
            "gunicorn shop.wsgi:app",
            Some("python"),
        ),
        (python, "python /usr/bin/gunicorn shop.wsgi", "gunicorn shop.wsgi", Some("python")),
        (python, "python /usr/bin/celery -A shop worker", "celery shop", Some("python")),
        (python, "python /usr/bin/celery --app=shop worker", "celery shop", Some("python")),
        (python, "python manage.py runserver 0.0.0.0:8000", "manage.py runserver", Some("python")),
        (python, "python3 -u -X dev -W ignore /srv/app.py --x", "app.py (python)", Some("python")),
        (python, "python3 -m http.server 8000", "http.server (python)", Some("python")),
        (python, "python3 -c print('secret')", "python3.12 -c", Some("python")),
        (python, "python3", "python3.12", Some("python")),
        ("/usr/bin/node", "node /srv/server.js", "server.js (node)", Some("node")),
        (
            "/usr/bin/node",
            "node --max-old-space-size=1 -r ./x.js --inspect dist/index.js 1",
            "index.js (node)",
            Some("node"),
        ),
        ("/usr/bin/node", "node -e secret", "node -e", Some("node")),
        ("/usr/bin/node", "npm~start", "npm", Some("node")),
        (java, "java -Xmx1g -Da=b -jar /srv/shop.jar --server.port=80", "shop.jar (java)", Some("java")),
        (
            java,
            "java -cp /a.jar:/b.jar --add-opens x=y com.acme.Main arg",
            "com.acme.Main (java)",
            Some("java"),
        ),
        (java, "java @args -m acme/com.acme.Main", "acme/com.acme.Main (java)", Some("java")),
        ("/usr/sbin/mysqld", "/usr/sbin/mysqld --port=3306", "mysqld", None),
        (
            "/usr/bin/uwsgi-core",
            "uwsgi --plugin python3 --http-socket 127.0.0.1:21019 --wsgi-file wsgi.py --callable app --processes 2 --master",
            "uwsgi wsgi.py",
            Some("python"),
        ),
        (
            "/usr/bin/uwsgi-core",
            "uwsgi --plugin http,python3 --http 127.0.0.1:21020 --wsgi-file wsgi.py --callable app --http-keepalive",
            "uwsgi wsgi.py",
            Some("python"),
        ),
        (
            "/usr/bin/uwsgi-core",
            "/usr/bin/uwsgi --ini /etc/uwsgi/apps-enabled/shop.ini --daemonize /var/log/x",
            "uwsgi shop.ini",
            None,
        ),
        (
            "/v/bin/uwsgi",
            "uwsgi --http :80 --module=shop.wsgi:application",
            "uwsgi shop.wsgi:application",
            None,
        ),
        (
            beam,
            &format!(
                "{beam} -- -root /usr/lib/erlang -bindir /usr/lib/erlang/erts-13.1.5/bin -progname erl -- -home /root -- -noshell -sname shop -eval timer:sleep(3000),halt()."
            ),
            "shop (erlang)",
            Some("erlang"),
        ),
        (
            beam,
            &format!(
                "{beam} -W w -MBas ageffcbf -- -root /usr/lib/erlang -bindir /x -progname erl -- -home /var/lib/rabbitmq -- -pa  -noshell -noinput -s rabbit boot -boot start_sasl"
            ),
            "rabbit (erlang)",
            Some("erlang"),
        ),
        (
            beam,
            &format!(
                "{beam} -- -root /app -bindir /x -progname erl -- -home / -- -noshell -s elixir start_cli -mode embedded -setcookie zqzq -name shop@10.0.0.7 -extra --no-halt"
            ),
            "shop (erlang)",
            Some("erlang"),
        ),
        (
            beam,
            &format!(
                "{beam} -- -root /x -progname erl -- -home / -- -noshell -s elixir start_cli -extra /usr/bin/mix phx.server"
            ),
            "mix (erlang)",
            Some("erlang"),
        ),
        (
            beam,
            &format!("{beam} -- -root /usr/lib/erlang -bindir /x -progname erl -- -home /root -- -noshell"),
            "beam.smp",
            Some("erlang"),
        ),
        (
            "/usr/bin/python3.11",
            "[celeryd:~celery@vm:MainProcess]~-active-~(-A~tasks2~worker~-c~2)",
            "celery tasks2",
            Some("python"),
        ),
        ("/usr/bin/python3.11", "[celeryd:~celery@vm:MainProcess]", "celery", Some("python")),
        ("/usr/bin/python3.11", "[celery~beat]~--app=shop~beat", "celery shop", Some("python")),
        (ruby, "ruby -run -e httpd -- -p 80 /srv/www", "httpd (ruby)", Some("ruby")),
        (ruby, "ruby -rjson -e secret", "ruby3.1 -e", Some("ruby")),
        (ruby, "ruby -run -e puts~'secret'", "ruby3.1 -run", Some("ruby")),
        (
            java,
            &format!("{java} {tomcat} -Dcatalina.base=/srv/shop {tomcat_main}"),
            "tomcat shop",
            Some("java"),
        ),
        (
            java,
            &format!("{java} {tomcat} -Dcatalina.base=/var/lib/tomcat10 {tomcat_main}"),
            "tomcat10",
            Some("java"),
        ),
        (java, "java -jar /usr/share/jetty9/start.jar", "jetty", Some("java")),
        (java, "java -Djetty.base=/srv/shop/ -jar start.jar", "jetty shop", Some("java")),
        (java, "java -jar start.jar", "start.jar (java)", Some("java")),
        ("/srv/shop-api", "./shop-api -addr :80", "shop-api", None),
        ("/memfd:x", "/opt/agent --x", "agent", None),
        ("/kthread", "", "kthread", None),
    ] {
        let mut services = services();
        services.assign(&process(7, exe, cmdline), |_| None);
        let row = services.rows().remove(0);
        assert_eq!((row.name.as_str(), row.runtime.as_deref()), (name, runtime), "{cmdline}");
        assert_eq!((row.id.as_str(), row.pids.as_slice()), (name, [7].as_slice()));
    }
}

#[test]
fn without_the_right_to_see_the_executable_the_arguments_name_it() {
    let mut unnamed = (*process(7, "/usr/bin/python3", "/usr/bin/python3 /srv/app.py")).clone();
    unnamed.exe = None;
    assert_eq!(&*services().assign(&Arc::new(unnamed), |_| None), "app.py (python)");
}

#[test]
fn who_was_gone_goes_by_its_threads_name() {
    let mut services = services();
    let gone = |pid| Arc::new(Process { pid, comm: "curl".into(), gone: true, ..Process::default() });
    assert_eq!(services.assign(&gone(7), |_| None), services.assign(&gone(8), |_| None));
    let row = services.rows().remove(0);
    assert_eq!((row.name.as_str(), row.pids, row.exe, row.cmdline), ("curl", vec![7, 8], None, None));
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
