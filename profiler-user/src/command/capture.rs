//! A capture: source and stages together, from the attach to the report. What `record`, `trace` and `demo` share.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use jiff::Timestamp;
use profiler_ebpf::conn::Conn;
use profiler_ebpf::record::Counter;
use rustc_hash::FxHashMap;

use super::lookout::{Lookout, Told};
use super::pipeline::{Finished, Pipeline};
use crate::aggregate::Series;
use crate::clock::{WallClock, monotonic};
use crate::config::Settings;
use crate::connections;
use crate::connections::cpu::Cpu;
use crate::connections::handshake;
use crate::connections::owners::Owners;
use crate::connections::snapshot::{Namespaces, Snapshot};
use crate::connections::standing::Left;
use crate::kernel::caps::{Capabilities, Capability};
use crate::kernel::error::StartError;
use crate::kernel::hooks::Hook;
use crate::kernel::own;
use crate::kernel::{memlock, run_time::RunTime};
use crate::report::{
    Capture as CaptureReport, ConnectionRow, Counters, Finding, Hooks, Host, ListenerRow, Report, SCHEMA,
    Window,
};
use crate::rules::active::Active;
use crate::rules::thresholds::Thresholds;
use crate::rules::{self, Facts};
use crate::source::{Sink, Source};

/// Findings are looked for so often while a capture runs, in what was seen for the last while.
const JUDGE_EVERY: Duration = Duration::from_secs(1);
const JUDGED: Duration = Duration::from_secs(10);
/// The kernel half's table of listeners is read so often, and the CPU time of who works for them.
const LISTENERS_EVERY: Duration = Duration::from_secs(1);
/// The end of a recording waits so long for who owns its listeners: a process whose /proc hangs would hold it up.
const OWNERS_WAIT: Duration = Duration::from_secs(3);

/// A running capture.
#[derive(Debug)]
pub struct Capture {
    pub source: Source,
    pub pipeline: Pipeline,
    pub clock: WallClock,
    pub lookout: Lookout,
    cpu: Cpu,
    next_listeners: Instant,
    owners: Owners,
    /// Connections that each namespace had turned away when the window began.
    overflows_before: FxHashMap<u32, u64>,
    thresholds: Thresholds,
    active: Active,
    next_verdict: Instant,
    run_time: Option<RunTime>,
    begun: Instant,
    start: Timestamp,
    limits: Vec<String>,
}

/// A capture that has ended.
#[derive(Debug)]
pub struct Outcome {
    pub report: Report,
    pub series: Vec<Series>,
    /// Stalls that nobody has taken.
    pub stalls: Vec<Told>,
    /// Events of connections that nobody has taken.
    pub connections: Vec<connections::Told>,
    /// Findings of the whole recording that [`Capture::findings`] has not told of.
    pub findings: Vec<Finding>,
}

impl Capture {
    /// Attaches. The error says what is missing and what to do.
    pub fn start(settings: &Settings) -> Result<Self> {
        let caps = Capabilities::current().context("the rights of this process cannot be read")?;
        let missing = caps.missing(&[Capability::Bpf, Capability::Perfmon]);
        if !missing.is_empty() {
            let names: Vec<&str> = missing.iter().map(|c| c.name()).collect();
            bail!(
                "hostprof needs {} (or CAP_SYS_ADMIN): run it as root, or see `hostprof doctor`",
                names.join(" and ")
            );
        }
        memlock::raise().context("the memory lock limit")?;
        let mut source = Source::open(&settings.kernel()).map_err(explain)?;
        let mut limits = rights(caps);
        limits.extend(
            own::namespace_problem().map(|why| format!("{why} (start it with --pid=host or hostPID).")),
        );
        for m in &source.session.missing {
            let Hook { program, gives, without, point: _ } = m.hook;
            limits.push(format!("No {gives}: {without} (hook {program}: {}).", m.reason));
        }
        // Forks, program changes and ends are told by now, exchanges not yet: nobody can end unseen in between.
        let mut pipeline = Pipeline::new(settings, own::proc_root());
        pipeline.processes.snapshot();
        pipeline.stood(&snapshot(settings.kernel().max_connections as usize));
        source.session.arm().map_err(explain)?;
        pipeline.connections.begin(monotonic());
        let mut run_time = caps.has(Capability::SysAdmin).then(RunTime::default);
        if let Some(run_time) = &mut run_time {
            run_time.tick(&source.session);
        }
        Ok(Self {
            source,
            pipeline,
            clock: WallClock::now(),
            lookout: Lookout::new(settings.kernel().stall_threshold, settings.stacks()),
            cpu: Cpu::new(own::proc_root()),
            next_listeners: Instant::now(),
            owners: Owners::new(own::proc_root()),
            overflows_before: Namespaces::find(own::proc_root()).overflows(),
            thresholds: settings.rules.clone(),
            active: Active::default(),
            next_verdict: Instant::now() + JUDGE_EVERY,
            run_time,
            begun: Instant::now(),
            start: Timestamp::now(),
            limits,
        })
    }

    /// Waits a little for records and works them through; `see` gets each exchange that passed the filters.
    pub async fn turn(&mut self, mut see: impl FnMut(&Finished, &WallClock)) {
        let (pipeline, clock) = (&mut self.pipeline, &self.clock);
        let mut feed = Feed { pipeline, clock, see: &mut see };
        self.source.turn(self.lookout.next(), &mut feed).await;
        if Instant::now() >= self.next_listeners {
            self.look_at_listeners();
            self.next_listeners = Instant::now() + LISTENERS_EVERY;
        }
        let (pipeline, clock) = (&mut self.pipeline, &self.clock);
        self.lookout.turn(&mut self.source.session, pipeline, clock);
        if let Some(run_time) = &mut self.run_time {
            run_time.tick(&self.source.session);
        }
    }

    /// Rows of connections and listeners: whole, or the counts of those in which something was seen since this instant, ns.
    fn connections(&mut self, since: Option<u64>) -> (Vec<ConnectionRow>, Vec<ListenerRow>) {
        let Pipeline { connections, filter, names, .. } = &mut self.pipeline;
        let wanted = |protocol: &str| filter.wants_protocol(protocol);
        let mut rows = match since {
            None => connections.rows(wanted),
            Some(since) => connections.counts(since, wanted),
        };
        rows.iter_mut().for_each(|row| names.dress(row));
        let used = |processes: &mut dyn Iterator<Item = u32>| self.cpu.used(processes);
        (rows, connections.listener_rows(since.unwrap_or(0), monotonic(), wanted, used))
    }

    /// Reads what the kernel half says of listeners, and what else is to be known of them.
    fn look_at_listeners(&mut self) {
        let (pipeline, now) = (&mut self.pipeline, monotonic());
        pipeline.connections.reading_listeners(false, now);
        self.source.session.each_listener(|listener| pipeline.listener(listener));
        pipeline.connections.reading_listeners(true, now);
        self.cpu.look(pipeline.connections.workers());
        let now = Instant::now();
        pipeline.connections.owners(&self.owners.take(now));
        if pipeline.connections.wants_owners() && self.owners.may_search(now) {
            self.owners.search(now);
            pipeline.connections.asked_for_owners();
        }
        // While its process lives: it has no name afterwards.
        pipeline.name_listeners();
    }

    /// The last look at listeners: what is being found out of them is waited for, but not for ever.
    fn last_look_at_listeners(&mut self) {
        self.look_at_listeners();
        let until = Instant::now() + OWNERS_WAIT;
        let connections = &mut self.pipeline.connections;
        connections.owners(&self.owners.wait(Instant::now(), until));
        if connections.wants_owners() {
            self.owners.search(Instant::now());
            connections.asked_for_owners();
            connections.owners(&self.owners.wait(Instant::now(), until));
        }
        self.pipeline.name_listeners();
    }

    /// Findings that have begun (ongoing) or are over since the last call, by what was seen of event loops in the last
    /// seconds. What takes a whole recording to judge comes with its end.
    pub fn findings(&mut self) -> Vec<Finding> {
        let now = Instant::now();
        if now < self.next_verdict {
            return Vec::new();
        }
        self.next_verdict = now + JUDGE_EVERY;
        let event_loops = self.lookout.recent(JUDGED, &mut self.pipeline, &self.clock);
        let since = monotonic().saturating_sub(JUDGED.as_nanos() as u64);
        let (connections, listeners) = self.connections(Some(since));
        let nothing = event_loops.is_empty() && connections.is_empty() && listeners.is_empty();
        if nothing && self.active.is_empty() {
            return Vec::new();
        }
        let end = self.clock.at(monotonic());
        let start = end.checked_sub(jiff::SignedDuration::try_from(JUDGED).unwrap_or_default());
        let start = start.unwrap_or(self.start).max(self.start);
        let window = Window {
            start: format!("{start:.9}"),
            end: format!("{end:.9}"),
            seconds: end.duration_since(start).as_secs_f64(),
        };
        let services = self.pipeline.services.rows();
        // With no stall there is nothing that requests could explain, and summing them up takes its time.
        let http = if event_loops.is_empty() { Vec::new() } else { self.pipeline.aggregator.http_rows() };
        let facts = Facts {
            window: &window,
            cpus: cpus(),
            services: &services,
            http: &http,
            mysql: &[],
            event_loops: &event_loops,
            connections: &connections,
            listeners: &listeners,
        };
        self.active.update(rules::judge_live(&facts, &self.thresholds))
    }

    /// What should have been shown and was not, by reason.
    pub fn lost(&self) -> Counters {
        let c = |counter| self.source.session.counter(counter);
        let all = [
            ("ring_full", c(Counter::RingFull)),
            ("connection_table_full", c(Counter::ConnectionTableFull)),
            ("untracked_operations", c(Counter::Untracked)),
            ("head_unreadable", c(Counter::HeadUnreadable)),
            ("pipeline_too_deep", c(Counter::PipelineTooDeep)),
            ("waiting_table_full", c(Counter::WaitingTableFull)),
            ("framing_lost", c(Counter::FramingLost)),
            ("probe_missed", self.source.session.missed()),
            ("notice_lost", c(Counter::NoticeLost)),
            ("loop_table_full", c(Counter::LoopTableFull)),
            ("listener_table_full", c(Counter::ListenerTableFull)),
            ("connection_event_lost", c(Counter::ConnectionEventLost) + self.pipeline.connections.untold),
            (
                "stall_lost",
                c(Counter::StallLost) + self.pipeline.stalls.overflowed + self.lookout.overflowed(),
            ),
            ("identity_gone", self.pipeline.identity_gone),
            ("series_overflow", self.pipeline.aggregator.overflowed + self.pipeline.connections.overflowed()),
        ];
        all.into_iter().filter(|(_, n)| *n > 0).map(|(name, n)| (name.to_owned(), n)).collect()
    }

    /// Detaches, works the rest through, and sums up.
    pub fn finish(mut self, mut see: impl FnMut(&Finished, &WallClock)) -> Outcome {
        // A short recording has only the sample that it began.
        if let Some(run_time) = &mut self.run_time {
            run_time.end(&self.source.session);
        }
        let probe_seconds = self.run_time.as_ref().and_then(RunTime::seconds);
        let kernel_map_bytes = Some(self.source.session.map_bytes()).filter(|n| *n > 0);
        let (pipeline, clock) = (&mut self.pipeline, &self.clock);
        self.lookout.last_look(&mut self.source.session, pipeline);
        self.source.close(&mut Feed { pipeline, clock, see: &mut see });
        self.last_look_at_listeners();
        let mut left = Left::default();
        let namespaces = Namespaces::find(own::proc_root());
        namespaces.each_tcp(|netns, socket| left.see(netns, socket));
        namespaces.each_unix(|inode| left.see_unix(inode));
        left.overflows(&self.overflows_before, namespaces.overflows());
        self.pipeline.connections.left(&left);
        let (mut connections, listeners) = self.connections(None);
        let http = self.pipeline.aggregator.http_rows();
        handshake::shares(&mut connections, &http);
        let told = self.pipeline.told();
        let (pipeline, clock) = (&mut self.pipeline, &self.clock);
        let (event_loops, turns) = self.lookout.finish(pipeline, clock);
        let stalls = self.lookout.take();
        let end = self.clock.at(monotonic());
        let seconds = self.begun.elapsed().as_secs_f64();
        let session = &self.source.session;
        let c = |counter| session.counter(counter);
        let not_parsed = [
            ("tls", c(Counter::NotParsedTls)),
            ("http2", c(Counter::NotParsedHttp2)),
            ("mysql_compressed", c(Counter::NotParsedMysqlCompressed)),
            ("io_uring", c(Counter::NotParsedIoUring)),
            ("other_protocol", c(Counter::NotParsedOther)),
            // Looked like a request of ours at first, and was none by its reply or by its first line.
            ("unconfirmed", c(Counter::Demoted) + self.pipeline.other_protocol),
        ];
        let not_parsed = not_parsed.into_iter().filter(|(_, n)| *n > 0).map(|(name, n)| (name.to_owned(), n));
        let stacks = self.lookout.stacks();
        let loop_events = [
            ("stalls", c(Counter::Stalls)),
            ("shared_turns", c(Counter::SharedTurns)),
            ("switch_lost", c(Counter::SwitchLost)),
            ("wait_lost", c(Counter::WaitLost)),
            ("queries_forgotten", self.pipeline.queries.forgotten),
            ("probe_missed", session.missed_of_loops()),
            ("stacks_taken", stacks.taken),
            ("stacks_skipped", stacks.skipped),
            ("stacks_failed", stacks.failed),
            ("stacks_late", stacks.late),
        ];
        let loop_events = loop_events.into_iter().filter(|(_, n)| *n > 0);
        let loop_events = loop_events.map(|(name, n)| (name.to_owned(), n));
        let (agent_cpu_seconds, agent_peak_rss) = usage();
        let capture = CaptureReport {
            hooks: Hooks {
                socket: session.socket.name().into(),
                arrival: session.has("data_ready").then(|| "sk_data_ready".into()),
                loops: session.watches_loops.then(|| "wait tracepoints".into()),
                connections: session.has("set_state").then(|| "inet_sock_set_state".into()),
                tls: None,
            },
            records: self.source.records,
            lost: self.lost(),
            not_parsed: not_parsed.collect(),
            loop_events: loop_events.collect(),
            half_seen: session.counter(Counter::HalfSeen),
            unsolicited: session.counter(Counter::Unsolicited),
            head_truncated: self.pipeline.aggregator.truncated,
            streams: self.pipeline.aggregator.streams,
            filtered: self.pipeline.filtered,
            filters: self.pipeline.filter.given().map(str::to_owned).collect(),
            in_flight: self.source.in_flight,
            probe_seconds,
            agent_cpu_seconds,
            agent_peak_rss,
            kernel_map_bytes,
            limits: self.limits,
        };
        let services = self.pipeline.services.rows();
        let mut series = self.pipeline.aggregator.series();
        series.extend(turns);
        let wanted = |protocol: &str| self.pipeline.filter.wants_protocol(protocol);
        series.extend(self.pipeline.connections.series(monotonic(), wanted));
        let mut report = Report {
            schema: SCHEMA.into(),
            version: env!("CARGO_PKG_VERSION").into(),
            host: host(),
            window: Window { start: format!("{:.9}", self.start), end: format!("{end:.9}"), seconds },
            capture,
            http,
            mysql: self.pipeline.aggregator.mysql_rows(),
            services,
            event_loops,
            connections,
            listeners,
            findings: Vec::new(),
            undecided: Vec::new(),
        };
        let mut verdict = rules::judge(&Facts::of(&report), &self.thresholds);
        report.undecided = std::mem::take(&mut verdict.undecided);
        report.findings = verdict.findings();
        let findings = self.active.untold(&report.findings);
        Outcome { report, series, stalls, connections: told, findings }
    }
}

/// The sockets that are there now, but for our own.
fn snapshot(most: usize) -> Snapshot {
    Namespaces::find(own::proc_root()).snapshot(most, std::process::id())
}

/// What comes from the source goes to the stages.
struct Feed<'a, S> {
    pipeline: &'a mut Pipeline,
    clock: &'a WallClock,
    see: &'a mut S,
}

impl<S: FnMut(&Finished, &WallClock)> Sink for Feed<'_, S> {
    fn record(&mut self, bytes: &[u8]) {
        if let Some(finished) = self.pipeline.feed(bytes) {
            (self.see)(&finished, self.clock);
        }
    }

    fn survey(&mut self) {
        self.pipeline.connections.survey();
    }

    fn connection(&mut self, conn: &Conn, head: &[u8]) {
        self.pipeline.see(conn, head, monotonic());
    }

    fn surveyed(&mut self) {
        self.pipeline.connections.surveyed(monotonic());
    }
}

/// What a failed start means for a person.
fn explain(error: StartError) -> anyhow::Error {
    let advice = match &error {
        StartError::Btf(_) => {
            Some("hostprof needs a kernel with CONFIG_DEBUG_INFO_BTF; see `hostprof doctor`")
        }
        StartError::NoSocketHooks { reasons, .. } if reasons.iter().any(|r| r.contains("tracefs")) => {
            Some("tracefs is not mounted, or may not be read: `mount -t tracefs tracefs /sys/kernel/tracing`")
        }
        e if e.is_permission() => {
            Some("the kernel refused: see `hostprof doctor` for which right or lock is the cause")
        }
        _ => None,
    };
    let error = anyhow::Error::new(error);
    match advice {
        Some(advice) => error.context(advice),
        None => error,
    }
}

/// What missing rights leave out, in sentences for the report (the rights table of the docs).
fn rights(caps: Capabilities) -> Vec<String> {
    let table = [
        (
            Capability::SysPtrace,
            "Without CAP_SYS_PTRACE there are no executables of other users' processes: services go by their command line. \
             Nor is it known what their event loops were blocked on, where in the code, and who waited for them: their stalls are of low \
             confidence.",
        ),
        (
            Capability::DacReadSearch,
            "Without CAP_DAC_READ_SEARCH processes of other users are known only as far as /proc allows.",
        ),
        (Capability::SysAdmin, "Without CAP_SYS_ADMIN the time spent in hostprof's own probes is not known."),
    ];
    table.iter().filter(|(c, _)| !caps.has(*c)).map(|(_, text)| (*text).to_owned()).collect()
}

/// CPU time and peak memory of this process.
fn usage() -> (Option<f64>, Option<u64>) {
    // SAFETY: getrusage fills the struct given; all zeros are valid for it.
    let usage = unsafe {
        let mut usage: libc::rusage = std::mem::zeroed();
        (libc::getrusage(libc::RUSAGE_SELF, &raw mut usage) == 0).then_some(usage)
    };
    let seconds = |t: libc::timeval| t.tv_sec as f64 + t.tv_usec as f64 / 1e6;
    (usage.map(|usage| seconds(usage.ru_utime) + seconds(usage.ru_stime)), peak_rss())
}

/// Not rusage's ru_maxrss, which begins with that of the process which has started us (exec_mmap(), fs/exec.c).
fn peak_rss() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok().map(|kib| kib * 1024)
}

/// The machine.
pub fn host() -> Host {
    let line = |path: &str| std::fs::read_to_string(path).ok().map(|s| s.trim().to_owned());
    Host {
        name: line("/proc/sys/kernel/hostname").unwrap_or_default(),
        kernel: line("/proc/sys/kernel/osrelease").unwrap_or_default(),
        cpus: cpus(),
        boot_id: line("/proc/sys/kernel/random/boot_id"),
    }
}

/// CPUs that there are; 0 if nobody knows.
fn cpus() -> u32 {
    std::thread::available_parallelism().map_or(0, |n| n.get() as u32)
}
