//! Tests of the lines of connections.

use profiler_ebpf::life::Life;

use super::*;

const SECOND: u64 = 1_000_000_000;

fn at() -> Timestamp {
    "2026-09-01T12:00:00.123456789Z".parse().unwrap()
}

/// Connected at 10 s within 120 us, and used until 14 s.
fn told(what: u8, end: u8) -> Told {
    let over = what == what::CLOSED || what == what::GONE;
    let life = Life {
        t_connect: 10 * SECOND - 120_000,
        t_open: 10 * SECOND,
        t_greeted: 10 * SECOND + 1_000_000,
        t_ready: 10 * SECOND + 5_000_000,
        t_used: 14 * SECOND,
        t_end: if over { 22 * SECOND } else { 0 },
        idle: if over { 8 * SECOND } else { 0 },
        busy: SECOND / 2,
        exchanges: 14,
        end,
        ..Life::default()
    };
    Told {
        what,
        time: 22 * SECOND,
        service: "shop".into(),
        pid: 4242,
        role: Role::Client,
        local: "10.0.0.2:50000".into(),
        peer: "10.0.0.9:3306".into(),
        protocol: "mysql",
        netns: 4_026_531_840,
        life,
    }
}

/// A server's side of the same.
fn served(what: u8, end: u8) -> Told {
    let mut told = told(what, end);
    told.role = Role::Server;
    (told.local, told.peer) = (told.peer, told.local);
    (told.life.t_connect, told.life.t_accept) = (0, 10 * SECOND + 300_000_000);
    Told { protocol: "http", ..told }
}

fn with(mut told: Told, change: impl FnOnce(&mut Life)) -> Told {
    change(&mut told.life);
    told
}

/// The line behind its time of day, which depends on the machine's time zone.
fn line(told: &Told) -> String {
    let line = text(told, at(), &Style::plain(80));
    assert_eq!(&line[5..13], ":00.123 ", "{line}");
    line[13..].to_owned()
}

fn value(told: &Told) -> serde_json::Value {
    serde_json::from_str(&json(told, at()).unwrap()).unwrap()
}

#[test]
fn an_idle_session_that_the_server_ended() {
    let told = with(told(what::CLOSED, end::PEERS), |life| life.farewell = 4031);
    assert_eq!(
        line(&told),
        ":: shop[4242] -> 10.0.0.9:3306 closed by the server after 8.00 s idle (MySQL 4031)  mysql  life 12.0 s  \
         sign-in 4.00 ms  14 exchanges"
    );
    assert_eq!(
        json(&told, at()).unwrap(),
        concat!(
            r#"{"type":"connection","time":"2026-09-01T12:00:00.123456789Z","service":"shop","pid":4242,"#,
            r#""role":"client","local":"10.0.0.2:50000","peer":"10.0.0.9:3306","protocol":"mysql","#,
            r#""netns":4026531840,"event":"closed","closed_by":"peer","how":"fin","connect":0.00012,"#,
            r#""handshake":0.004,"lifetime":12.0,"idle":8.0,"busy":0.5,"exchanges":14,"farewell":4031}"#
        )
    );
    assert!(is_wanted(&told, true, None));
}

#[test]
fn opened_on_both_sides() {
    assert_eq!(
        line(&told(what::OPENED, 0)),
        ":: shop[4242] -> 10.0.0.9:3306 connected  mysql  connect 120 us"
    );
    let served = served(what::OPENED, 0);
    assert_eq!(line(&served), ":: shop[4242] <- 10.0.0.2:50000 accepted  http  waited 300 ms");
    let value = value(&served);
    assert_eq!((&value["event"], &value["accept_wait"]), (&"opened".into(), &0.3.into()));
    for unknown in ["connect", "closed_by", "how", "error_type", "lifetime", "idle", "exchanges"] {
        assert_eq!(value.get(unknown), None, "{unknown}");
    }
}

#[test]
fn failed_with_its_error_or_given_up() {
    let refused = Told { protocol: "unknown", ..told(what::FAILED, end::ERROR) };
    let refused = with(refused, |life| {
        *life = Life { t_connect: 21 * SECOND, error: 111, end: end::ERROR, ..Life::default() };
    });
    assert_eq!(
        line(&refused),
        ":: shop[4242] -> 10.0.0.9:3306 could not connect: ECONNREFUSED  after 1.00 s"
    );
    let said = value(&refused);
    assert_eq!((&said["event"], &said["how"]), (&"failed".into(), &"ECONNREFUSED".into()));
    assert_eq!((&said["error_type"], &said["connect"]), (&"ECONNREFUSED".into(), &1.0.into()));
    assert_eq!(said.get("closed_by"), None);
    let given_up = with(refused, |life| life.error = 0);
    assert_eq!(value(&given_up)["error_type"], "abandoned");
    assert!(line(&given_up).contains(" given up before there was an answer  after 1.00 s"));
}

#[test]
fn every_end_has_its_words() {
    for (end, error, by, how, error_type, words) in [
        (end::OURS, 0, "us", Some("fin"), None, "closed by us  "),
        (end::ABORTED, 0, "us", Some("reset"), None, "reset by us  "),
        (end::PEERS, 0, "peer", Some("fin"), None, "closed by the client after 8.00 s idle  "),
        (
            end::RESET,
            104,
            "reset",
            Some("reset"),
            Some("ECONNRESET"),
            "reset by the client after 8.00 s idle  ",
        ),
        (
            end::RESET,
            0,
            "reset",
            Some("reset"),
            Some("ECONNRESET"),
            "reset by the client after 8.00 s idle  ",
        ),
        (end::TIMEOUT, 110, "timeout", Some("timeout"), Some("ETIMEDOUT"), "lost: no answer any more  "),
        (end::ERROR, 113, "timeout", Some("EHOSTUNREACH"), Some("EHOSTUNREACH"), "lost: EHOSTUNREACH  "),
        (end::ERROR, 103, "error", Some("ECONNABORTED"), Some("ECONNABORTED"), "lost: ECONNABORTED  "),
        (end::UNKNOWN, 0, "unknown", None, None, "ended  "),
        (end::NONE, 0, "unknown", None, None, "ended  "),
    ] {
        let told = with(served(what::CLOSED, end), |life| life.error = error);
        let said = value(&told);
        let field = |name: &str| said.get(name).and_then(|value| value.as_str());
        assert_eq!(field("closed_by"), Some(by), "{end}");
        assert_eq!((field("how"), field("error_type")), (how, error_type), "{end}");
        assert!(line(&told).contains(&format!("<- 10.0.0.2:50000 {words}")), "{}", line(&told));
        assert_eq!(is_wanted(&told, true, None), error_type.is_some(), "{end}");
    }
}

#[test]
fn cut_and_gone_are_said() {
    let cut = with(told(what::CLOSED, end::PEERS), |life| life.marks = mark::CUT);
    assert_eq!(value(&cut).get("idle"), None, "it was in use");
    assert!(line(&cut).contains(" closed by the server, in the middle of an exchange  "), "{}", line(&cut));
    assert_eq!((&value(&cut)["cut"], &value(&cut)["error_type"]), (&true.into(), &"closed".into()));
    let gone = told(what::GONE, end::PEERS);
    assert!(line(&gone).contains(" closed by the server after 8.00 s idle, then written to by us  "));
    assert_eq!((&value(&gone)["event"], &value(&gone)["gone"]), (&"gone".into(), &true.into()));
    let both = with(told(what::CLOSED, end::RESET), |life| life.marks = mark::GONE);
    assert_eq!((&value(&both)["event"], &value(&both)["gone"]), (&"closed".into(), &true.into()));
    for told in [cut, gone, both] {
        assert!(is_wanted(&told, true, None));
    }
}

#[test]
fn what_could_not_be_read_has_no_exchanges() {
    let tls = with(told(what::CLOSED, end::OURS), |life| life.marks = mark::TLS | mark::MYSQL);
    let other = Told { protocol: "other", ..told(what::CLOSED, end::OURS) };
    for told in [tls, other] {
        assert!(!line(&told).contains("exchange"), "{}", line(&told));
        assert_eq!((value(&told).get("exchanges"), value(&told).get("busy")), (None, None));
    }
}

#[test]
fn what_was_not_seen_is_left_out() {
    let before =
        with(told(what::CLOSED, end::OURS), |life| (life.t_connect, life.t_open, life.t_ready) = (0, 0, 0));
    let said = value(&before);
    for unknown in ["connect", "accept_wait", "handshake", "lifetime"] {
        assert_eq!(said.get(unknown), None, "{unknown}");
    }
    // With `--loops off` accept() is not hooked.
    let unseen = with(served(what::OPENED, 0), |life| life.t_accept = 0);
    assert_eq!(value(&unseen).get("accept_wait"), None);
    let nameless = Told { peer: "unix:".into(), ..told(what::CLOSED, end::UNKNOWN) };
    assert!(line(&nameless).contains("-> a Unix socket ended  "), "{}", line(&nameless));
}

#[test]
fn filters_choose_faults_and_waits() {
    let least = |ms| Some(Duration::from_millis(ms));
    let opened = served(what::OPENED, 0);
    assert!(is_wanted(&opened, false, None) && !is_wanted(&opened, true, None));
    assert!(is_wanted(&opened, false, least(299)) && !is_wanted(&opened, false, least(301)));
    assert!(!is_wanted(&told(what::CLOSED, end::OURS), false, least(0)), "a life is no wait");
    let known = with(told(what::OPENED, 0), |life| life.t_open = 0);
    assert!(!is_wanted(&known, false, None), "it was there before us");
}

#[test]
fn a_terminal_gets_lines_that_fit_and_obeys_nobody() {
    let told = Told { peer: format!("unix:/{}\x1b[2J", "run/".repeat(60)), ..told(what::OPENED, 0) };
    let style = Style { line: Some(100), ..Style::plain(100) };
    let line = text(&told, at(), &style);
    assert!(width(&line) <= 100 && line.contains('\u{2026}') && !line.contains('\x1b'), "{line}");
    let told = with(told, |life| life.t_end = 22 * SECOND);
    let failed = Told { what: what::FAILED, service: "a\x1b]0;".into(), ..told };
    let painted = text(&failed, at(), &Style { colour: true, ..Style::plain(100) });
    assert!(painted.contains("\x1b[31mgiven up before there was an answer\x1b[0m"), "{painted}");
    assert!(!painted.contains("\x1b]0;"), "{painted}");
}
