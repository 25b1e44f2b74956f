//! A session with the kernel: the programs loaded and attached, the ring, the counters, the sweep. Everything that it
//! holds is a file descriptor, so nothing stays in the kernel when this process ends, however it ends.

use aya::maps::{Array, HashMap, MapData, PerCpuArray, ProgramArray, RingBuf};
use aya::programs::{Program, ProgramError, RawTracePoint, RawTracePointRunOptions, TestRun, TracePoint};
use aya::{Ebpf, EbpfLoader};
use aya_log::EbpfLogger;
use log::{debug, warn};
use profiler_ebpf::config::Config;
use profiler_ebpf::conn::{Conn, state};
use profiler_ebpf::histogram::Histogram;
use profiler_ebpf::loops::Loop;
use profiler_ebpf::record::{Counter, proto};
use thiserror::Error;

use super::batch;
use super::btf::{Btf, BtfError};
use super::hooks::{self, Hook, Point, SocketHooks, Wait};
use super::layout::{self, LayoutError};
use super::loops::LoopReader;
use super::object::{self, ObjectError};

/// What the operator may choose.
#[derive(Debug, Clone)]
pub struct Options {
    /// Only this way to see sockets; by default the first that attaches.
    pub socket_hooks: Option<SocketHooks>,
    /// Ceiling of the connection table.
    pub max_connections: u32,
    /// Bytes; rounded up to a power of two of at least a page.
    pub ring_size: u32,
    /// Bytes kept of each request's head.
    pub head_bytes: u32,
    /// Which waits make an event loop; none: loops are not watched.
    pub loops: Vec<Wait>,
    /// A turn of an event loop that takes so long is a stall.
    pub stall_threshold: std::time::Duration,
    pub log_kernel: bool,
}

/// Why a session could not begin.
#[derive(Debug, Error)]
pub enum StartError {
    #[error("kernel BTF: {0}")]
    Btf(#[from] BtfError),
    #[error(transparent)]
    Layout(#[from] LayoutError),
    #[error(transparent)]
    Object(#[from] ObjectError),
    #[error("the kernel did not take the maps: {source}")]
    Load { source: aya::EbpfError },
    #[error("the ring buffer could not be polled: {source}")]
    Ring { source: std::io::Error },
    #[error("no way to see socket reads and writes on this kernel: {}; `hostprof doctor` says what to do", reasons.join("; "))]
    NoSocketHooks { reasons: Vec<String>, permission: bool },
}

impl StartError {
    /// True when missing rights are the likely cause.
    pub fn is_permission(&self) -> bool {
        match self {
            Self::Load { source } => denied(source),
            Self::NoSocketHooks { permission, .. } => *permission,
            _ => false,
        }
    }
}

/// True when EPERM or EACCES stands somewhere in an error's causes.
fn denied(error: &(dyn std::error::Error + 'static)) -> bool {
    let mut next = Some(error);
    while let Some(e) = next {
        if let Some(io) = e.downcast_ref::<std::io::Error>()
            && matches!(io.raw_os_error(), Some(libc::EPERM | libc::EACCES))
        {
            return true;
        }
        next = e.source();
    }
    false
}

/// One line for an error and its causes, without the verifier's log.
fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = String::new();
    let mut next = Some(error);
    while let Some(e) = next {
        let line = e.to_string();
        let line = line.lines().next().unwrap_or_default();
        if !text.contains(line) {
            if !text.is_empty() {
                text.push_str(": ");
            }
            text.push_str(line);
        }
        next = e.source();
    }
    text
}

/// A running session.
pub struct Session {
    ebpf: Ebpf,
    /// Which way sockets are seen.
    pub socket: SocketHooks,
    /// Hooks that did not attach: what they would give, and why they did not.
    pub missing: Vec<Missing>,
    counters: PerCpuArray<MapData, u64>,
    loaded: Vec<&'static str>,
    sweep_buffer: batch::Buffer,
    loops: LoopReader,
    map_bytes: u64,
    /// The kernel half's diagnostics, under `--log-kernel`.
    logger: Option<EbpfLogger<&'static dyn log::Log>>,
}

/// A hook that is not in use.
#[derive(Debug, Clone)]
pub struct Missing {
    pub hook: Hook,
    pub reason: String,
}

impl Session {
    /// Loads everything, then attaches. Returns the session and the ring that the records come out of.
    pub fn start(options: &Options) -> Result<(Self, RingBuf<MapData>), StartError> {
        let btf = Btf::from_kernel()?;
        let ring_size = options.ring_size.max(4096).next_power_of_two();
        let config = Config {
            self_tgid: std::process::id(),
            head_bytes: options.head_bytes,
            wake_at: ring_size / 4,
            log: options.log_kernel.into(),
            stall_us: options.stall_threshold.as_micros().try_into().unwrap_or(u32::MAX),
            ..layout::read(&btf)?
        };
        drop(btf);
        let bytes = object::sized_for(options.head_bytes)?;
        let pod = Pod(config);
        let log_level = if options.log_kernel { aya_log::Level::Debug as u8 } else { 0 };
        let mut ebpf = EbpfLoader::new()
            .btf(None)
            .allow_unsupported_maps()
            .override_global("CONFIG", &pod, true)
            .override_global(aya_log::LEVEL, &log_level, false)
            .map_max_entries("CONNS", options.max_connections)
            .map_max_entries("RING", ring_size)
            .load(&bytes)
            .map_err(|source| StartError::Load { source })?;
        let mut loaded = Vec::new();
        let mut missing = Vec::new();
        // Everything is loaded before anything is attached: verification takes long enough for one-sided traffic.
        let mut others = Vec::new();
        for hook in hooks::OTHERS.into_iter().chain(hooks::loops(&options.loops)) {
            match load(&mut ebpf, &hook) {
                Ok(()) => {
                    loaded.push(hook.program);
                    others.push(hook);
                }
                Err(e) => missing.push(Missing { hook, reason: chain(&e) }),
            }
        }
        if config.task_regs == 0 && loaded.contains(&hooks::BLOCKING_CALL.program) {
            let reason = "the kernel has no bpf_task_pt_regs: Linux 5.15 and newer have it".into();
            missing.push(Missing { hook: hooks::BLOCKING_CALL, reason });
        }
        let sweep = hooks::SWEEP;
        match load(&mut ebpf, &sweep) {
            Ok(()) => loaded.push(sweep.program),
            Err(e) => missing.push(Missing { hook: sweep, reason: chain(&e) }),
        }
        let mut reasons = Vec::new();
        let mut permission = false;
        let mut chosen = None;
        for way in SocketHooks::ALL {
            if options.socket_hooks.is_some_and(|only| only != way) {
                continue;
            }
            match load_all(&mut ebpf, hooks::socket_programs(way)) {
                Ok(()) => {}
                Err(e) => {
                    permission |= denied(&e);
                    reasons.push(format!("{}: {}", way.name(), chain(&e)));
                    continue;
                }
            }
            // Once: the other programs go in before the first way is tried.
            for hook in others.drain(..) {
                if let Err(e) = attach(&mut ebpf, &hook) {
                    missing.push(Missing { hook, reason: chain(&e) });
                }
            }
            match attach_all(&mut ebpf, hooks::socket_programs(way)) {
                Ok(()) => {
                    chosen = Some(way);
                    loaded.extend(hooks::socket_programs(way).iter().map(|h| h.program));
                    break;
                }
                Err(e) => {
                    permission |= denied(&e);
                    reasons.push(format!("{}: {}", way.name(), chain(&e)));
                    for hook in hooks::socket_programs(way) {
                        if let Some(program) = ebpf.program_mut(hook.program) {
                            unload(program);
                        }
                    }
                }
            }
        }
        let Some(socket) = chosen else { return Err(StartError::NoSocketHooks { reasons, permission }) };
        for m in &missing {
            debug!("hook {} is not in use: {}", m.hook.program, m.reason);
        }
        arm(&mut ebpf, true)?;
        let map_bytes = ebpf.maps().filter_map(|(_, m)| batch::map_fd(m)).map(batch::memlock).sum();
        let logger = if options.log_kernel {
            EbpfLogger::init(&mut ebpf).map_err(|e| warn!("no diagnostics of the kernel half: {e}")).ok()
        } else {
            None
        };
        let ring = take(&mut ebpf, "RING").and_then(|m| RingBuf::try_from(m).ok());
        let counters = take(&mut ebpf, "COUNTERS").and_then(|m| PerCpuArray::try_from(m).ok());
        let (Some(ring), Some(counters)) = (ring, counters) else {
            return Err(StartError::Object(ObjectError::NoMap { map: "RING" }));
        };
        Ok((
            Self {
                ebpf,
                socket,
                missing,
                counters,
                loaded,
                sweep_buffer: batch::Buffer::default(),
                loops: LoopReader::default(),
                map_bytes,
                logger,
            },
            ring,
        ))
    }

    /// True when this program is attached.
    pub fn has(&self, program: &str) -> bool {
        self.loaded.contains(&program) && !self.missing.iter().any(|m| m.hook.program == program)
    }

    /// The kernel half's counter, summed over CPUs.
    pub fn counter(&self, counter: Counter) -> u64 {
        self.counters.get(&(counter as u32), 0).map(|v| v.iter().sum()).unwrap_or(0)
    }

    /// Looks at every connection and has the idle ones looked at by the kernel half; `last`, when no more will come,
    /// has it send whatever is complete. Returns how many exchanges are still under way.
    pub fn sweep(&mut self, last: bool) -> u64 {
        let Some(fd) = self.ebpf.map("CONNS").and_then(batch::map_fd) else { return 0 };
        let mut idle = Vec::new();
        let mut in_flight = 0;
        let result = batch::for_each(fd, &mut self.sweep_buffer, size_of::<Conn>(), |value| {
            // SAFETY: the value is at least a Conn long, plain data of any bit pattern.
            let conn = unsafe { value.as_ptr().cast::<Conn>().read_unaligned() };
            let known = conn.record.proto == proto::HTTP || conn.record.proto == proto::MYSQL;
            if known && (conn.state == state::REQUEST || conn.state == state::RESPONSE) {
                in_flight += 1 + u64::from(conn.waiting);
            }
            let unsettled = known && conn.state == state::RESPONSE && conn.record.proto == proto::MYSQL;
            if unsettled || conn.t_closed != 0 || i32::from(conn.record.family) == libc::AF_UNIX {
                idle.push(conn.record.sk);
            }
        });
        if let Err(e) = result {
            warn!("the connection table could not be read: {e}");
        }
        let sweep = self.ebpf.program(hooks::SWEEP.program).and_then(|p| <&RawTracePoint>::try_from(p).ok());
        if let Some(sweep) = sweep {
            for sk in idle {
                let mut run = RawTracePointRunOptions::new();
                run.args = [sk, last.into(), 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
                match sweep.test_run(run) {
                    // The program says 1 when the exchange was sent.
                    Ok(result) => in_flight = in_flight.saturating_sub(u64::from(result.return_value)),
                    Err(e) => {
                        debug!("sweep: {e}");
                        break;
                    }
                }
            }
        }
        in_flight
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
        for (name, program) in self.ebpf.programs_mut() {
            // The sweep hangs on no hook, and is still to be run.
            if name != hooks::SWEEP.program {
                unload(program);
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

/// The configuration as aya takes it.
#[derive(Clone, Copy)]
#[repr(transparent)]
struct Pod(Config);

// SAFETY: u32 fields only, no padding.
unsafe impl aya::Pod for Pod {}

/// A histogram as aya takes it.
#[derive(Clone, Copy)]
#[repr(transparent)]
struct Turns(Histogram);

// SAFETY: plain numbers without padding.
unsafe impl aya::Pod for Turns {}

fn take(ebpf: &mut Ebpf, name: &str) -> Option<aya::maps::Map> {
    ebpf.take_map(name)
}

/// Lets the hooks speak, or silences them.
fn arm(ebpf: &mut Ebpf, armed: bool) -> Result<(), ObjectError> {
    let missing = ObjectError::NoMap { map: "ARMED" };
    let map = ebpf.map_mut("ARMED").and_then(|m| Array::<_, u32>::try_from(m).ok());
    map.ok_or(missing)?.set(0, u32::from(armed), 0).map_err(|_| ObjectError::NoMap { map: "ARMED" })
}

fn load_all(ebpf: &mut Ebpf, hooks: &[Hook]) -> Result<(), ProgramError> {
    hooks.iter().try_for_each(|hook| load(ebpf, hook))
}

fn load(ebpf: &mut Ebpf, hook: &Hook) -> Result<(), ProgramError> {
    let program = ebpf.program_mut(hook.program).ok_or(ProgramError::NotLoaded)?;
    if program.fd().is_ok() {
        return Ok(());
    }
    if let Ok(p) = <&mut TracePoint>::try_from(&mut *program) {
        p.load()?;
    } else {
        <&mut RawTracePoint>::try_from(program)?.load()?;
    }
    if let Point::Stage { array, index } = hook.point {
        let fd = ebpf.program(hook.program).ok_or(ProgramError::NotLoaded)?.fd()?.try_clone()?;
        if let Some(map) = ebpf.map_mut(array) {
            let mut programs = ProgramArray::try_from(map).map_err(ProgramError::MapError)?;
            programs.set(index, &fd, 0).map_err(ProgramError::MapError)?;
        }
    }
    Ok(())
}

fn attach_all(ebpf: &mut Ebpf, hooks: &[Hook]) -> Result<(), ProgramError> {
    hooks.iter().try_for_each(|hook| attach(ebpf, hook))
}

fn attach(ebpf: &mut Ebpf, hook: &Hook) -> Result<(), ProgramError> {
    let program = ebpf.program_mut(hook.program).ok_or(ProgramError::NotLoaded)?;
    match hook.point {
        Point::None | Point::Stage { .. } => {}
        Point::Raw(name) => {
            <&mut RawTracePoint>::try_from(program)?.attach(name)?;
        }
        Point::Classic { category, names } => {
            let p: &mut TracePoint = program.try_into()?;
            let mut attached = 0;
            let mut last = None;
            for name in names {
                match p.attach(category, name) {
                    Ok(_) => attached += 1,
                    Err(e) => last = Some(e),
                }
            }
            if let (0, Some(e)) = (attached, last) {
                return Err(e);
            }
        }
    }
    Ok(())
}

/// Takes a program out of the kernel, and off its hooks.
fn unload(program: &mut Program) {
    let result = match program {
        Program::RawTracePoint(p) => p.unload(),
        Program::TracePoint(p) => p.unload(),
        _ => Ok(()),
    };
    match result {
        Ok(()) | Err(ProgramError::NotLoaded) => {}
        Err(e) => debug!("a program was not taken out: {e}"),
    }
}
