//! A client that sends commands without waiting for replies: each is counted, as seen or as lost, and no duration is that
//! of two commands. Truth: the client's own log, which knows when each reply was complete.

#![allow(clippy::unwrap_used, reason = "a test's helper fails as the test itself does")]

use hostprof_tests::{Database, Engine, MysqlLine, Recording, SqlCase, Trace};

/// Commands in one write.
const SENT: usize = 3;

#[test]
fn commands_in_one_write_are_each_counted_and_none_takes_two_replies() {
    let database = Database::start(Engine::MariaDb).unwrap();
    for address in [database.tcp(), database.unix()] {
        let recording = Recording::start(&["--protocol", "mysql"]).unwrap();
        let trace = Trace::start(&["--protocol", "mysql"]).unwrap();
        let (run, _) = SqlCase::run("pipelined", address).unwrap();
        trace.settle(|lines| MysqlLine::of_server(lines, database.pid()).len()).unwrap();
        let lines = trace.finish().unwrap();
        let report = recording.finish().unwrap();

        let statements: Vec<_> = run.statements.iter().filter(|s| s.text.contains("pipelined")).collect();
        assert_eq!(statements.len(), SENT, "{run:?}");
        let mut seen = 0;
        for (side, late) in [
            (MysqlLine::of_client(&lines, run.pid), 0.000_1),
            // The server's write may return when the client has the reply already.
            (MysqlLine::of_server(&lines, database.pid()), 0.01),
        ] {
            let mut before = 0.0;
            for (number, statement) in statements.iter().enumerate() {
                let ours = |line: &&MysqlLine| {
                    line.text("digest_text")
                        .is_some_and(|text| text.ends_with(&format!("pipelined_{number}")))
                };
                let told: Vec<_> = side.iter().filter(ours).collect();
                assert!(told.len() <= 1, "{address}: one command, several records: {told:#?}");
                for line in told {
                    seen += 1;
                    let Some(duration) = line.seconds("duration") else { continue };
                    // From the write of all three to the end of its own reply.
                    assert!(duration <= statement.seconds + late, "{address}: {statement:?} {line:?}");
                    let returned = line.number("rows_returned");
                    assert!(returned.is_none_or(|rows| rows == 1), "{address}: another's rows: {line:?}");
                    // The client waits for a second one behind the first; a server may begin when it reads it.
                    if line.is("role", "client") {
                        assert!(duration >= before, "{address}: over before its own reply came: {line:?}");
                    }
                }
                // Less, because a client that was held up may have read two replies at once.
                before = statement.seconds - 0.05;
            }
            // The first one is beyond doubt, and so is what comes after all of them.
            for text in ["SELECT SLEEP(?) AS pipelined_0", "SELECT ? AS after"] {
                assert!(
                    side.iter().any(|line| line.is("digest_text", text)),
                    "{address}: no {text}: {side:#?}"
                );
            }
        }
        let deep = report.lost().get("pipeline_too_deep").copied().unwrap_or(0);
        assert_eq!(seen + deep, 2 * SENT as u64, "{address}: {seen} seen, lost {:?}", report.lost());
    }
    database.stop().unwrap();
}
