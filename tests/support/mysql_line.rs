//! The MySQL exchanges among the lines of `hostprof trace --format json`.

use serde_json::Value;

/// One MySQL exchange as hostprof printed it.
#[derive(Debug, Clone, PartialEq)]
pub struct MysqlLine(Value);

impl MysqlLine {
    /// The MySQL exchanges among `lines`, in their order.
    pub fn all(lines: &[Value]) -> Vec<Self> {
        let mysql = |line: &&Value| line["type"] == "exchange" && line["protocol"] == "mysql";
        lines.iter().filter(mysql).cloned().map(Self).collect()
    }

    /// Those that a process had as a client.
    pub fn of_client(lines: &[Value], pid: u32) -> Vec<Self> {
        let ours = |line: &Self| line.is("role", "client") && line.number("pid") == Some(pid.into());
        Self::all(lines).into_iter().filter(ours).collect()
    }

    /// Those that a process had as a server.
    pub fn of_server(lines: &[Value], pid: u32) -> Vec<Self> {
        let ours = |line: &Self| line.is("role", "server") && line.number("pid") == Some(pid.into());
        Self::all(lines).into_iter().filter(ours).collect()
    }

    /// `query`, `prepare`, `execute`, `handshake`, ...
    pub fn command(&self) -> &str {
        self.text("command").unwrap_or_default()
    }

    pub fn is(&self, field: &str, value: &str) -> bool {
        self.0[field] == value
    }

    pub fn text(&self, field: &str) -> Option<&str> {
        self.0[field].as_str()
    }

    pub fn number(&self, field: &str) -> Option<u64> {
        self.0[field].as_u64()
    }

    pub fn seconds(&self, field: &str) -> Option<f64> {
        self.0[field].as_f64()
    }

    /// A flag such as `no_index`, which is left out where it is not set.
    pub fn flag(&self, field: &str) -> bool {
        self.0[field] == true
    }

    /// The server's error number.
    pub fn error(&self) -> Option<u64> {
        self.text("error_type")?.parse().ok()
    }

    /// The client's port, whichever end printed the line; none on a Unix socket.
    pub fn client_port(&self) -> Option<u16> {
        let end = if self.is("role", "client") { "local" } else { "peer" };
        self.text(end)?.rsplit_once(':')?.1.parse().ok()
    }

    pub fn json(&self) -> &Value {
        &self.0
    }
}
