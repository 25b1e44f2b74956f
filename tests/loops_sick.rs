//! Handlers that hold their loop, each in another way, on each of the runtimes: every one of 120 ms and more is one
//! stall, as long as the handler says by its own clock, in the call that it made, with the right cause.

use std::collections::BTreeMap;

use anyhow::{Result, ensure};
use hostprof_tests::{
    Database, Engine, LoopRuntime, Stalling, Trace,
    stall_match::{Does, Pair, pair},
    times::median,
};

/// How long handlers hold their loop, how often, and how long the loop is let go between.
const HOLD_MS: u32 = 250;
const TIMES: usize = 3;
const PAUSE_MS: u32 = 40;

/// A stall is longer than the handler by the rest of its turn: the framework's work before and after, and whatever the
/// machine does meanwhile. The median tells whether the clock is right, of the best of some runs: other work on the
/// machine makes turns longer now and then, a wrong clock does in each run. So does what hostprof had no CPU to look up.
const MEDIAN_REST: f64 = 0.005;
const RUNS: usize = 3;

/// Kinds of handlers, and what each does.
type Matrix = Vec<(&'static str, Does)>;

/// What Python's handlers do.
fn python(database: &Database) -> Matrix {
    let mysql = format!("tcp {}", database.tcp());
    let reads = |least| Does::Waits { call: "recvfrom", target: Some(mysql.clone()), least };
    vec![
        ("sleep", Does::waits("clock_nanosleep")),
        ("spin", Does::Computes),
        ("json", Does::Computes),
        ("gc", Does::Computes),
        ("query", reads(1)),
        ("queries", reads(250)),
        ("requests", Does::waits_on("poll", "tcp 127.0.0.1:")),
        ("receive", Does::waits_on("recvfrom", "tcp 127.0.0.1:")),
        ("fsync", Does::waits_on("fsync", "/")),
        ("flock", Does::waits_on("flock", "/")),
        ("subprocess", Does::waits("wait4")),
        ("nested", Does::waits_on("epoll_wait", "anon_inode:[eventpoll]")),
    ]
}

fn node() -> Matrix {
    vec![
        ("sleep", Does::waits("futex")),
        ("spin", Does::Computes),
        ("json", Does::Computes),
        ("exec", Does::waits_on("epoll_pwait", "anon_inode:[eventpoll]")),
        ("fsync", Does::waits_on("fsync", "/")),
    ]
}

/// Has the loops of some servers held in all ways, one after another; those whose stalls are too long, again.
fn holds(servers: &[(LoopRuntime, Stalling, Matrix)]) -> Result<()> {
    let mut rests: BTreeMap<(usize, &str), Vec<f64>> = BTreeMap::new();
    let mut left: Vec<_> = servers.iter().map(|(_, _, matrix)| matrix.clone()).collect();
    for (_, server, matrix) in servers {
        // Modules are loaded and connections are opened for the first time.
        server.get("wait", 1)?;
        for (kind, _) in matrix {
            server.get(kind, 1)?;
        }
    }
    for _ in 0..RUNS {
        for ((index, kind), rest) in run(servers, &left)? {
            rests.entry((index, kind)).or_default().push(rest);
        }
        for (index, matrix) in left.iter_mut().enumerate() {
            matrix.retain(|(kind, _)| rests[&(index, *kind)].iter().all(|rest| *rest >= MEDIAN_REST));
        }
        if left.iter().all(Vec::is_empty) {
            return Ok(());
        }
    }
    let late: Vec<_> = left.iter().enumerate().filter(|(_, matrix)| !matrix.is_empty()).collect();
    anyhow::bail!("stalls are longer than their handlers: {late:?} of {rests:?}")
}

/// Returns by how much the stalls are longer than the handlers, the median for each server and kind.
fn run(
    servers: &[(LoopRuntime, Stalling, Matrix)],
    matrices: &[Matrix],
) -> Result<Vec<((usize, &'static str), f64)>> {
    let before: Vec<_> =
        servers.iter().map(|(_, server, _)| Ok(server.held()?.len())).collect::<Result<_>>()?;
    let trace = Trace::start(&[])?;
    for ((_, server, _), matrix) in servers.iter().zip(matrices) {
        server.get("wait", 1)?;
        for (kind, _) in matrix {
            for _ in 0..TIMES {
                server.get(kind, HOLD_MS)?;
                server.get("wait", PAUSE_MS)?;
            }
        }
    }
    trace.settle(|lines| servers.iter().map(|(_, server, _)| server.stalls(lines).len()).sum())?;
    let lines = trace.finish_whole()?;
    let (mut medians, mut wrong) = (Vec::new(), Vec::new());
    for (index, ((runtime, server, _), matrix)) in servers.iter().zip(matrices).enumerate() {
        let held = server.held()?.split_off(before[index]);
        ensure!(held.len() == matrix.len() * TIMES, "{runtime:?}: the handlers said {held:#?}");
        let stalls = server.stalls(&lines);
        let pairs = pair(&held, &stalls)?;
        for (kind, does) in matrix {
            let pairs = || pairs.iter().filter(|pair| pair.held.kind == *kind);
            let checked = pairs().filter_map(|pair| pair.check(does).err());
            wrong.extend(checked.map(|error| format!("{runtime:?} {kind}: {error:#}")));
            let named = pairs().all(|pair| pair.is_named(does));
            let rest = if named { median(pairs().map(Pair::rest)) } else { f64::INFINITY };
            println!("{runtime:?} {kind}: {} stalls, longer by {:.2} ms", pairs().count(), rest * 1e3);
            medians.push(((index, *kind), rest));
        }
    }
    ensure!(wrong.is_empty(), "{} wrong:\n{}", wrong.len(), wrong.join("\n"));
    Ok(medians)
}

fn start(runtime: LoopRuntime, database: &Database) -> Result<(LoopRuntime, Stalling, Matrix)> {
    let matrix = match runtime {
        LoopRuntime::Node | LoopRuntime::NodeCluster => node(),
        LoopRuntime::Tokio => vec![("sleep", Does::waits("clock_nanosleep")), ("spin", Does::Computes)],
        _ => python(database),
    };
    Ok((runtime, Stalling::start_with(runtime, Some(database.tcp()))?, matrix))
}

/// Runs the matrices of these.
fn all(runtimes: &[LoopRuntime]) -> Result<()> {
    let database = Database::start(Engine::MariaDb)?;
    let servers: Vec<_> = runtimes.iter().map(|runtime| start(*runtime, &database)).collect::<Result<_>>()?;
    holds(&servers)?;
    for (_, server, _) in servers {
        server.stop()?;
    }
    database.stop()
}

#[test]
fn what_pythons_handlers_do_on_asyncio() -> Result<()> {
    all(&[LoopRuntime::Asyncio])
}
