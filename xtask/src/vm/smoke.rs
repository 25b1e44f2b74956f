//! `cargo xtask vm --smoke`: what hostprof can do on each kernel, as a table.
//!
//! In come the lines that `tests/smoke` printed in the guests, one fact each; out come a Markdown table of hooks and
//! features by kernel, and a list of what is not as it should be.

use std::{
    env,
    ffi::OsString,
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::{Context as _, Result};
use serde_json::Value;

use super::{
    Row, Setup,
    guest::{End, Output, Size},
    machine::Lockdown,
    script::Task,
    series::Series,
    table,
};
use crate::{build, command, services};

/// One cell.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Fact {
    hook: String,
    feature: String,
    seen: String,
    wrong: Option<String>,
}

/// What one guest said.
#[derive(Debug)]
struct Column {
    setup: Setup,
    facts: Vec<Fact>,
}

pub(super) fn run(
    kernels: &[Series],
    lockdown: &[Lockdown],
    all_hooks: bool,
    size: Size,
    file: Option<&Path>,
) -> Result<ExitCode> {
    let binary = match env::var_os("HOSTPROF_BIN") {
        Some(binary) => PathBuf::from(binary),
        None => build::run(build::Options::default())?,
    };
    services::run()?;
    let program = build::executable(command::cargo().args([
        "build",
        "--release",
        "--package",
        "hostprof-tests",
        "--bin",
        "smoke",
    ]))?;
    let mut arguments = vec![OsString::from(program)];
    arguments.extend(all_hooks.then(|| OsString::from("--all-hooks")));
    let mut task = Task::here(arguments).context("failed to read where we are")?;
    task.environment.retain(|(name, _)| name != "HOSTPROF_BIN");
    task.environment.push((OsString::from("HOSTPROF_BIN"), binary.into()));

    let rows = super::boot(kernels, lockdown, &task, size, Output::Kept)?;
    let columns: Vec<_> = rows.iter().map(Column::of).collect();
    let page = markdown(&columns);
    if let Some(path) = file {
        fs::write(path, &page).with_context(|| format!("failed to write {}", path.display()))?;
    }
    print!("{page}");
    let wrong = complaints(&columns);
    eprint!("{wrong}{}", table::results(&rows));
    let passed = rows.iter().all(|row| row.ended.end == End::Exited(0)) && wrong.is_empty();
    Ok(ExitCode::from(u8::from(!passed)))
}

impl Fact {
    fn parse(line: &str) -> Option<Self> {
        let line: Value = serde_json::from_str(line).ok()?;
        let text = |name: &str| line[name].as_str().map(str::to_owned);
        Some(Self {
            hook: text("hook")?,
            feature: text("feature")?,
            seen: text("seen")?,
            wrong: text("wrong"),
        })
    }
}

impl Column {
    fn of(row: &Row) -> Self {
        let text = String::from_utf8_lossy(&row.ended.output);
        Self { setup: row.setup, facts: text.lines().filter_map(Fact::parse).collect() }
    }

    fn name(&self) -> String {
        let Setup { series, lockdown } = self.setup;
        match lockdown {
            Lockdown::None => series.to_string(),
            lockdown => format!("{series} {}", lockdown.name()),
        }
    }

    fn cell(&self, hook: &str, feature: &str) -> String {
        match self.facts.iter().find(|fact| fact.hook == hook && fact.feature == feature) {
            None => "-".to_owned(),
            Some(Fact { seen, wrong: None, .. }) => seen.clone(),
            Some(Fact { seen, .. }) => format!("**{seen}, wrong**"),
        }
    }
}

/// A row for each feature, those of one hook together, in the order in which they came.
fn markdown(columns: &[Column]) -> String {
    let mut hooks: Vec<(&str, Vec<&str>)> = Vec::new();
    for fact in columns.iter().flat_map(|column| &column.facts) {
        let at = hooks.iter().position(|(hook, _)| *hook == fact.hook).unwrap_or_else(|| {
            hooks.push((&fact.hook, Vec::new()));
            hooks.len() - 1
        });
        if !hooks[at].1.contains(&fact.feature.as_str()) {
            hooks[at].1.push(&fact.feature);
        }
    }
    let mut page =
        line(["hook", "feature"].map(str::to_owned).into_iter().chain(columns.iter().map(Column::name)));
    page += &line((0..columns.len() + 2).map(|_| "---".to_owned()));
    for (hook, features) in hooks {
        for feature in features {
            let cells = columns.iter().map(|column| column.cell(hook, feature));
            page += &line([hook, feature].map(str::to_owned).into_iter().chain(cells));
        }
    }
    page
}

fn line(cells: impl Iterator<Item = String>) -> String {
    let mut line = "|".to_owned();
    for cell in cells {
        let _ = write!(line, " {cell} |");
    }
    line + "\n"
}

/// What is wrong, and guests that said nothing.
fn complaints(columns: &[Column]) -> String {
    let mut text = String::new();
    for column in columns {
        let name = column.name();
        if column.facts.is_empty() {
            let _ = writeln!(text, "{name}: nothing was found out");
        }
        for Fact { hook, feature, wrong, .. } in &column.facts {
            if let Some(wrong) = wrong {
                let _ = writeln!(text, "{name}: {hook}: {feature}: {wrong}");
            }
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn column(series: &str, lockdown: Lockdown, lines: &str) -> Column {
        let setup = Setup { series: series.parse().unwrap(), lockdown };
        Column { setup, facts: lines.lines().filter_map(Fact::parse).collect() }
    }

    fn columns() -> [Column; 3] {
        [
            column(
                "5.10",
                Lockdown::None,
                r#"{"hook":"in use","feature":"socket","seen":"raw-exit","wrong":null}
                   some other line
                   {"hook":"kernel","feature":"release","seen":"5.10.0","wrong":null}"#,
            ),
            column(
                "6.1",
                Lockdown::Confidentiality,
                r#"{"hook":"kernel","feature":"release","seen":"6.1.0","wrong":null}
                   {"hook":"in use","feature":"loops","seen":"no","wrong":"yes was expected"}"#,
            ),
            column("7.2", Lockdown::None, ""),
        ]
    }

    #[test]
    fn features_of_a_hook_stand_together() {
        let expected = "\
            | hook | feature | 5.10 | 6.1 confidentiality | 7.2 |\n\
            | --- | --- | --- | --- | --- |\n\
            | in use | socket | raw-exit | - | - |\n\
            | in use | loops | - | **no, wrong** | - |\n\
            | kernel | release | 5.10.0 | 6.1.0 | - |\n";
        assert_eq!(markdown(&columns()), expected);
    }

    #[test]
    fn what_is_wrong_and_what_is_missing_are_told() {
        let expected = "6.1 confidentiality: in use: loops: yes was expected\n7.2: nothing was found out\n";
        assert_eq!(complaints(&columns()), expected);
    }
}
