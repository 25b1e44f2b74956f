//! Makes statements of one shape equal: signs join their number, lists of values and rows lose their length.
//!
//! Tokens go in, fewer tokens come out: `IN (1, -2, 3)` and `IN (4)` both become `IN (...)`, `VALUES (1, 2), (3, 4)`
//! becomes `VALUES (?, ?)`, and a run of more than [`LONG_RUN`] values anywhere else in parentheses becomes `?, ...`.

use super::lexer::Token;
use super::words;

/// Values in a row that are still shown one by one.
const LONG_RUN: usize = 4;

/// Folds the tokens of a statement.
pub(super) fn fold<'a>(tokens: &[Token<'a>]) -> Vec<Token<'a>> {
    let mut folder = Folder { out: Vec::with_capacity(tokens.len()), open: Vec::new(), rows_end: None };
    let cut = tokens.last() == Some(&Token::Cut);
    let body = if cut { &tokens[..tokens.len() - 1] } else { tokens };
    body.iter().for_each(|token| folder.push(*token));
    folder.finish(cut)
}

#[derive(Debug)]
struct Folder<'a> {
    out: Vec<Token<'a>>,
    /// Where the parentheses open that are not closed yet.
    open: Vec<usize>,
    /// Where the first row of VALUES ends.
    rows_end: Option<usize>,
}

impl<'a> Folder<'a> {
    fn push(&mut self, token: Token<'a>) {
        match token {
            Token::Value => self.value(),
            Token::Keyword("NULL" | "TRUE" | "FALSE") if self.takes_value() => self.value(),
            Token::Op("(") => {
                self.open.push(self.out.len());
                self.out.push(token);
            }
            Token::Op(")") => match self.open.pop() {
                Some(open) => self.close(open),
                None => self.out.push(token),
            },
            Token::Dots | Token::Cut if self.out.last() == Some(&token) => {}
            _ => self.out.push(token),
        }
    }

    /// A literal: takes its signs with it, and the literal before it (`'a' 'b'` is one string).
    fn value(&mut self) {
        while let [.., before, Token::Op("-" | "+")] = self.out.as_slice() {
            if is_operand(before) {
                break;
            }
            self.out.pop();
        }
        if matches!(self.out.as_slice(), [Token::Op("-" | "+")]) {
            self.out.pop();
        }
        if self.out.last() != Some(&Token::Value) {
            self.out.push(Token::Value);
        }
    }

    /// Whether NULL, TRUE or FALSE is a value here, and not part of `IS NULL` or `NOT NULL`.
    fn takes_value(&self) -> bool {
        match self.out.last() {
            Some(Token::Op(op)) => *op != ")" && *op != ".",
            Some(Token::Keyword(word)) => {
                matches!(*word, "THEN" | "ELSE" | "SELECT" | "WHERE" | "AND" | "OR" | "WHEN" | "BETWEEN")
            }
            _ => false,
        }
    }

    fn close(&mut self, open: usize) {
        let before = |back: usize| open.checked_sub(back).map(|at| self.out[at]);
        let is_row = before(1) == Some(Token::Keyword("ROW"));
        let head = if is_row { 2 } else { 1 };
        let first_row = is_values(before(head));
        let next_row = before(head) == Some(Token::Op(",")) && self.rows_end == open.checked_sub(head);
        let is_list = before(1) == Some(Token::Keyword("IN"));
        if next_row {
            return self.out.truncate(open - head);
        }
        if is_list {
            fold_list(&mut self.out, open + 1);
        } else {
            fold_runs(&mut self.out, open + 1);
        }
        self.out.push(Token::Op(")"));
        if first_row {
            self.rows_end = Some(self.out.len());
        }
    }

    /// The lists and rows that the end of a cut statement leaves open.
    fn finish(mut self, cut: bool) -> Vec<Token<'a>> {
        while cut && self.out.last() == Some(&Token::Cut) {
            self.out.pop();
        }
        if let Some(end) = self.rows_end
            && matches!(
                &self.out[end..],
                [Token::Op(",")] | [Token::Op(","), Token::Keyword("ROW") | Token::Op("("), ..]
            )
        {
            self.out.truncate(end);
        }
        while let Some(open) = self.open.pop() {
            let before = |back: usize| open.checked_sub(back).and_then(|at| self.out.get(at)).copied();
            let row =
                is_values(before(1)) || before(1) == Some(Token::Keyword("ROW")) && is_values(before(2));
            let list = before(1) == Some(Token::Keyword("IN"))
                && is_flat(self.out.get(open + 1..).unwrap_or_default());
            if (row || list) && cut && open < self.out.len() {
                self.out.truncate(open + 1);
                self.out.push(Token::Dots);
            }
        }
        while matches!(self.out.last(), Some(Token::Op(";") | Token::Cut)) {
            self.out.pop();
        }
        if cut {
            self.out.push(Token::Cut);
        }
        self.out
    }
}

/// Whether a sign after this token subtracts or adds, and does not belong to a number.
fn is_operand(token: &Token<'_>) -> bool {
    match token {
        Token::Word(_) | Token::Quoted(_) | Token::Value | Token::Dots | Token::Cut => true,
        Token::Keyword(word) => words::is_operand(word),
        Token::Function(_) => false,
        Token::Op(op) => *op == ")",
    }
}

fn is_values(token: Option<Token<'_>>) -> bool {
    matches!(token, Some(Token::Keyword("VALUES") | Token::Function("VALUE")))
}

/// Whether these tokens are nothing but values.
fn is_flat(tokens: &[Token<'_>]) -> bool {
    tokens.iter().all(|token| {
        matches!(token, Token::Value | Token::Dots | Token::Op("," | "(" | ")") | Token::Keyword("ROW"))
    })
}

/// The elements from `start` on, without what separates them.
fn elements<'t, 'a>(tokens: &'t [Token<'a>]) -> Vec<&'t [Token<'a>]> {
    let mut depth = 0i32;
    tokens
        .split(|token| {
            match token {
                Token::Op("(") => depth += 1,
                Token::Op(")") => depth -= 1,
                _ => {}
            }
            depth == 0 && *token == Token::Op(",")
        })
        .collect()
}

/// A list after IN: of values alone it is `...`, of equal elements the first of them and `...`.
fn fold_list(out: &mut Vec<Token<'_>>, start: usize) {
    let body = out.split_off(start);
    if !body.is_empty() && is_flat(&body) {
        return out.push(Token::Dots);
    }
    let parts = elements(&body);
    let others = parts.iter().skip(1);
    if parts.len() > 1 && others.clone().all(|part| *part == parts[0] || *part == [Token::Dots]) {
        out.extend(parts[0]);
        out.extend([Token::Op(","), Token::Dots]);
    } else {
        out.extend(body);
        fold_runs(out, start);
    }
}

/// Runs of values that are long, or that were folded before, become `?, ...`.
fn fold_runs(out: &mut Vec<Token<'_>>, start: usize) {
    let body = out.split_off(start);
    let parts = elements(&body);
    let is_value = |part: &&[Token<'_>]| matches!(part, [Token::Value] | [Token::Dots]);
    let mut at = 0;
    while at < parts.len() {
        let run = parts[at..].iter().take_while(|part| is_value(part)).count();
        if out.len() > start {
            out.push(Token::Op(","));
        }
        let dots = parts[at..at + run].contains(&[Token::Dots].as_slice());
        if run > LONG_RUN || (run > 1 && dots) {
            out.extend([Token::Value, Token::Op(","), Token::Dots]);
            at += run;
        } else {
            out.extend(parts[at]);
            at += 1;
        }
    }
}
