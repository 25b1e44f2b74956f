//! The parts together: in threads of the test, then as the processes that they are.

use std::net::{Ipv4Addr, TcpListener};

use super::client::{Connection, Outcome};
use super::shop::Shop;
use super::*;

/// A database of its own for one test.
fn database() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || mysql::serve(&listener));
    port
}

fn wait<F: Future>(future: F) -> F::Output {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

#[test]
fn client_and_database_understand_each_other() {
    wait(async {
        let mut connection = Connection::open(database()).await.unwrap();
        assert_eq!(connection.query("SET NAMES utf8mb4").await.unwrap(), Outcome::Ok);
        assert_eq!(connection.query(&format!("{}39", statements::RECENT)).await.unwrap(), Outcome::Rows(39));
        assert_eq!(
            connection.query(&format!("{}7", statements::INVOICES)).await.unwrap(),
            Outcome::Error(1146)
        );
        let items = connection.prepare(&format!("{}?", statements::ITEMS)).await.unwrap();
        assert_eq!(connection.execute(items, "7").await.unwrap(), Outcome::Rows(3));
        assert_eq!(connection.execute(99, "7").await.unwrap(), Outcome::Error(1243));
        connection.quit().await.unwrap();
    });
}

#[test]
fn every_route_answers() {
    wait(async {
        let shop = Shop::open(database()).await.unwrap();
        for (path, status) in [
            ("/orders/7", "200 OK"),
            ("/report", "200 OK"),
            ("/export", "200 OK"),
            ("/login", "200 OK"),
            ("/broken", "500 Internal Server Error"),
            ("/orders/x", "404 Not Found"),
            ("/", "404 Not Found"),
        ] {
            assert_eq!(shop.get(path).await.status, status, "{path}");
        }
        assert!(shop.get("/export").await.body.starts_with("{\"rows\":200,"));
    });
}

#[test]
fn the_export_blocks_the_event_loop_and_the_report_does_not() {
    wait(async {
        let shop = Shop::open(database()).await.unwrap();
        // Ticks counted by a second task while a request runs: none when it blocks the loop.
        for (path, blocks) in [("/report", false), ("/export", true)] {
            let ticks = std::cell::Cell::new(0);
            let ticker = async {
                loop {
                    tokio::time::sleep(Duration::from_millis(1)).await;
                    ticks.set(ticks.get() + 1);
                }
            };
            tokio::select! {
                biased;
                () = ticker => {}
                _ = shop.get(path) => {}
            }
            assert_eq!(ticks.get() < 2, blocks, "{path}: {} ticks", ticks.get());
        }
    });
}

#[test]
fn a_database_that_is_gone_is_a_503() {
    wait(async {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        drop(listener);
        assert!(Shop::open(port).await.is_err());
    });
}

#[test]
fn parts_have_names() {
    for part in [Part::Mysql, Part::Http, Part::Load] {
        assert_eq!(part.to_string().parse::<Part>().unwrap(), part);
    }
    let error = "postgres".parse::<Part>().unwrap_err().to_string();
    assert_eq!(error, "there is no part \"postgres\" of the demo: http, mysql or load");
    for args in [vec![], vec!["x".to_owned()], vec!["1".to_owned(), "2".to_owned()]] {
        assert!(matches!(run_part(Part::Load, &args), Err(DemoError::Port(Part::Load))));
    }
}

/// What the child of a test runs, in place of the binary's hidden subcommand.
const PART: &str = "HOSTPROF_TEST_DEMO_PART";

/// No test of its own: the body of the processes that the next tests start.
#[test]
fn as_a_child() {
    let Ok(line) = std::env::var(PART) else { return };
    // The test harness may have begun a line of its own.
    println!();
    let mut words = line.split_whitespace().map(str::to_owned);
    let part = words.next().unwrap().parse().unwrap();
    run_part(part, &words.collect::<Vec<_>>()).unwrap();
}

fn child(part: Part, args: &[String]) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "command::demo::tests::as_a_child", "--nocapture"]);
    command.env(PART, format!("{part} {}", args.join(" ")));
    command
}

fn is_alive(pid: u32) -> bool {
    std::path::Path::new(&format!("/proc/{pid}")).exists()
}

#[test]
fn three_processes_work_and_end() {
    // Longer where a busy machine leaves them little.
    for seconds in [1.5, 6.0, 24.0] {
        let demo = Demo::start_with(child).unwrap();
        assert_eq!(demo.pids().len(), 3);
        assert!(demo.http_port() != 0 && demo.mysql_port() != 0);
        std::thread::sleep(Duration::from_secs_f64(seconds));
        let pids = demo.pids();
        assert!(pids.iter().copied().all(is_alive));
        let tally = demo.stop();
        assert_eq!(tally.broken, 0);
        assert!(!pids.into_iter().any(is_alive));
        if tally.requests > 20 && tally.failed > 0 {
            assert!(tally.failed < tally.requests, "{tally:?}");
            return;
        }
    }
    panic!("no 20 requests in 24 s, or none of them failed");
}

#[test]
fn dropping_ends_the_processes() {
    let demo = Demo::start_with(child).unwrap();
    let pids = demo.pids();
    drop(demo);
    assert!(!pids.into_iter().any(is_alive));
}

#[test]
fn a_part_that_does_not_come_up_is_told() {
    let error = Demo::start_with(|_, _| Command::new("/bin/false")).unwrap_err();
    assert_eq!(error.to_string(), "the demo's mysql part did not come up: see its message above");
    let error = Demo::start_with(|_, _| Command::new("/no/such/binary")).unwrap_err();
    assert!(error.to_string().starts_with("the demo's mysql part could not start: "), "{error}");
}
