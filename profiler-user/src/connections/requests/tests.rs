//! Commands and requests of one process in, the route that is named or not out.

use super::process::MOST_DONE;
use super::*;
use crate::exchange::MysqlCall;
use crate::report::RouteSource;

const PID: u32 = 42;

fn http(route: &str) -> HttpCall {
    HttpCall {
        method: "GET".into(),
        path: route.into(),
        route: route.into(),
        route_source: RouteSource::Template,
        status: Some(200),
    }
}

/// Commands that thread 1 has sent, up to `last`.
fn client(last: u64) -> Requests {
    let mut requests = Requests::default();
    let call = Call::Mysql(MysqlCall::default());
    requests.finished(&exchange(Role::Client, 1, last - 1, last, call));
    requests.want(PID);
    requests.survey();
    requests
}

fn served(requests: &mut Requests, tid: u32, start: u64, last: u64, route: &str) {
    requests.finished(&exchange(Role::Server, tid, start, last, Call::Http(http(route))));
}

fn sender(requests: &Requests, tid: u32, at: u64) -> Found {
    let mut found = requests.senders(PID, &[Command { pid: PID, tid, at }]);
    found.remove(0)
}

fn one(route: &str, end: End) -> Option<(String, End)> {
    Some((format!("GET {route}"), end))
}

/// Route and end of the only one.
fn known(requests: &Requests, tid: u32, at: u64) -> Option<(String, End)> {
    match sender(requests, tid, at) {
        Found::One(sender) => Some((sender.route.to_string(), sender.end)),
        _ => None,
    }
}

#[test]
fn the_only_request_at_that_time() {
    let mut requests = client(5);
    served(&mut requests, 1, 10, 20, "/a");
    served(&mut requests, 1, 30, 40, "/b");
    assert_eq!(known(&requests, 1, 35), one("/b", End::Answered(40)));
    assert_eq!(sender(&requests, 1, 25), Found::Nobody, "work of its own");
    let another = Command { pid: 7, tid: 1, at: 35 };
    assert_eq!(requests.senders(7, &[another; 2]), vec![Found::Forgotten; 2], "another process");
}

#[test]
fn threads_that_work_on_one_request_each() {
    let mut requests = client(5);
    served(&mut requests, 2, 12, 18, "/b");
    served(&mut requests, 1, 10, 20, "/a");
    assert_eq!(known(&requests, 1, 15), one("/a", End::Answered(20)));
    assert_eq!(known(&requests, 2, 15), one("/b", End::Answered(18)));
    assert_eq!(sender(&requests, 3, 15), Found::Several, "a thread that has read neither");
}

#[test]
fn a_loop_that_works_on_several() {
    let mut requests = client(5);
    served(&mut requests, 1, 12, 18, "/b");
    served(&mut requests, 1, 10, 20, "/a");
    assert_eq!(sender(&requests, 1, 15), Found::Several);
    assert_eq!(known(&requests, 1, 19), one("/a", End::Answered(20)));
    // Two threads share their requests: that one of them has read it says nothing.
    served(&mut requests, 2, 19, 22, "/c");
    assert_eq!(sender(&requests, 1, 20), Found::Several);
}

/// FastAPI's plain functions: the loop reads, another thread asks the database.
#[test]
fn threads_that_work_on_what_another_has_read() {
    let mut requests = client(5);
    served(&mut requests, 9, 10, 20, "/a");
    assert_eq!(known(&requests, 1, 15), one("/a", End::Answered(20)));
    // Those that read also send: this one works on something of its own.
    let call = Call::Mysql(MysqlCall::default());
    requests.finished(&exchange(Role::Client, 9, 16, 17, call));
    assert_eq!(sender(&requests, 1, 15), Found::Several);
}

/// The thread that has read a request goes on to the next while another works on the first.
#[test]
fn a_thread_that_reads_another_before_the_first_is_over() {
    let mut requests = client(5);
    served(&mut requests, 9, 10, 60, "/c");
    requests.under_way(PID, 1, 30, &http("/b"));
    assert_eq!(known(&requests, 1, 35), one("/b", End::UnderWay));
    served(&mut requests, 1, 10, 20, "/a");
    assert_eq!(known(&requests, 1, 35), one("/b", End::UnderWay), "one after the other");
    served(&mut requests, 1, 21, 32, "/a");
    assert_eq!(sender(&requests, 1, 35), Found::Several, "the first was not over");
    let mut requests = client(5);
    requests.under_way(PID, 1, 30, &http("/a"));
    requests.under_way(PID, 2, 30, &http("/b"));
    assert_eq!(known(&requests, 1, 35), one("/a", End::UnderWay));
    requests.under_way(PID, 1, 40, &http("/c"));
    assert_eq!(sender(&requests, 1, 35), Found::Several, "nor is the first of these");
}

#[test]
fn requests_that_move_between_threads() {
    let mut requests = client(5);
    served(&mut requests, 1, 10, 20, "/a");
    served(&mut requests, 2, 15, 30, "/b");
    assert_eq!(known(&requests, 1, 17), one("/a", End::Answered(20)));
    requests.moves(PID);
    requests.moves(7);
    assert_eq!(sender(&requests, 1, 17), Found::Several, "whoever has sent it");
    assert_eq!(known(&requests, 1, 25), one("/b", End::Answered(30)), "the only one");
}

/// What a thread has begun another goes on with.
#[test]
fn transactions_that_move_between_threads() {
    let command = |tid, at| Command { pid: PID, tid, at };
    let moves = |before: Command, next: Command| {
        let mut requests = client(5);
        served(&mut requests, 1, 10, 20, "/a");
        served(&mut requests, 2, 12, 40, "/b");
        requests.goes_on(before, next);
        sender(&requests, 1, 17) == Found::Several
    };
    assert!(moves(command(1, 25), command(2, 35)), "thread 1 is at another by then");
    assert!(!moves(command(1, 25), command(1, 35)));
    assert!(!moves(command(1, 15), command(2, 35)), "its request was over: the session was left as it was");
    assert!(!moves(command(3, 25), command(2, 35)), "no thread that reads requests");
    assert!(!moves(command(1, 3), command(2, 35)), "before we knew its requests");
    assert!(!moves(command(1, 25), Command { pid: 7, ..command(2, 35) }));
}

#[test]
fn requests_that_cannot_be_seen() {
    let seen = |shared: bool, opened: &[u64]| {
        let mut requests = client(5);
        served(&mut requests, 1, 10, 20, "/a");
        if shared {
            served(&mut requests, 1, 30, 50, "/b");
            served(&mut requests, 1, 40, 60, "/c");
        }
        opened.iter().for_each(|since| requests.hidden(PID, *since));
        [1, 2].map(|tid| known(&requests, tid, 15).is_some())
    };
    assert_eq!(seen(false, &[]), [true, true]);
    assert_eq!(seen(false, &[30, 16]), [true, true], "too late");
    assert_eq!(seen(false, &[16, 15, 30]), [true, false], "what a thread of its own has read is its own");
    assert_eq!(seen(true, &[]), [true, true]);
    assert_eq!(seen(true, &[15]), [false, false]);
    let mut requests = client(5);
    served(&mut requests, 1, 10, 20, "/a");
    requests.hidden(PID, 15);
    requests.want(PID);
    requests.survey();
    assert!(known(&requests, 2, 15).is_some(), "closed since");
}

#[test]
fn many_commands_at_once() {
    let mut requests = client(5);
    served(&mut requests, 1, 10, 20, "/a");
    served(&mut requests, 2, 12, 18, "/b");
    requests.under_way(PID, 3, 30, &http("/c"));
    let commands = [(3, 31), (1, 13), (2, 13), (3, 25), (1, 13), (4, 13), (1, 4)];
    let commands = commands.map(|(tid, at)| Command { pid: PID, tid, at });
    let found: Vec<_> = requests.senders(PID, &commands);
    let one_by_one: Vec<_> = commands.map(|command| sender(&requests, command.tid, command.at)).into();
    assert_eq!(found, one_by_one);
    let named = |found: &Found| match found {
        Found::One(sender) => sender.route.to_string(),
        other => format!("{other:?}"),
    };
    let named: Vec<_> = found.iter().map(named).collect();
    assert_eq!(named, ["GET /c", "GET /a", "GET /b", "Nobody", "GET /a", "Several", "Forgotten"]);
}

#[test]
fn requests_under_way() {
    let mut requests = client(5);
    requests.under_way(PID, 1, 10, &http("/slow"));
    assert_eq!(known(&requests, 1, 15), one("/slow", End::UnderWay));
    assert_eq!(sender(&requests, 1, 9), Found::Nobody);
    served(&mut requests, 1, 10, 20, "/slow");
    assert_eq!(known(&requests, 1, 15), one("/slow", End::Answered(20)), "ended since the survey");
    assert_eq!(requests.end(PID, (1, 10)), Some(End::Answered(20)));
    requests.under_way(PID, 2, 11, &http("/other"));
    assert_eq!(requests.end(PID, (2, 11)), Some(End::UnderWay));
    assert_eq!(requests.end(PID, (2, 12)), None);
    assert_eq!(sender(&requests, 3, 15), Found::Several);
    requests.survey();
    assert!(!requests.wants(PID), "nobody has asked for them");
    assert_eq!(sender(&requests, 1, 15), Found::Forgotten, "others may be under way");
}

#[test]
fn what_was_not_seen_is_not_guessed() {
    let mut requests = client(5);
    assert_eq!(sender(&requests, 1, 5), Found::Forgotten, "before we knew that it is a client");
    for n in 0..2 * MOST_DONE as u64 {
        served(&mut requests, 1, 10 * n + 10, 10 * n + 19, "/a");
    }
    assert_eq!(requests.processes[&PID].kept(), MOST_DONE);
    assert_eq!(sender(&requests, 1, 15), Found::Forgotten);
    assert_eq!(
        known(&requests, 1, 20 * MOST_DONE as u64 + 5),
        one("/a", End::Answered(20 * MOST_DONE as u64 + 9))
    );
    (1_000..2_000).for_each(|pid| requests.sent(pid, pid));
    assert_eq!(requests.processes.len(), MOST_PROCESSES);
    requests.exited(PID);
    assert_eq!(sender(&requests, 1, 20 * MOST_DONE as u64 + 5), Found::Forgotten);
}

#[test]
fn a_request_whose_client_hung_up_was_not_answered() {
    let mut requests = client(5);
    let mut broken = exchange(Role::Server, 1, 10, 20, Call::Http(http("/a")));
    broken.transport_error = Some("closed".into());
    requests.finished(&broken);
    assert_eq!(known(&requests, 1, 15), one("/a", End::Broken));
}
