//! The report as JSON, schema `hostprof.report/1`: what scripts and dashboards read.

use std::path::Path;

use super::atomic;
use crate::report::Report;

/// What kept a report from its file.
#[derive(Debug, thiserror::Error)]
pub enum JsonError {
    /// Not reachable with a report of plain data, but the serialiser's signature has it.
    #[error("the report could not be put into JSON: {0}")]
    Serialise(#[from] serde_json::Error),
    #[error(transparent)]
    Write(#[from] atomic::WriteError),
}

/// The report as indented JSON with a newline at its end.
pub fn render(report: &Report) -> Result<String, JsonError> {
    let mut text = serde_json::to_string_pretty(report)?;
    text.push('\n');
    Ok(text)
}

/// Writes the report's JSON to a file, which is either complete or as it was before.
pub fn write(report: &Report, path: &Path) -> Result<(), JsonError> {
    Ok(atomic::write(path, render(report)?.as_bytes())?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::text::sample::{busy, empty, http_row};

    #[test]
    fn what_is_written_reads_back() {
        // Binary fractions: serde_json's quick float reader may be off by the last bit.
        let mut row = http_row("GET", "/", Some(200), 3, 0.25);
        row.first_byte = None;
        row.phases.clear();
        let report = Report { http: vec![row], services: busy().services, ..empty() };
        let text = render(&report).unwrap();
        assert!(text.starts_with("{\n  \"schema\": \"hostprof.report/1\""), "{text}");
        assert!(text.ends_with("}\n"));
        assert_eq!(serde_json::from_str::<Report>(&text).unwrap(), report);
    }

    #[test]
    fn unknown_values_are_left_out() {
        let text = render(&busy()).unwrap();
        assert!(!text.contains("null"), "{text}");
        assert!(!text.contains("boot_id"), "{text}");
    }

    #[test]
    fn hostile_names_and_what_is_no_number_stay_valid_json() {
        let mut report = busy();
        report.http[0].route = "/\u{1b}[2J\"\\\u{0}\u{2028}".into();
        report.http[0].request_bytes.sum = f64::NAN;
        let text = render(&report).unwrap();
        assert!(!text.contains('\u{1b}') && !text.contains("NaN"), "{text}");
        let value: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(value["http"][0]["route"], report.http[0].route);
    }

    #[test]
    fn a_written_file_is_the_rendered_text() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("report.json");
        write(&busy(), &path).unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), render(&busy()).unwrap());
    }
}
