//! The one frame of a stack that a person looks at first. Pure.

use super::Frame;

/// Parts of paths of code that comes with the language, or from a package.
const OTHERS: [&str; 10] = [
    "/lib/python",
    "/lib64/python",
    "/site-packages/",
    "/dist-packages/",
    "<frozen",
    "<string>",
    "/node_modules/",
    "node:",
    "/rustc/",
    "/.cargo/registry/",
];

/// The innermost frame of the application's own code, as far as paths tell; else the innermost with a line; else the
/// innermost.
pub fn of(stack: &[Frame]) -> Option<&Frame> {
    let own = |frame: &&Frame| {
        frame.line.is_some()
            && frame.file.as_ref().is_some_and(|file| !OTHERS.iter().any(|other| file.contains(other)))
    };
    let with_line = || stack.iter().find(|frame| frame.line.is_some());
    stack.iter().find(own).or_else(with_line).or_else(|| stack.first())
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
}
