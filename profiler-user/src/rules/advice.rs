//! What a person does next about a stall: the framework's own way to do it, and the command that shows more. By what
//! held the loop and by the runtime. Pure.

use super::culprit::blame;
use crate::stall::Stall;
use crate::stall::cause::Cause;

/// What kind of work a call is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Work {
    Sleep,
    Network,
    File,
    Process,
    Lock,
    /// A second event loop inside the first.
    Nested,
    Other,
}

/// What to do about a stall of a process of this runtime.
pub(super) fn about(stall: &Stall, runtime: &str, pid: u32) -> String {
    match blame(stall) {
        Cause::Cpu => computing(runtime, pid),
        Cause::BlockingCall => blocking(work(stall), runtime, pid),
        Cause::InterpreterLock => interpreter_lock(pid),
        Cause::CpuStarvation => starvation(),
        Cause::Throttled => throttling(pid),
        Cause::PageFault => format!(
            "Memory is short, or a mapped file is read from disk: `grep -E 'VmSwap|RssFile' /proc/{pid}/status` and \
             `vmstat 1` tell which."
        ),
        Cause::Stopped | Cause::Unknown => look(runtime, pid),
    }
}

pub(super) fn interpreter_lock(pid: u32) -> String {
    format!(
        "Move the computing from threads to processes (`concurrent.futures.ProcessPoolExecutor`): threads share the \
         interpreter lock with the loop. `py-spy dump --nonblocking --pid {pid}` shows which thread holds it \
         (active+gil)."
    )
}

pub(super) fn starvation() -> String {
    "Give it CPUs: `pidstat -u 1` shows who has them now. Move other work off this host, lower its priority (`nice`, \
     `cpu.weight` of its cgroup), or run fewer workers than there are CPUs."
        .into()
}

pub(super) fn throttling(pid: u32) -> String {
    format!(
        "Raise the CPU limit of its cgroup (`cpu.max`; Kubernetes `resources.limits.cpu`, Docker `--cpus`). \
         `nr_throttled` in the `cpu.stat` of the cgroup that `cat /proc/{pid}/cgroup` names counts on."
    )
}

fn computing(runtime: &str, pid: u32) -> String {
    match runtime {
        "python" => format!(
            "Move the computing to another process: `await loop.run_in_executor(ProcessPoolExecutor(), f)`; a thread \
             would share the interpreter lock with the loop. `py-spy record --nonblocking --pid {pid} -d 30 -o \
             profile.svg` shows where the time goes."
        ),
        "node" | "bun" | "deno" => format!(
            "Move the computing to a worker (`worker_threads`), or cut it into parts with `setImmediate`. {}",
            profile(runtime)
        ),
        "redis-server" | "valkey-server" => redis(),
        _ => format!(
            "Move the computing off the loop, to a thread. `perf top -p {pid}` shows where the time goes."
        ),
    }
}

fn blocking(work: Work, runtime: &str, pid: u32) -> String {
    let python = |instead: &str| {
        format!("{instead} `py-spy dump --nonblocking --pid {pid}` while it stalls shows where it is called.")
    };
    let to_thread = "run it in a thread: `await asyncio.to_thread(f)`; in FastAPI and Starlette a handler declared \
                     `def`, not `async def`, is run in one.";
    match (runtime, work) {
        ("python", Work::Sleep) => "Write `await asyncio.sleep(...)` in place of `time.sleep(...)`.".into(),
        ("python", Work::Network) => python(&format!(
            "Use an asynchronous client (httpx.AsyncClient, aiohttp, aiomysql) in place of the blocking one, or {to_thread}"
        )),
        ("python", Work::File) => python(&format!("Files have no asynchronous calls: {to_thread}")),
        ("python", Work::Process | Work::Nested) => python(
            "Use `await asyncio.create_subprocess_exec(...)` in place of `subprocess`; for other calls, \
             `await asyncio.to_thread(f)`.",
        ),
        ("python", _) => python(&format!("Await it, or {to_thread}")),
        ("node" | "bun" | "deno", Work::File) => {
            "Use `fs.promises` in place of the function that ends in `Sync`; `node --trace-sync-io` names it."
                .into()
        }
        ("node" | "bun" | "deno", Work::Process | Work::Nested) => {
            "Use `child_process.execFile` or `spawn` in place of `execSync` and `spawnSync`.".into()
        }
        ("node" | "bun" | "deno", Work::Lock) => {
            "Use `Atomics.waitAsync` in place of `Atomics.wait`, or wait in a worker (`worker_threads`)."
                .into()
        }
        ("node" | "bun" | "deno", _) => {
            format!("Use the asynchronous function in place of the one that blocks. {}", profile(runtime))
        }
        ("redis-server" | "valkey-server", _) => redis(),
        ("nginx", Work::File) => {
            "Have threads read files (`aio threads;`), and look at the disk: `iostat -x 1`.".into()
        }
        _ => look(runtime, pid),
    }
}

/// How to see where a JavaScript program spends its time. By a restart: SIGUSR1, which opens the inspector of a running
/// Node, ends other runtimes, and the program may have a use of its own for it.
pub(super) fn profile(runtime: &str) -> String {
    let page = if runtime == "bun" { "the page that it names" } else { "chrome://inspect" };
    format!("For a profile, start it with `{runtime} --inspect` (open on loopback alone) and look at {page}.")
}

/// Where nothing is known of the program.
fn look(runtime: &str, pid: u32) -> String {
    match runtime {
        "python" => format!("`py-spy dump --nonblocking --pid {pid}` while it stalls shows where it is."),
        "redis-server" | "valkey-server" => redis(),
        _ => format!(
            "Move the call off the loop, to a thread (tokio: `spawn_blocking`). `cat /proc/{pid}/stack`, as root and \
             while it stalls, shows where the kernel holds it."
        ),
    }
}

fn redis() -> String {
    "`redis-cli SLOWLOG GET 10` names the commands that took long: the server's one thread runs them one by one.".into()
}

fn work(stall: &Stall) -> Work {
    let Some(blocked) = stall.blocked_in.first() else { return Work::Other };
    let target = blocked.target.as_deref().unwrap_or_default();
    match blocked.syscall.as_str() {
        "clock_nanosleep" | "nanosleep" => Work::Sleep,
        "futex" | "futex_wait" | "futex_waitv" => Work::Lock,
        "wait4" | "waitid" => Work::Process,
        "epoll_wait" | "epoll_pwait" | "epoll_pwait2" => Work::Nested,
        _ if target.starts_with("pipe:") || target.starts_with("anon_inode:[pidfd") => Work::Process,
        _ if target.starts_with('/') => Work::File,
        "fsync" | "fdatasync" | "flock" | "openat" | "open" | "sync_file_range" | "fcntl" | "rename" => {
            Work::File
        }
        "connect" | "recvfrom" | "recvmsg" | "recvmmsg" | "sendto" | "sendmsg" | "sendmmsg" | "accept4" => {
            Work::Network
        }
        _ if ["tcp ", "udp ", "unix"].iter().any(|start| target.starts_with(start)) => Work::Network,
        _ => Work::Other,
    }
}

#[cfg(test)]
mod tests {
    use super::super::sample::{blocked, stall};
    use super::*;
    use crate::stall::Kind;

    fn blocked_in(syscall: &str, target: Option<&str>) -> Stall {
        let mut stall = stall(Cause::BlockingCall, 0.3, 0.0, 0.0);
        stall.blocked_in = vec![blocked(syscall, Kind::Other, target, 1, 0.3)];
        stall
    }

    #[test]
    fn calls_are_told_apart_by_name_and_target() {
        for (syscall, target, expected) in [
            ("clock_nanosleep", None, Work::Sleep),
            ("recvfrom", None, Work::Network),
            ("poll", Some("tcp 127.0.0.1:80"), Work::Network),
            ("poll", Some("pipe:[77]"), Work::Process),
            ("read", Some("/srv/big"), Work::File),
            ("read", None, Work::Other),
            ("flock", None, Work::File),
            ("futex", None, Work::Lock),
            ("epoll_wait", Some("anon_inode:[eventpoll]"), Work::Nested),
        ] {
            assert_eq!(work(&blocked_in(syscall, target)), expected, "{syscall} {target:?}");
        }
        assert_eq!(work(&stall(Cause::BlockingCall, 0.3, 0.0, 0.0)), Work::Other);
    }

    #[test]
    fn advice_fits_the_runtime() {
        let (sleep, disk) = (blocked_in("clock_nanosleep", None), blocked_in("fsync", Some("/srv/log")));
        let cpu = stall(Cause::Cpu, 0.0, 0.3, 0.0);
        for (stall, runtime, says) in [
            (&sleep, "python", "asyncio.sleep"),
            (&disk, "python", "run it in a thread: `await asyncio.to_thread"),
            (&disk, "node", "fs.promises"),
            (&cpu, "python", "ProcessPoolExecutor"),
            (&cpu, "node", "worker_threads"),
            (&cpu, "node", "`node --inspect`"),
            (&cpu, "bun", "`bun --inspect`"),
            (&cpu, "redis-server", "SLOWLOG"),
            (&cpu, "", "perf top -p 7"),
        ] {
            let advice = about(stall, runtime, 7);
            assert!(advice.contains(says), "{runtime}: {advice}");
        }
    }

    /// None ends the process (SIGUSR1 does that to all but Node), and none stops it to look.
    #[test]
    fn advice_hurts_nobody() {
        let causes = [Cause::Cpu, Cause::BlockingCall, Cause::InterpreterLock, Cause::Unknown];
        for runtime in ["python", "node", "bun", "deno", "redis-server", "nginx", "", "shop"] {
            let mut said: Vec<_> =
                causes.iter().map(|cause| about(&stall(*cause, 0.3, 0.0, 0.0), runtime, 7)).collect();
            said.push(super::super::event_loop_lag::next_step(runtime, 7));
            for advice in said {
                assert!(!advice.contains("kill "), "{runtime}: {advice}");
                assert_eq!(
                    advice.matches("py-spy ").count(),
                    advice.matches("--nonblocking").count(),
                    "{runtime}: {advice}"
                );
            }
        }
    }
}
