//! A MySQL command's name and statement, and the schema that a session begins with, from the kept beginning of a
//! packet's payload.

use bytes::Buf;
use profiler_ebpf::mysql::capability;
use profiler_ebpf::record::COMMAND_HANDSHAKE;

use super::reply::lenenc;

/// The protocol's names, in lower case and without `COM_` and `STMT_` (include/my_command.h; MariaDB's bulk execute).
pub fn name(command: u8) -> &'static str {
    match command {
        COMMAND_HANDSHAKE => "handshake",
        0x00 => "sleep",
        0x01 => "quit",
        0x02 => "init_db",
        0x03 => "query",
        0x04 => "field_list",
        0x05 => "create_db",
        0x06 => "drop_db",
        0x07 => "refresh",
        0x08 => "shutdown",
        0x09 => "statistics",
        0x0a => "process_info",
        0x0b => "connect",
        0x0c => "process_kill",
        0x0d => "debug",
        0x0e => "ping",
        0x11 => "change_user",
        0x12 => "binlog_dump",
        0x13 => "table_dump",
        0x15 => "register_slave",
        0x16 => "prepare",
        0x17 => "execute",
        0x18 => "send_long_data",
        0x19 => "close",
        0x1a => "reset",
        0x1b => "set_option",
        0x1c => "fetch",
        0x1d => "daemon",
        0x1e => "binlog_dump_gtid",
        0x1f => "reset_connection",
        0xfa => "bulk_execute",
        _ => "other",
    }
}

/// Column types whose values have a fixed length (`enum_field_types` in include/field_types.h), in bytes.
fn fixed_length(kind: u8) -> Option<usize> {
    match kind {
        0x01 => Some(1),
        0x02 | 0x0d => Some(2),
        0x03 | 0x04 | 0x09 => Some(4),
        0x05 | 0x08 => Some(8),
        0x06 => Some(0),
        _ => None,
    }
}

/// The statement in a QUERY's payload (the command's byte left out), behind its query attributes. `caps` is what the
/// client can do, 0 when the sign-in was not seen. None when the attributes cannot be read past.
pub fn statement(payload: &[u8], caps: u32) -> Option<&[u8]> {
    if caps != 0 && caps & capability::QUERY_ATTRIBUTES == 0 {
        return Some(payload);
    }
    // A client that can still sends none to a server that cannot (mysql2 to MariaDB). Where there are attributes,
    // their count is followed by the number of sets, which is 1; no statement has such a second character.
    let mut rest = payload;
    let _count = lenenc(&mut rest);
    match rest.first() {
        Some(1) => attributes(payload),
        Some(_) => Some(payload),
        None => None,
    }
}

/// Whether a QUERY may hold several statements, as far as its kept beginning tells. A semicolon within a literal counts
/// as one between statements.
pub fn several(statement: &[u8], truncated: bool, caps: u32) -> bool {
    const MULTI_STATEMENTS: u32 = 1 << 16;
    if caps != 0 && caps & MULTI_STATEMENTS == 0 {
        return false;
    }
    let statement = statement.trim_ascii_end();
    truncated || statement.strip_suffix(b";").unwrap_or(statement).contains(&b';')
}

/// Whether a statement may set `sql_mode`, by name or through a prepared statement (`EXECUTE`).
pub fn names_sql_mode(statement: &[u8]) -> bool {
    let has = |name: &[u8]| statement.windows(name.len()).any(|word| word.eq_ignore_ascii_case(name));
    has(b"sql_mode") || has(b"execute")
}

fn attributes(payload: &[u8]) -> Option<&[u8]> {
    let mut rest = payload;
    let count = lenenc(&mut rest)? as usize;
    let _sets = lenenc(&mut rest)?;
    if count == 0 {
        return Some(rest);
    }
    let nulls = rest.get(..count.div_ceil(8))?;
    rest.advance(nulls.len());
    if rest.try_get_u8().ok()? != 1 {
        return None;
    }
    let mut kinds = Vec::new();
    for _ in 0..count {
        kinds.push(rest.try_get_u16_le().ok()? as u8);
        let name = lenenc(&mut rest)? as usize;
        rest = rest.get(name..)?;
    }
    for (i, kind) in kinds.iter().enumerate() {
        if nulls[i / 8] & 1 << (i % 8) != 0 {
            continue;
        }
        let len = match fixed_length(*kind) {
            Some(len) => len,
            None => lenenc(&mut rest)? as usize,
        };
        rest = rest.get(len..)?;
    }
    Some(rest)
}

/// The statement's number in an EXECUTE, FETCH or RESET.
pub fn statement_number(payload: &[u8]) -> Option<u32> {
    let mut rest = payload;
    rest.try_get_u32_le().ok()
}

/// The schema that a sign-in asks for (HandshakeResponse41: capabilities 4, packet size 4, character set 1, filler 23,
/// user NUL, authentication, schema NUL).
pub fn schema(payload: &[u8]) -> Option<String> {
    const CONNECT_WITH_DB: u32 = 1 << 3;
    const SECURE_CONNECTION: u32 = 1 << 15;
    const LENENC_AUTH: u32 = 1 << 21;
    let mut rest = payload;
    let caps = rest.try_get_u32_le().ok()?;
    if caps & CONNECT_WITH_DB == 0 {
        return None;
    }
    rest = rest.get(28..)?;
    rest = behind_nul(rest)?;
    rest = if caps & LENENC_AUTH != 0 {
        let len = lenenc(&mut rest)? as usize;
        rest.get(len..)?
    } else if caps & SECURE_CONNECTION != 0 {
        let len = rest.try_get_u8().ok()? as usize;
        rest.get(len..)?
    } else {
        behind_nul(rest)?
    };
    let end = rest.iter().position(|b| *b == 0)?;
    std::str::from_utf8(&rest[..end]).ok().filter(|s| !s.is_empty()).map(str::to_owned)
}

fn behind_nul(bytes: &[u8]) -> Option<&[u8]> {
    let at = bytes.iter().position(|b| *b == 0)?;
    bytes.get(at + 1..)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_statements() {
        assert_eq!(statement(b"SELECT 1", 0), Some(&b"SELECT 1"[..]));
        assert_eq!(statement(b"\0\x01SELECT 1", 0), Some(&b"SELECT 1"[..]));
        assert_eq!(statement(b"\0\x01SELECT 1", capability::QUERY_ATTRIBUTES), Some(&b"SELECT 1"[..]));
        assert_eq!(
            statement(b"SELECT 1", capability::QUERY_ATTRIBUTES),
            Some(&b"SELECT 1"[..]),
            "to MariaDB"
        );
    }

    #[test]
    fn several_statements() {
        const MULTI_STATEMENTS: u32 = 1 << 16;
        for caps in [0, MULTI_STATEMENTS] {
            assert!(several(b"SELECT 1; SELECT 2", false, caps));
            assert!(!several(b"SELECT 1;\n", false, caps));
            assert!(several(b"SELECT 1", true, caps));
        }
        assert!(!several(b"SELECT ';'", true, capability::QUERY_ATTRIBUTES));
    }

    #[test]
    fn attributes_are_skipped() {
        let mut p = vec![2, 1, 0b10, 1];
        p.extend([0xfd, 0, 1, b'a', 0xfd, 0, 1, b'b']);
        p.extend([5]);
        p.extend(b"valueSELECT 2");
        assert_eq!(statement(&p, capability::QUERY_ATTRIBUTES), Some(&b"SELECT 2"[..]));
        for cut in 0..p.len() - 8 {
            let got = statement(&p[..cut], capability::QUERY_ATTRIBUTES);
            assert!(got.is_none() || got.is_some_and(<[u8]>::is_empty), "{cut}: {got:?}");
        }
    }

    #[test]
    fn the_schema_of_a_sign_in() {
        let caps: u32 = 1 << 3 | 1 << 15;
        let mut p = caps.to_le_bytes().to_vec();
        p.extend([0; 28]);
        p.extend(b"root\0\x03abcshop\0mysql_native_password\0");
        assert_eq!(schema(&p).as_deref(), Some("shop"));
        for cut in 0..44 {
            assert_eq!(schema(&p[..cut]), None, "{cut}");
        }
    }
}
