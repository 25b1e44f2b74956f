//! The parts of a statement whose text is left out: strings and comments.
//!
//! Finding their end is all that matters. Where servers of different settings or versions would disagree about it, the
//! lexer notes the doubt or gives up the rest of the statement.

use super::Backslash;
use super::lexer::{Lexer, Token, is_name};

impl Lexer<'_> {
    /// A string, with the word before it that belongs to it: `N`, `X`, `B`, `_utf8mb4`, `DATE`.
    pub(super) fn string(&mut self, quote: u8) {
        let index = self.tokens.len();
        self.at += 1;
        loop {
            let Some(byte) = self.peek(0) else {
                // Not closed: the statement was cut here, or we have lost our way.
                self.slipped |= !self.truncated;
                self.cut = true;
                break;
            };
            if byte == b'\\' && self.peek(1) == Some(quote) {
                self.doubtful.get_or_insert(index);
            }
            if byte == b'\\' && self.backslash != Backslash::Literal {
                self.at = self.sql.len().min(self.at + 2);
            } else if byte == quote && self.peek(1) == Some(quote) {
                self.at += 2;
            } else {
                self.at += 1;
                if byte == quote {
                    self.slipped |= self.peek(0).is_some_and(|b| is_name(b) || b"\\`'\"".contains(&b));
                    break;
                }
            }
        }
        if let Some(Token::Word(word) | Token::Function(word)) = self.tokens.last()
            && (word.starts_with('_')
                || ["date", "time", "timestamp"].iter().any(|w| word.eq_ignore_ascii_case(w)))
        {
            self.tokens.pop();
        }
        self.value();
    }

    /// `$$...$$` and `$tag$...$tag$` (MySQL 9): true when it was one.
    pub(super) fn dollar_quoted(&mut self) -> bool {
        let rest = self.rest();
        let Some(tag) = rest[1..].iter().position(|b| !is_name(*b) || *b == b'$').map(|l| &rest[..l + 2])
        else {
            return false;
        };
        if tag.last() != Some(&b'$') {
            return false;
        }
        let body = &rest[tag.len()..];
        match body.windows(tag.len()).position(|w| w == tag) {
            Some(length) => self.at += 2 * tag.len() + length,
            None => {
                self.cut = true;
                self.at = self.sql.len();
            }
        }
        self.value();
        true
    }

    pub(super) fn line_comment(&mut self) {
        self.at = self.rest().iter().position(|b| *b == b'\n').map_or(self.sql.len(), |l| self.at + l + 1);
    }

    /// `/* */` and `/*+ */` are left out, of `/*!50110 */` only the brackets are.
    pub(super) fn block_comment(&mut self) {
        let body = &self.sql[self.at + 2..];
        let close = body.windows(2).position(|w| w == b"*/");
        let skip = match body {
            [b'!', ..] => 1,
            [b'M', b'!', ..] => 2,
            _ => 0,
        };
        if skip > 0 {
            let inside = &body[skip..close.unwrap_or(body.len()).max(skip)];
            // A server of another version takes the whole for a comment; both must agree where it ends.
            let odd = |quote| inside.iter().filter(|b| **b == quote).count() % 2 == 1;
            if close.is_some() && [b'\'', b'"', b'`'].into_iter().any(odd) {
                return self.give_up();
            }
            let digits = inside.iter().take(6).take_while(|b| b.is_ascii_digit()).count();
            self.in_version_comment = true;
            self.at += 2 + skip + digits;
        } else if body.first() == Some(&b'+') {
            // A hint's strings may hold `*/`.
            match end_of_hint(body) {
                Some(length) => self.at += 2 + length,
                None => self.give_up(),
            }
        } else {
            match close {
                Some(length) => self.at += length + 4,
                None => self.give_up(),
            }
        }
    }

    /// There is no telling where this ends: nothing after it is shown.
    fn give_up(&mut self) {
        self.slipped |= !self.truncated;
        self.cut = true;
        self.at = self.sql.len();
        self.end = 0;
    }
}

/// Bytes up to and with the `*/` that is not within quotes; `None` where a backslash leaves the end of quotes in doubt.
fn end_of_hint(body: &[u8]) -> Option<usize> {
    let mut quote = None;
    for (at, byte) in body.iter().enumerate() {
        match quote {
            Some(open) if *byte == b'\\' && body.get(at + 1) == Some(&open) => return None,
            Some(open) if open == *byte => quote = None,
            Some(_) => {}
            None if b"'\"`".contains(byte) => quote = Some(*byte),
            None if body[at..].starts_with(b"*/") => return Some(at + 2),
            None => {}
        }
    }
    None
}
