//! Every request of a load test is counted once on each side: nginx's access log is the truth for the server's
//! records, wrk's own count for the client's.

use hostprof_tests::http_check;

#[test]
fn over_one_connection() {
    http_check::counts(1, &[]).unwrap();
}

#[test]
fn over_fifty_connections() {
    http_check::counts(50, &[]).unwrap();
}
