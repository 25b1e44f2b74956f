//! Writes folded tokens down: the digest's text, and the summary for OpenTelemetry's `db.query.summary`.

use super::lexer::Token;

/// `db.query.summary` is at most this long (OpenTelemetry semantic conventions, "Generating query summary").
const MAX_SUMMARY: usize = 255;

/// One line with single spaces, such that reading it again gives the same tokens.
pub(super) fn text(tokens: &[Token<'_>]) -> String {
    let mut text = String::new();
    let mut previous = None;
    for token in tokens {
        if previous.is_some_and(|previous| is_apart(previous, *token)) {
            text.push(' ');
        }
        text.push_str(written(*token));
        previous = Some(*token);
    }
    text
}

fn written(token: Token<'_>) -> &str {
    match token {
        Token::Keyword(word) | Token::Function(word) => word,
        Token::Word(text) | Token::Quoted(text) | Token::Op(text) => text,
        Token::Value => "?",
        Token::Dots => "...",
        Token::Cut => "…",
    }
}

fn is_apart(previous: Token<'_>, token: Token<'_>) -> bool {
    match (previous, token) {
        (_, Token::Cut) | (Token::Cut, _) => true,
        (_, Token::Op("," | ")" | ";" | ".")) | (Token::Op("(" | "."), _) => false,
        (Token::Op("@" | "@@"), Token::Word(_) | Token::Quoted(_) | Token::Value) => false,
        (Token::Word(_) | Token::Quoted(_) | Token::Function(_), Token::Op("(")) => false,
        _ => true,
    }
}

/// Operations and the tables that they touch, in order: `SELECT orders`, `INSERT archive SELECT orders items`.
pub(super) fn summary(tokens: &[Token<'_>]) -> String {
    let mut summary = Summary { text: String::new(), scope: vec![false] };
    let mut rest = tokens;
    while let Some(taken) = summary.take(rest, rest.len() == tokens.len()) {
        rest = &rest[taken.min(rest.len())..];
    }
    summary.text
}

struct Summary {
    text: String,
    /// For each open parenthesis whether a statement stands in it: `EXTRACT(YEAR FROM d)` names no table.
    scope: Vec<bool>,
}

impl Summary {
    /// Looks at the next token; how many it used up, `None` at the end.
    fn take(&mut self, tokens: &[Token<'_>], is_first: bool) -> Option<usize> {
        let next = tokens.get(1);
        let is_call = next == Some(&Token::Op("("));
        match tokens.first()? {
            Token::Op("(") => {
                // Parentheses around a whole statement: `(SELECT ...) UNION (SELECT ...)`.
                self.scope.push(false);
            }
            Token::Op(")") => {
                self.scope.pop();
            }
            Token::Keyword("ON" | "FOR" | "KEY" | "CASCADE") if matches!(next, Some(Token::Keyword(_))) => {
                // ON DELETE, ON UPDATE, FOR UPDATE, ON DUPLICATE KEY UPDATE: no operations.
                let skip = if next == Some(&Token::Keyword("DUPLICATE")) { 4 } else { 2 };
                return Some(skip);
            }
            Token::Keyword(verb @ ("SELECT" | "DELETE")) => {
                self.add(verb);
                self.enter();
            }
            Token::Keyword(verb @ ("INSERT" | "UPDATE" | "REPLACE")) if is_first || !is_call => {
                self.add(verb);
                self.enter();
                return Some(1 + self.tables(&tokens[1..], *verb == "UPDATE", true));
            }
            Token::Keyword("INTO") => return Some(1 + self.tables(&tokens[1..], false, true)),
            Token::Keyword("FROM" | "JOIN" | "STRAIGHT_JOIN") if self.scope.last() == Some(&true) => {
                return Some(1 + self.tables(&tokens[1..], true, false));
            }
            Token::Keyword("WITH") if is_first => {}
            Token::Keyword(verb) if is_first => {
                self.add(verb);
                self.enter();
                if let Some(Token::Keyword(kind @ ("TABLE" | "INDEX" | "VIEW" | "DATABASE"))) = next {
                    self.add(kind);
                }
                if matches!(*verb, "CALL" | "CREATE" | "DROP" | "ALTER" | "TRUNCATE") {
                    let skip = tokens.len() - tokens[1..].len()
                        + usize::from(matches!(next, Some(Token::Keyword(_))));
                    return Some(skip + self.tables(tokens.get(skip..).unwrap_or_default(), false, true));
                }
            }
            _ => {}
        }
        Some(1)
    }

    fn enter(&mut self) {
        if let Some(scope) = self.scope.last_mut() {
            *scope = true;
        }
    }

    /// The table that begins here, or a list of them; how many tokens they take.
    fn tables(&mut self, tokens: &[Token<'_>], is_list: bool, may_open: bool) -> usize {
        let is_filler = |token: &&Token<'_>| {
            matches!(
                token,
                Token::Keyword(
                    "IGNORE" | "LOW_PRIORITY" | "HIGH_PRIORITY" | "DELAYED" | "IF" | "NOT" | "EXISTS"
                )
            )
        };
        let mut at = tokens.iter().take_while(is_filler).count();
        loop {
            let length = name_length(&tokens[at..]);
            if length == 0 {
                return at;
            }
            let name: String = tokens[at..at + length].iter().map(|token| written(*token)).collect();
            let is_call = tokens.get(at + length) == Some(&Token::Op("("));
            at += length;
            if may_open || !is_call {
                self.add(&name);
            }
            if tokens.get(at) == Some(&Token::Keyword("AS")) {
                at += 1;
            }
            if matches!(tokens.get(at), Some(Token::Word(_) | Token::Quoted(_))) {
                at += 1;
            }
            if !is_list || tokens.get(at) != Some(&Token::Op(",")) {
                return at;
            }
            at += 1;
        }
    }

    fn add(&mut self, word: &str) {
        if self.text.len() + 1 + word.len() > MAX_SUMMARY {
            return;
        }
        if !self.text.is_empty() {
            self.text.push(' ');
        }
        self.text.push_str(word);
    }
}

/// How many tokens a name takes: `t`, `db.t`.
fn name_length(tokens: &[Token<'_>]) -> usize {
    match tokens {
        [Token::Word(_) | Token::Quoted(_), Token::Op("."), Token::Word(_) | Token::Quoted(_), ..] => 3,
        [Token::Word(_) | Token::Quoted(_), ..] => 1,
        _ => 0,
    }
}
