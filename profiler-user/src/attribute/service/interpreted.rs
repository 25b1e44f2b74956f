//! What an interpreter or a virtual machine runs: its arguments go in, a name and the path of the program come out.
//!
//! | command line | name |
//! | --- | --- |
//! | `python3 /srv/app.py`, `node /srv/server.js` | `app.py (python)`, `server.js (node)` |
//! | `python3 /usr/bin/uvicorn main:app`, `python -m uvicorn main:app` | `uvicorn main:app` |
//! | `python -m http.server`, `ruby -run -e httpd` | `http.server (python)`, `httpd (ruby)` |
//! | `java -jar /srv/shop.jar`, `java -cp ... com.acme.Main` | `shop.jar (java)`, `com.acme.Main (java)` |
//! | `java -Dcatalina.base=/srv/shop ... org.apache.catalina.startup.Bootstrap` | `tomcat shop` |
//! | `beam.smp ... -sname shop@host`, `beam.smp ... -s rabbit boot` | `shop (erlang)`, `rabbit (erlang)` |

use super::identity::{base, join};
use super::tool::{is_tool, option, tool};

/// Options of interpreters whose value is the next argument.
const WITH_VALUE: &[(&str, &[&str])] = &[
    ("python", &["-W", "-X", "--check-hash-based-pycs"]),
    (
        "node",
        &[
            "-r",
            "--require",
            "--import",
            "--loader",
            "--experimental-loader",
            "-C",
            "--conditions",
            "--env-file",
        ],
    ),
    ("bun", &["-r", "--preload"]),
    ("deno", &["-c", "--config", "--import-map"]),
    ("ruby", &["-I", "-r", "-C", "-E"]),
    ("php", &["-c", "-d", "-z", "-t", "-S"]),
    ("perl", &["-I"]),
    (
        "java",
        &[
            "-cp",
            "-classpath",
            "--class-path",
            "-p",
            "--module-path",
            "--upgrade-module-path",
            "--add-modules",
            "--add-opens",
            "--add-exports",
            "--add-reads",
            "--enable-native-access",
            "--limit-modules",
        ],
    ),
];

/// Java's servers of applications by their main class or jar: the name that people know, and the property that says
/// where the application is.
const CONTAINERS: &[(&str, &str, &str)] = &[
    ("org.apache.catalina.startup.Bootstrap", "tomcat", "catalina.base"),
    ("org.eclipse.jetty.start.Main", "jetty", "jetty.base"),
    ("org.eclipse.jetty.xml.XmlConfiguration", "jetty", "jetty.base"),
    ("start.jar", "jetty", "jetty.base"),
];

/// Erlang's modules that only start what the arguments behind `-extra` name.
const ERLANG_STARTERS: &[&str] = &["elixir", "escript", "init"];

/// The name and the path of what an interpreter runs.
pub(super) fn interpreted(file: &str, runtime: &str, args: &[String]) -> (String, String) {
    if runtime == "erlang" {
        return erlang(args).map_or_else(
            || (file.into(), String::new()),
            |node| (named(erlang_name(node).into(), node, runtime), node.into()),
        );
    }
    let with_value =
        WITH_VALUE.iter().find(|(name, _)| *name == runtime).map_or(&[][..], |(_, options)| options);
    let mut at = 0;
    while let Some(arg) = args.get(at).map(String::as_str) {
        let rest = args.get(at + 1..).unwrap_or_default();
        let value = rest.first().map(String::as_str);
        match (arg, value) {
            ("-m", Some(module)) if runtime == "python" => {
                let name = tool(module, &rest[1..]);
                return (named(name, module, runtime), module.into());
            }
            ("-jar", Some(jar)) if runtime == "java" => {
                return container(jar, args)
                    .unwrap_or_else(|| (named(base(jar).into(), jar, runtime), jar.into()));
            }
            ("-m" | "--module", Some(module)) if runtime == "java" => {
                return (named(module.into(), module, runtime), module.into());
            }
            // Ruby's library `un` has commands for the shell, given as a program: `ruby -run -e httpd`.
            ("-run", _) if runtime == "ruby" => {
                let command = option(rest, &["-e"]).filter(|e| e.chars().all(|c| c.is_ascii_alphanumeric()));
                return match command {
                    Some(command) => (named(command.into(), command, runtime), command.into()),
                    None => (format!("{file} -run"), String::new()),
                };
            }
            // An inline program has no name, and its text may be secret.
            ("-c", _) if runtime == "python" => return (format!("{file} -c"), String::new()),
            ("-e" | "--eval" | "-p" | "--print", _) if runtime == "node" => {
                return (format!("{file} -e"), String::new());
            }
            ("-e", _) if runtime == "ruby" || runtime == "perl" => {
                return (format!("{file} -e"), String::new());
            }
            ("run", Some(_)) if runtime == "deno" || runtime == "bun" => at += 1,
            (option, _) if with_value.contains(&option) => at += 2,
            (option, _) if option.starts_with('-') || option.is_empty() || option.starts_with('@') => at += 1,
            (class, _) if runtime == "java" => {
                return container(class, args)
                    .unwrap_or_else(|| (named(class.into(), class, runtime), class.into()));
            }
            (script, _) => {
                let name = tool(base(script), rest);
                return (named(name, base(script), runtime), script.into());
            }
        }
    }
    (file.into(), String::new())
}

/// Scripts and modules say what runs them; tools with a name of their own need not.
fn named(name: String, program: &str, runtime: &str) -> String {
    // Installed commands have no ending: `/usr/local/bin/uvicorn`.
    if is_tool(program) { name } else { format!("{name} ({runtime})") }
}

/// A server of Java applications by its own name and that of the application's folder.
fn container(main: &str, args: &[String]) -> Option<(String, String)> {
    let (_, name, property) = CONTAINERS.iter().find(|(class, ..)| *class == base(main))?;
    let folder = args.iter().find_map(|arg| {
        let (key, value) = arg.strip_prefix("-D").unwrap_or(arg).split_once('=')?;
        (key == *property).then_some(value)
    });
    // Others have a `start.jar` too.
    if main.ends_with(".jar") && folder.is_none() && !main.contains(name) {
        return None;
    }
    let app = folder.map(|folder| base(folder.trim_end_matches('/'))).unwrap_or_default();
    let shown = if app.contains(name) { app.into() } else { join(name, app) };
    Some((shown, folder.unwrap_or(main).into()))
}

/// What an Erlang machine is called by its node's name, else by the module or script that it starts.
fn erlang(args: &[String]) -> Option<&str> {
    let started = || option(args, &["-s", "-run"]).filter(|module| !ERLANG_STARTERS.contains(module));
    let extra = || {
        let at = args.iter().position(|arg| arg == "-extra")?;
        args[at + 1..].iter().map(String::as_str).find(|arg| !arg.starts_with(['-', '+']))
    };
    option(args, &["-sname", "-name", "--sname", "--name"])
        .or_else(started)
        .or_else(extra)
        .or_else(|| option(args, &["-progname"]).filter(|name| *name != "erl"))
        .filter(|name| !name.is_empty())
}

/// A node without its host, a script without its folder.
fn erlang_name(node: &str) -> &str {
    base(node.split('@').next().unwrap_or(node))
}
