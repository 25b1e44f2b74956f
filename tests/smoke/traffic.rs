//! Requests to nginx and queries to MariaDB while hostprof records, and what must be in the report.

use std::process;

use anyhow::{Context as _, Result, ensure};
use hostprof_tests::{
    Database, Engine, HttpClient, Nginx, Recording, Report, Rows,
    database::{PASSWORD, SCHEMA, USER},
};
use mysql::{Conn, OptsBuilder, prelude::Queryable as _};

use crate::{
    fact::{Fact, Facts},
    kernel::Kernel,
};

/// On one connection each.
const REQUESTS: u64 = 40;
const QUERIES: u64 = 30;

const QUERY: &str = "SELECT name FROM items WHERE id = 7";
const DIGEST: &str = "SELECT name FROM items WHERE id = ?";

/// The servers.
#[derive(Debug)]
pub(crate) struct Traffic {
    nginx: Nginx,
    database: Database,
}

/// What was reported of them.
#[derive(Debug)]
pub(crate) struct Seen {
    report: Report,
    nginx: Vec<u32>,
    database: u32,
}

impl Traffic {
    pub(crate) fn start() -> Result<Self> {
        let nginx = Nginx::start("server { listen 127.0.0.1:PORT; location / { return 200 'hello'; } }")?;
        Ok(Self { nginx, database: Database::start(Engine::MariaDb)? })
    }

    pub(crate) fn record(&self, arguments: &[&str]) -> Result<Seen> {
        self.record_with(arguments, || ())
    }

    /// Records the traffic and whatever else is done at the same time.
    pub(crate) fn record_with(&self, arguments: &[&str], also: impl FnOnce()) -> Result<Seen> {
        let recording = Recording::start(arguments)?;
        self.requests()?;
        self.queries()?;
        also();
        let report = recording.finish()?;
        Ok(Seen { report, nginx: self.nginx.pids(), database: self.database.pid() })
    }

    fn requests(&self) -> Result<()> {
        let mut client = HttpClient::new(self.nginx.address());
        for _ in 0..REQUESTS {
            let response = client.get("/hello")?;
            ensure!(response.status == 200, "nginx answered {}", response.status);
        }
        client.close();
        Ok(())
    }

    fn queries(&self) -> Result<()> {
        let options = OptsBuilder::new()
            .ip_or_hostname(Some("127.0.0.1"))
            .tcp_port(self.database.tcp().port()?)
            .prefer_socket(false)
            .user(Some(USER))
            .pass(Some(PASSWORD))
            .db_name(Some(SCHEMA));
        let mut session = Conn::new(options).context("failed to sign in to MariaDB")?;
        for _ in 0..QUERIES {
            let name: Option<String> = session.query_first(QUERY).context("MariaDB did not answer")?;
            ensure!(name.as_deref() == Some("item 7"), "MariaDB answered {name:?}");
        }
        Ok(())
    }

    pub(crate) fn stop(self) -> Result<()> {
        self.nginx.stop()?;
        self.database.stop()
    }
}

impl Seen {
    pub(crate) fn report(&self) -> &Report {
        &self.report
    }

    /// Says what this way to see sockets gives.
    pub(crate) fn judge(&self, hooks: &str, kernel: &Kernel, facts: &mut Facts) {
        let used = self.report.json()["capture"]["hooks"]["socket"].as_str();
        facts.say(Fact::same(hooks, "used", used, Some(hooks)));
        let us = [process::id()];
        let http =
            |role: &str, pids: &[u32]| self.report.rows("http").of(pids).role(role).with("route", "/hello");
        let mysql = |role: &str, pids: &[u32]| {
            self.report.rows("mysql").of(pids).role(role).with("digest_text", DIGEST)
        };
        let exactly = |feature: &str, rows: Rows<'_>, expected: u64| {
            let detail = format!("{} of {expected}: {:?}", rows.count(), rows);
            Fact::is(hooks, feature, rows.count() == expected, true, detail)
        };
        facts.say(exactly("HTTP requests, server", http("server", &self.nginx), REQUESTS));
        facts.say(exactly("HTTP requests, client", http("client", &us), REQUESTS));
        facts.say(exactly("MySQL queries, server", mysql("server", &[self.database]), QUERIES));
        facts.say(exactly("MySQL queries, client", mysql("client", &us), QUERIES));

        let queued =
            http("server", &self.nginx).total(|row| row["phases"]["queue"]["count"].as_u64().unwrap_or(0));
        let detail = format!("{queued} of {REQUESTS} requests");
        facts.say(Fact::is(hooks, "queue time", queued > 0, kernel.has_arrivals(), detail));

        for (role, pids) in [("server", self.nginx.as_slice()), ("client", &us)] {
            let rows = self.report.rows("connections").of(pids).role(role).with("protocol", "http");
            let opened = rows.total(|row| row["established"].as_u64().unwrap_or(0));
            let closed = rows.total(|row| row["closed"].as_u64().unwrap_or(0));
            let feature = format!("connections opened and closed, {role}");
            facts.say(Fact::is(hooks, &feature, opened >= 1 && closed >= 1, true, format!("{rows:?}")));
        }
        let lost = self.report.lost();
        facts.say(Fact::is(hooks, "nothing lost", lost.is_empty(), true, format!("{lost:?}")));
    }
}
