//! What is remembered from one record of a connection to the next.

use profiler_ebpf::mysql::capability;

use super::*;

/// A session's statements, one after the other.
struct Session(Parser, u32);

impl Session {
    /// Of a client that can do this.
    fn new(caps: u32) -> Self {
        Self(Parser::new(Vec::new()), caps)
    }

    fn record(&self, command: u8, truncated: bool) -> Record {
        // SAFETY: plain numbers, zero is valid for each.
        let mut record: Record = unsafe { std::mem::zeroed() };
        record.proto = proto::MYSQL;
        record.role = role::SERVER;
        record.caps = self.1;
        record.request.command = command;
        record.request.truncated = truncated.into();
        record
    }

    /// Looks at a command that has no reply yet, and returns its digest.
    fn asks(&mut self, command: u8, rest: &[u8]) -> String {
        let record = self.record(command, false);
        let (_, call) = self.0.under_way(&record, &[&[command], rest].concat());
        call.digest_text.unwrap_or_default().to_string()
    }

    /// Gives a command with this reply, and returns its digest.
    fn gives(&mut self, command: u8, rest: &[u8], truncated: bool, reply: &[u8]) -> String {
        let mut record = self.record(command, truncated);
        record.response_bytes = reply.len() as u64;
        record.reply_head_len = reply.len() as u8;
        record.reply_head[..reply.len()].copy_from_slice(reply);
        for (i, byte) in reply.iter().enumerate() {
            record.reply_tail[i % record.reply_tail.len()] = *byte;
        }
        let head = [&[command], rest].concat();
        let exchange = self.0.exchange(&record, &head).unwrap();
        match exchange.call {
            Call::Mysql(call) => call.digest_text.unwrap_or_default().to_string(),
            Call::Http(_) => unreachable!("a MySQL record"),
        }
    }

    fn query(&mut self, sql: &str, reply: &[u8]) -> String {
        self.gives(number::QUERY, sql.as_bytes(), false, reply)
    }
}

const ESCAPES: [u8; 11] = [7, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0];
const LITERAL: [u8; 11] = [7, 0, 0, 1, 0, 0, 0, 2, 2, 0, 0];
const ERROR: &[u8] = b"\x09\0\0\x01\xff\x28\x04#42000";

/// Whole under NO_BACKSLASH_ESCAPES only.
const LITERALS: &str = r"SELECT 'x\', a FROM t WHERE b = 'zqzq'";
const WHOLE: &str = "SELECT ?, a FROM t WHERE b = ?";
const DOUBTED: &str = "SELECT ? …";
const PROTOCOL_41: u32 = 1 << 9;
const MULTI: u32 = PROTOCOL_41 | 1 << 16;

#[test]
fn the_server_says_what_a_backslash_means() {
    let mut session = Session::new(PROTOCOL_41);
    assert_eq!(session.query(LITERALS, &ESCAPES), DOUBTED, "not known yet");
    session.query("SET sql_mode = 'NO_BACKSLASH_ESCAPES'", &LITERAL);
    assert_eq!(session.query(LITERALS, &LITERAL), WHOLE);
    assert_eq!(session.gives(number::PREPARE, LITERALS.as_bytes(), false, ERROR), WHOLE);
    // What fails changes nothing; what begins anew does.
    assert_eq!(session.query("SELECT 1 FROM nowhere", ERROR), "SELECT ? FROM nowhere");
    assert_eq!(session.query(LITERALS, &LITERAL), WHOLE);
    for anew in [COMMAND_HANDSHAKE, CHANGE_USER, RESET_CONNECTION] {
        session.gives(anew, b"", false, &LITERAL);
        assert_eq!(session.query(LITERALS, &LITERAL), DOUBTED, "{anew}");
        assert_eq!(session.query(LITERALS, &LITERAL), WHOLE);
    }
    session.query("SET sql_mode = ''", &ESCAPES);
    assert_eq!(session.query(r"SELECT 'it\'s', a FROM t", &ESCAPES), "SELECT ?, a FROM t");
    assert_eq!(session.query(LITERALS, &ESCAPES), DOUBTED);
}

#[test]
fn a_statement_is_shown_behind_a_doubt_only_where_the_mode_is_known() {
    let cut = br"INSERT INTO t SET a = 'it\'s', b = 1, c = 'zq";
    let mut session = Session::new(PROTOCOL_41);
    assert_eq!(session.gives(number::QUERY, cut, true, &ESCAPES), "INSERT INTO t SET a = ? …");
    assert_eq!(session.gives(number::QUERY, cut, true, &ESCAPES), "INSERT INTO t SET a = ?, b = ?, c = ? …");
}

#[test]
fn among_several_statements_nothing_is_sure() {
    let mut session = Session::new(MULTI);
    session.query("SELECT 1", &LITERAL);
    assert_eq!(session.query(LITERALS, &LITERAL), WHOLE);
    let several = format!("SET sql_mode = 'NO_BACKSLASH_ESCAPES'; {LITERALS}");
    assert_eq!(session.query(&several, &LITERAL), "SET sql_mode = ?; SELECT ? …");
    assert_eq!(session.query(&several, ERROR), "SET sql_mode = ?; SELECT ? …");
    assert_eq!(session.query(LITERALS, &LITERAL), DOUBTED, "the first of them may have been done");
    let several = format!("SELECT 1; {LITERALS}");
    assert_eq!(session.query(&several, &LITERAL), format!("SELECT ?; {WHOLE}"), "none of them sets it");
}

#[test]
fn attributes_are_no_part_of_the_statement() {
    let mut session = Session::new(PROTOCOL_41 | capability::QUERY_ATTRIBUTES);
    assert_eq!(session.gives(number::QUERY, b"\0\x01SELECT 1", false, &ESCAPES), "SELECT ?");
}

#[test]
fn the_statement_prepared_last_has_a_number_of_its_own() {
    let prepared = |id: u8| [&[12, 0, 0, 1, 0, id][..], &[0; 10]].concat();
    let mut session = Session::new(PROTOCOL_41);
    assert_eq!(session.gives(number::EXECUTE, &[0xff; 4], false, &ESCAPES), UNKNOWN_STATEMENT);
    session.gives(number::PREPARE, b"SELECT 1 FROM a", false, &prepared(1));
    session.gives(number::PREPARE, b"SELECT 1 FROM b", false, &prepared(2));
    assert_eq!(session.gives(number::EXECUTE, &[0xff; 4], false, &ESCAPES), "SELECT ? FROM b");
    assert_eq!(session.gives(number::EXECUTE, &[1, 0, 0, 0], false, &ESCAPES), "SELECT ? FROM a");
}

#[test]
fn a_command_under_way_is_named_as_it_will_be_and_teaches_nothing() {
    let prepared = |id: u8| [&[12, 0, 0, 1, 0, id][..], &[0; 10]].concat();
    let mut session = Session::new(MULTI);
    assert_eq!(session.asks(number::QUERY, LITERALS.as_bytes()), DOUBTED);
    session.query("SELECT 1", &LITERAL);
    assert_eq!(session.asks(number::QUERY, LITERALS.as_bytes()), WHOLE);
    let several = format!("SET sql_mode = ''; {LITERALS}");
    assert_eq!(session.asks(number::QUERY, several.as_bytes()), "SET sql_mode = ?; SELECT ? …");
    assert_eq!(session.query(LITERALS, &LITERAL), WHOLE, "it has not been done yet");
    session.asks(number::PREPARE, b"SELECT 1 FROM b");
    assert_eq!(session.asks(number::EXECUTE, &[1, 0, 0, 0]), UNKNOWN_STATEMENT);
    session.gives(number::PREPARE, b"SELECT 1 FROM a", false, &prepared(1));
    assert_eq!(session.asks(number::EXECUTE, &[1, 0, 0, 0]), "SELECT ? FROM a");
}
