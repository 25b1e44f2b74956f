//! Which exchanges are wanted. Some questions are about who speaks to whom, others about what is to be shown; both are
//! asked once an exchange is finished, so that they change no measurement.

use std::path::PathBuf;

use rustc_hash::FxHashMap;

use crate::attribute::process::{Process, ProcessTable};
use crate::config::{Protocol, Settings};
use crate::exchange::{Call, Exchange};
use crate::stall::Stall;

/// Answers about cgroups kept at most.
const REMEMBERED: usize = 8_192;

/// The filters of a capture.
#[derive(Debug)]
pub struct Filter {
    settings: Settings,
    /// `record -- CMD`, the demo: only descendants of this process.
    pub root: Option<u32>,
    proc_root: PathBuf,
    cgroups: FxHashMap<(u32, Option<u64>), bool>,
}

impl Filter {
    /// Cgroups are looked up in the `/proc` at `proc_root`.
    pub fn new(settings: Settings, proc_root: PathBuf) -> Self {
        Self { settings, root: None, proc_root, cgroups: FxHashMap::default() }
    }

    /// The options by which exchanges may be left out, as far as they were given.
    pub fn given(&self) -> impl Iterator<Item = &'static str> {
        let s = &self.settings;
        let options = [
            ("--pid", !s.pid.is_empty()),
            ("--comm", !s.comm.is_empty()),
            ("--port", !s.port.is_empty()),
            ("--cgroup", !s.cgroup.is_empty()),
            ("--container", !s.container.is_empty()),
            ("--protocol", !s.protocol.is_empty()),
            ("--slower-than", s.slower_than.is_some()),
            ("--errors", s.errors),
        ];
        options.into_iter().filter(|(_, given)| *given).map(|(option, _)| option)
    }

    /// True when the exchange is wanted.
    pub fn wants(&mut self, exchange: &Exchange, process: &Process, processes: &mut ProcessTable) -> bool {
        let s = &self.settings;
        any(&s.port, |p| *p == exchange.local_port || *p == exchange.peer_port)
            && any(&s.protocol, |p| match exchange.call {
                Call::Http(_) => *p == Protocol::Http,
                Call::Mysql(_) => *p == Protocol::Mysql,
            })
            && s.slower_than.is_none_or(|t| exchange.times.duration().is_some_and(|d| d > t.as_secs_f64()))
            && (!s.errors || exchange.is_error())
            && self.wants_process(exchange.pid, &exchange.comm, process, processes)
    }

    /// True when a connection of this process is wanted, with these ports at its ends. It is not known yet what it
    /// speaks, and neither slow nor an error: [`Filter::wants_protocol`] is asked of its row.
    pub fn wants_connection(
        &mut self,
        pid: u32,
        ports: [u16; 2],
        process: &Process,
        processes: &mut ProcessTable,
    ) -> bool {
        any(&self.settings.port, |p| ports.contains(p)) && self.wants_process(pid, "", process, processes)
    }

    /// True when rows of this protocol are wanted.
    pub fn wants_protocol(&self, name: &str) -> bool {
        any(&self.settings.protocol, |p| p.name() == name)
    }

    /// True when this stall is wanted.
    pub fn wants_stall(&mut self, stall: &Stall, process: &Process, processes: &mut ProcessTable) -> bool {
        self.settings.slower_than.is_none_or(|t| stall.seconds > t.as_secs_f64())
            && self.wants_loop(stall.pid, &stall.comm, process, processes)
    }

    /// True when an event loop of this process is wanted; `comm` is its thread's name. A loop has no port and no
    /// protocol of its own, and is no error: who asks for one of these asks for exchanges.
    pub fn wants_loop(
        &mut self,
        pid: u32,
        comm: &str,
        process: &Process,
        processes: &mut ProcessTable,
    ) -> bool {
        let s = &self.settings;
        s.port.is_empty()
            && s.protocol.is_empty()
            && !s.errors
            && self.wants_process(pid, comm, process, processes)
    }

    /// True when what this process does is wanted; `comm` is its thread's name.
    fn wants_process(
        &mut self,
        pid: u32,
        comm: &str,
        process: &Process,
        processes: &mut ProcessTable,
    ) -> bool {
        let s = &self.settings;
        any(&s.pid, |p| *p == pid)
            && any(&s.comm, |c| *c == process.comm || *c == comm)
            && any(&s.container, |c| process.container.as_ref().is_some_and(|id| id.starts_with(c.as_str())))
            && self.root.is_none_or(|root| processes.is_descendant(pid, root))
            && (s.cgroup.is_empty() || self.in_cgroup(process))
    }

    fn in_cgroup(&mut self, process: &Process) -> bool {
        if self.cgroups.len() >= REMEMBERED {
            self.cgroups.clear();
        }
        let (wanted, root) = (&self.settings.cgroup, &self.proc_root);
        *self.cgroups.entry((process.pid, process.start_ticks)).or_insert_with(|| {
            let text =
                std::fs::read_to_string(root.join(format!("{}/cgroup", process.pid))).unwrap_or_default();
            wanted.iter().any(|w| {
                text.lines().any(|l| l.splitn(3, ':').nth(2).is_some_and(|p| p.contains(w.as_str())))
            })
        })
    }
}

/// True when no choice was made, or one of the choices holds.
fn any<T>(choices: &[T], holds: impl Fn(&T) -> bool) -> bool {
    choices.is_empty() || choices.iter().any(holds)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use profiler_ebpf::turn::Turn;
    use profiler_ebpf::wait::kind;

    use super::*;

    /// Whether a stall of 300 ms of process 7, "node" with a thread "worker", passes.
    fn passes(settings: Settings) -> bool {
        let mut turn =
            Turn { pid: 7, tid: 8, wait: kind::EPOLL, start: 1, end: 300_000_001, ..Turn::default() };
        turn.comm[..6].copy_from_slice(b"worker");
        let stall = Stall::of(turn, false).unwrap();
        let process = Process { pid: 7, comm: "node".into(), ..Process::default() };
        let nowhere = || PathBuf::from("/nonexistent");
        let mut filter = Filter::new(settings, nowhere());
        filter.wants_stall(&stall, &process, &mut ProcessTable::new(nowhere()))
    }

    #[test]
    fn a_stall_is_its_processs_and_no_exchange() {
        let s = Settings::default;
        assert!(passes(s()));
        assert!(passes(Settings { pid: vec![7], ..s() }) && !passes(Settings { pid: vec![8], ..s() }));
        for (comm, wanted) in [("node", true), ("worker", true), ("nginx", false)] {
            assert_eq!(passes(Settings { comm: vec![comm.into()], ..s() }), wanted, "{comm}");
        }
        let slower = |ms| Settings { slower_than: Some(Duration::from_millis(ms)), ..s() };
        assert!(passes(slower(299)) && !passes(slower(301)));
        assert!(!passes(Settings { port: vec![80], ..s() }));
        assert!(!passes(Settings { protocol: vec![Protocol::Http, Protocol::Mysql], ..s() }));
        assert!(!passes(Settings { errors: true, ..s() }));
        assert!(!passes(Settings { container: vec!["12".into()], ..s() }), "in no container");
        assert!(!passes(Settings { cgroup: vec!["/web".into()], ..s() }), "in no such group");
    }

    /// Whether a connection of process 7, "node", from port 5000 to port 80 passes.
    fn connects(settings: Settings) -> bool {
        let process = Process { pid: 7, comm: "node".into(), ..Process::default() };
        let nowhere = || PathBuf::from("/nonexistent");
        let mut filter = Filter::new(settings, nowhere());
        filter.wants_connection(7, [5_000, 80], &process, &mut ProcessTable::new(nowhere()))
    }

    #[test]
    fn a_connection_has_a_process_and_two_ports() {
        let s = Settings::default;
        assert!(connects(s()));
        assert!(connects(Settings { pid: vec![7], ..s() }) && !connects(Settings { pid: vec![8], ..s() }));
        assert!(
            connects(Settings { port: vec![80], ..s() }) && connects(Settings { port: vec![5_000], ..s() })
        );
        assert!(!connects(Settings { port: vec![81], ..s() }));
        assert!(!connects(Settings { comm: vec!["nginx".into()], ..s() }));
        assert!(!connects(Settings { container: vec!["12".into()], ..s() }));
        // What is slow, or an error, is said of exchanges.
        let shown = Settings { errors: true, slower_than: Some(Duration::from_secs(1)), ..s() };
        assert!(connects(shown));
    }

    #[test]
    fn only_options_that_were_given_are_named() {
        let given = |s| Filter::new(s, PathBuf::from("/nonexistent")).given().collect::<Vec<_>>().join(" ");
        let s = Settings::default;
        assert_eq!(given(s()), "");
        assert_eq!(given(Settings { errors: true, ..s() }), "--errors");
        let two = Settings { slower_than: Some(Duration::ZERO), pid: vec![1, 2], ..s() };
        assert_eq!(given(two), "--pid --slower-than");
        let names = Settings { comm: vec!["a".into()], cgroup: vec!["b".into()], ..s() };
        assert_eq!(given(Settings { container: vec!["c".into()], ..names }), "--comm --cgroup --container");
        let rest = Settings { port: vec![80], protocol: vec![Protocol::Http], ..s() };
        assert_eq!(given(rest), "--port --protocol");
    }

    #[test]
    fn a_row_has_a_protocol() {
        let of = |protocol| Settings { protocol, ..Settings::default() };
        let wants = |s, name| Filter::new(s, PathBuf::from("/nonexistent")).wants_protocol(name);
        assert!(wants(of(vec![]), "unknown"));
        assert!(wants(of(vec![Protocol::Mysql]), "mysql") && !wants(of(vec![Protocol::Mysql]), "http"));
        assert!(!wants(of(vec![Protocol::Http, Protocol::Mysql]), "unknown"));
    }
}
