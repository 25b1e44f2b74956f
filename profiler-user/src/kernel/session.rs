//! A session with the kernel: the programs loaded and attached, the ring, the counters, the sweep. Everything that it
//! holds is a file descriptor, so nothing stays in the kernel when this process ends, however it ends.

use aya::Ebpf;
use aya::maps::{Array, HashMap, Map, MapData, MapError, PerCpuArray, RingBuf};
use aya::programs::{RawTracePoint, RawTracePointRunOptions, TestRun};
use aya_log::EbpfLogger;
use log::{debug, warn};
use profiler_ebpf::conn::{Conn, state};
use profiler_ebpf::histogram::Histogram;
use profiler_ebpf::listener::Listener;
use profiler_ebpf::loops::Loop;
use profiler_ebpf::machine;
use profiler_ebpf::record::{Counter, proto};

use super::batch;
use super::error::StartError;
use super::hooks::{self, SocketHooks};
use super::load::{self, Loaded, Missing, Options};
use super::loops::LoopReader;
use super::misses::Misses;
use super::object::ObjectError;
use super::program::{self, Links};
use crate::clock::monotonic;

/// A Unix connection that was not used for so long is looked at, ns.
const COLD_NS: u64 = 1_000_000_000;

/// A running session.
pub struct Session {
    ebpf: Ebpf,
    links: Links,
    /// Which way sockets are seen.
    pub socket: SocketHooks,
    /// Hooks that did not attach: what they would give, and why they did not.
    pub missing: Vec<Missing>,
    counters: PerCpuArray<MapData, u64>,
    programs: Vec<&'static str>,
    /// Whether event loops are watched.
    pub watches_loops: bool,
    sweep_buffer: batch::Buffer,
    misses: Misses,
    loops: LoopReader,
    map_bytes: u64,
    /// The kernel half's diagnostics, under `--log-kernel`.
    logger: Option<EbpfLogger<&'static dyn log::Log>>,
}

/// What a look at the connection table has found.
#[derive(Debug, Default)]
pub struct Survey {
    /// Exchanges under way.
    pub in_flight: u64,
    /// Sockets that [`Session::visit`] is to look at.
    pub idle: Vec<u64>,
}

/// Whether a Unix connection has not been used for a while: it may be closed, which no hook tells. One whose memory is
/// used again at once is found so by its successor, and must not be ended at that moment.
fn is_cold(conn: &Conn, now: u64) -> bool {
    let used = conn.life.t_used.max(conn.life.t_open).max(conn.record.born);
    i32::from(conn.record.family) == libc::AF_UNIX && now.saturating_sub(used) >= COLD_NS
}

impl Session {
    /// Loads and attaches, silently: until [`Session::arm`] only the notices of processes come. Returns the session and
    /// the ring that the records come out of.
    pub fn start(options: &Options) -> Result<(Self, RingBuf<MapData>), StartError> {
        let Loaded { mut ebpf, links, socket, programs, watches_loops, missing } = load::load(options)?;
        let map_bytes = ebpf.maps().filter_map(|(_, m)| batch::map_fd(m)).map(batch::memlock).sum();
        let logger = if options.log_kernel {
            EbpfLogger::init(&mut ebpf).map_err(|e| warn!("no diagnostics of the kernel half: {e}")).ok()
        } else {
            None
        };
        let ring = take(&mut ebpf, "RING")?;
        let counters = take(&mut ebpf, "COUNTERS")?;
        let session = Self {
            ebpf,
            links,
            socket,
            missing,
            counters,
            programs,
            watches_loops,
            sweep_buffer: batch::Buffer::default(),
            misses: Misses::default(),
            loops: LoopReader::default(),
            map_bytes,
            logger,
        };
        Ok((session, ring))
    }

    /// Lets all hooks speak from one moment on.
    pub fn arm(&mut self) -> Result<(), StartError> {
        self.misses.begin(&self.ebpf);
        Ok(arm(&mut self.ebpf, true)?)
    }

    /// True when this program is attached.
    pub fn has(&self, program: &str) -> bool {
        self.programs.contains(&program)
    }

    /// The kernel half's counter, summed over CPUs.
    pub fn counter(&self, counter: Counter) -> u64 {
        self.counters.get(&(counter as u32), 0).map(|v| v.iter().sum()).unwrap_or(0)
    }

    /// Events that the kernel let pass without our programs since they were armed, as of the last sweep.
    pub fn missed(&self) -> u64 {
        self.misses.exchanges()
    }

    /// The same, of the programs that watch event loops.
    pub fn missed_of_loops(&self) -> u64 {
        self.misses.loops()
    }

    /// Looks at every connection. `see` gets each, with the kept beginning of its request where one is under way.
    pub fn survey(&mut self, mut see: impl FnMut(&Conn, &[u8])) -> Survey {
        self.misses.look(&self.ebpf);
        let mut found = Survey::default();
        let now = monotonic();
        let Some(fd) = self.ebpf.map("CONNS").and_then(batch::map_fd) else { return found };
        let result = batch::for_each(fd, &mut self.sweep_buffer, size_of::<Conn>(), |value| {
            let (conn, head) = entry(value);
            see(&conn, head.unwrap_or_default());
            let known = conn.record.proto == proto::HTTP || conn.record.proto == proto::MYSQL;
            if known && (conn.state == state::REQUEST || conn.state == state::RESPONSE) {
                found.in_flight += 1 + u64::from(conn.waiting);
            }
            let lingers = machine::lingers(&conn);
            if lingers || conn.t_closed != 0 || is_cold(&conn, now) {
                found.idle.push(conn.record.sk);
            }
        });
        if let Err(e) = result {
            warn!("the connection table could not be read: {e}");
        }
        found
    }

    /// Has the kernel half look at these; `last`, when no more will come, has it send whatever is complete. Each may
    /// send an exchange and an end: the caller has to take them before there is no room for more. Returns how many
    /// exchanges were sent.
    pub fn visit(&self, sockets: &[u64], last: bool) -> u64 {
        let sweep = self.ebpf.program(hooks::SWEEP.program).and_then(|p| <&RawTracePoint>::try_from(p).ok());
        let Some(sweep) = sweep else { return 0 };
        let mut sent = 0;
        for sk in sockets {
            let mut run = RawTracePointRunOptions::new();
            run.args = [*sk, last.into(), 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
            match sweep.test_run(run) {
                // The program says 1 when the exchange was sent.
                Ok(result) => sent += u64::from(result.return_value),
                Err(e) => {
                    debug!("sweep: {e}");
                    break;
                }
            }
        }
        sent
    }

    /// Calls `see` with every connection that has an exchange under way, and the kept beginning of its request. What
    /// happens on it meanwhile may be seen before or after.
    pub fn each_exchange(&mut self, mut see: impl FnMut(&Conn, &[u8])) {
        let Some(fd) = self.ebpf.map("CONNS").and_then(batch::map_fd) else { return };
        let result = batch::for_each(fd, &mut self.sweep_buffer, size_of::<Conn>(), |value| {
            if let (conn, Some(head)) = entry(value) {
                see(&conn, head);
            }
        });
        if let Err(e) = result {
            warn!("the connection table could not be read: {e}");
        }
    }

    /// Passes on what the kernel half had to say.
    pub fn flush_log(&mut self) {
        if let Some(logger) = &mut self.logger {
            logger.flush();
        }
    }

    /// Detaches every program; the ring can still be drained.
    pub fn detach(&mut self) {
        // All hooks fall silent at once.
        if let Err(e) = arm(&mut self.ebpf, false) {
            warn!("the hooks could not be silenced together: {e}");
        }
        self.misses.look(&self.ebpf);
        self.links.release();
        for (name, program) in self.ebpf.programs_mut() {
            // The sweep hangs on no hook, and is still to be run.
            if name != hooks::SWEEP.program && name != hooks::LISTENER.program {
                program::unload(program);
            }
        }
    }

    /// Calls `see` with every thread that waits for events.
    pub fn each_loop(&mut self, see: impl FnMut(&Loop)) {
        let Some(fd) = self.ebpf.map("LOOPS").and_then(batch::map_fd) else { return };
        if let Err(e) = self.loops.each(fd, see) {
            warn!("the table of event loops could not be read: {e}");
        }
    }

    /// Forgets who waits on a set where nobody does any more: its thread ended after another one, or left it.
    pub fn keep_sets(&mut self, mut wanted: impl FnMut(u64) -> bool) {
        let map = self.ebpf.map_mut("SETS").and_then(|m| HashMap::<_, u64, [u64; 2]>::try_from(m).ok());
        let Some(mut map) = map else { return };
        let dead: Vec<_> = map.keys().flatten().filter(|key| !wanted(*key)).collect();
        for key in dead {
            // Gone by itself meanwhile, or not: either way nobody misses it.
            let _ = map.remove(&key);
        }
    }

    /// Whether connect() and accept() are seen to return.
    pub fn sees_connects(&self) -> bool {
        self.socket == SocketHooks::RawExit || self.has(hooks::CONNECTS[0].program)
    }

    /// Calls `see` with every listening socket that connections have come to, its queue as it is now.
    pub fn each_listener(&mut self, mut see: impl FnMut(&Listener)) {
        let Some(fd) = self.ebpf.map("LISTENERS").and_then(batch::map_fd) else { return };
        let mut known = Vec::new();
        let mut read = |see: &mut dyn FnMut(&Listener)| {
            batch::for_each(fd, &mut self.sweep_buffer, size_of::<Listener>(), |value| {
                // SAFETY: the value is at least a Listener long, plain numbers of any bit pattern.
                see(&unsafe { value.as_ptr().cast::<Listener>().read_unaligned() });
            })
        };
        let first = read(&mut |listener| known.push(listener.sk));
        if let Some(look) =
            self.ebpf.program(hooks::LISTENER.program).and_then(|p| <&RawTracePoint>::try_from(p).ok())
        {
            for sk in known {
                let mut run = RawTracePointRunOptions::new();
                run.args = [sk, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
                if let Err(e) = look.test_run(run) {
                    debug!("a listening socket was not looked at: {e}");
                    break;
                }
            }
        }
        if let Err(e) = first.and_then(|()| read(&mut see)) {
            warn!("the table of listening sockets could not be read: {e}");
        }
    }

    /// From now on the lengths of this thread's turns are counted.
    pub fn measure(&mut self, task: u64) {
        let map = self.ebpf.map_mut("TURNS").and_then(|m| HashMap::<_, u64, Turns>::try_from(m).ok());
        if let Some(mut map) = map
            && let Err(e) = map.insert(task, Turns(Histogram::default()), 0)
        {
            debug!("the turns of a loop are not measured: {e}");
        }
    }

    /// The lengths of this thread's turns.
    pub fn turns(&self, task: u64) -> Option<Histogram> {
        let map = HashMap::<_, u64, Turns>::try_from(self.ebpf.map("TURNS")?).ok()?;
        map.get(&task, 0).ok().map(|turns| turns.0)
    }

    /// Time spent in all programs so far, as far as the kernel has measured it.
    pub fn run_time(&self) -> std::time::Duration {
        self.ebpf.programs().filter_map(|(_, p)| Some(p.info().ok()?.run_time())).sum()
    }

    /// Memory of all maps in bytes, as the kernel counts it (`memlock` in the map's fdinfo).
    pub fn map_bytes(&self) -> u64 {
        self.map_bytes
    }
}

impl std::fmt::Debug for Session {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Session")
            .field("socket", &self.socket)
            .field("missing", &self.missing)
            .finish_non_exhaustive()
    }
}

/// A histogram as aya takes it.
#[derive(Clone, Copy)]
#[repr(transparent)]
struct Turns(Histogram);

// SAFETY: plain numbers without padding.
unsafe impl aya::Pod for Turns {}

/// A value of the map of connections: the connection, and the kept beginning of its request if one is under way.
fn entry(value: &[u8]) -> (Conn, Option<&[u8]>) {
    // SAFETY: the value is at least a Conn long, plain data of any bit pattern.
    let conn = unsafe { value.as_ptr().cast::<Conn>().read_unaligned() };
    let is_asked = conn.state == state::REQUEST || conn.state == state::RESPONSE;
    let head = is_asked.then(|| {
        let kept = value.get(size_of::<Conn>()..).unwrap_or_default();
        kept.get(..conn.record.request.head_len as usize).unwrap_or(kept)
    });
    (conn, head)
}

/// A map of the kernel half's, as what it is used as.
fn take<M: TryFrom<Map, Error = MapError>>(ebpf: &mut Ebpf, map: &'static str) -> Result<M, ObjectError> {
    ebpf.take_map(map).and_then(|map| M::try_from(map).ok()).ok_or(ObjectError::NoMap { map })
}

/// Lets the hooks speak, or silences them.
fn arm(ebpf: &mut Ebpf, armed: bool) -> Result<(), ObjectError> {
    let missing = ObjectError::NoMap { map: "ARMED" };
    let map = ebpf.map_mut("ARMED").and_then(|m| Array::<_, u32>::try_from(m).ok());
    map.ok_or(missing)?.set(0, u32::from(armed), 0).map_err(|_| ObjectError::NoMap { map: "ARMED" })
}
