//! What a person would call a program: a process goes in, a name and what else tells it apart come out.
//!
//! | command line | name | file |
//! | --- | --- | --- |
//! | `nginx: worker process`, `gunicorn: worker [shop]` | `nginx`, `gunicorn shop` | `title` |
//! | `python3 /srv/app.py`, `java -jar /srv/shop.jar` | `app.py (python)`, `shop.jar (java)` | `interpreted` |
//! | `python3 /usr/bin/uvicorn main:app`, `uwsgi --ini shop.ini` | `uvicorn main:app`, `uwsgi shop.ini` | `tool` |
//! | `/usr/sbin/mysqld --port=3306` | `mysqld` | |
//! | `hostprof demo-part http 4711` | `demo: http` | |
//! | none: a thread of the kernel's, as `nfsd` or `kworker/u8:1` | `kernel` | |

use super::super::process::Process;
use super::interpreted::interpreted;
use super::title::titled;
use super::tool::{self, tool};
use super::{ports, runtime};

/// The hidden subcommand that runs a part of our own demo, which is named after the part.
pub const DEMO_PART: &str = "demo-part";

/// What the kernel does itself, whichever of its threads works on it: NFS, Ceph, RPC.
pub const KERNEL: &str = "kernel";

/// Names are at most this long, characters.
const MAX_NAME: usize = 80;

/// A program's name and what distinguishes it from others of that name, but for where its file is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Identity {
    pub(super) name: String,
    /// The script and the ports as the process has them.
    pub(super) detail: String,
    pub(super) runtime: Option<&'static str>,
}

/// Names a process whose executable is `exe`, or by its arguments alone.
pub(super) fn identify(process: &Process, exe: Option<&str>) -> Identity {
    if process.gone {
        // A thread's name, which need not be the program's: apart from those that bear it rightly.
        return Identity { name: fit(&process.comm), detail: "gone".into(), runtime: None };
    }
    if process.of_kernel {
        // Apart from programs of that name.
        return Identity { name: KERNEL.into(), detail: "thread".into(), runtime: None };
    }
    let first = process.cmdline.first().map(String::as_str).unwrap_or_default();
    let args = process.cmdline.get(1..).unwrap_or_default();
    // A program in memory has a made-up name (memfd_create(2)).
    let exe = exe.filter(|exe| !exe.starts_with("/memfd:")).unwrap_or_default();
    let file =
        [exe, first, &process.comm].into_iter().map(base).find(|name| !name.is_empty()).unwrap_or_default();
    let runtime = runtime::of_name(file).or_else(|| runtime::of_plugins(file, args));
    let (name, program) = match (titled(&process.cmdline), runtime::of_name(file)) {
        (Some(name), _) => (name, String::new()),
        (None, Some(runtime)) => interpreted(file, runtime, args),
        (None, None) => match demo_part(&process.cmdline) {
            Some(part) => (format!("demo: {part}"), String::new()),
            None => (tool(tool::of_file(file), args), String::new()),
        },
    };
    Identity {
        name: fit(&name),
        detail: format!("{program}\n{}", ports::of(&process.cmdline).join(" ")),
        runtime,
    }
}

/// Whether a process only works for its parent and its command line does not tell for whom: Python's multiprocessing
/// (Lib/multiprocessing/spawn.py, get_command_line(), and resource_tracker.py), and Celery's pool, whose title is
/// `[celeryd: celery@host:ForkPoolWorker-1]` (celery/platforms.py, set_mp_process_title()).
pub(super) fn is_helper(process: &Process) -> bool {
    let of_pool = match process.cmdline.as_slice() {
        [title] => {
            title.starts_with("[celeryd: ") && title.ends_with(']') && !title.ends_with(":MainProcess]")
        }
        _ => false,
    };
    of_pool
        || process.cmdline.iter().skip(1).take(4).any(|arg| {
            arg.contains("multiprocessing.spawn")
                || arg.contains("multiprocessing.forkserver")
                || arg.contains("multiprocessing.resource_tracker")
                || arg == "--multiprocessing-fork"
        })
}

/// Which part of our own demo a process is.
fn demo_part(cmdline: &[String]) -> Option<&str> {
    match cmdline {
        [_, subcommand, part, ..] if subcommand == DEMO_PART => Some(part),
        _ => None,
    }
}

/// A name that can be shown.
fn fit(name: &str) -> String {
    let name: String = name.chars().filter(|c| !c.is_control()).take(MAX_NAME).collect();
    if name.is_empty() { "unknown".into() } else { name }
}

/// A program's name with what it serves.
pub(super) fn join(name: &str, app: &str) -> String {
    if app.is_empty() { name.into() } else { format!("{name} {app}") }
}

pub(super) fn base(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}
