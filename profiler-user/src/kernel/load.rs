//! The kernel half into the kernel: options go in, maps and programs come out, attached as far as this kernel has the
//! hooks. They keep silent until the session arms them.

use std::time::Duration;

use aya::{Ebpf, EbpfLoader};
use log::debug;
use profiler_ebpf::config::Config;

use super::btf::Btf;
use super::error::{StartError, chain, denied};
use super::hooks::{self, Hook, SocketHooks, Wait};
use super::program::{self, Links};
use super::{layout, lockdown, object, own, release};

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
    pub stall_threshold: Duration,
    pub log_kernel: bool,
}

/// The maps of event loops, which take as much memory as they have room.
const LOOP_MAPS: [&str; 3] = ["LOOPS", "SETS", "TURNS"];

/// Why a kernel that preempts programs of raw tracepoints is not recorded through them.
const PREEMPTED: &str = "Linux 7.0 and newer preempt programs of raw tracepoints, and one operation would be taken for \
                         another; mount tracefs at /sys/kernel/tracing for the other ways";

/// The kernel half, loaded and attached.
pub(super) struct Loaded {
    pub(super) ebpf: Ebpf,
    pub(super) links: Links,
    /// Which way sockets are seen.
    pub(super) socket: SocketHooks,
    /// The programs in use, the sweep and the stages included.
    pub(super) programs: Vec<&'static str>,
    /// Whether waits for events are seen.
    pub(super) watches_loops: bool,
    pub(super) missing: Vec<Missing>,
}

/// A hook that is not in use.
#[derive(Debug, Clone)]
pub struct Missing {
    pub hook: Hook,
    pub reason: String,
}

/// Loads everything, then attaches: verification takes long enough for one-sided traffic.
pub(super) fn load(options: &Options) -> Result<Loaded, StartError> {
    if lockdown::forbids(&lockdown::mode()) {
        return Err(StartError::LockedDown);
    }
    let config = config(options)?;
    let mut ebpf = maps(options, config)?;
    let mut programs = Vec::new();
    let mut missing = Vec::new();
    let mut others = Vec::new();
    let optional =
        hooks::OTHERS.into_iter().chain(hooks::loops(&options.loops)).chain([hooks::SWEEP, hooks::LISTENER]);
    for hook in optional {
        match program::load(&mut ebpf, &hook) {
            Ok(()) => {
                programs.push(hook.program);
                others.push(hook);
            }
            Err(e) => missing.push(Missing { hook, reason: chain(&e) }),
        }
    }
    if !watches_loops(&programs, &missing) {
        // The scheduler's hooks would have nothing to look for, and those of waits cost every system call.
        others.retain(|hook| !hooks::watches_loops(hook.program));
        programs.retain(|program| !hooks::watches_loops(program));
    }
    if config.task_regs == 0 && programs.contains(&hooks::BLOCKING_CALL.program) {
        let reason = "the kernel has no bpf_task_pt_regs: Linux 5.15 and newer have it".into();
        missing.push(Missing { hook: hooks::BLOCKING_CALL, reason });
    }
    let mut links = Links::default();
    let attach_others = |ebpf: &mut Ebpf, links: &mut Links| {
        for hook in others.drain(..) {
            if missing.iter().any(|m| hooks::needs(hook.program, m.hook.program)) {
                continue;
            }
            if let Err(e) = program::attach(ebpf, &hook, links) {
                missing.push(Missing { hook, reason: chain(&e) });
            }
        }
    };
    let connects = hooks::CONNECTS.map(|hook| (hook, program::load(&mut ebpf, &hook)));
    let socket = sockets(&mut ebpf, options.socket_hooks, &mut links, attach_others)?;
    let every_call = match socket {
        SocketHooks::SockTracepoints => watches_loops(&programs, &missing),
        SocketHooks::SyscallExit => true,
        SocketHooks::RawExit => false,
    };
    for (hook, loaded) in connects.into_iter().filter(|_| every_call) {
        match loaded.and_then(|()| program::attach(&mut ebpf, &hook, &mut links)) {
            Ok(()) => programs.push(hook.program),
            Err(e) => missing.push(Missing { hook, reason: chain(&e) }),
        }
    }
    programs.extend(hooks::socket_programs(socket, release::preempts()).iter().map(|h| h.program));
    let watches_loops = watches_loops(&programs, &missing);
    programs.retain(|program| !missing.iter().any(|m| m.hook.program == *program));
    for m in &missing {
        debug!("hook {} is not in use: {}", m.hook.program, m.reason);
    }
    Ok(Loaded { ebpf, links, socket, programs, watches_loops, missing })
}

/// Whether waits for events are seen to begin, and to end, with these programs.
fn watches_loops(programs: &[&str], missing: &[Missing]) -> bool {
    let lacks =
        |begin: &str| missing.iter().any(|m| m.hook.program == begin || hooks::needs(begin, m.hook.program));
    programs.iter().any(|program| hooks::BEGINS.contains(program) && !lacks(program))
}

/// What the kernel half is told: the kernel's layout and what the operator chose.
fn config(options: &Options) -> Result<Config, StartError> {
    let btf = Btf::from_kernel()?;
    Ok(Config {
        self_tgid: own::tgid(),
        head_bytes: options.head_bytes,
        wake_at: ring_size(options) / 4,
        log: options.log_kernel.into(),
        stall_us: options.stall_threshold.as_micros().try_into().unwrap_or(u32::MAX),
        ..layout::read(&btf)?
    })
}

/// The ring's size as the kernel takes it.
fn ring_size(options: &Options) -> u32 {
    options.ring_size.max(4096).next_power_of_two()
}

/// The maps, with the configuration in them.
fn maps(options: &Options, config: Config) -> Result<Ebpf, StartError> {
    let bytes = object::sized_for(options.head_bytes)?;
    let pod = Pod(config);
    let log_level = if options.log_kernel { aya_log::Level::Debug as u8 } else { 0 };
    let mut loader = EbpfLoader::new();
    if options.loops.is_empty() {
        LOOP_MAPS.iter().for_each(|map| {
            loader.map_max_entries(map, 1);
        });
    }
    loader
        .btf(None)
        .allow_unsupported_maps()
        .override_global("CONFIG", &pod, true)
        .override_global(aya_log::LEVEL, &log_level, false)
        .map_max_entries("CONNS", options.max_connections)
        .map_max_entries("RING", ring_size(options))
        .load(&bytes)
        .map_err(|source| StartError::Load { source })
}

/// The first way to see sockets that loads and attaches; `attach_others` runs between the two, once.
fn sockets(
    ebpf: &mut Ebpf,
    only: Option<SocketHooks>,
    links: &mut Links,
    mut attach_others: impl FnMut(&mut Ebpf, &mut Links),
) -> Result<SocketHooks, StartError> {
    let preempted = release::preempts();
    let mut reasons = Vec::new();
    let mut permission = false;
    for way in SocketHooks::ALL.into_iter().filter(|way| only.is_none_or(|only| only == *way)) {
        if preempted && way == SocketHooks::RawExit {
            reasons.push(format!("{}: {PREEMPTED}", way.name()));
            continue;
        }
        let hooks = hooks::socket_programs(way, preempted);
        let result = program::load_all(ebpf, hooks).and_then(|()| {
            attach_others(ebpf, links);
            let mut own = Links::default();
            program::attach_all(ebpf, hooks, &mut own).inspect_err(|_| {
                own.release();
                program::unload_all(ebpf, hooks);
            })?;
            links.append(own);
            Ok(())
        });
        match result {
            Ok(()) => return Ok(way),
            Err(e) => {
                permission |= denied(&e);
                reasons.push(format!("{}: {}", way.name(), chain(&e)));
            }
        }
    }
    Err(StartError::NoSocketHooks { reasons, permission })
}

/// The configuration as aya takes it.
#[derive(Clone, Copy)]
#[repr(transparent)]
struct Pod(Config);

// SAFETY: u32 fields only, no padding.
unsafe impl aya::Pod for Pod {}
