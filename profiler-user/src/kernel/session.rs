//! A session with the kernel: the programs loaded and attached, the ring, the counters, the sweep. Everything that it
//! holds is a file descriptor, so nothing stays in the kernel when this process ends, however it ends.

mod connections;
mod loops;

use aya::Ebpf;
use aya::maps::{Array, Map, MapData, MapError, PerCpuArray, RingBuf};
use aya::programs::{RawTracePoint, RawTracePointRunOptions, TestRun};
use aya_log::EbpfLogger;
use log::{debug, warn};
use profiler_ebpf::listener::Listener;
use profiler_ebpf::record::Counter;

pub use self::connections::{Survey, Which};
use super::batch;
use super::error::StartError;
use super::hooks::{self, SocketHooks};
use super::load::{self, Loaded, Missing, Options};
use super::loops::LoopReader;
use super::misses::Misses;
use super::object::ObjectError;
use super::program::{self, Links};

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
