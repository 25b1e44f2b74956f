//! Whether a request says itself that its answer takes its time: a watch, a long poll, a MySQL statement that waits by
//! its nature. The kept beginning of a request goes in, for how long it may wait comes out. Pure; what is read of query
//! strings and headers stays here (law 10).
//!
//! | says so | for how long |
//! | --- | --- |
//! | `watch=true` (Kubernetes), `wait=true` (etcd 2), `wait_for_completion=true` (Elasticsearch), `follow=true` (Docker, Kubernetes), `feed=longpoll` or `continuous` (CouchDB), `Accept: text/event-stream` and nothing else | without an end |
//! | `wait=5m` (Consul, Nomad), `timeout=50`, `timeoutSeconds=300` (Kubernetes), `WaitTimeSeconds=20` (SQS), `Prefer: wait=60` (RFC 7240, 4.3) | as it says |
//! | `index=` under `/v1/` without `wait` | Consul's and Nomad's 5 minutes |
//! | MySQL: `SLEEP()`, `GET_LOCK()`, functions that wait for a replica; statements that change a schema, or go through whole tables (`ALTER`, `OPTIMIZE`, `LOAD`) | without an end |

use super::http::request_head;

/// For how long a request may wait for its answer.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Patience {
    Endless,
    /// Seconds.
    UpTo(f64),
}

/// Servers add to what they were asked for, as Consul does up to a sixteenth: a part, and seconds.
const LATE: f64 = 1.125;
const LATE_SECONDS: f64 = 1.0;
/// Of Consul and Nomad, where a request does not say, seconds.
const BLOCKING_QUERY: f64 = 300.0;
/// A number without a unit that is as large is milliseconds.
const MILLISECONDS: f64 = 1_000.0;

/// MySQL's functions that wait for time, for a lock, or for a replica.
const WAITS: &[&str] = &[
    "SLEEP",
    "GET_LOCK",
    "WAIT_FOR_EXECUTED_GTID_SET",
    "WAIT_UNTIL_SQL_THREAD_AFTER_GTIDS",
    "MASTER_POS_WAIT",
    "SOURCE_POS_WAIT",
    "MASTER_GTID_WAIT",
];

/// First words of its statements that take as long as their tables are large. Not `CALL`, which says nothing of what it
/// does, and not `LOCK`, whose wait is one for others.
const LABOURS: &[&str] = &[
    "ALTER", "ANALYZE", "BACKUP", "CHECK", "CHECKSUM", "CLONE", "CREATE", "DROP", "IMPORT", "LOAD",
    "OPTIMIZE", "RENAME", "REPAIR", "TRUNCATE",
];

impl Patience {
    /// What an HTTP request says. `truncated`: its head goes on.
    pub fn of_request(head: &[u8], truncated: bool) -> Option<Self> {
        let first = request_head(head, truncated)?;
        let (path, query) = first.target.split_once('?').unwrap_or((&first.target, ""));
        // What a number or a word goes on with is not known.
        let query = if first.cut { query.rsplit_once('&').map_or("", |(whole, _)| whole) } else { query };
        let said = query.split(['&', '#']).filter_map(|part| parameter(part.split_once('=')?));
        let said = said.chain(headers(head)).reduce(Self::longer);
        let blocks = || {
            let mut parts = query.split('&').filter_map(|part| part.strip_prefix("index="));
            path.starts_with("/v1/") && parts.any(|index| index.parse::<u64>().is_ok_and(|index| index > 0))
        };
        said.or_else(|| blocks().then_some(Self::UpTo(BLOCKING_QUERY)))
    }

    /// What a MySQL statement without its literals says, or several of them.
    pub fn of_statement(digest: &str) -> Option<Self> {
        let is_word = |c: char| c.is_alphanumeric() || c == '_';
        let is_one_of = |words: &[&str], word: &str| words.iter().any(|one| word.eq_ignore_ascii_case(one));
        let mut first_words =
            digest.split(';').map(|one| one.trim_start().split(|c| !is_word(c)).next().unwrap_or_default());
        if first_words.any(|word| is_one_of(LABOURS, word)) {
            return Some(Self::Endless);
        }
        let calls = digest.split('(').rev().skip(1).map(|before| {
            let name = before.trim_end();
            name.rsplit(|c| !is_word(c)).next().unwrap_or_default()
        });
        let mut calls = calls.filter(|name| is_one_of(WAITS, name));
        calls.next().map(|_| Self::Endless)
    }

    /// Whether one that has waited for `seconds` is still within what it said.
    pub fn covers(self, seconds: f64) -> bool {
        match self {
            Self::Endless => true,
            Self::UpTo(most) => seconds <= most * LATE + LATE_SECONDS,
        }
    }

    fn longer(self, other: Self) -> Self {
        match (self, other) {
            (Self::UpTo(one), Self::UpTo(two)) => Self::UpTo(one.max(two)),
            _ => Self::Endless,
        }
    }
}

/// What one parameter of a query string says. One that asks to be answered once something has happened says no time: to
/// bound it here would be to guess how long a build or a copy takes, and the price is only that a hung one is not told of.
fn parameter((name, value): (&str, &str)) -> Option<Patience> {
    let name: String = name.chars().filter(|c| !matches!(c, '_' | '-')).collect::<String>().to_lowercase();
    let is_on = value.eq_ignore_ascii_case("true");
    match name.as_str() {
        "watch" | "follow" if is_on || value == "1" => Some(Patience::Endless),
        "wait" | "waitforcompletion" if is_on => Some(Patience::Endless),
        "feed" if matches!(value, "longpoll" | "continuous" | "eventsource") => Some(Patience::Endless),
        "timeoutseconds" | "waittimeseconds" => value.parse().ok().and_then(seconds),
        "timeoutms" => value.parse().ok().and_then(|ms: f64| seconds(ms / MILLISECONDS)),
        "wait" | "timeout" => duration(value),
        _ => None,
    }
}

/// `30`, `30000` (milliseconds), `1.5s`, `1m30s`, `500ms`.
fn duration(text: &str) -> Option<Patience> {
    if let Ok(number) = text.parse::<f64>() {
        return seconds(if number >= MILLISECONDS { number / MILLISECONDS } else { number });
    }
    let (mut sum, mut rest) = (0.0, text);
    while !rest.is_empty() {
        let unit_at = rest.find(|c: char| c.is_ascii_alphabetic())?;
        let (number, unit) = rest.split_at(unit_at);
        let end = unit.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(unit.len());
        let scale = match &unit[..end] {
            "ms" => 0.001,
            "s" => 1.0,
            "m" => 60.0,
            "h" => 3_600.0,
            _ => return None,
        };
        sum += number.parse::<f64>().ok()? * scale;
        rest = &unit[end..];
    }
    seconds(sum)
}

fn seconds(seconds: f64) -> Option<Patience> {
    (seconds.is_finite() && seconds > 0.0).then_some(Patience::UpTo(seconds))
}

/// What the whole header lines say that are kept.
fn headers(head: &[u8]) -> impl Iterator<Item = Patience> {
    let lines = head.split_inclusive(|b| *b == b'\n').skip(1).filter_map(|line| line.strip_suffix(b"\n"));
    lines.filter_map(|line| {
        let (name, value) = std::str::from_utf8(line).ok()?.split_once(':')?;
        let value = value.trim();
        if name.eq_ignore_ascii_case("accept") {
            let kind = value.split(';').next().unwrap_or_default().trim_end();
            return kind.eq_ignore_ascii_case("text/event-stream").then_some(Patience::Endless);
        }
        let wait = value.split([',', ';']).find_map(|part| part.trim().strip_prefix("wait="));
        wait.filter(|_| name.eq_ignore_ascii_case("prefer"))?.parse().ok().and_then(seconds)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(target: &str) -> Option<Patience> {
        Patience::of_request(format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n").as_bytes(), false)
    }

    #[test]
    fn requests_that_wait_by_design() {
        let up_to = |seconds| Some(Patience::UpTo(seconds));
        let endless = Some(Patience::Endless);
        for (target, expected) in [
            ("/api/v1/pods?watch=true&resourceVersion=7", endless),
            ("/api/v1/pods?watch=1&timeoutSeconds=400", endless),
            ("/api/v1/pods?timeoutSeconds=400", up_to(400.0)),
            ("/v2/keys/a?wait=true&waitIndex=7", endless),
            ("/_reindex?wait_for_completion=true", endless),
            ("/v1/kv/a?index=7&wait=5m", up_to(300.0)),
            ("/v1/kv/a?wait=1m30s", up_to(90.0)),
            ("/v1/health/service/a?index=7", up_to(300.0)),
            ("/db/_changes?feed=longpoll&since=7", endless),
            ("/containers/a/logs?follow=1", endless),
            ("/?Action=ReceiveMessage&WaitTimeSeconds=20", up_to(20.0)),
            ("/bot/getUpdates?timeout=50", up_to(50.0)),
            ("/sync?since=a&timeout=30000", up_to(30.0)),
            ("/poll?timeout_ms=45000", up_to(45.0)),
            ("/poll?wait=500ms", up_to(0.5)),
        ] {
            assert_eq!(of(target), expected, "{target}");
        }
    }

    /// The nearest that say nothing of the kind.
    #[test]
    fn requests_that_want_an_answer() {
        for target in [
            "/",
            "/watch=true",
            "/a?watch=false",
            "/a?watch=",
            "/a?timeout=",
            "/a?timeout=soon",
            "/a?timeout=-1",
            "/a?timeout=0",
            "/a?wait=5x",
            "/a?index=7",
            "/v1/kv/a?index=0",
            "/v1/kv/a",
            "/a?feed=rss",
            "/a?timeout=nan",
            "/a?nowait=true",
            "/_reindex?wait_for_completion=false",
            "/a?q=watch=true",
        ] {
            assert_eq!(of(target), None, "{target}");
        }
    }

    #[test]
    fn headers_that_say_so() {
        let with = |header: &str, truncated| {
            Patience::of_request(format!("POST /a HTTP/1.1\r\nHost: a\r\n{header}").as_bytes(), truncated)
        };
        assert_eq!(with("Prefer: respond-async, wait=60\r\n\r\n", false), Some(Patience::UpTo(60.0)));
        assert_eq!(with("accept: text/event-stream\r\n", true), Some(Patience::Endless));
        assert_eq!(with("Accept: application/json, text/event-stream\r\n\r\n", false), None, "any of both");
        assert_eq!(with("X-Prefer: wait=60\r\n\r\n", false), None);
        assert_eq!(with("Prefer: wait=6", true), None, "it may go on");
    }

    #[test]
    fn what_is_cut_is_not_read() {
        assert_eq!(Patience::of_request(b"GET /a?watch=true&timeout=5", true), Some(Patience::Endless));
        assert_eq!(Patience::of_request(b"GET /a?x=1&timeout=5", true), None);
        assert_eq!(Patience::of_request(b"\x16\x03", false), None);
    }

    #[test]
    fn statements_that_wait_by_design() {
        for digest in [
            "SELECT SLEEP(?)",
            "SELECT a, GET_LOCK (?, ?)",
            "DO sleep(?)",
            "SELECT WAIT_FOR_EXECUTED_GTID_SET(?, ?)",
            "SELECT IF(MASTER_POS_WAIT(?, ?), f(?), ?)",
        ] {
            assert_eq!(Patience::of_statement(digest), Some(Patience::Endless), "{digest}");
        }
        for digest in [
            "SELECT sleep FROM t WHERE a IN (...)",
            "SELECT SLEEPY(?)",
            "SELECT RELEASE_LOCK(?)",
            "SELECT a FROM t WHERE b IN (SELECT alter FROM drop)",
            "INSERT INTO t SELECT * FROM u",
            "SHOW CREATE TABLE t",
            "CALL report(?)",
            "LOCK TABLES t READ",
            "checked",
            "COMMIT",
            "",
        ] {
            assert_eq!(Patience::of_statement(digest), None, "{digest}");
        }
    }

    #[test]
    fn statements_that_work_for_long_by_design() {
        for digest in [
            "ALTER TABLE t ADD COLUMN a INT",
            "CREATE UNIQUE INDEX a ON t(b)",
            "create temporary TABLE t SELECT * FROM u",
            "OPTIMIZE TABLE t",
            "CHECK TABLE t",
            "LOAD DATA LOCAL INFILE ? INTO TABLE t",
            "SET foreign_key_checks = ?; TRUNCATE TABLE t",
            "REPAIR …",
        ] {
            assert_eq!(Patience::of_statement(digest), Some(Patience::Endless), "{digest}");
        }
    }

    #[test]
    fn up_to_what_was_said_and_a_little_more() {
        let said = Patience::UpTo(80.0);
        assert!(said.covers(42.0) && said.covers(91.0) && !said.covers(91.1));
        assert!(Patience::Endless.covers(1e9));
    }
}
