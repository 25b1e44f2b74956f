//! From bytes of MySQL's dialect to tokens that hold no literal.
//!
//! Every rule errs to the side of `Value`: what could be a literal in any `sql_mode` is one. `"..."` is a string (with
//! ANSI_QUOTES it would be a name), words that begin with a digit are numbers, names that no MySQL server would take
//! (longer than 64 characters, odd characters) are values. Only where the end of a literal is in doubt can a lexer take
//! the inside of one for words; [`Lexer::finish`] drops everything from there on when the rest shows it.
//!
//! Source of the rules: MySQL 8.4 reference manual, "Literal Values", "Schema Object Names", "Comments"; sql/sql_lex.cc.

use super::Backslash;
use super::words::{self, FUNCTIONS, KEYWORDS};

/// The most characters of a MySQL name ("Identifier Length Limits").
const MAX_NAME: usize = 64;

/// The operators of more than one character, longest first.
const OPERATORS: &[&str] = &["<=>", "->>", "<=", ">=", "<>", "!=", ":=", "||", "&&", "<<", ">>", "->", "@@"];

/// A piece of a statement, without any literal's text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Token<'a> {
    /// In capitals.
    Keyword(&'static str),
    /// A built-in function's name, in capitals.
    Function(&'static str),
    /// A name.
    Word(&'a str),
    /// A name that needs its backticks, with them.
    Quoted(&'a str),
    /// A literal or a placeholder.
    Value,
    /// The rest of a list.
    Dots,
    /// An operator or punctuation.
    Op(&'a str),
    /// The statement goes on, we do not know how.
    Cut,
}

/// Cuts a statement into tokens.
#[derive(Debug)]
pub(super) struct Lexer<'a> {
    pub(super) sql: &'a [u8],
    pub(super) at: usize,
    pub(super) backslash: Backslash,
    /// Not all of the statement is here.
    pub(super) truncated: bool,
    pub(super) tokens: Vec<Token<'a>>,
    /// Where the last token ends.
    pub(super) end: usize,
    pub(super) in_version_comment: bool,
    /// The first string with a backslash before its own quote: under NO_BACKSLASH_ESCAPES it ends there, else not.
    pub(super) doubtful: Option<usize>,
    /// Something that cannot stand outside of a string stood there.
    pub(super) slipped: bool,
    pub(super) cut: bool,
}

impl<'a> Lexer<'a> {
    pub(super) fn new(sql: &'a [u8], truncated: bool, backslash: Backslash) -> Self {
        Self {
            sql,
            at: 0,
            backslash,
            truncated,
            tokens: Vec::new(),
            end: 0,
            in_version_comment: false,
            doubtful: None,
            slipped: false,
            cut: truncated,
        }
    }

    /// All tokens; the last is [`Token::Cut`] when the rest is not known.
    pub(super) fn run(mut self) -> Vec<Token<'a>> {
        while let Some(byte) = self.peek(0) {
            self.step(byte);
        }
        self.finish()
    }

    fn step(&mut self, byte: u8) {
        match byte {
            0..=b' ' | 0x7f => self.at += 1,
            b'\'' | b'"' => self.string(byte),
            b'`' => self.backticks(),
            b'#' => self.line_comment(),
            b'-' if self.peek(1) == Some(b'-') && self.peek(2).is_none_or(|b| b <= b' ') => {
                self.line_comment()
            }
            b'/' if self.peek(1) == Some(b'*') => self.block_comment(),
            b'*' if self.in_version_comment && self.peek(1) == Some(b'/') => {
                self.in_version_comment = false;
                self.at += 2;
            }
            b'0'..=b'9' => self.number(),
            b'.' if self.peek(1).is_some_and(|b| b.is_ascii_digit()) && !self.after_name() => self.number(),
            b'.' => self.dots(),
            b'?' => {
                self.at += 1;
                self.value();
            }
            b'$' if self.dollar_quoted() => {}
            // Outside of strings only in `\N`, an old name of NULL.
            b'\\' => {
                self.at += if self.peek(1) == Some(b'N') { 2 } else { 1 };
                self.slipped = true;
                self.value();
            }
            _ if self.rest().starts_with("…".as_bytes()) => {
                self.at += "…".len();
                self.push(Token::Cut);
            }
            _ if is_name(byte) => self.word(),
            _ => self.operator(),
        }
    }

    fn backticks(&mut self) {
        let start = self.at;
        let Some(length) = self.sql[start + 1..].iter().position(|b| *b == b'`') else {
            self.slipped |= !self.truncated;
            self.cut = true;
            self.at = self.sql.len();
            return;
        };
        self.at = start + length + 2;
        let name = std::str::from_utf8(&self.sql[start + 1..self.at - 1]).unwrap_or_default();
        let plain = name.starts_with(|c: char| c.is_ascii_alphabetic())
            && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
            && words::find(KEYWORDS, name).is_none();
        match std::str::from_utf8(&self.sql[start..self.at]) {
            // A doubled backtick is part of the name.
            _ if self.peek(0) == Some(b'`') => {
                while self.peek(0) == Some(b'`') {
                    let rest = &self.sql[self.at + 1..];
                    self.at += rest.iter().position(|b| *b == b'`').map_or(rest.len() + 1, |l| l + 2);
                }
                self.value();
            }
            Ok(_) if plain && name.len() <= MAX_NAME => self.push(Token::Word(name)),
            Ok(quoted) if is_good_name(name, " -.") => self.push(Token::Quoted(quoted)),
            _ => self.value(),
        }
    }

    /// Anything that begins like a number, signs of an exponent included.
    fn number(&mut self) {
        let start = self.at;
        while let Some(byte) = self.peek(0) {
            let exponent = matches!(byte, b'e' | b'E')
                && matches!(self.peek(1), Some(b'+' | b'-'))
                && self.sql[start..self.at].iter().all(|b| b.is_ascii_digit() || *b == b'.');
            match byte {
                _ if exponent => self.at += 2,
                b'.' if self.peek(1) == Some(b'.') => break,
                b'.' => self.at += 1,
                _ if is_name(byte) && !self.rest().starts_with("…".as_bytes()) => self.at += 1,
                _ => break,
            }
        }
        self.value();
    }

    fn dots(&mut self) {
        let length = self.rest().iter().take_while(|b| **b == b'.').count();
        let text = &self.sql[self.at..self.at + 1];
        self.at += length;
        match self.tokens.last() {
            Some(Token::Dots) => {}
            Some(Token::Op(".")) => {
                self.tokens.pop();
                self.push(Token::Dots);
            }
            _ if length > 1 => self.push(Token::Dots),
            _ => self.push(Token::Op(std::str::from_utf8(text).unwrap_or("."))),
        }
    }

    fn word(&mut self) {
        let start = self.at;
        while self.peek(0).is_some_and(is_name) && !self.rest().starts_with("…".as_bytes()) {
            self.at += 1;
        }
        let word = std::str::from_utf8(&self.sql[start..self.at]).unwrap_or_default();
        if let Some(quote @ (b'\'' | b'"')) = self.peek(0) {
            if matches!(word, "n" | "N" | "x" | "X" | "b" | "B") {
                return self.string(quote);
            }
            // A word that touches a quote is rare; after a doubtful string it is the inside of one.
            self.slipped |= !word.starts_with('_') && words::find(KEYWORDS, word).is_none();
        }
        let named = matches!(self.tokens.last(), Some(Token::Op("." | "@" | "@@")));
        let call = self.rest().iter().find(|b| **b > b' ') == Some(&b'(');
        if !is_good_name(word, "") {
            self.value();
        } else if named {
            self.push(Token::Word(word));
        } else if let Some(keyword) = words::find(KEYWORDS, word) {
            self.push(Token::Keyword(keyword));
        } else if let Some(function) = words::find(FUNCTIONS, word).filter(|_| call) {
            self.push(Token::Function(function));
        } else {
            self.push(Token::Word(word));
        }
    }

    fn operator(&mut self) {
        let rest = self.rest();
        let length = OPERATORS.iter().find(|op| rest.starts_with(op.as_bytes())).map_or(1, |op| op.len());
        let text = std::str::from_utf8(&rest[..length]).unwrap_or(" ");
        self.at += length;
        self.push(Token::Op(text));
    }

    pub(super) fn value(&mut self) {
        self.push(Token::Value);
    }

    fn push(&mut self, token: Token<'a>) {
        self.end = self.at;
        self.tokens.push(token);
    }

    pub(super) fn peek(&self, ahead: usize) -> Option<u8> {
        self.sql.get(self.at + ahead).copied()
    }

    pub(super) fn rest(&self) -> &'a [u8] {
        &self.sql[self.at..]
    }

    /// Whether a name ends right here, so that a dot belongs to it.
    fn after_name(&self) -> bool {
        self.end == self.at && matches!(self.tokens.last(), Some(Token::Word(_) | Token::Quoted(_)))
    }

    fn finish(mut self) -> Vec<Token<'a>> {
        let cut_in_name = self.truncated && self.end == self.sql.len();
        if cut_in_name
            && matches!(
                self.tokens.last(),
                Some(Token::Word(_) | Token::Quoted(_) | Token::Keyword(_) | Token::Function(_))
            )
        {
            self.tokens.pop();
        }
        let unknown = self.backslash == Backslash::Unknown;
        if let Some(doubtful) = self.doubtful.filter(|_| self.slipped || unknown) {
            self.tokens.truncate(doubtful);
            self.tokens.push(Token::Value);
            self.cut = true;
        }
        if self.cut {
            self.tokens.push(Token::Cut);
        }
        self.tokens
    }
}

/// Bytes of unquoted names; those past ASCII are checked as a whole.
pub(super) fn is_name(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'$' || byte >= 0x80
}

/// Whether a server could know something by this name, and a terminal show it.
fn is_good_name(name: &str, also: &str) -> bool {
    !name.is_empty()
        && name.chars().count() <= MAX_NAME
        && name.chars().all(|c| c.is_alphanumeric() || c == '_' || c == '$' || also.contains(c))
}
