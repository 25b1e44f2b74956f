//! The request line of an HTTP/1 request, from the kept beginning of its head.

/// What a request's first line says, and its host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestHead {
    /// `_OTHER` (OpenTelemetry's word) when it is no method of a registered form.
    pub method: String,
    /// As the client sent it; cut when the head was.
    pub target: String,
    /// The line ended in an HTTP/1 version: this is HTTP beyond doubt.
    pub versioned: bool,
}

/// Longest method told apart; a hostile client cannot make names without end.
const LONGEST_METHOD: usize = 20;

/// Methods of the IANA registry that are told apart; the others are `_OTHER` so that their number is bounded.
const METHODS: [&str; 19] = [
    "GET",
    "POST",
    "PUT",
    "HEAD",
    "DELETE",
    "PATCH",
    "OPTIONS",
    "TRACE",
    "CONNECT",
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
];

/// Reads the first line. None when it has not the form of a request line at all.
pub fn request_head(head: &[u8]) -> Option<RequestHead> {
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
    let method =
        std::str::from_utf8(method).ok().filter(|m| m.len() <= LONGEST_METHOD && METHODS.contains(m));
    Some(RequestHead {
        method: method.unwrap_or("_OTHER").to_owned(),
        target: String::from_utf8_lossy(target).into_owned(),
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
    use super::*;

    fn line(head: &[u8]) -> (String, String, bool) {
        let h = request_head(head).unwrap();
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
    fn a_head_cut_in_its_target() {
        assert_eq!(line(b"POST /very/long"), ("POST".into(), "/very/long".into(), false));
    }

    #[test]
    fn other_protocols() {
        assert!(!line(b"INVITE sip:a@b SIP/2.0\r\n").2);
        assert_eq!(line(b"EHLO host\r\n").0, "_OTHER");
        assert!(request_head(b"\x16\x03\x01").is_none());
        assert!(request_head(b"hello world again").is_none());
    }

    #[test]
    fn invented_methods_are_one() {
        assert_eq!(line(b"AAAA / HTTP/1.1\r\n").0, "_OTHER");
    }
}
