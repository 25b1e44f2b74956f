//! Tests of the pure half: a world of vectors, connections that are fed from byte strings, and what must come out.
//!
//! [`world`] stands in for the kernel, [`wire`] for a socket; the other files hold the facts, one protocol or one
//! property each.

mod packets;
mod traffic;
mod wire;
mod world;

mod chaos;
mod histogram;
mod http;
mod http_ends;
mod http_pipeline;
mod http_splits;
mod http_unframed;
mod lives;
mod loop_chaos;
mod loops;
mod mysql;
mod mysql_login;
mod mysql_pipeline;
mod mysql_splits;
mod preamble;
mod turns;
