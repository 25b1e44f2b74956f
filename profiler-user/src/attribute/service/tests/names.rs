//! What a service is called, by the program and the arguments of its processes.

use super::*;

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
