//! The one frame of a stack that a person looks at first. Pure.

use super::Frame;

/// Parts of paths of code that comes with the language, or from a package.
const OTHERS: [&str; 15] = [
    "/lib/python2",
    "/lib/python3",
    "/lib64/python2",
    "/lib64/python3",
    "/lib/pypy3",
    "/site-packages/",
    "/dist-packages/",
    "/node_modules/",
    "/usr/share/nodejs/",
    "/usr/include/",
    "/usr/lib/gcc/",
    "/usr/local/go/src/",
    "/go/pkg/mod/",
    "/rustc/",
    "/.cargo/registry/",
];
/// Beginnings of files that are part of a runtime.
const BUILT_IN: [&str; 5] = ["node:", "internal/", "<frozen", "<built-in", "<string>"];
/// Scripts, whose paths may be relative to where the program was started.
const SCRIPTS: [&str; 6] = [".py", ".js", ".mjs", ".cjs", ".ts", ".rb"];

/// The innermost frame of the application's own code, as far as paths tell; else the innermost with a line; else the
/// innermost.
pub fn of(stack: &[Frame]) -> Option<&Frame> {
    let own = |frame: &&Frame| frame.line.is_some() && frame.file.as_deref().is_some_and(is_own);
    let with_line = || stack.iter().find(|frame| frame.line.is_some());
    stack.iter().find(own).or_else(with_line).or_else(|| stack.first())
}

/// Whether a file is the application's own. Where it is installed does not tell: it may be below `/usr/lib` or `/opt`.
fn is_own(file: &str) -> bool {
    !OTHERS.iter().any(|part| file.contains(part))
        && !BUILT_IN.iter().any(|start| file.starts_with(start))
        && !is_of_another_tree(file)
}

/// A path relative to the folder that a library was compiled in: glibc's are `./io/...` and `../sysdeps/...`.
fn is_of_another_tree(file: &str) -> bool {
    (file.starts_with("./") || file.starts_with("../")) && !SCRIPTS.iter().any(|end| file.ends_with(end))
}

/// `handler (app.py:42)`: the function, and the file without its folders.
pub fn short(frame: &Frame) -> String {
    let file = frame.file.as_deref().map(|file| file.rsplit('/').next().unwrap_or(file));
    match (file, frame.line) {
        (Some(file), Some(line)) => format!("{} ({file}:{line})", frame.function),
        (Some(file), None) => format!("{} ({file})", frame.function),
        (None, _) => frame.function.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(function: &str, file: Option<&str>, line: Option<u32>) -> Frame {
        Frame { function: function.to_owned(), file: file.map(str::to_owned), line }
    }

    #[test]
    fn the_applications_own_code_first() {
        let encoder = frame("iterencode", Some("/usr/lib/python3.11/json/encoder.py"), Some(257));
        let own = frame("report", Some("/srv/shop/app.py"), Some(42));
        let uvicorn = frame("run_asgi", Some("/opt/venv/lib/python3.11/site-packages/uvicorn/x.py"), Some(1));
        let native = frame("epoll_wait", None, None);
        assert_eq!(of(&[native.clone(), encoder.clone(), own.clone(), uvicorn]), Some(&own));
        assert_eq!(of(&[native.clone(), encoder.clone()]), Some(&encoder));
        assert_eq!(of(std::slice::from_ref(&native)), Some(&native));
        assert_eq!(of(&[]), None);
        assert_eq!(short(&own), "report (app.py:42)");
        assert_eq!(short(&native), "epoll_wait");
    }

    #[test]
    fn paths_tell_whose_code_it_is() {
        for own in [
            "/srv/shop/app.py",
            "/usr/lib/shop/app.py",
            "/opt/shop/lib/orders.js",
            "/srv/lib/python/app.py",
            "app.py",
            "./app.py",
            "/home/me/shop/src/main.rs",
        ] {
            assert!(is_own(own), "{own}");
        }
        for other in [
            "../sysdeps/unix/sysv/linux/epoll_wait.c",
            "./nptl/futex-internal.c",
            "<frozen importlib._bootstrap>",
            "<string>",
            "/usr/lib64/python3.12/json/encoder.py",
            "/usr/lib/python3.11/asyncio/events.py",
            "/usr/local/lib/python3.13/selectors.py",
            "/opt/venv/lib/python3.11/site-packages/pymysql/connections.py",
            "/usr/lib/python3/dist-packages/requests/api.py",
            "node:internal/timers",
            "/srv/shop/node_modules/express/lib/router.js",
            "/rustc/0123/library/std/src/thread/mod.rs",
        ] {
            assert!(!is_own(other), "{other}");
        }
    }
}
