//! The histograms: name, unit, help and bounds of each.

use crate::aggregate::buckets;
use crate::report::Role;

/// What a histogram measures.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Metric {
    HttpServerDuration,
    HttpClientDuration,
    /// First byte in the kernel -> first read.
    HttpServerQueue,
    DbClientDuration,
    /// The database's own side, which the conventions have no name for.
    DbServerDuration,
    DbReturnedRows,
    EventLoopTurn,
    EventLoopStall,
    HttpClientConnection,
    /// All that are no HTTP client's, which the conventions have no name for.
    Connection,
    ConnectionExchanges,
    /// TCP's handshake.
    Connect,
    /// MySQL's.
    Handshake,
    AcceptWait,
}

impl Metric {
    /// The duration of HTTP exchanges of a role.
    pub fn of_http(role: Role) -> Self {
        match role {
            Role::Server => Self::HttpServerDuration,
            Role::Client => Self::HttpClientDuration,
        }
    }

    /// The duration of MySQL commands of a role.
    pub fn of_mysql(role: Role) -> Self {
        match role {
            Role::Server => Self::DbServerDuration,
            Role::Client => Self::DbClientDuration,
        }
    }

    /// The lives of connections of a role and protocol.
    pub fn of_connections(role: Role, protocol: &str) -> Self {
        if role == Role::Client && protocol == "http" { Self::HttpClientConnection } else { Self::Connection }
    }

    /// The bounds that the conventions advise.
    pub fn bounds(self) -> &'static [f64] {
        match self {
            Self::HttpServerDuration | Self::HttpClientDuration | Self::HttpServerQueue => {
                buckets::HTTP_SECONDS
            }
            Self::DbClientDuration | Self::DbServerDuration => buckets::DATABASE_SECONDS,
            Self::DbReturnedRows => buckets::ROWS,
            Self::EventLoopTurn
            | Self::EventLoopStall
            | Self::Connect
            | Self::Handshake
            | Self::AcceptWait => buckets::LOOP_SECONDS,
            Self::HttpClientConnection | Self::Connection => buckets::CONNECTION_SECONDS,
            Self::ConnectionExchanges => buckets::EXCHANGES,
        }
    }

    /// Name, unit (the name's ending) and help.
    pub(super) fn description(self) -> (&'static str, &'static str, &'static str) {
        match self {
            Self::HttpServerDuration => (
                "http_server_request_duration_seconds",
                "seconds",
                "HTTP requests served, from the arrival in the kernel to the last byte of the response.",
            ),
            Self::HttpClientDuration => (
                "http_client_request_duration_seconds",
                "seconds",
                "HTTP requests sent, from their first write to the last byte of the response read.",
            ),
            Self::HttpServerQueue => (
                "hostprof_http_server_queue_duration_seconds",
                "seconds",
                "Time that HTTP requests waited in the kernel before their first read.",
            ),
            Self::DbClientDuration => (
                "db_client_operation_duration_seconds",
                "seconds",
                "Database commands sent, from their write to the last byte of the reply.",
            ),
            Self::DbServerDuration => (
                "hostprof_db_server_operation_duration_seconds",
                "seconds",
                "Database commands served, from their arrival to the last byte of the reply.",
            ),
            Self::DbReturnedRows => {
                ("db_client_response_returned_rows", "rows", "Rows in the replies of the database.")
            }
            Self::EventLoopTurn => (
                "hostprof_eventloop_turn_duration_seconds",
                "seconds",
                "Turns of event loops that serve, from the end of a wait to the next wait.",
            ),
            Self::EventLoopStall => (
                "hostprof_eventloop_stall_duration_seconds",
                "seconds",
                "Stalls of event loops that clients waited for, by cause and by the call that blocked longest.",
            ),
            Self::HttpClientConnection => (
                "http_client_connection_duration_seconds",
                "seconds",
                "Lives of connections of HTTP clients that were made and have ended.",
            ),
            Self::Connection => (
                "hostprof_connection_duration_seconds",
                "seconds",
                "Lives of other connections that were made and have ended.",
            ),
            Self::ConnectionExchanges => (
                "hostprof_connection_exchanges",
                "exchanges",
                "Exchanges of each connection that was seen from its begin to its end.",
            ),
            Self::Connect => (
                "hostprof_connection_connect_duration_seconds",
                "seconds",
                "TCP handshakes of clients, from the first packet to the connection.",
            ),
            Self::Handshake => (
                "hostprof_connection_handshake_duration_seconds",
                "seconds",
                "MySQL handshakes, from the server's greeting to its OK.",
            ),
            Self::AcceptWait => (
                "hostprof_connection_accept_wait_seconds",
                "seconds",
                "Time that connections waited from the end of their handshake to accept().",
            ),
        }
    }
}
