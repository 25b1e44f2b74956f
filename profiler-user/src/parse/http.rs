//! The request line of an HTTP/1 request, from the kept beginning of its head.

/// What a request's first line says, and its host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestHead {
    /// `_OTHER` (OpenTelemetry's word) when it is no method of a registered form.
    pub method: String,
    /// As the client sent it; empty when it is not known.
    pub target: String,
    /// The head was cut within the target: it goes on in a way that is not known.
    pub cut: bool,
    /// The line ended in an HTTP/1 version: this is HTTP beyond doubt.
    pub versioned: bool,
}

/// Longest method told apart; a hostile client cannot make names without end.
const LONGEST_METHOD: usize = 20;

/// Methods that are told apart: those of the IANA registry, of UPnP (M-SEARCH to UNSUBSCRIBE) and of caches (the last
/// three). Others are `_OTHER`, so that their number is bounded.
const METHODS: [&str; 47] = [
    "GET",
    "POST",
    "PUT",
    "HEAD",
    "DELETE",
    "PATCH",
    "OPTIONS",
    "TRACE",
    "CONNECT",
    "ACL",
    "BASELINE-CONTROL",
    "BIND",
    "CHECKIN",
    "CHECKOUT",
    "COPY",
    "LABEL",
    "LINK",
    "LOCK",
    "MERGE",
    "MKACTIVITY",
    "MKCALENDAR",
    "MKCOL",
    "MKREDIRECTREF",
    "MKWORKSPACE",
    "MOVE",
    "ORDERPATCH",
    "PROPFIND",
    "PROPPATCH",
    "QUERY",
    "REBIND",
    "REPORT",
    "SEARCH",
    "UNBIND",
    "UNCHECKOUT",
    "UNLINK",
    "UNLOCK",
    "UPDATE",
    "UPDATEREDIRECTREF",
    "VERSION-CONTROL",
    "M-SEARCH",
    "NOTIFY",
    "SUBSCRIBE",
    "UNSUBSCRIBE",
    "SOURCE",
    "PURGE",
    "BAN",
    "REFRESH",
];

/// Reads the first line. None when it has not the form of a request line at all.
///
/// `truncated` says that more of the head came than is kept. The line of any other head may still have no end: the
/// connection had one before the client was done. What there is of its target then is not what was asked for.
pub fn request_head(head: &[u8], truncated: bool) -> Option<RequestHead> {
    let end = head.iter().position(|b| *b == b'\n');
    let line = &head[..end.unwrap_or(head.len())];
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    let mut parts = line.splitn(3, |b| *b == b' ');
    let method = parts.next()?;
    let target = parts.next()?;
    let version = parts.next();
    if method.is_empty() || !method.iter().all(|b| b.is_ascii_uppercase() || *b == b'-' || *b == b'_') {
        return None;
    }
    let versioned =
        version.is_some_and(|v| v.starts_with(b"HTTP/1.") || b"HTTP/1.".starts_with(v) && end.is_none());
    let unended = end.is_none() && version.is_none();
    let target = if unended && !truncated { b"" } else { target };
    let method =
        std::str::from_utf8(method).ok().filter(|m| m.len() <= LONGEST_METHOD && METHODS.contains(m));
    Some(RequestHead {
        method: method.unwrap_or("_OTHER").to_owned(),
        target: String::from_utf8_lossy(target).into_owned(),
        cut: unended && truncated,
        versioned,
    })
}

/// The path of a target: without query string, fragment and the segments' parameters (`;jsessionid=...`), and of an
/// absolute target (`http://user@host/path`, as proxies get) without what is before the path.
pub fn path_of(target: &str) -> String {
    let end = target.find(['?', '#']).unwrap_or(target.len());
    let target = &target[..end];
    let path = match target.split_once("://") {
        Some((scheme, rest)) if !scheme.is_empty() && scheme.bytes().all(|b| b.is_ascii_alphabetic()) => {
            rest.find('/').map_or("/", |at| &rest[at..])
        }
        _ => target,
    };
    let segments = path.split('/').map(|segment| segment.split(';').next().unwrap_or_default());
    segments.collect::<Vec<_>>().join("/")
}

#[cfg(test)]
mod tests {
    use profiler_ebpf::record::{Record, flag, proto, role};

    use super::*;
    use crate::exchange::Call;
    use crate::parse::Parser;

    fn line(head: &[u8]) -> (String, String, bool) {
        let h = request_head(head, false).unwrap();
        assert!(!h.cut);
        (h.method, h.target, h.versioned)
    }

    #[test]
    fn a_whole_head() {
        let got = line(b"GET /a/b?x=1 HTTP/1.1\r\nHost: h\r\n\r\n");
        assert_eq!(got, ("GET".into(), "/a/b?x=1".into(), true));
        assert_eq!(path_of("/a/b?x=1"), "/a/b");
        assert_eq!(path_of("/a#f?x"), "/a");
        assert_eq!(path_of("http://user:secret@host/a/b?x"), "/a/b");
        assert_eq!(path_of("http://host"), "/");
        assert_eq!(path_of("/a;jsessionid=S3CRET/b;v=1"), "/a/b");
        assert_eq!(path_of("/to/http://host/x"), "/to/http://host/x");
    }

    #[test]
    fn a_head_cut_by_its_bound_has_the_beginning_of_its_target() {
        let head = |head: &[u8]| {
            let h = request_head(head, true).unwrap();
            (h.method, h.target, h.cut)
        };
        assert_eq!(head(b"POST /very/long"), ("POST".into(), "/very/long".into(), true));
        assert_eq!(head(b"POST /very/long "), ("POST".into(), "/very/long".into(), false));
        assert_eq!(head(b"POST /very/long HTTP/1"), ("POST".into(), "/very/long".into(), false));
        assert_eq!(
            head(b"POST /very/long HTTP/1.1\r\nCookie: a"),
            ("POST".into(), "/very/long".into(), false)
        );
    }

    #[test]
    fn a_line_cut_by_the_connections_end_has_no_target() {
        assert_eq!(line(b"GET /sm"), ("GET".into(), String::new(), false));
        assert_eq!(line(b"GET "), ("GET".into(), String::new(), false));
        assert_eq!(line(b"GET /small HT"), ("GET".into(), "/small".into(), true));
        assert!(request_head(b"GET", false).is_none() && request_head(b"", true).is_none());
    }

    /// Path and route of a request whose head is this, or begins so; the same while it is under way and at its end.
    fn named(head: &[u8], truncated: bool) -> (String, String) {
        // SAFETY: plain numbers, zero is valid for each.
        let mut record: Record = unsafe { std::mem::zeroed() };
        (record.proto, record.role) = (proto::HTTP, role::SERVER);
        record.request.truncated = truncated.into();
        let under_way = Parser::new(Vec::new()).request_under_way(&record, head).unwrap();
        record.flags = u16::from(truncated) * flag::TRUNCATED;
        match Parser::new(Vec::new()).exchange(&record, head).unwrap().call {
            Call::Http(call) => {
                assert_eq!((&under_way.path, &under_way.route), (&call.path, &call.route));
                (call.path, call.route.to_string())
            }
            Call::Mysql(_) => unreachable!("an HTTP record"),
        }
    }

    #[test]
    fn a_path_that_is_not_known_is_not_made_up() {
        let none = (String::new(), String::new());
        assert_eq!(named(b"GET /sm", false), none);
        assert_eq!(named(b"GET", false), none);
        let names = |path: &str, route: &str| (path.to_owned(), route.to_owned());
        // Cut by its bound: that it goes on is said, and what its end would name is not guessed.
        assert_eq!(named(b"GET /shop/ord", true), names("/shop/ord …", "/shop/{id}"));
        assert_eq!(named(b"GET /shop/orders?from=20", true), names("/shop/orders", "/shop/orders"));
        assert_eq!(named(b"GET /shop HTTP/1.1\r\nX: y", true), names("/shop", "/shop"));
    }

    #[test]
    fn other_protocols() {
        assert!(!line(b"INVITE sip:a@b SIP/2.0\r\n").2);
        assert_eq!(line(b"EHLO host\r\n").0, "_OTHER");
        assert!(request_head(b"\x16\x03\x01", false).is_none());
        assert!(request_head(b"hello world again", false).is_none());
    }

    #[test]
    fn registered_methods_have_their_names() {
        for method in ["M-SEARCH", "VERSION-CONTROL", "UPDATEREDIRECTREF", "PURGE"] {
            assert_eq!(line(format!("{method} /x HTTP/1.1\r\n").as_bytes()).0, method);
        }
    }

    #[test]
    fn invented_methods_are_one() {
        assert_eq!(line(b"AAAA / HTTP/1.1\r\n").0, "_OTHER");
    }
}
