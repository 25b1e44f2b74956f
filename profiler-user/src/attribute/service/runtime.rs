//! Which runtime executes a program: by the executable's name, or by what a linker left in its file.

use std::fs::File;
use std::path::Path;

use object::Object;
use object::read::{File as Elf, ReadCache};

use super::tool;

/// Executables by the beginning of their name, and the runtime's name in reports. What follows must not be a letter:
/// `python3.12` and `node18` are meant, `nodemon` is not.
const RUNTIMES: &[(&str, &str)] = &[
    ("python", "python"),
    ("pypy", "python"),
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

/// Go's name in reports.
pub(in crate::attribute) const GO: &str = "go";

/// uWSGI's plugins whose name is not the runtime's, by the beginning of their name.
const PLUGINS: &[(&str, &str)] = &[("psgi", "perl"), ("rack", "ruby"), ("wsgi", "python")];

/// uWSGI executes what its plugin says (`--plugin http,python3`), or the option that names the application.
pub(super) fn of_plugins(file: &str, args: &[String]) -> Option<&'static str> {
    if tool::of_file(file) != "uwsgi" {
        return None;
    }
    let plugins = tool::option(args, &["--plugin", "--plugins", "--need-plugin"]).unwrap_or_default();
    let by_plugin = plugins.split(',').find_map(|plugin| {
        let other = PLUGINS.iter().find(|(name, _)| plugin.starts_with(name)).map(|(_, runtime)| *runtime);
        of_name(plugin).or(other)
    });
    by_plugin.or_else(|| {
        PLUGINS
            .iter()
            .find(|(name, _)| {
                args.iter().any(|arg| arg.strip_prefix("--").is_some_and(|arg| arg.starts_with(name)))
            })
            .map(|(_, runtime)| *runtime)
    })
}

/// By the file itself, of which only the table of sections is read.
///
/// Go's linker leaves `.go.buildinfo` (cmd/link/internal/ld/data.go, buildinfo) and `.note.go.buildid` in all
/// executables, stripped ones included.
pub(in crate::attribute) fn of_file(path: &Path) -> Option<&'static str> {
    let cache = ReadCache::new(File::open(path).ok()?);
    let elf = Elf::parse(&cache).ok()?;
    let is_go = [".go.buildinfo", ".note.go.buildid"].iter().any(|name| elf.section_by_name(name).is_some());
    is_go.then_some(GO)
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
    fn what_uwsgi_executes() {
        for (line, want) in [
            ("--plugin python3 --http-socket 127.0.0.1:21019 --wsgi-file wsgi.py", Some("python")),
            ("--plugin http,python3 --http 127.0.0.1:21020", Some("python")),
            ("--plugins=http,psgi --http :80", Some("perl")),
            ("--plugin php --http :80", Some("php")),
            ("--http :80 --wsgi-file wsgi.py", Some("python")),
            ("--http :80 --rack config.ru", Some("ruby")),
            ("--ini shop.ini", None),
        ] {
            let args: Vec<String> = line.split(' ').map(str::to_owned).collect();
            assert_eq!(of_plugins("uwsgi-core", &args), want, "{line}");
            assert_eq!(of_plugins("curl", &args), None, "{line}");
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
