//! What a person would call a program: a process goes in, a name and what else tells it apart come out.
//!
//! | command line | name |
//! | --- | --- |
//! | `nginx: worker process`, `postgres: app db idle` | `nginx`, `postgres` |
//! | `gunicorn: worker [shop]`, `puma 6.4 (tcp://...) [shop]`, `php-fpm: pool www` | `gunicorn shop`, `puma shop`, `php-fpm www` |
//! | `python3 /usr/bin/uvicorn main:app`, `python -m uvicorn main:app` | `uvicorn main:app` |
//! | `python3 /srv/app.py`, `node /srv/server.js` | `app.py (python)`, `server.js (node)` |
//! | `python -m http.server` | `http.server (python)` |
//! | `java -jar /srv/shop.jar`, `java -cp ... com.acme.Main` | `shop.jar (java)`, `com.acme.Main (java)` |
//! | `/usr/sbin/mysqld --port=3306` | `mysqld` |
//! | `hostprof demo-part http 4711` | `demo: http` |

use super::super::process::Process;
use super::runtime;
use crate::command::demo;

/// Names are at most this long, characters.
const MAX_NAME: usize = 80;

/// Tools that serve an application, which is worth more than their own name.
const TOOLS: &[&str] = &[
    "uvicorn",
    "gunicorn",
    "hypercorn",
    "daphne",
    "granian",
    "waitress-serve",
    "celery",
    "flask",
    "fastapi",
    "streamlit",
    "manage.py",
    "rails",
    "npm",
    "yarn",
    "pnpm",
    "next",
    "rq",
    "dramatiq",
    "arq",
];

/// Options of interpreters whose value is the next argument.
const WITH_VALUE: &[(&str, &[&str])] = &[
    ("python", &["-W", "-X", "--check-hash-based-pycs"]),
    (
        "node",
        &[
            "-r",
            "--require",
            "--import",
            "--loader",
            "--experimental-loader",
            "-C",
            "--conditions",
            "--env-file",
        ],
    ),
    ("bun", &["-r", "--preload"]),
    ("deno", &["-c", "--config", "--import-map"]),
    ("ruby", &["-I", "-r", "-C", "-E"]),
    ("php", &["-c", "-d", "-z", "-t", "-S"]),
    ("perl", &["-I"]),
    (
        "java",
        &[
            "-cp",
            "-classpath",
            "--class-path",
            "-p",
            "--module-path",
            "--upgrade-module-path",
            "--add-modules",
            "--add-opens",
            "--add-exports",
            "--add-reads",
            "--enable-native-access",
            "--limit-modules",
        ],
    ),
];

/// Options that tell instances of one program apart.
const PORTS: &[&str] =
    &["--port", "-p", "-P", "--bind", "-b", "--listen", "--http-port", "--server.port", "--addr"];

/// A program's name and what distinguishes it from others of that name.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Identity {
    pub(super) name: String,
    pub(super) detail: String,
    pub(super) runtime: Option<&'static str>,
}

/// Names a process.
pub(super) fn identify(process: &Process) -> Identity {
    let first = process.cmdline.first().map(String::as_str).unwrap_or_default();
    // A program in memory has a made-up name (memfd_create(2)).
    let exe = process.exe.as_deref().filter(|exe| !exe.starts_with("/memfd:")).unwrap_or_default();
    let file =
        [exe, first, &process.comm].into_iter().map(base).find(|name| !name.is_empty()).unwrap_or_default();
    let runtime = runtime::of_name(file);
    let title = titled(&process.cmdline);
    let (name, program) = match (title, runtime) {
        _ if process.gone => (process.comm.clone(), String::new()),
        (Some(name), _) => (name, String::new()),
        (None, Some(runtime)) => interpreted(file, runtime, process.cmdline.get(1..).unwrap_or_default()),
        (None, None) => match demo_part(&process.cmdline) {
            Some(part) => (format!("demo: {part}"), String::new()),
            None => (tool(file, process.cmdline.get(1..).unwrap_or_default()), String::new()),
        },
    };
    let ports = if process.gone { Vec::new() } else { ports(&process.cmdline) };
    let name: String = name.chars().filter(|c| !c.is_control()).take(MAX_NAME).collect();
    let name = if name.is_empty() { "unknown".to_string() } else { name };
    let exe = process.exe.as_deref().unwrap_or(&process.comm);
    Identity { detail: format!("{exe}\n{program}\n{}", ports.join(" ")), name, runtime }
}

/// Whether a process only works for its parent and its command line does not tell for whom: Python's multiprocessing
/// (Lib/multiprocessing/spawn.py, get_command_line(), and resource_tracker.py).
pub(super) fn is_helper(process: &Process) -> bool {
    process.cmdline.iter().skip(1).take(4).any(|arg| {
        arg.contains("multiprocessing.spawn")
            || arg.contains("multiprocessing.forkserver")
            || arg.contains("multiprocessing.resource_tracker")
            || arg == "--multiprocessing-fork"
    })
}

/// Which part of our own demo a process is.
fn demo_part(cmdline: &[String]) -> Option<&str> {
    match cmdline {
        [_, subcommand, part, ..] if subcommand == demo::SUBCOMMAND => Some(part),
        _ => None,
    }
}

/// The name in a title that a program has written over its arguments: `nginx: worker process`, `puma 6.4 (...) [shop]`.
fn titled(cmdline: &[String]) -> Option<String> {
    let [title] = cmdline else {
        return None;
    };
    let (head, rest) = title.split_once([':', ' '])?;
    let is_word = !head.is_empty() && head.chars().all(|c| c.is_alphanumeric() || "-_.+".contains(c));
    if !is_word || rest.is_empty() || rest.starts_with('/') {
        return None;
    }
    // Titles end in the application's name, if in any: `[shop]`, or `pool www`.
    let app = match head {
        "gunicorn" | "puma" | "uwsgi" => rest.rsplit_once('[').and_then(|(_, app)| app.strip_suffix(']')),
        _ if head.starts_with("php-fpm") => rest.trim_start().strip_prefix("pool "),
        _ => None,
    };
    Some(join(head, app.unwrap_or_default()))
}

/// The name and the path of what an interpreter runs.
fn interpreted(file: &str, runtime: &str, args: &[String]) -> (String, String) {
    let with_value =
        WITH_VALUE.iter().find(|(name, _)| *name == runtime).map_or(&[][..], |(_, options)| options);
    let mut at = 0;
    while let Some(arg) = args.get(at).map(String::as_str) {
        let rest = args.get(at + 1..).unwrap_or_default();
        let value = rest.first().map(String::as_str);
        match (arg, value) {
            ("-m", Some(module)) if runtime == "python" => {
                let name = tool(module, &rest[1..]);
                return (named(name, module, runtime), module.into());
            }
            ("-jar", Some(jar)) if runtime == "java" => return (format!("{} (java)", base(jar)), jar.into()),
            ("-m" | "--module", Some(module)) if runtime == "java" => {
                return (format!("{module} (java)"), module.into());
            }
            // An inline program has no name, and its text may be secret.
            ("-c", _) if runtime == "python" => return (format!("{file} -c"), String::new()),
            ("-e" | "--eval" | "-p" | "--print", _) if runtime == "node" => {
                return (format!("{file} -e"), String::new());
            }
            ("-e", _) if runtime == "ruby" || runtime == "perl" => {
                return (format!("{file} -e"), String::new());
            }
            ("run", Some(_)) if runtime == "deno" || runtime == "bun" => at += 1,
            (option, _) if with_value.contains(&option) => at += 2,
            (option, _) if option.starts_with('-') || option.is_empty() || option.starts_with('@') => at += 1,
            (script, _) => {
                let script_base = if runtime == "java" { script } else { base(script) };
                let name = tool(script_base, rest);
                return (named(name, script_base, runtime), script.into());
            }
        }
    }
    (file.into(), String::new())
}

/// Scripts and modules say what runs them; tools with a name of their own need not.
fn named(name: String, program: &str, runtime: &str) -> String {
    // Installed commands have no ending: `/usr/local/bin/uvicorn`.
    let is_command = TOOLS.contains(&program);
    if is_command { name } else { format!("{name} ({runtime})") }
}

/// A tool's name with what it serves: `uvicorn main:app`, `celery shop`, `manage.py runserver`.
fn tool(name: &str, args: &[String]) -> String {
    if !TOOLS.contains(&name) {
        return name.into();
    }
    let option = |names: &[&str]| {
        let at = args.iter().position(|arg| names.contains(&arg.as_str()))?;
        args.get(at + 1).map(String::as_str).filter(|value| !value.starts_with('-'))
    };
    let assigned = |names: &[&str]| {
        args.iter().find_map(|arg| {
            arg.split_once('=').filter(|(name, _)| names.contains(name)).map(|(_, value)| value)
        })
    };
    let first = || args.first().map(String::as_str).filter(|arg| !arg.starts_with('-'));
    let app = match name {
        "celery" => option(&["-A", "--app"]).or_else(|| assigned(&["-A", "--app"])),
        "flask" => option(&["-A", "--app"]).or_else(|| assigned(&["--app"])),
        "uvicorn" | "gunicorn" | "hypercorn" | "daphne" | "granian" | "waitress-serve" => {
            args.iter().map(String::as_str).find(|arg| is_app(arg)).or_else(first)
        }
        _ => first(),
    };
    join(name, app.map(base).unwrap_or_default())
}

/// `package.module:object`, as WSGI and ASGI servers take it; not `host:80` or `unix:/path`.
fn is_app(arg: &str) -> bool {
    let is_name = |name: &str| {
        name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
            && name.chars().all(|c| c.is_ascii_alphanumeric() || "_.()".contains(c))
    };
    arg.split_once(':').is_some_and(|(module, object)| is_name(module) && is_name(object))
}

/// The port options, as written.
fn ports(cmdline: &[String]) -> Vec<&str> {
    let is_port = |value: &str| value.contains(|c: char| c.is_ascii_digit()) && value.len() <= 64;
    let mut found = Vec::new();
    for (at, arg) in cmdline.iter().enumerate().skip(1) {
        let (option, value) = match arg.split_once('=') {
            Some((option, value)) => (option, Some(value)),
            None => (arg.as_str(), cmdline.get(at + 1).map(String::as_str)),
        };
        if PORTS.contains(&option) {
            found.extend(value.filter(|value| is_port(value)));
        }
    }
    found
}

fn join(name: &str, app: &str) -> String {
    if app.is_empty() { name.into() } else { format!("{name} {app}") }
}

fn base(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}
