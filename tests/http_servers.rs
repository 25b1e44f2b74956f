//! A thousand requests of every kind, with bodies up in both directions, to each kind of HTTP server: each is seen once
//! on both sides with the right method, route, status and bytes. The client's own log is the truth, and nginx's for the
//! connection behind it.

use hostprof_tests::{Runtime, http_check};

#[test]
fn uvicorn_on_asyncio() {
    http_check::mix(Runtime::UvicornAsyncio, &[]).unwrap();
}

#[test]
fn uvicorn_on_uvloop() {
    http_check::mix(Runtime::UvicornUvloop, &[]).unwrap();
}

#[test]
fn gunicorn_with_sync_workers() {
    http_check::mix(Runtime::GunicornSync, &[]).unwrap();
}

#[test]
fn node() {
    http_check::mix(Runtime::Node, &[]).unwrap();
}

#[test]
fn go_net_http() {
    http_check::mix(Runtime::Go, &[]).unwrap();
}

#[test]
fn nginx_in_front_of_uvicorn_over_a_unix_socket() {
    http_check::mix_behind_nginx(&[]).unwrap();
}
