//! A strict reader of OpenMetrics text for tests: what Prometheus and promtool refuse, it refuses.

use std::collections::{BTreeMap, BTreeSet};

/// Samples by their full name with labels in order, such as `a_total{b="c"}`.
pub(super) fn parse(text: &str) -> Result<BTreeMap<String, f64>, String> {
    let body = text.strip_suffix("# EOF\n").ok_or("no EOF at the end")?;
    let mut samples = BTreeMap::new();
    let mut families = BTreeSet::new();
    let mut family: Option<(String, String)> = None;
    for line in body.lines() {
        let fail = |what: &str| format!("{what}: {line}");
        if let Some(comment) = line.strip_prefix("# ") {
            let parts: Vec<&str> = comment.splitn(3, ' ').collect();
            let [kind, name, rest] = parts[..] else { return Err(fail("short comment")) };
            match kind {
                "TYPE" => {
                    if !families.insert(name.to_owned()) {
                        return Err(fail("family twice"));
                    }
                    family = Some((name.to_owned(), rest.to_owned()));
                }
                "UNIT" if name.ends_with(&format!("_{rest}")) => {}
                "HELP" if !rest.is_empty() => {}
                _ => return Err(fail("bad comment")),
            }
            if family.as_ref().is_none_or(|(family, _)| family != name) {
                return Err(fail("comment of another family"));
            }
            continue;
        }
        let (name, labels, value) = sample(line).ok_or_else(|| fail("bad sample"))?;
        let (family, kind) = family.as_ref().ok_or_else(|| fail("sample without a family"))?;
        let ending = name.strip_prefix(family.as_str()).ok_or_else(|| fail("sample of another family"))?;
        let allowed: &[&str] = match kind.as_str() {
            "counter" => &["_total", "_created"],
            "gauge" => &[""],
            "histogram" => &["_bucket", "_count", "_sum", "_created"],
            _ => return Err(fail("bad type")),
        };
        if !allowed.contains(&ending) {
            return Err(fail("bad ending"));
        }
        if labels.iter().any(|(label, _)| label == "le") != (ending == "_bucket") {
            return Err(fail("le misplaced"));
        }
        let names: BTreeSet<&String> = labels.iter().map(|(label, _)| label).collect();
        if names.len() != labels.len() {
            return Err(fail("label twice"));
        }
        let value: f64 = value.replace("+Inf", "inf").parse().map_err(|_| fail("bad value"))?;
        if value.is_nan() || (kind != "gauge" && value < 0.0) {
            return Err(fail("bad value"));
        }
        if samples.insert(format!("{name}{labels:?}"), value).is_some() {
            return Err(fail("sample twice"));
        }
    }
    Ok(samples)
}

type Pairs = Vec<(String, String)>;

/// Name, labels and value of a line.
fn sample(line: &str) -> Option<(String, Pairs, String)> {
    let is_name = |text: &str| {
        let mut bytes = text.bytes();
        bytes.next().is_some_and(|first| first.is_ascii_lowercase() || first == b'_')
            && bytes.all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_')
    };
    let end = line.find(['{', ' '])?;
    let name = line[..end].to_owned();
    let mut labels = Vec::new();
    let mut rest = &line[end..];
    if let Some(mut inside) = rest.strip_prefix('{') {
        loop {
            let (label, after) = inside.split_once("=\"")?;
            let mut content = String::new();
            let mut characters = after.char_indices();
            let close = loop {
                match characters.next()? {
                    (at, '"') => break at,
                    (_, '\\') => content.push(match characters.next()?.1 {
                        'n' => '\n',
                        escaped @ ('\\' | '"') => escaped,
                        _ => return None,
                    }),
                    (_, other) => content.push(other),
                }
            };
            if !is_name(label) || content.is_empty() {
                return None;
            }
            labels.push((label.to_owned(), content));
            inside = &after[close + 1..];
            match inside.strip_prefix(',') {
                Some(next) => inside = next,
                None => break,
            }
        }
        rest = inside.strip_prefix('}')?;
    }
    let value = rest.strip_prefix(' ')?;
    (is_name(&name) && !value.contains(' ')).then(|| (name, labels, value.to_owned()))
}
