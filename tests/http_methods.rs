//! Every method is a request: those of WebDAV, UPnP and caches by their names, those that somebody made up as `_OTHER`.
//! Each is the first request of its connection, so that nothing but the method tells the protocol.

use std::process;

use hostprof_tests::{
    Trace,
    peer::{between, read_head, read_until, write},
};

const OK: &[u8] = b"HTTP/1.1 207 Multi-Status\r\nContent-Length: 2\r\n\r\nok";

/// Methods with the names that are shown.
const NAMED: [&str; 24] = [
    "PUT",
    "DELETE",
    "PATCH",
    "OPTIONS",
    "TRACE",
    "PROPFIND",
    "PROPPATCH",
    "MKCOL",
    "COPY",
    "MOVE",
    "LOCK",
    "UNLOCK",
    "REPORT",
    "SEARCH",
    "QUERY",
    "ACL",
    "LINK",
    "UNLINK",
    "MKCALENDAR",
    "VERSION-CONTROL",
    "M-SEARCH",
    "NOTIFY",
    "SUBSCRIBE",
    "PURGE",
];
const MADE_UP: [&str; 3] = ["FETCHALL", "X-PING", "ALONGMETHODTHATNOBODYHASREGISTEREDYET"];

#[test]
fn each_method_is_seen_once_on_both_sides() {
    let trace = Trace::start(&["--pid", &process::id().to_string()]).unwrap();
    let methods: Vec<_> = NAMED.into_iter().chain(MADE_UP).collect();
    for (number, method) in methods.iter().enumerate() {
        between(
            |stream| {
                let request = format!(
                    "{method} /method/of-{number} HTTP/1.1\r\nHost: test\r\nContent-Length: 0\r\n\r\n"
                );
                write(&stream, request.as_bytes())?;
                read_until(&stream, b"ok").map(drop)
            },
            |stream| {
                read_head(&stream)?;
                write(&stream, OK)
            },
        )
        .unwrap();
    }
    let lines = trace.finish_whole().unwrap();
    for role in ["client", "server"] {
        let seen: Vec<_> = lines
            .iter()
            .filter(|line| line["role"] == role)
            .map(|line| {
                let path = line["path"].as_str().unwrap_or_default().to_owned();
                (path, line["method"].as_str().unwrap_or_default().to_owned(), line["status"].as_u64())
            })
            .collect();
        let shown =
            |method: &str| if NAMED.contains(&method) { method.to_owned() } else { "_OTHER".to_owned() };
        let sent: Vec<_> = methods
            .iter()
            .enumerate()
            .map(|(number, method)| (format!("/method/of-{number}"), shown(method), Some(207)))
            .collect();
        assert_eq!(seen, sent, "{role}");
    }
}
