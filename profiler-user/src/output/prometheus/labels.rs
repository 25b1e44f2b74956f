//! The labels of a row: OpenTelemetry's attributes by the Prometheus mapping.

use crate::aggregate::OVERFLOW;
use crate::parse::UNKNOWN_STATEMENT;
use crate::parse::sql::{self, Backslash};
use crate::report::{HttpRow, MysqlRow, Role, RouteSource};

/// Label names and values; a value may be empty, which is the same as no label.
pub type Labels = Vec<(&'static str, String)>;

/// The methods that the conventions know; a hostile client invents others.
const METHODS: [&str; 10] =
    ["CONNECT", "DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT", "QUERY", "TRACE"];

/// The labels of an HTTP row. Only a pattern that the user gave is a route in the conventions' sense: what hostprof
/// makes of the path itself is a template.
pub fn http_labels(row: &HttpRow) -> Labels {
    let method = if METHODS.contains(&row.method.as_str()) { &row.method } else { "_OTHER" };
    let mut labels = vec![
        ("http_request_method", method.to_owned()),
        // Only plain-text connections are read.
        ("url_scheme", "http".to_owned()),
        ("http_response_status_code", row.status.map(|status| status.to_string()).unwrap_or_default()),
        ("error_type", row.error_type.clone().unwrap_or_default()),
    ];
    labels.push(match row.route_source {
        RouteSource::Pattern => ("http_route", row.route.clone()),
        RouteSource::Template => ("url_template", row.route.clone()),
        RouteSource::Overflow => ("otel_metric_overflow", "true".to_owned()),
    });
    if row.role == Role::Client {
        labels.extend(server(row.peer.as_deref()));
    }
    labels
}

/// The labels of a MySQL row, its errors apart.
pub fn mysql_labels(row: &MysqlRow) -> Labels {
    let text = row.digest_text.as_deref().unwrap_or_default();
    let overflow = text == OVERFLOW;
    // What stands in brackets is no statement.
    let statement = if overflow || text == UNKNOWN_STATEMENT { "" } else { text };
    let mut labels = vec![
        ("db_system_name", "mysql".to_owned()),
        ("db_namespace", row.schema.clone().unwrap_or_default()),
        ("db_query_summary", sql::digest(statement.as_bytes(), false, Backslash::Unknown).summary),
        ("db_query_text", statement.to_owned()),
        ("otel_metric_overflow", if overflow { "true".to_owned() } else { String::new() }),
        ("hostprof_command", row.command.clone()),
    ];
    if row.role == Role::Client {
        labels.extend(server(row.peer.as_deref()));
    }
    labels
}

/// Address and port of the peer that was called.
pub(super) fn server(peer: Option<&str>) -> Labels {
    let peer = peer.unwrap_or_default();
    if let Some(path) = peer.strip_prefix("unix:") {
        return vec![("server_address", path.to_owned())];
    }
    match peer.rsplit_once(':') {
        Some((address, port)) if port.parse::<u16>().is_ok() => {
            let address = address.trim_start_matches('[').trim_end_matches(']');
            vec![("server_address", address.to_owned()), ("server_port", port.to_owned())]
        }
        _ => vec![("server_address", peer.to_owned())],
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::text::sample::{http_row, mysql_row};

    fn value(labels: &Labels, name: &str) -> Option<String> {
        labels
            .iter()
            .find(|(label, value)| *label == name && !value.is_empty())
            .map(|(_, value)| value.clone())
    }

    #[test]
    fn only_patterns_are_routes() {
        let template = http_row("GET", "/orders/{id}", Some(200), 1, 0.1);
        assert_eq!(value(&http_labels(&template), "http_route"), None);
        assert_eq!(value(&http_labels(&template), "url_template").unwrap(), "/orders/{id}");
        let pattern = HttpRow { route_source: RouteSource::Pattern, ..template.clone() };
        assert_eq!(value(&http_labels(&pattern), "http_route").unwrap(), "/orders/{id}");
        assert_eq!(value(&http_labels(&pattern), "url_template"), None);
        let overflow = HttpRow { route_source: RouteSource::Overflow, ..template };
        assert_eq!(value(&http_labels(&overflow), "otel_metric_overflow").unwrap(), "true");
        assert_eq!(value(&http_labels(&overflow), "url_template"), None);
    }

    #[test]
    fn invented_methods_are_one() {
        assert_eq!(
            value(&http_labels(&http_row("HAX", "/", None, 1, 0.1)), "http_request_method").unwrap(),
            "_OTHER"
        );
    }

    #[test]
    fn peers_are_addresses_and_ports() {
        assert_eq!(server(Some("10.0.0.7:9000"))[1], ("server_port", "9000".into()));
        assert_eq!(server(Some("[::1]:3306"))[0], ("server_address", "::1".into()));
        assert_eq!(server(Some("unix:/run/my:1")), [("server_address", "/run/my:1".into())]);
        assert_eq!(server(None), [("server_address", String::new())]);
    }

    #[test]
    fn what_is_no_statement_has_no_text() {
        let labels = mysql_labels(&mysql_row("query", Some("SELECT * FROM orders WHERE id = ?")));
        assert_eq!(value(&labels, "db_query_summary").unwrap(), "SELECT orders");
        for text in [OVERFLOW, UNKNOWN_STATEMENT] {
            let labels = mysql_labels(&mysql_row("query", Some(text)));
            assert_eq!(value(&labels, "db_query_text"), None);
            assert_eq!(value(&labels, "db_query_summary"), None);
            assert_eq!(value(&labels, "otel_metric_overflow").is_some(), text == OVERFLOW);
        }
    }
}
