//! Handlers that hold their loop, each in another way, on each of the runtimes: every one of 120 ms and more is one
//! stall, as long as the handler says by its own clock, in the call that it made, with the right cause.

use std::collections::BTreeMap;

use anyhow::{Result, bail, ensure};
use hostprof_tests::{
    Address, Database, Engine, LoopRuntime, Nginx, Redis, Stalling, Trace,
    stall_match::{Does, Pair, is_starved, number, pair},
    times::median,
};

/// How long handlers hold their loop, how often, and how long the loop is let go between.
const HOLD_MS: u32 = 250;
const TIMES: usize = 3;
const PAUSE_MS: u32 = 40;

/// A stall is longer than the handler by the rest of its turn: the framework's work before and after. The median tells
/// whether the clock is right, of the best of some runs: other work on the machine makes turns longer now and then, a
/// wrong clock does in each run. So does what hostprof had no CPU to look up.
const MEDIAN_REST: f64 = 0.005;
const RUNS: usize = 3;

/// Kinds of handlers, and what each does.
type Matrix = Vec<(&'static str, Does)>;

/// A server, with one in front of it or without, whose handlers are to be told apart.
struct Sick {
    runtime: LoopRuntime,
    server: Stalling,
    front: Option<Nginx>,
    /// What is left of its matrix.
    matrix: Matrix,
}

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
        ("queries", reads(100)),
        ("requests", Does::waits_on("poll", "tcp 127.0.0.1:")),
        ("receive", Does::waits_on("recvfrom", "tcp 127.0.0.1:")),
        ("fsync", Does::waits_on("fsync", "/")),
        ("flock", Does::waits_on("flock", "/")),
        ("subprocess", Does::waits("wait4")),
        ("nested", Does::waits_on("epoll_wait", "pipe:")),
    ]
}

fn node() -> Matrix {
    vec![
        ("sleep", Does::waits("futex")),
        ("spin", Does::Computes),
        ("json", Does::Computes),
        ("exec", Does::waits_on("epoll_pwait", "subprocess ")),
        ("fsync", Does::waits_on("fsync", "/")),
    ]
}

fn few() -> Matrix {
    vec![("sleep", Does::waits("clock_nanosleep")), ("spin", Does::Computes)]
}

impl Sick {
    fn start(runtime: LoopRuntime, matrix: Matrix, mysql: Option<&Address>) -> Result<Self> {
        Ok(Self { runtime, server: Stalling::start_with(runtime, mysql)?, front: None, matrix })
    }

    fn behind_nginx(mut self) -> Result<Self> {
        self.front = Some(Nginx::in_front_of(self.server.address())?);
        Ok(self)
    }

    fn get(&self, kind: &str, milliseconds: u32) -> Result<()> {
        let address = self.front.as_ref().map_or(self.server.address(), Nginx::address);
        self.server.get_through(address, kind, milliseconds)
    }

    /// Everything for the first time: modules are loaded, connections are opened.
    fn warm_up(&self) -> Result<()> {
        self.get("wait", 1)?;
        self.matrix.iter().try_for_each(|(kind, _)| self.get(kind, 1))
    }

    /// Holds the loop in all ways that are left.
    fn hold(&self) -> Result<()> {
        // A wait that began before the attach is not known to be a loop's.
        self.get("wait", 1)?;
        for (kind, _) in &self.matrix {
            for _ in 0..TIMES {
                self.get(kind, HOLD_MS)?;
                self.get("wait", PAUSE_MS)?;
            }
        }
        Ok(())
    }

    /// Whose connections are with other threads cannot be told to serve anybody.
    fn confidence(&self) -> &'static str {
        if self.runtime == LoopRuntime::Granian { "low" } else { "high" }
    }

    fn stop(self) -> Result<()> {
        self.front.map_or(Ok(()), Nginx::stop)?;
        self.server.stop()
    }
}

/// Has the loops of some servers held in all ways, one after another; in those whose stalls are too long, again.
fn all(mut servers: Vec<Sick>) -> Result<()> {
    servers.iter().try_for_each(Sick::warm_up)?;
    let mut rests: BTreeMap<(usize, &str), Vec<f64>> = BTreeMap::new();
    for _ in 0..RUNS {
        for ((index, kind), rest) in run(&servers)? {
            rests.entry((index, kind)).or_default().push(rest);
            if rest < MEDIAN_REST {
                servers[index].matrix.retain(|(other, _)| *other != kind);
            }
        }
        if servers.iter().all(|sick| sick.matrix.is_empty()) {
            return servers.into_iter().try_for_each(Sick::stop);
        }
    }
    bail!("stalls are longer than their handlers in each run, or do not say what on: {rests:?}")
}

/// Returns by how much the stalls are longer than the handlers, the median for each server and kind.
fn run(servers: &[Sick]) -> Result<Vec<((usize, &'static str), f64)>> {
    let before: Vec<_> = servers.iter().map(|sick| Ok(sick.server.held()?.len())).collect::<Result<_>>()?;
    let trace = Trace::start(&[])?;
    servers.iter().try_for_each(Sick::hold)?;
    trace.settle(|lines| servers.iter().map(|sick| sick.server.stalls(lines).len()).sum())?;
    let lines = trace.finish_whole()?;
    let (mut medians, mut wrong) = (Vec::new(), Vec::new());
    for (index, Sick { runtime, server, matrix, .. }) in servers.iter().enumerate() {
        let held = server.held()?.split_off(before[index]);
        ensure!(held.len() == matrix.len() * TIMES, "{runtime:?}: the handlers said {held:#?}");
        let pairs = pair(&held, &server.stalls(&lines))?;
        let confidence = servers[index].confidence();
        let unsure = pairs.iter().filter(|pair| pair.stall["confidence"] != confidence);
        wrong.extend(unsure.map(|pair| format!("{runtime:?}: not of {confidence} confidence: {pair:#?}")));
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
    let fronts = servers.iter().filter_map(|sick| sick.front.as_ref()).flat_map(Nginx::pids);
    let fronts: Vec<_> = fronts.collect();
    let in_front = lines.iter().filter(|line| line["type"] == "stall");
    let in_front: Vec<_> = in_front.filter(|line| fronts.iter().any(|pid| line["pid"] == *pid)).collect();
    ensure!(in_front.iter().all(|stall| is_starved(stall)), "the server in front only waited: {in_front:#?}");
    ensure!(wrong.is_empty(), "{} wrong:\n{}", wrong.len(), wrong.join("\n"));
    Ok(medians)
}

#[test]
fn what_pythons_handlers_do() -> Result<()> {
    let database = Database::start(Engine::MariaDb)?;
    let sick = |runtime| Sick::start(runtime, python(&database), Some(database.tcp()));
    all(vec![sick(LoopRuntime::Asyncio)?, sick(LoopRuntime::Uvloop)?])?;
    database.stop()
}

#[test]
fn what_nodes_handlers_do() -> Result<()> {
    let sick = |runtime| Sick::start(runtime, node(), None);
    all(vec![sick(LoopRuntime::Node)?, sick(LoopRuntime::NodeCluster)?])
}

#[test]
fn what_handlers_do_elsewhere() -> Result<()> {
    let sick = |runtime| Sick::start(runtime, few(), None);
    let aiohttp = sick(LoopRuntime::Aiohttp)?.behind_nginx()?;
    all(vec![sick(LoopRuntime::Tokio)?, sick(LoopRuntime::Granian)?, aiohttp])
}

/// Redis tells for how long a command took, not when it began.
#[test]
fn what_redis_does() -> Result<()> {
    let mut redis = Redis::start()?;
    let mut rests = Vec::new();
    while rests.len() < RUNS && rests.iter().all(|rest| *rest >= MEDIAN_REST) {
        let trace = Trace::start(&[])?;
        redis.ping()?;
        let held = (0..TIMES).map(|_| redis.sleep(f64::from(HOLD_MS) / 1e3)).collect::<Result<Vec<_>>>()?;
        let ours = |line: &&serde_json::Value| line["type"] == "stall" && line["pid"] == redis.pid();
        let over = |line: &&serde_json::Value| line["ongoing"] == false;
        trace.settle(|lines| lines.iter().filter(ours).count())?;
        let lines = trace.finish_whole()?;
        let stalls: Vec<_> = lines.iter().filter(ours).filter(over).collect();
        let pairs = pair(&held, &stalls)?;
        pairs.iter().try_for_each(|pair| pair.check(&Does::waits("clock_nanosleep")))?;
        ensure!(pairs.iter().all(|pair| pair.stall["confidence"] == "high"), "it has a client: {pairs:#?}");
        rests.push(median(pairs.iter().map(Pair::rest)));
    }
    ensure!(rests.iter().any(|rest| *rest < MEDIAN_REST), "stalls are longer than the commands by {rests:?}");
    redis.stop()
}

/// A turn is not a handler: several that are ready together are one stall. The time of all is right all the same.
#[test]
fn handlers_in_parallel_hold_the_loop_as_long_as_all_together() -> Result<()> {
    const CLIENTS: usize = 8;
    let runtimes = [LoopRuntime::Asyncio, LoopRuntime::Uvloop, LoopRuntime::Node, LoopRuntime::Tokio];
    let servers: Vec<_> = runtimes.into_iter().map(Stalling::start).collect::<Result<_>>()?;
    let mut worst = Vec::new();
    while worst.len() < RUNS && worst.iter().all(|rest| *rest >= MEDIAN_REST) {
        let before: Vec<_> = servers.iter().map(|server| Ok(server.held()?.len())).collect::<Result<_>>()?;
        let trace = Trace::start(&[])?;
        for server in &servers {
            server.get("wait", 1)?;
            std::thread::scope(|scope| {
                let clients: Vec<_> =
                    (0..CLIENTS).map(|_| scope.spawn(|| server.get("sleep", HOLD_MS))).collect();
                clients.into_iter().try_for_each(|client| client.join().expect("a client panicked"))
            })?;
        }
        trace.settle(|lines| servers.iter().map(|server| server.stalls(lines).len()).sum())?;
        let lines = trace.finish_whole()?;
        let mut rests = Vec::new();
        for ((server, before), runtime) in servers.iter().zip(before).zip(runtimes) {
            let (held, mut stalls) = (server.held()?.split_off(before), server.stalls(&lines));
            stalls.retain(|stall| !is_starved(stall));
            ensure!(held.len() == CLIENTS, "{runtime:?}: {held:?}");
            let right = |stall: &&&serde_json::Value| {
                stall["cause"] == "blocking-call" && stall["confidence"] == "high"
            };
            ensure!(stalls.iter().filter(right).count() == stalls.len(), "{runtime:?}: {stalls:#?}");
            let sum = |field| stalls.iter().map(|stall| number(stall, field)).sum::<f64>();
            let rest = sum("seconds") - held.iter().map(|held| held.seconds).sum::<f64>();
            ensure!(rest >= 0.0, "{runtime:?}: shorter than the handlers, {held:?}: {stalls:#?}");
            // As of a single one: on a busy machine the rest of a turn waits for a CPU.
            let queued = sum("run_queue") - held.iter().map(|held| held.run_queue).sum::<f64>();
            let rest = rest - queued.max(0.0);
            println!(
                "{runtime:?}: {} stalls, longer than all handlers by {:.2} ms",
                stalls.len(),
                rest * 1e3
            );
            rests.push(rest / CLIENTS as f64);
        }
        worst.push(rests.into_iter().fold(0.0, f64::max));
    }
    ensure!(worst.iter().any(|rest| *rest < MEDIAN_REST), "longer than the handlers, for each: {worst:?}");
    servers.into_iter().try_for_each(Stalling::stop)
}
