//! What held a loop, in words: the call and its target, and the place in the code. Pure.

use crate::stall::cause::Cause;
use crate::stall::place;
use crate::stall::{BlockedIn, Frame, Kind, Queries, Stall};

/// The cause's name in reports.
pub fn cause_id(cause: Cause) -> &'static str {
    match cause {
        Cause::Cpu => "cpu",
        Cause::BlockingCall => "blocking-call",
        Cause::InterpreterLock => "interpreter-lock",
        Cause::CpuStarvation => "cpu-starvation",
        Cause::Throttled => "throttled",
        Cause::PageFault => "page-fault",
        Cause::Stopped => "stopped",
        Cause::Unknown => "unknown",
    }
}

/// A loop that got too little CPU and worked for this share of the stall was held by its work.
const WORKED: f64 = 0.25;

/// What to blame: the cause, but of a stall for want of a CPU the work that was to be done, if that was a good part.
pub(super) fn blame(stall: &Stall) -> Cause {
    match stall.cause {
        Cause::CpuStarvation | Cause::Throttled if stall.on_cpu >= WORKED * stall.seconds => Cause::Cpu,
        cause => cause,
    }
}

/// What held the loop in this stall: stalls of one culprit have one text.
pub fn culprit(stall: &Stall) -> String {
    let what = match blame(stall) {
        Cause::Cpu if stall.cause != Cause::Cpu => "computing, with too little CPU".to_owned(),
        Cause::Cpu => "computing".into(),
        Cause::BlockingCall => call(stall),
        Cause::InterpreterLock => "waiting for the interpreter lock".into(),
        Cause::CpuStarvation => "no CPU was free".into(),
        Cause::Throttled => "the cgroup had used up its CPU quota".into(),
        Cause::PageFault => "waiting for memory (page faults)".into(),
        Cause::Stopped => "the process was stopped".into(),
        Cause::Unknown => "blocked, it is not known in what".into(),
    };
    match place::of(&stall.stack) {
        Some(frame) => format!("{what} at {}", named(frame)),
        None => what,
    }
}

/// The call that it was blocked in longest. Where the code is known, the other end's number does not make another one.
fn call(stall: &Stall) -> String {
    let Some(blocked) = stall.blocked_in.first() else { return "a blocking call".into() };
    let name = if blocked.syscall == "clock_nanosleep" || blocked.syscall == "nanosleep" {
        format!("sleeping ({})", blocked.syscall)
    } else {
        blocked.syscall.clone()
    };
    match (stall.queries.as_ref().filter(|queries| is_for(blocked, queries)), &blocked.target) {
        (Some(queries), _) => format!("{name} on MySQL {}", queries.peer).trim_end().to_owned(),
        (None, Some(target)) => format!("{name} on {target}"),
        (None, None) => name,
    }
}

/// Whether the call waited for the queries of its turn, and not for something else beside them: it was on their
/// connection, or on nobody knows what for about as long as they took.
fn is_for(blocked: &BlockedIn, queries: &Queries) -> bool {
    match blocked.kind {
        Kind::Database => true,
        Kind::Wait => queries.seconds >= blocked.seconds / 2.0,
        Kind::Socket | Kind::Other => blocked.target.is_none() && queries.seconds >= blocked.seconds / 2.0,
        _ => false,
    }
}

/// `orders.py:42 in list_orders`: the last two parts of a path tell enough.
pub(super) fn named(frame: &Frame) -> String {
    let file = frame.file.as_deref().map(|file| {
        let parts: Vec<_> = file.rsplitn(3, '/').collect();
        match parts.as_slice() {
            [file, folder, _] if !folder.is_empty() => format!("{folder}/{file}"),
            _ => file.to_owned(),
        }
    });
    match (file, frame.line) {
        (Some(file), Some(line)) => format!("{file}:{line} in {}", frame.function),
        (Some(file), None) => format!("{file} in {}", frame.function),
        (None, _) => frame.function.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::sample::{blocked, frame, queried, stall};
    use super::*;

    #[test]
    fn places_are_named_in_short() {
        let orders = frame("list_orders", "/srv/shop/orders.py", 42);
        assert_eq!(named(&orders), "shop/orders.py:42 in list_orders");
        let bare = Frame { function: "spin".into(), file: Some("app.py".into()), line: None };
        assert_eq!(named(&bare), "app.py in spin");
        assert_eq!(named(&Frame { file: None, ..bare }), "spin");
    }

    #[test]
    fn calls_are_named_with_their_target() {
        let mut read = stall(Cause::BlockingCall, 0.3, 0.0, 0.0);
        read.blocked_in = vec![blocked("recvfrom", Kind::Socket, Some("tcp 10.0.0.7:80"), 1, 0.3)];
        assert_eq!(culprit(&read), "recvfrom on tcp 10.0.0.7:80");
        read.blocked_in = vec![blocked("clock_nanosleep", Kind::Sleep, None, 1, 0.3)];
        assert_eq!(culprit(&read), "sleeping (clock_nanosleep)");
        read.stack = vec![frame("wait", "/srv/app.py", 7)];
        assert_eq!(culprit(&read), "sleeping (clock_nanosleep) at srv/app.py:7 in wait");
    }

    #[test]
    fn a_query_beside_a_long_wait_is_not_what_held_it() {
        let held = |call: BlockedIn, queries: f64| {
            let mut stall = queried(1, queries, 0.0);
            let other = stall.blocked_in.remove(0);
            stall.blocked_in = vec![call, other];
            culprit(&stall)
        };
        let sleep = blocked("clock_nanosleep", Kind::Sleep, None, 1, 0.3);
        assert_eq!(held(sleep.clone(), 0.001), "sleeping (clock_nanosleep)");
        assert_eq!(held(sleep, 0.2), "sleeping (clock_nanosleep)");
        let call = |kind, target, seconds| blocked("recvfrom", kind, target, 1, seconds);
        let peer = Some("tcp 10.0.0.7:80");
        assert_eq!(held(call(Kind::Socket, peer, 0.3), 0.001), "recvfrom on tcp 10.0.0.7:80");
        assert_eq!(held(call(Kind::Socket, peer, 0.3), 0.2), "recvfrom on tcp 10.0.0.7:80");
        assert_eq!(held(call(Kind::Socket, None, 0.3), 0.001), "recvfrom");
        assert_eq!(held(call(Kind::Socket, None, 0.3), 0.29), "recvfrom on MySQL 10.0.0.9:3306");
        assert_eq!(culprit(&queried(1, 0.3, 0.0)), "recvfrom on MySQL 10.0.0.9:3306", "the query itself");
        let poll = blocked("poll", Kind::Wait, Some("anon_inode:[eventpoll]"), 1, 0.3);
        assert_eq!(held(poll.clone(), 0.29), "poll on MySQL 10.0.0.9:3306");
        assert_eq!(held(poll, 0.01), "poll on anon_inode:[eventpoll]");
    }

    #[test]
    fn work_is_to_blame_where_there_was_some() {
        let busy = stall(Cause::CpuStarvation, 0.0, 0.15, 0.16);
        assert_eq!((blame(&busy), culprit(&busy).as_str()), (Cause::Cpu, "computing, with too little CPU"));
        let starved = stall(Cause::CpuStarvation, 0.0, 0.02, 0.2);
        assert_eq!(culprit(&starved), "no CPU was free");
    }

    #[test]
    fn causes_are_named_as_in_json() {
        for cause in [
            Cause::Cpu,
            Cause::BlockingCall,
            Cause::InterpreterLock,
            Cause::CpuStarvation,
            Cause::Throttled,
            Cause::PageFault,
            Cause::Stopped,
            Cause::Unknown,
        ] {
            assert_eq!(serde_json::to_value(cause).unwrap(), cause_id(cause));
        }
    }
}
