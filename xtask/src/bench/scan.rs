//! What it takes the agent to look at loops that wait: the same agent beside no loop and beside 1,000, in turns.

use std::{
    fs, io,
    os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd},
    path::Path,
    ptr,
    sync::atomic::{AtomicUsize, Ordering},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};

use super::agent::Agent;
use super::probe::{epoll_set, wait};
use super::table::Row;

const LOOPS: usize = 1_000;
/// One look at the agent's own time.
const LOOK: Duration = Duration::from_secs(3);
/// Until what comes and goes with the threads is over.
const SETTLE: Duration = Duration::from_millis(500);

pub(super) fn run(binary: &Path, pairs: usize) -> Result<Row> {
    allow_descriptors(LOOPS as u64 + 200)?;
    let agent = Agent::start(binary, &[])?;
    let mut values = [Vec::new(), Vec::new()];
    for round in 1..=pairs {
        eprintln!("round {round} of {pairs}");
        thread::sleep(SETTLE);
        values[0].push(share(&agent)?);
        values[1].push(beside_loops(|| {
            thread::sleep(SETTLE);
            share(&agent)
        })?);
    }
    agent.end()?;
    let setups = ["no loop", "1,000 loops that wait"].map(str::to_owned);
    Ok(Row::new("the agent's own CPU time, a second", "ms", setups.into_iter().zip(values)))
}

/// Milliseconds of CPU that the agent takes in a second.
fn share(agent: &Agent) -> Result<f64> {
    let (before, begun) = (agent.cpu()?, Instant::now());
    thread::sleep(LOOK);
    let (after, took) = (agent.cpu()?, begun.elapsed());
    Ok(after.saturating_sub(before).as_secs_f64() / took.as_secs_f64() * 1e3)
}

/// Runs `work` while so many threads wait for an event, each on a set of its own.
fn beside_loops<T>(work: impl FnOnce() -> Result<T>) -> Result<T> {
    // SAFETY: no memory of ours is touched.
    let fd = unsafe { libc::eventfd(0, libc::EFD_CLOEXEC) };
    ensure!(fd >= 0, "failed to make an eventfd: {}", io::Error::last_os_error());
    // SAFETY: just made, and nobody else's.
    let end = unsafe { OwnedFd::from_raw_fd(fd) };
    let waiting = AtomicUsize::new(0);
    thread::scope(|scope| {
        let mut begun = Ok(());
        for _ in 0..LOOPS {
            let set = epoll_set()?;
            let mut event = libc::epoll_event { events: libc::EPOLLIN as u32, u64: 0 };
            // SAFETY: both descriptors are open, the event is read only.
            let failed = unsafe {
                libc::epoll_ctl(
                    set.as_raw_fd(),
                    libc::EPOLL_CTL_ADD,
                    end.as_raw_fd(),
                    ptr::from_mut(&mut event),
                )
            };
            ensure!(failed == 0, "failed to watch an eventfd: {}", io::Error::last_os_error());
            let waiting = &waiting;
            let thread = thread::Builder::new().stack_size(64 << 10).spawn_scoped(scope, move || {
                waiting.fetch_add(1, Ordering::Relaxed);
                wait(&set, -1);
            });
            if let Err(error) = thread {
                begun = Err(error).context("failed to start a thread");
                break;
            }
        }
        let done = begun.and_then(|()| {
            while waiting.load(Ordering::Relaxed) < LOOPS {
                thread::sleep(Duration::from_millis(10));
            }
            work()
        });
        let one = 1u64;
        // SAFETY: eight bytes are written from a number of eight bytes.
        let told = unsafe { libc::write(end.as_raw_fd(), ptr::from_ref(&one).cast(), size_of::<u64>()) };
        ensure!(told == 8, "failed to end the threads: {}", io::Error::last_os_error());
        done
    })
}

/// Raises this process's own limit of descriptors.
fn allow_descriptors(count: u64) -> Result<()> {
    let open = fs::read_dir("/proc/self/fd").map_or(0, Iterator::count) as u64;
    let limit = libc::rlimit { rlim_cur: count + open, rlim_max: count + open };
    let mut now = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: both calls touch one struct each, of the kind they expect.
    let failed = unsafe {
        libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut now) != 0
            || now.rlim_cur < limit.rlim_cur
                && libc::setrlimit(
                    libc::RLIMIT_NOFILE,
                    &libc::rlimit { rlim_max: now.rlim_max.max(limit.rlim_max), ..limit },
                ) != 0
    };
    ensure!(!failed, "{} descriptors are not allowed: {}", limit.rlim_cur, io::Error::last_os_error());
    Ok(())
}
