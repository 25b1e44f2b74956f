//! Statements without their literals: raw SQL goes in, a digest comes out, under which statements of the same shape meet.
//!
//! Literals may be anybody's secrets and must not leave this module (law 10), and a digest per value would have no end
//! (law 9). So this is a lexer, not a parser: it takes any bytes, of any version of the dialect, cut anywhere, and what
//! it cannot tell from a literal it treats as one. A prepared statement and its text form give the same digest.
//!
//! ```text
//! select * from `orders` where id in (1,2,3) and note='it''s'  ->  SELECT * FROM orders WHERE id IN (...) AND note = ?
//! ```

mod fold;
mod lexer;
mod render;
mod skip;
mod words;

#[cfg(test)]
mod tests;

/// A digest's text is at most this long, bytes; the hash is over all of it.
pub const MAX_TEXT: usize = 2000;

/// Of a longer statement only this much is read, bytes.
const MAX_INPUT: usize = 64 * 1024;

/// A statement without its literals.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Digest {
    /// One line, keywords in capitals, `?` for literals and placeholders, `...` for the rest of a list; ends in ` …`
    /// when the rest of the statement is not known or too long.
    pub text: String,
    /// FNV-1a, 64 bits, of the whole text: the same on every machine and in every version that writes the same text.
    pub hash: u64,
    /// Operations and tables, such as `SELECT orders`: OpenTelemetry's `db.query.summary`. Empty when there are none.
    pub summary: String,
}

/// What a backslash means within strings, as far as the server has said. Even then what comes behind a string with one
/// before a quote is dropped when the rest of the statement does not fit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Backslash {
    /// Nothing is shown behind a string with one before a quote: where that string ends is not known.
    #[default]
    Unknown,
    /// `'it\'s'` is one string.
    Escapes,
    /// The session's `sql_mode` has NO_BACKSLASH_ESCAPES.
    Literal,
}

/// The digest of a statement. `truncated` says that only its beginning is here.
pub fn digest(sql: &[u8], truncated: bool, backslash: Backslash) -> Digest {
    let head = &sql[..sql.len().min(MAX_INPUT)];
    let truncated = truncated || head.len() < sql.len();
    let tokens = fold::fold(&lexer::Lexer::new(head, truncated, backslash).run());
    let text = render::text(&tokens);
    Digest { hash: fnv1a(text.as_bytes()), summary: render::summary(&tokens), text: shorten(text) }
}

/// FNV-1a with 64 bits (Fowler, Noll, Vo).
fn fnv1a(bytes: &[u8]) -> u64 {
    bytes
        .iter()
        .fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}

/// At most [`MAX_TEXT`] bytes, cut between tokens.
fn shorten(mut text: String) -> String {
    if text.len() > MAX_TEXT {
        let room = text.floor_char_boundary(MAX_TEXT - " …".len());
        let end = text[..room].rfind(' ').unwrap_or(room);
        text.truncate(end);
        text.push_str(" …");
    }
    text
}
