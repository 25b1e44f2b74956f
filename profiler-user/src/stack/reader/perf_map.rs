//! Names of code that a runtime makes while it runs: `/tmp/perf-PID.map`, a line for each piece of code, as Node writes
//! it with `--perf-basic-prof`. Only what has been added is read again.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::os::unix::fs::MetadataExt;

use super::inside::{self, Last};
use super::process::Process;
use crate::stall::Frame;

/// Read of a map at the most; what a runtime writes beyond that stays unnamed.
const MOST: u64 = 64 << 20;

/// The names of one process.
#[derive(Debug, Default)]
pub(super) struct PerfMap {
    /// By the address where it begins: how long it is, and its name. Newer lines are later ones: code moves.
    code: BTreeMap<u64, (u64, Box<str>)>,
    read: u64,
    /// The begin of a line whose rest has not been written yet.
    rest: Vec<u8>,
}

impl PerfMap {
    /// Reads what has been added. In the process's own `/tmp`, by its number in its own namespace; that is where it
    /// writes it.
    pub(super) fn update(&mut self, process: &Process) {
        let Some(number) = process.inner(process.pid) else { return };
        let Some(mut file) = open(process, number) else { return };
        let length = file.metadata().map_or(0, |data| data.len());
        if length < self.read {
            *self = Self::default();
        }
        let mut added = std::mem::take(&mut self.rest);
        if file.seek(SeekFrom::Start(self.read)).is_err() {
            return;
        }
        self.read += file.take(MOST.saturating_sub(self.read)).read_to_end(&mut added).unwrap_or(0) as u64;
        self.add(&added);
    }

    fn add(&mut self, bytes: &[u8]) {
        let whole = bytes.iter().rposition(|b| *b == b'\n').map_or(0, |at| at + 1);
        self.rest = bytes[whole..].to_vec();
        for line in String::from_utf8_lossy(&bytes[..whole]).lines() {
            if let Some((start, length, name)) = parse(line) {
                self.code.insert(start, (length, name.into()));
            }
        }
    }

    /// What is at an address.
    pub(super) fn frame(&self, address: u64) -> Option<Frame> {
        let (start, (length, name)) = self.code.range(..=address).next_back()?;
        (address - start < *length).then(|| frame(name))
    }
}

/// The map of a process that has this number inside. In a folder where others may write too: one of theirs is not read.
fn open(process: &Process, number: u32) -> Option<File> {
    let file = inside::open(process, &format!("/tmp/perf-{number}.map"), Last::File).ok()?;
    let owner = file.metadata().ok()?.uid();
    (owner == 0 || process.user() == Some(owner)).then_some(file)
}

/// `3ef414c0 398 name`: where, how long (both hexadecimal) and what, which may have blanks.
fn parse(line: &str) -> Option<(u64, u64, &str)> {
    let mut words = line.splitn(3, ' ');
    let mut number = || u64::from_str_radix(words.next()?.trim_start_matches("0x"), 16).ok();
    Some((number()?, number()?, words.next()?))
}

/// A name as a frame. V8 writes `JS:*name file:line:column` (older: `LazyCompile:*...`): a kind, a mark for how the code
/// was made, and where the function begins.
fn frame(name: &str) -> Frame {
    v8(name).unwrap_or_else(|| Frame { function: name.to_owned(), file: None, line: None })
}

fn v8(name: &str) -> Option<Frame> {
    let (kind, rest) = name.split_once(':')?;
    if !["JS", "LazyCompile", "Function", "Script", "Eval", "InterpretedFunction"].contains(&kind) {
        return None;
    }
    let rest = rest.trim_start_matches(['*', '~', '^', '+']);
    let (rest, column) = rest.rsplit_once(':')?;
    let (rest, line) = rest.rsplit_once(':')?;
    column.parse::<u32>().ok()?;
    // The name has no blank but in `get x`, the path may have some; it is absolute, or an address.
    let begins = [" /", " file:", " node:"].into_iter().filter_map(|begin| rest.find(begin)).min();
    let (function, file) = rest.split_at(begins.or_else(|| rest.find(' '))?);
    let file = file.trim_start();
    let file = file.strip_prefix("file://").unwrap_or(file);
    let function = if function.is_empty() { "(anonymous)" } else { function };
    Some(Frame { function: function.to_owned(), file: Some(file.to_owned()), line: line.parse().ok() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(name: &str) -> (String, Option<String>, Option<u32>) {
        let frame = frame(name);
        (frame.function, frame.file, frame.line)
    }

    fn at(function: &str, file: &str, line: u32) -> (String, Option<String>, Option<u32>) {
        (function.to_owned(), Some(file.to_owned()), Some(line))
    }

    #[test]
    fn names_as_v8_writes_them() {
        assert_eq!(named("JS:*spin /srv/app.js:7:18"), at("spin", "/srv/app.js", 7));
        assert_eq!(named("LazyCompile:~spin /srv/my app.js:7:18"), at("spin", "/srv/my app.js", 7));
        assert_eq!(named("JS:^get size file:///srv/a.mjs:70:1"), at("get size", "/srv/a.mjs", 70));
        assert_eq!(named("JS:~ node:internal/main:1:1"), at("(anonymous)", "node:internal/main", 1));
        assert_eq!(named("JS:*Server.handle /a.js:2:3"), at("Server.handle", "/a.js", 2));
        for other in ["Builtin:ArrayMap", "RegExp:a:b /:1:2", "JS:*x", "py::main:/srv/app.py", ""] {
            assert_eq!(named(other), (other.to_owned(), None, None), "{other}");
        }
    }

    #[test]
    fn a_map_is_a_file_of_the_process_and_no_link() {
        let own = Process::of(std::process::id()).unwrap();
        let number = own.inner(own.pid).unwrap();
        let path = format!("/tmp/perf-{number}.map");
        let read = || {
            let mut map = PerfMap::default();
            map.update(&own);
            map.frame(0x1008).map(|frame| frame.function)
        };
        std::fs::write(&path, "1000 10 made\n").unwrap();
        let written = read();
        std::fs::remove_file(&path).unwrap();
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("map"), "1000 10 other\n").unwrap();
        std::os::unix::fs::symlink(dir.path().join("map"), &path).unwrap();
        let linked = read();
        std::fs::remove_file(&path).unwrap();
        assert_eq!((written.as_deref(), linked), (Some("made"), None));
    }

    #[test]
    fn the_newest_line_counts_and_a_cut_one_waits() {
        let mut map = PerfMap::default();
        map.add(b"1000 20 JS:*a /a.js:1:1\n1020 10 Builtin:B\nrubbish\n1000 10 JS:*b");
        assert_eq!(map.frame(0x101f).map(|f| f.function).as_deref(), Some("a"));
        assert_eq!(map.frame(0x1030), None, "behind the last");
        assert_eq!(map.frame(0xfff), None);
        let rest = [&std::mem::take(&mut map.rest)[..], b" /a.js:9:1\n"].concat();
        map.add(&rest);
        assert_eq!(map.frame(0x100f).map(|f| f.function).as_deref(), Some("b"));
        assert_eq!(map.frame(0x101f), None, "the code there is gone");
    }
}
