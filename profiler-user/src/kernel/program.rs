//! Single programs of the kernel half: into the kernel, onto their hooks, and out again.

use aya::Ebpf;
use aya::maps::ProgramArray;
use aya::programs::trace_point::TracePointLink;
use aya::programs::{Program, ProgramError, RawTracePoint, TracePoint};
use log::debug;

use super::hooks::{Hook, Point};

/// What holds programs on classic tracepoints. The kernel waits for a grace period when one is let go
/// (perf_event_detach_bpf_prog() in kernel/trace/bpf_trace.c), on a busy machine for seconds; those who wait at the same
/// time share one.
#[derive(Debug, Default)]
pub(super) struct Links(Vec<TracePointLink>);

impl Links {
    pub(super) fn append(&mut self, mut others: Self) {
        self.0.append(&mut others.0);
    }

    /// Lets all of them go at once.
    pub(super) fn release(&mut self) {
        std::thread::scope(|scope| {
            for link in self.0.drain(..) {
                scope.spawn(move || drop(link));
            }
        });
    }
}

/// Loads these, in order, until one fails.
pub(super) fn load_all(ebpf: &mut Ebpf, hooks: &[Hook]) -> Result<(), ProgramError> {
    hooks.iter().try_for_each(|hook| load(ebpf, hook))
}

/// Has the kernel verify a program; a stage goes into its program array too. Nothing happens when it is loaded already.
pub(super) fn load(ebpf: &mut Ebpf, hook: &Hook) -> Result<(), ProgramError> {
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

/// Attaches these, in order, until one fails.
pub(super) fn attach_all(ebpf: &mut Ebpf, hooks: &[Hook], links: &mut Links) -> Result<(), ProgramError> {
    hooks.iter().try_for_each(|hook| attach(ebpf, hook, links))
}

/// Hangs a loaded program on its hook.
pub(super) fn attach(ebpf: &mut Ebpf, hook: &Hook, links: &mut Links) -> Result<(), ProgramError> {
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
                match p.attach(category, name).and_then(|id| p.take_link(id)) {
                    Ok(link) => {
                        links.0.push(link);
                        attached += 1;
                    }
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

/// Takes these out of the kernel, and off their hooks.
pub(super) fn unload_all(ebpf: &mut Ebpf, hooks: &[Hook]) {
    for hook in hooks {
        if let Some(program) = ebpf.program_mut(hook.program) {
            unload(program);
        }
    }
}

/// Takes a program out of the kernel, and off its hooks.
pub(super) fn unload(program: &mut Program) {
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
