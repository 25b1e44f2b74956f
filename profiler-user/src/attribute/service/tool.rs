//! Tools that serve an application, which is worth more than their own name: a tool and its arguments go in, both
//! names come out (`uvicorn main:app`, `celery shop`, `uwsgi shop.ini`).

use super::identity::{base, join};

const TOOLS: &[&str] = &[
    "uvicorn",
    "gunicorn",
    "hypercorn",
    "daphne",
    "granian",
    "waitress-serve",
    "uwsgi",
    "celery",
    "flask",
    "fastapi",
    "streamlit",
    "manage.py",
    "rails",
    "npm",
    "yarn",
    "pnpm",
    "next",
    "rq",
    "dramatiq",
    "arq",
];

/// Endings of the files that uWSGI takes for an application or its settings.
const UWSGI_FILES: &[&str] =
    &[".ini", ".yaml", ".yml", ".xml", ".json", ".py", ".wsgi", ".psgi", ".pl", ".ru", ".php", ".lua"];

/// Whether a program is a tool, which needs no word about its runtime.
pub(super) fn is_tool(program: &str) -> bool {
    TOOLS.contains(&program)
}

/// The tool that an executable is: distributions install uWSGI under names with its plugins (`uwsgi-core`).
pub(super) fn of_file(file: &str) -> &str {
    match file.split(['-', '_']).next() {
        Some("uwsgi") => "uwsgi",
        _ => file,
    }
}

/// A tool's name with what it serves; of a program that is none its name.
pub(super) fn tool(name: &str, args: &[String]) -> String {
    if !is_tool(name) {
        return name.into();
    }
    let first = || args.first().map(String::as_str).filter(|arg| !arg.starts_with('-'));
    let app = match name {
        "celery" | "flask" => option(args, &["-A", "--app"]),
        "uwsgi" => option(args, &["-w", "--module", "--wsgi", "--wsgi-file", "--psgi", "--rack"])
            .or_else(|| values(args).find(|value| UWSGI_FILES.iter().any(|end| value.ends_with(end)))),
        "uvicorn" | "gunicorn" | "hypercorn" | "daphne" | "granian" | "waitress-serve" => {
            args.iter().map(String::as_str).find(|arg| is_app(arg)).or_else(first)
        }
        _ => first(),
    };
    join(name, app.map(base).unwrap_or_default())
}

/// The value of the first of these options: `--app shop` or `--app=shop`.
pub(super) fn option<'a>(args: &'a [String], names: &[&str]) -> Option<&'a str> {
    args.iter().enumerate().find_map(|(at, arg)| match arg.split_once('=') {
        Some((name, value)) => names.contains(&name).then_some(value),
        None if names.contains(&arg.as_str()) => {
            args.get(at + 1).map(String::as_str).filter(|value| !value.starts_with('-'))
        }
        None => None,
    })
}

/// All arguments, of assignments the value.
fn values(args: &[String]) -> impl Iterator<Item = &str> {
    args.iter().map(|arg| arg.split_once('=').map_or(arg.as_str(), |(_, value)| value))
}

/// `package.module:object`, as WSGI and ASGI servers take it; not `host:80` or `unix:/path`.
fn is_app(arg: &str) -> bool {
    let is_name = |name: &str| {
        name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
            && name.chars().all(|c| c.is_ascii_alphanumeric() || "_.()".contains(c))
    };
    arg.split_once(':').is_some_and(|(module, object)| is_name(module) && is_name(object))
}
