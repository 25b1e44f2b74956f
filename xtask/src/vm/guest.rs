//! One guest from its start to its end: in come a kernel and a command, out come what it wrote and how it ended.
//!
//! Everything lies in a folder of its own and is gone when it has ended, whichever way: the processes are killed when
//! the [`Running`] is dropped, and by the kernel when we are.

use std::{
    fs::{self, File},
    io::{self, BufRead as _, BufReader, PipeReader, PipeWriter, Read as _, Write},
    os::{
        fd::AsRawFd as _,
        unix::{net::UnixListener, process::CommandExt as _},
    },
    path::Path,
    process::{Child, Command, Stdio},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use tempfile::TempDir;

use super::{
    initramfs::{self, Said},
    interrupt,
    kernel::Kernel,
    machine::{Lockdown, Machine, QEMU},
    script::Task,
    share,
};

const POLL: Duration = Duration::from_millis(20);
/// Of the console, when a guest died.
const LAST_LINES: usize = 80;
const BUSYBOX: &str = "/bin/busybox";

/// What guests get.
#[derive(Debug, Clone, Copy)]
pub(super) struct Size {
    pub(super) cpus: u32,
    /// MiB
    pub(super) memory: u32,
    pub(super) timeout: Duration,
}

/// How a guest ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum End {
    /// The command ended with this status.
    Exited(u8),
    /// The guest ended before its command; the end of its console.
    Died(String),
    TimedOut,
    /// By a signal to us.
    Interrupted(i32),
}

impl End {
    /// As a shell says it of its children.
    pub(super) fn status(&self) -> u8 {
        match self {
            Self::Exited(status) => *status,
            Self::Died(_) => 125,
            Self::TimedOut => 124,
            Self::Interrupted(signal) => 128 + *signal as u8,
        }
    }
}

/// A guest that is over.
#[derive(Debug)]
pub(super) struct Ended {
    pub(super) end: End,
    /// Until its command started.
    pub(super) booted: Option<Duration>,
    pub(super) took: Duration,
    /// What it wrote to standard output, where that was asked for.
    pub(super) output: Vec<u8>,
}

/// Where a guest's standard output goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Output {
    /// To ours.
    Ours,
    /// Into [`Ended::output`].
    Kept,
}

/// Boots the kernel, runs the task, and waits for the end.
pub(super) fn run(
    kernel: &Kernel,
    lockdown: Lockdown,
    task: &Task,
    size: Size,
    output: Output,
) -> Result<Ended> {
    let begun = Instant::now();
    let dir =
        tempfile::Builder::new().prefix("hostprof-vm-").tempdir().context("failed to create a folder")?;
    let mut running = Running::start(kernel, lockdown, task, size, dir, output)?;
    let end = loop {
        if let Some(signal) = interrupt::came() {
            break Some(End::Interrupted(signal));
        }
        if running.machine.try_wait().context("failed to wait for QEMU")?.is_some() {
            break None;
        }
        if begun.elapsed() > size.timeout {
            break Some(End::TimedOut);
        }
        thread::sleep(POLL);
    };
    running.finish(end, begun)
}

/// The processes of a guest and those who read what it writes.
#[derive(Debug)]
struct Running {
    machine: Child,
    share: Child,
    dir: TempDir,
    output: Option<JoinHandle<Vec<u8>>>,
    complaints: Option<JoinHandle<Vec<u8>>>,
    status: Option<JoinHandle<(Option<Instant>, Option<u8>)>>,
}

impl Running {
    fn start(
        kernel: &Kernel,
        lockdown: Lockdown,
        task: &Task,
        size: Size,
        dir: TempDir,
        output: Output,
    ) -> Result<Self> {
        let at = |name: &str| dir.path().join(name);
        let (initramfs, socket, console) = (at("initramfs"), at("share"), at("console"));
        fs::write(&initramfs, archive(kernel, task)?).context("failed to write the initramfs")?;
        let log = File::create(at("share.log")).context("failed to create a log")?;
        let listener = UnixListener::bind(&socket).context("failed to make the daemon's socket")?;

        let mut writers = Vec::new();
        let mut pipe = || -> Result<PipeReader> {
            let (reader, writer) = io::pipe().context("failed to make a pipe")?;
            writers.push(writer);
            Ok(reader)
        };
        let (out, status, complaints) = (pipe()?, pipe()?, pipe()?);
        let pipes = [0, 1, 2].map(|at: usize| writers[at].as_raw_fd());
        let machine = Machine {
            image: &kernel.image,
            initramfs: &initramfs,
            share: &socket,
            console: &console,
            pipes,
            lockdown,
            cpus: size.cpus,
            memory: size.memory,
            kvm: has_kvm(),
        };
        let mut share = share::start(listener, log)?;
        let machine = match start_machine(&machine, &writers, &at("qemu.log")) {
            Ok(machine) => machine,
            Err(error) => {
                end(&mut share);
                return Err(error);
            }
        };
        // The guest has the only other ends: the readers end with it.
        drop(writers);
        let sink: Option<Box<dyn Write + Send>> = match output {
            Output::Ours => Some(Box::new(io::stdout())),
            Output::Kept => None,
        };
        Ok(Self {
            machine,
            share,
            dir,
            output: Some(thread::spawn(|| pump(out, sink))),
            complaints: Some(thread::spawn(|| pump(complaints, Some(Box::new(io::stderr()))))),
            status: Some(thread::spawn(|| listen(status))),
        })
    }

    /// Ends what still runs and says how it ended: by `end`, or by itself.
    fn finish(mut self, end: Option<End>, begun: Instant) -> Result<Ended> {
        self.stop();
        let output = self.output.take().and_then(|thread| thread.join().ok()).unwrap_or_default();
        let _complaints = self.complaints.take().map(JoinHandle::join);
        let (started, status) = self.status.take().and_then(|thread| thread.join().ok()).unwrap_or_default();
        let end = match (end, status) {
            (Some(end), _) => end,
            (None, Some(status)) => End::Exited(status),
            (None, None) => End::Died(self.last_words()),
        };
        let booted = started.map(|started| started.duration_since(begun));
        Ok(Ended { end, booted, took: begun.elapsed(), output })
    }

    fn stop(&mut self) {
        end(&mut self.machine);
        end(&mut self.share);
    }

    /// The ends of what the guest, its machine and its daemon said.
    fn last_words(&self) -> String {
        let mut words = String::new();
        for name in ["share.log", "qemu.log", "console"] {
            let text = fs::read(self.dir.path().join(name)).unwrap_or_default();
            words += &last_lines(&String::from_utf8_lossy(&text));
        }
        words
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Kills a process and waits for its end; one that has ended stays as it is.
fn end(child: &mut Child) {
    let _ = child.kill();
    let _ = child.wait();
}

fn archive(kernel: &Kernel, task: &Task) -> Result<Vec<u8>> {
    let read = |path: &Path| fs::read(path).with_context(|| format!("failed to read {}", path.display()));
    let modules = kernel.modules.iter().map(|path| read(path)).collect::<Result<Vec<_>>>()?;
    Ok(initramfs::build(&read(Path::new(BUSYBOX))?, &modules, &task.script()))
}

fn start_machine(machine: &Machine<'_>, pipes: &[PipeWriter], log: &Path) -> Result<Child> {
    let log = File::create(log).context("failed to create a log")?;
    let mut qemu = Command::new(QEMU);
    qemu.args(machine.arguments()).stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).process_group(0);
    let pipes: Vec<_> = pipes.iter().map(|pipe| pipe.as_raw_fd()).collect();
    // SAFETY: system calls alone between fork and exec, on numbers.
    unsafe {
        qemu.pre_exec(move || {
            pipes.iter().try_for_each(|pipe| share::hand_over(*pipe))?;
            share::end_with_parent()
        });
    }
    qemu.spawn().with_context(|| format!("failed to run {qemu:?}"))
}

/// Whether KVM can run any kernel: there are hosts whose KVM does without the processor's help, and runs only kernels
/// that are made for it.
fn has_kvm() -> bool {
    let by_processor =
        ["/sys/module/kvm_amd", "/sys/module/kvm_intel"].iter().any(|path| Path::new(path).exists());
    by_processor && File::options().read(true).write(true).open("/dev/kvm").is_ok()
}

/// Passes on everything, or keeps it. A reader of ours that has gone must not hold up the guest.
fn pump(mut pipe: PipeReader, mut sink: Option<Box<dyn Write + Send>>) -> Vec<u8> {
    let mut kept = Vec::new();
    let mut buffer = vec![0; 64 << 10];
    while let Ok(length @ 1..) = pipe.read(&mut buffer) {
        match &mut sink {
            Some(sink) => {
                let _ = sink.write_all(&buffer[..length]).and_then(|()| sink.flush());
            }
            None => kept.extend_from_slice(&buffer[..length]),
        }
    }
    kept
}

/// When the command started, and its status.
fn listen(pipe: PipeReader) -> (Option<Instant>, Option<u8>) {
    let (mut started, mut status) = (None, None);
    for line in BufReader::new(pipe).lines().map_while(Result::ok) {
        match Said::parse(&line) {
            Some(Said::Started) => started = Some(Instant::now()),
            Some(Said::Ended(number)) => status = Some(number),
            None => {}
        }
    }
    (started, status)
}

fn last_lines(text: &str) -> String {
    let lines: Vec<_> = text.lines().filter(|line| !line.trim().is_empty()).collect();
    lines[lines.len().saturating_sub(LAST_LINES)..].iter().map(|line| format!("{line}\n")).collect()
}
