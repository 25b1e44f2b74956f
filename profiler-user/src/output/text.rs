//! The report that a person reads: what took the time, service by service, and what the report does not show.
//!
//! Comes in: a finished report. Goes out: text that fits the terminal, the most expensive first. Full names and every
//! row are in the JSON report; this one is for deciding where to look.

mod capture;
mod connections;
mod findings;
mod hangups;
mod http;
mod listeners;
mod loops;
mod mysql;
#[cfg(test)]
pub(crate) mod sample;

use std::collections::BTreeMap;

use super::style::{Style, Tone, clean, units, wrap};
use crate::report::{
    ConnectionRow, Distribution, HttpRow, ListenerRow, LoopRow, MysqlRow, Report, Role, Service,
};

/// Rows shown of one table.
const ROWS: usize = 20;
/// Process ids and addresses shown of one service.
const NAMES: usize = 4;

/// Everything known about one service.
struct Chapter<'a> {
    id: &'a str,
    service: Option<&'a Service>,
    http: Vec<&'a HttpRow>,
    mysql: Vec<&'a MysqlRow>,
    loops: Vec<&'a LoopRow>,
    connections: Vec<&'a ConnectionRow>,
    listeners: Vec<&'a ListenerRow>,
}

/// The whole report as text.
pub fn render(report: &Report, style: &Style) -> String {
    let mut page = header(report, style);
    page.push('\n');
    page.push_str(&findings::section(report, style));
    let (mut busy, idle): (Vec<Chapter<'_>>, Vec<Chapter<'_>>) =
        chapters(report).into_values().partition(Chapter::has_rows);
    busy.sort_by(|one, two| two.seconds().total_cmp(&one.seconds()).then(one.id.cmp(two.id)));
    for chapter in &busy {
        page.push('\n');
        page.push_str(&chapter.heading(style));
        for role in [Role::Server, Role::Client] {
            page.push_str(&http::section(&chapter.http, role, report.window.seconds, style));
        }
        for role in [Role::Client, Role::Server] {
            page.push_str(&mysql::section(&chapter.mysql, role, report.window.seconds, style));
        }
        page.push_str(&loops::section(&chapter.loops, style));
        page.push_str(&listeners::section(&chapter.listeners, style));
        page.push_str(&connections::section(&chapter.connections, report.window.seconds, style));
    }
    let (connecting, idle): (Vec<Chapter<'_>>, Vec<Chapter<'_>>) = idle
        .into_iter()
        .partition(|chapter| chapter.connections.iter().any(|row| connections::is_shown(row)));
    let rows: Vec<&ConnectionRow> =
        connecting.iter().flat_map(|chapter| &chapter.connections).copied().collect();
    let name = |id: &str| {
        connecting.iter().find(|chapter| chapter.id == id).map_or_else(|| or_unknown(id), Chapter::name)
    };
    page.push_str(&connections::of_others(&rows, name, report.window.seconds, style));
    if report.http.is_empty() && report.mysql.is_empty() {
        page.push('\n');
        page.push_str(&capture::nothing_seen(report, style));
    } else if !idle.is_empty() {
        let names: Vec<String> = idle.iter().map(Chapter::name).collect();
        page.push('\n');
        page.push_str(&wrap(&format!("No finished exchange: {}", some_of(&names, ROWS)), style.width, ""));
    }
    page.push('\n');
    page.push_str(&capture::section(report, style));
    page
}

/// What was recorded, where and for how long.
fn header(report: &Report, style: &Style) -> String {
    let host = &report.host;
    let mut facts = vec![or_unknown(&host.name)];
    if !host.kernel.is_empty() {
        facts.push(format!("Linux {}", clean(&host.kernel)));
    }
    if host.cpus > 0 {
        facts.push(units::things(host.cpus.into(), "CPU", "CPUs"));
    }
    let title = format!("hostprof {}", clean(&report.version));
    let mut page = wrap(&format!("{title}: {}", facts.join(", ")), style.width, "");
    if style.colour {
        page = page.replacen(&title, &style.paint(Tone::Heading, &title), 1);
    }
    let window = &report.window;
    let hooks = &report.capture.hooks;
    let optional = [
        ("arrival", &hooks.arrival),
        ("loops", &hooks.loops),
        ("connections", &hooks.connections),
        ("tls", &hooks.tls),
    ];
    let mut used = vec![format!("socket {}", or_unknown(&hooks.socket))];
    used.extend(
        optional.iter().filter_map(|(gives, hook)| Some(format!("{gives} {}", clean(hook.as_deref()?)))),
    );
    let lines = [
        format!(
            "{} from {} to {}, {}",
            units::duration(window.seconds),
            instant(&window.start),
            instant(&window.end),
            units::things(report.capture.records, "record", "records")
        ),
        format!("Hooks: {}", used.join(", ")),
    ];
    for line in lines {
        page.push_str(&wrap(&line, style.width, ""));
    }
    page
}

/// Rows by service. A row of a service that the list does not name gets a chapter too: nothing is left out.
fn chapters(report: &Report) -> BTreeMap<&str, Chapter<'_>> {
    let mut chapters: BTreeMap<&str, Chapter<'_>> = BTreeMap::new();
    for service in &report.services {
        chapters.insert(&service.id, Chapter { service: Some(service), ..Chapter::new(&service.id) });
    }
    for row in &report.http {
        chapters.entry(&row.service).or_insert_with(|| Chapter::new(&row.service)).http.push(row);
    }
    for row in &report.mysql {
        chapters.entry(&row.service).or_insert_with(|| Chapter::new(&row.service)).mysql.push(row);
    }
    for row in report.event_loops.iter().filter(|row| loops::is_shown(row)) {
        chapters.entry(&row.service).or_insert_with(|| Chapter::new(&row.service)).loops.push(row);
    }
    for row in report.connections.iter().filter(|row| !connections::is_optional(row)) {
        let chapter = chapters.entry(&row.service).or_insert_with(|| Chapter::new(&row.service));
        chapter.connections.push(row);
    }
    for row in report.listeners.iter().filter(|row| listeners::is_shown(row)) {
        chapters.entry(&row.service).or_insert_with(|| Chapter::new(&row.service)).listeners.push(row);
    }
    // Who has done nothing else may be any program that was started.
    for row in report.connections.iter().filter(|row| connections::is_optional(row)) {
        if chapters.get(&*row.service).is_some_and(Chapter::is_nothing) {
            chapters.remove(&*row.service);
        }
    }
    chapters
}

impl<'a> Chapter<'a> {
    fn new(id: &'a str) -> Self {
        Self {
            id,
            service: None,
            http: Vec::new(),
            mysql: Vec::new(),
            loops: Vec::new(),
            connections: Vec::new(),
            listeners: Vec::new(),
        }
    }

    /// Whether there is more than connections to show.
    fn has_rows(&self) -> bool {
        !self.http.is_empty()
            || !self.mysql.is_empty()
            || !self.loops.is_empty()
            || !self.listeners.is_empty()
    }

    /// Whether nothing is known of it but its name.
    fn is_nothing(&self) -> bool {
        let listens = self.service.is_some_and(|service| !service.listens.is_empty());
        !listens && !self.has_rows() && self.connections.is_empty()
    }

    /// Time that its exchanges took in sum: the order of the chapters.
    fn seconds(&self) -> f64 {
        let http: f64 = self.http.iter().map(|row| total(row.duration)).sum();
        http + self.mysql.iter().map(|row| total(row.duration)).sum::<f64>()
    }

    fn name(&self) -> String {
        match self.service {
            Some(service) if !service.name.is_empty() => clean(&service.name).into_owned(),
            _ => or_unknown(self.id),
        }
    }

    fn heading(&self, style: &Style) -> String {
        let name = self.name();
        let Some(service) = self.service else {
            return style.paint(Tone::Heading, &name) + "\n";
        };
        let runtime = service.runtime.iter().map(|runtime| clean(runtime).into_owned());
        // Scripts say it in their name: `app.py (python)`.
        let mut facts: Vec<String> =
            runtime.filter(|runtime| !name.ends_with(&format!(" ({runtime})"))).collect();
        if !service.pids.is_empty() {
            let pids: Vec<String> = service.pids.iter().map(u32::to_string).collect();
            facts.push(format!("pid {}", some_of(&pids, NAMES)));
        }
        if !service.listens.is_empty() {
            let addresses: Vec<String> =
                service.listens.iter().map(|address| clean(address).into_owned()).collect();
            facts.push(format!("on {}", some_of(&addresses, NAMES)));
        }
        if let Some(container) = &service.container {
            let id: String = container.id.chars().take(12).collect();
            facts.push(format!("container {}", clean(&id)));
        }
        let facts = if facts.is_empty() { String::new() } else { format!(" ({})", facts.join(", ")) };
        let page = wrap(&format!("{name}{facts}"), style.width, "");
        if style.colour { page.replacen(&name, &style.paint(Tone::Heading, &name), 1) } else { page }
    }
}

/// The sum of a distribution of durations; 0 where it is not known.
fn total(distribution: Option<Distribution>) -> f64 {
    distribution.map(|distribution| distribution.sum).filter(|sum| sum.is_finite()).unwrap_or(0.0)
}

/// A quantile of a distribution as a duration, or nothing.
fn quantile(distribution: Option<Distribution>, of: fn(&Distribution) -> f64) -> String {
    match distribution {
        Some(distribution) if distribution.count > 0 => units::duration(of(&distribution)),
        _ => units::UNKNOWN.into(),
    }
}

/// Like [`quantile`], but empty where unknown, so that a column in which nothing is known goes away.
fn known_quantile(distribution: Option<Distribution>, of: fn(&Distribution) -> f64) -> String {
    match distribution {
        Some(distribution) if distribution.count > 0 => units::duration(of(&distribution)),
        _ => String::new(),
    }
}

/// The line below a table that was cut.
fn more(rows: usize, shown: usize) -> String {
    match rows.saturating_sub(shown) {
        0 => String::new(),
        rest => format!("  ... and {} more (use -o report.json)\n", units::count(rest as u64)),
    }
}

/// The first of a list, and how many more.
fn some_of(names: &[String], shown: usize) -> String {
    let list = names.iter().take(shown).map(String::as_str).collect::<Vec<_>>().join(", ");
    match names.len().saturating_sub(shown) {
        0 => list,
        rest => format!("{list} and {rest} more"),
    }
}

fn or_unknown(name: &str) -> String {
    if name.is_empty() { "(unknown)".into() } else { clean(name).into_owned() }
}

/// `2026-09-01 12:00:00 UTC`; as it stands where it is no instant.
fn instant(rfc3339: &str) -> String {
    match rfc3339.parse::<jiff::Timestamp>() {
        Ok(time) => time.strftime("%F %T UTC").to_string(),
        Err(_) => or_unknown(rfc3339),
    }
}

#[cfg(test)]
mod tests;
