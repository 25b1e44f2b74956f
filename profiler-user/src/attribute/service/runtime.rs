//! Which runtime executes a program: by the executable's name, or by what a linker left in its file.

use std::fs::File;
use std::path::Path;

use object::Object;
use object::read::{File as Elf, ReadCache};

/// Executables by the beginning of their name, and the runtime's name in reports. What follows must not be a letter:
/// `python3.12` and `node18` are meant, `nodemon` is not.
const RUNTIMES: &[(&str, &str)] = &[
    ("python", "python"),
    ("pypy", "python"),
    ("uwsgi", "python"),
    ("node", "node"),
    ("nodejs", "node"),
    ("bun", "bun"),
    ("deno", "deno"),
    ("java", "java"),
    ("ruby", "ruby"),
    ("php", "php"),
    ("php-fpm", "php"),
    ("perl", "perl"),
    ("dotnet", "dotnet"),
    ("beam.smp", "erlang"),
];

/// By an executable's file name.
pub(super) fn of_name(name: &str) -> Option<&'static str> {
    let matches = |prefix: &str| {
        name.strip_prefix(prefix).is_some_and(|rest| !rest.starts_with(|c: char| c.is_alphabetic()))
    };
    // The longest that matches: `php-fpm` before `php`.
    RUNTIMES
        .iter()
        .filter(|(prefix, _)| matches(prefix))
        .max_by_key(|(prefix, _)| prefix.len())
        .map(|(_, name)| *name)
}

/// By the file itself, of which only the table of sections is read.
///
/// Go's linker leaves `.go.buildinfo` (cmd/link/internal/ld/data.go, buildinfo) and `.note.go.buildid` in all
/// executables, stripped ones included.
pub(super) fn of_file(path: &Path) -> Option<&'static str> {
    let cache = ReadCache::new(File::open(path).ok()?);
    let elf = Elf::parse(&cache).ok()?;
    let is_go = [".go.buildinfo", ".note.go.buildid"].iter().any(|name| elf.section_by_name(name).is_some());
    is_go.then_some("go")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn executables_by_name() {
        for (name, want) in [
            ("python3.12", Some("python")),
            ("python", Some("python")),
            ("node", Some("node")),
            ("node-18", Some("node")),
            ("php-fpm8.2", Some("php")),
            ("java", Some("java")),
            ("beam.smp", Some("erlang")),
            ("nodemon", None),
            ("javac", None),
            ("nginx", None),
            ("", None),
        ] {
            assert_eq!(of_name(name), want, "{name}");
        }
    }

    #[test]
    fn files_that_are_no_go() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x");
        for content in ["", "\x7fELF", "#!/bin/sh\n"] {
            std::fs::write(&path, content).unwrap();
            assert_eq!(of_file(&path), None);
        }
        assert_eq!(of_file(&std::env::current_exe().unwrap()), None);
        assert_eq!(of_file(Path::new("/nonexistent")), None);
    }
}
