//! Support for the end-to-end tests: real servers, real clients, load, ground truths, and hostprof itself.
//!
//! Everything here is started for one test, in a temporary folder, on loopback ports or Unix sockets of its own, and
//! is gone when its value is dropped. Nothing is skipped: a program that is missing is an error which says how to
//! install it.
//!
//! | what | where |
//! | --- | --- |
//! | servers | [`HttpServer`], [`Shop`], [`Nginx`], [`Database`], [`Redis`], [`Prometheus`], [`Stalling`] |
//! | clients | [`HttpClient`], [`SqlClient`], [`SqlCase`], [`ClientCase`], [`Admin`] |
//! | network namespaces | [`Netns`] |
//! | load | [`wrk`], [`sysbench`] |
//! | ground truth on the wire | [`Capture`] |
//! | hostprof | [`Recording`], [`Trace`], [`Report`], [`cli`], [`Terminal`] |
//! | what the kernel holds and refuses | [`Objects`], [`Table`], [`refusal`] |

pub mod address;
pub mod admin;
pub mod bpf;
pub mod capture;
pub mod cgroup;
pub mod cli;
pub mod client_case;
pub mod database;
pub mod hostile;
pub mod hostprof;
pub mod http_check;
pub mod http_client;
pub mod http_mix;
pub mod http_server;
pub mod http_truth;
pub mod install;
pub mod midway;
pub mod mysql_line;
pub mod netns;
pub mod nginx;
pub mod peer;
pub mod process;
pub mod prometheus;
pub mod pty;
pub mod redis;
pub mod refusal;
pub mod report;
pub mod schema;
pub mod shop;
pub mod sql_case;
pub mod sql_check;
pub mod sql_client;
pub mod sql_seen;
pub mod stall_match;
pub mod stalling;
pub mod sysbench;
pub mod times;
pub mod turn;
pub mod wrk;

pub use address::Address;
pub use admin::Admin;
pub use bpf::{Objects, Table};
pub use capture::Capture;
pub use cgroup::Cgroup;
pub use client_case::ClientCase;
pub use database::{Database, Engine};
pub use hostprof::{Recording, Trace};
pub use http_client::{Exchange, HttpClient, Response};
pub use http_server::{HttpServer, Listen, Runtime};
pub use install::require_root;
pub use mysql_line::MysqlLine;
pub use netns::Netns;
pub use nginx::{AccessLine, Nginx, Upstream};
pub use process::Process;
pub use prometheus::Prometheus;
pub use pty::Terminal;
pub use redis::Redis;
pub use report::{CONNECTION_RULES, Report, Rows};
pub use shop::Shop;
pub use sql_case::SqlCase;
pub use sql_check::SqlCheck;
pub use sql_client::{SqlClient, SqlRun, Statement};
pub use stalling::{Held, LoopRuntime, Stalling};
pub use turn::Turn;
