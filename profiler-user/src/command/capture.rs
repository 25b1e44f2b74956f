//! A capture: source and stages together, from the attach to the report. What `record`, `trace` and `demo` share.

mod counters;
mod feed;
mod limits;
mod listeners;
mod machine;

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use jiff::Timestamp;
use profiler_ebpf::record::Counter;
use rustc_hash::FxHashMap;

use self::feed::Feed;
use self::limits::{explain, rights};
use self::listeners::Listeners;
use self::machine::{cpus, host, usage};
use super::lookout::{Lookout, Told};
use super::pipeline::{Finished, Pipeline};
use crate::aggregate::Series;
use crate::clock::{WallClock, monotonic};
use crate::config::Settings;
use crate::connections;
use crate::connections::handshake;
use crate::connections::snapshot::{Namespaces, Snapshot};
use crate::connections::standing::Left;
use crate::kernel::caps::{Capabilities, Capability};
use crate::kernel::hooks::Hook;
use crate::kernel::own;
use crate::kernel::{memlock, run_time::RunTime};
use crate::report::{
    Capture as CaptureReport, ConnectionRow, Finding, Hooks, ListenerRow, Report, SCHEMA, Window,
};
use crate::rules::active::Active;
use crate::rules::thresholds::Thresholds;
use crate::rules::{self, Facts};
use crate::source::Source;

/// Findings are looked for so often while a capture runs, in what was seen for the last while.
const JUDGE_EVERY: Duration = Duration::from_secs(1);
const JUDGED: Duration = Duration::from_secs(10);

/// A running capture.
#[derive(Debug)]
pub struct Capture {
    pub source: Source,
    pub pipeline: Pipeline,
    pub clock: WallClock,
    pub lookout: Lookout,
    listeners: Listeners,
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
            listeners: Listeners::new(own::proc_root()),
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
        let (pipeline, clock) = (&mut self.pipeline, &self.clock);
        self.listeners.turn(&mut self.source.session, pipeline);
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
        let used = |processes: &mut dyn Iterator<Item = u32>| self.listeners.used(processes);
        (rows, connections.listener_rows(since.unwrap_or(0), monotonic(), wanted, used))
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
        self.listeners.last_look(&mut self.source.session, &mut self.pipeline);
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
            not_parsed: self.not_parsed(),
            loop_events: self.loop_events(),
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
