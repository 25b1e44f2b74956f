//! On kernels without socket tracepoints hostprof looks at the ends of system calls: the same load gives the same
//! counts, bytes and roles as with the best hooks, by the same truths as in `http_counts` and `http_servers`.

use hostprof_tests::{Report, Runtime, http_check};

/// The ways to see sockets that take the place of `sock-tracepoints`.
const FALLBACKS: [&str; 2] = ["syscall-exit", "raw-exit"];

/// Arrivals have a tracepoint of their own, which does not depend on how reads and writes are seen. At most `unknown` of
/// them are not known.
fn assert_hooks(report: &Report, hooks: &str, unknown: u64) {
    let used = &report.json()["capture"]["hooks"];
    assert_eq!((&used["socket"], &used["arrival"]), (&hooks.into(), &"sk_data_ready".into()));
    let served = report.rows("http").role("server");
    let known = served.total(|row| row["phases"]["queue"]["count"].as_u64().unwrap_or(0));
    assert!((0..=unknown).contains(&(served.count() - known)), "{known} of {}", served.count());
}

#[test]
fn every_request_is_counted_once_over_one_connection() {
    for hooks in FALLBACKS {
        assert_hooks(&http_check::counts(1, &["--socket-hooks", hooks]).unwrap(), hooks, 0);
    }
}

#[test]
fn every_request_is_counted_once_over_fifty_connections() {
    for hooks in FALLBACKS {
        assert_hooks(&http_check::counts(50, &["--socket-hooks", hooks]).unwrap(), hooks, 0);
    }
}

#[test]
fn a_thousand_requests_of_every_kind_to_servers_of_three_languages() {
    for hooks in FALLBACKS {
        for runtime in [Runtime::UvicornAsyncio, Runtime::Node, Runtime::Go] {
            assert_hooks(&http_check::mix(runtime, &["--socket-hooks", hooks]).unwrap(), hooks, 0);
        }
    }
}

#[test]
fn a_thousand_requests_of_every_kind_through_nginx_and_a_unix_socket() {
    for hooks in FALLBACKS {
        let report = http_check::mix_behind_nginx(&["--socket-hooks", hooks]).unwrap();
        // Data of a Unix connection may be read before they are announced (unix_stream_sendmsg in net/unix/af_unix.c):
        // more often the busier the machine is.
        assert_hooks(&report, hooks, 200);
    }
}
