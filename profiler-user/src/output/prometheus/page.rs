//! OpenMetrics text: families, samples, escaping.

use std::fmt::Write as _;

use crate::aggregate::buckets::Buckets;

/// A page that grows family by family; all samples of a family follow its head, as the format demands.
#[derive(Debug)]
pub(super) struct Page {
    text: String,
    /// Unix seconds at which all counters of this page were 0.
    created: Option<f64>,
}

impl Page {
    pub(super) fn new(created: Option<f64>) -> Self {
        Self { text: String::new(), created }
    }

    /// The head of a family. `unit` is the ending of `name`.
    pub(super) fn family(&mut self, name: &str, kind: &str, unit: Option<&str>, help: &str) {
        let _ = writeln!(self.text, "# TYPE {name} {kind}");
        if let Some(unit) = unit {
            let _ = writeln!(self.text, "# UNIT {name} {unit}");
        }
        let _ = writeln!(self.text, "# HELP {name} {}", escaped(help));
    }

    pub(super) fn counter(&mut self, name: &str, labels: &[(&str, String)], value: u64) {
        self.sample(name, "_total", labels, None, &value.to_string());
        self.created(name, labels);
    }

    pub(super) fn gauge(&mut self, name: &str, labels: &[(&str, String)], value: f64) {
        self.sample(name, "", labels, None, &float(value));
    }

    pub(super) fn histogram(&mut self, name: &str, labels: &[(&str, String)], buckets: &Buckets) {
        for (bound, count) in buckets.cumulated() {
            self.sample(name, "_bucket", labels, Some(bound), &count.to_string());
        }
        self.sample(name, "_count", labels, None, &buckets.count.to_string());
        self.sample(name, "_sum", labels, None, &float(buckets.sum));
        self.created(name, labels);
    }

    pub(super) fn finish(mut self) -> String {
        self.text.push_str("# EOF\n");
        self.text
    }

    fn created(&mut self, name: &str, labels: &[(&str, String)]) {
        if let Some(created) = self.created {
            self.sample(name, "_created", labels, None, &float(created));
        }
    }

    /// One line. A label without a value is the same as no label, so it is left out.
    fn sample(
        &mut self,
        name: &str,
        ending: &str,
        labels: &[(&str, String)],
        bound: Option<f64>,
        value: &str,
    ) {
        self.text.push_str(name);
        self.text.push_str(ending);
        let mut separator = '{';
        for (label, content) in labels.iter().filter(|(_, content)| !content.is_empty()) {
            let _ = write!(self.text, "{separator}{label}=\"{}\"", escaped(content));
            separator = ',';
        }
        if let Some(bound) = bound {
            let _ = write!(self.text, "{separator}le=\"{}\"", float(bound));
            separator = ',';
        }
        let _ = writeln!(self.text, "{} {value}", if separator == ',' { "}" } else { "" });
    }
}

/// The three characters that the format escapes; all others stand as they are.
fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

/// The shortest text that reads back as the same number; whole numbers keep `.0`, which `le` needs to be canonical.
fn float(value: f64) -> String {
    if value == f64::INFINITY { "+Inf".into() } else { format!("{value:?}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_names_are_exact() {
        assert_eq!([0.005, 1.0, 1e21, f64::INFINITY].map(float), ["0.005", "1.0", "1e21", "+Inf"]);
        assert_eq!(escaped("a\\b\"c\nd"), "a\\\\b\\\"c\\nd");
    }

    #[test]
    fn labels_without_a_value_are_left_out() {
        let mut page = Page::new(None);
        page.gauge("g", &[("a", String::new())], 1.0);
        page.gauge("g", &[("a", String::new()), ("b", "x".into()), ("c", "y".into())], 2.5);
        assert_eq!(page.finish(), "g 1.0\ng{b=\"x\",c=\"y\"} 2.5\n# EOF\n");
    }
}
