//! The demo's routes and what each asks of the database. Every one but the first is sick in a way of its own.

use std::io;
use std::sync::{Mutex, PoisonError};

use tokio::sync::Semaphore;

use super::client::{Blocking, Connection, Outcome};
use super::statements::{CUSTOMER, EVENTS, INVOICES, ITEMS, ORDER, RECENT, USER};

/// Connections that the healthy routes share.
const POOL: usize = 4;

/// The service's state.
#[derive(Debug)]
pub(super) struct Shop {
    mysql_port: u16,
    permits: Semaphore,
    idle: Mutex<Vec<Pooled>>,
    /// The report's writer liked a driver that blocks.
    blocking: tokio::sync::Mutex<Connection<Blocking>>,
}

/// A connection of the pool with the statement that it has prepared.
#[derive(Debug)]
struct Pooled {
    connection: Connection,
    items: u32,
}

/// A status and a body.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Response {
    pub(super) status: &'static str,
    pub(super) body: String,
}

impl Response {
    pub(super) fn new(status: &'static str, body: impl Into<String>) -> Self {
        Self { status, body: body.into() }
    }

    fn rows(count: usize, room: usize) -> Self {
        Self::new("200 OK", format!("{{\"rows\":{count},\"data\":\"{}\"}}", "x".repeat(room)))
    }
}

impl Shop {
    pub(super) async fn open(mysql_port: u16) -> io::Result<Self> {
        Ok(Self {
            mysql_port,
            permits: Semaphore::new(POOL),
            idle: Mutex::default(),
            blocking: Connection::open_blocking(mysql_port).await?.into(),
        })
    }

    /// The answer to `GET path`; the path has no query string.
    pub(super) async fn get(&self, path: &str) -> Response {
        let answer = match path {
            "/report" => self.report().await,
            "/export" => self.export().await,
            "/login" => self.login().await,
            "/broken" => self.broken().await,
            _ => match path.strip_prefix("/orders/").map(str::parse::<u32>) {
                Some(Ok(id)) => self.order(id).await,
                _ => return Response::new("404 Not Found", "{\"error\":\"not found\"}"),
            },
        };
        answer.unwrap_or_else(|_| Response::new("503 Service Unavailable", "{\"error\":\"no database\"}"))
    }

    /// Healthy: two queries, the second prepared once for each connection.
    async fn order(&self, id: u32) -> io::Result<Response> {
        let _permit = self.permit().await?;
        let mut pooled = self.take().await?;
        pooled.connection.query(&format!("{ORDER}{id}")).await?;
        let outcome = pooled.connection.execute(pooled.items, &id.to_string()).await?;
        self.give_back(pooled);
        Ok(Response::rows(count(outcome), 240))
    }

    /// N+1: one query for the orders, then one for the customer of each.
    async fn report(&self) -> io::Result<Response> {
        let _permit = self.permit().await?;
        let mut pooled = self.take().await?;
        let orders = count(pooled.connection.query(&format!("{RECENT}39")).await?);
        for customer in 0..orders {
            pooled.connection.query(&format!("{CUSTOMER}{}", 1000 + customer)).await?;
        }
        self.give_back(pooled);
        Ok(Response::rows(orders, 4_000))
    }

    /// Blocks the event loop for as long as a query without an index takes.
    async fn export(&self) -> io::Result<Response> {
        let rows = count(self.blocking.lock().await.query(&format!("{EVENTS}'%refund%'")).await?);
        Ok(Response::rows(rows, 40_000))
    }

    /// A new database connection for each request.
    async fn login(&self) -> io::Result<Response> {
        let mut connection = Connection::open(self.mysql_port).await?;
        let rows = count(connection.query(&format!("{USER}'ann'")).await?);
        connection.quit().await?;
        Ok(Response::rows(rows, 80))
    }

    /// Asks for a table that is not there, and fails with it.
    async fn broken(&self) -> io::Result<Response> {
        let _permit = self.permit().await?;
        let mut pooled = self.take().await?;
        let outcome = pooled.connection.query(&format!("{INVOICES}7")).await?;
        self.give_back(pooled);
        Ok(match outcome {
            Outcome::Error(number) => Response::new(
                "500 Internal Server Error",
                format!("{{\"error\":\"database error {number}\"}}"),
            ),
            other => Response::rows(count(other), 80),
        })
    }

    async fn permit(&self) -> io::Result<tokio::sync::SemaphorePermit<'_>> {
        self.permits.acquire().await.map_err(io::Error::other)
    }

    /// A connection of the pool. One that failed is not given back, so that the next request opens a new one.
    async fn take(&self) -> io::Result<Pooled> {
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        if let Some(pooled) = idle {
            return Ok(pooled);
        }
        let mut connection = Connection::open(self.mysql_port).await?;
        let items = connection.prepare(&format!("{ITEMS}?")).await?;
        Ok(Pooled { connection, items })
    }

    fn give_back(&self, pooled: Pooled) {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(pooled);
    }
}

fn count(outcome: Outcome) -> usize {
    match outcome {
        Outcome::Rows(rows) => rows,
        Outcome::Ok | Outcome::Prepared(_) | Outcome::Error(_) => 0,
    }
}
