//! The user's patterns of routes (`--route`): `/api/items/{id}`, `/files/{name}.json`, `/static/*`.
//!
//! `{name}` stands for one segment or a part of it, `*` for one segment, and for all of the rest at the end, where
//! `{*rest}` may be written as well.

use std::str::FromStr;
use std::sync::Arc;

use thiserror::Error;

/// A pattern of paths; what it matches bears its text as route.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pattern {
    name: Arc<str>,
    parts: Vec<Part>,
    /// Whether more segments may follow.
    open: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Literal(Box<str>),
    /// Anything between two ends, at least one character of it.
    Between(Box<str>, Box<str>),
}

/// Why a text is no pattern.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum PatternError {
    #[error("route pattern {pattern:?} does not begin with '/'; write it like /api/items/{{id}}")]
    NoSlash { pattern: String },
    #[error(
        "route pattern {pattern:?} contains {found:?}: a pattern is a path, without query, fragment or spaces"
    )]
    NotAPath { pattern: String, found: char },
    #[error("route pattern {pattern:?}: a brace of {segment:?} is not closed or not opened")]
    Brace { pattern: String, segment: String },
    #[error(
        "route pattern {pattern:?}: {segment:?} has more than one placeholder; one per segment is possible"
    )]
    Placeholders { pattern: String, segment: String },
    #[error(
        "route pattern {pattern:?}: {name:?} is no name; use letters, digits, '_' and '-', as in {{item_id}}"
    )]
    Name { pattern: String, name: String },
    #[error("route pattern {pattern:?}: '*' must be a segment of its own, and {{*rest}} the last")]
    Star { pattern: String },
}

impl Pattern {
    /// The route that matching requests bear: the pattern as it was written.
    pub fn name(&self) -> Arc<str> {
        self.name.clone()
    }

    /// Whether a path is one of the pattern's. A trailing slash makes no difference.
    pub fn matches(&self, path: &str) -> bool {
        let mut segments = super::segments(path);
        self.parts.iter().all(|part| segments.next().is_some_and(|segment| part.matches(segment)))
            && (self.open || segments.next().is_none())
    }
}

impl Part {
    fn matches(&self, segment: &str) -> bool {
        match self {
            Self::Literal(text) => **text == *segment,
            Self::Between(before, after) => segment
                .strip_prefix(&**before)
                .and_then(|rest| rest.strip_suffix(&**after))
                .is_some_and(|value| !value.is_empty()),
        }
    }

    fn parse(pattern: &str, segment: &str) -> Result<Self, PatternError> {
        let error = || (pattern.to_string(), segment.to_string());
        let Some((before, rest)) = segment.split_once('{') else {
            return match segment {
                "*" => Ok(Self::Between("".into(), "".into())),
                _ if segment.contains('*') => Err(PatternError::Star { pattern: pattern.into() }),
                _ if segment.contains('}') => {
                    let (pattern, segment) = error();
                    Err(PatternError::Brace { pattern, segment })
                }
                _ => Ok(Self::Literal(segment.into())),
            };
        };
        let Some((name, after)) = rest.split_once('}') else {
            let (pattern, segment) = error();
            return Err(PatternError::Brace { pattern, segment });
        };
        if before.contains('*') || after.contains('*') || name.starts_with('*') {
            return Err(PatternError::Star { pattern: pattern.into() });
        }
        let (pattern, segment) = error();
        if after.contains('{') {
            return Err(PatternError::Placeholders { pattern, segment });
        }
        if before.contains('}') || after.contains('}') {
            return Err(PatternError::Brace { pattern, segment });
        }
        if !is_name(name) {
            return Err(PatternError::Name { pattern, name: name.into() });
        }
        Ok(Self::Between(before.into(), after.into()))
    }
}

impl FromStr for Pattern {
    type Err = PatternError;

    fn from_str(pattern: &str) -> Result<Self, PatternError> {
        if !pattern.starts_with('/') {
            return Err(PatternError::NoSlash { pattern: pattern.into() });
        }
        let strange = |c: char| matches!(c, '?' | '#' | ';') || c.is_whitespace() || c.is_control();
        if let Some(found) = pattern.chars().find(|c| strange(*c)) {
            return Err(PatternError::NotAPath { pattern: pattern.into(), found });
        }
        let mut segments: Vec<&str> = super::segments(pattern).collect();
        let rest =
            |segment: &str| segment.strip_prefix("{*").and_then(|s| s.strip_suffix('}')).is_some_and(is_name);
        let open = segments.last().is_some_and(|last| *last == "*" || rest(last));
        if open {
            segments.pop();
        }
        let parts =
            segments.into_iter().map(|segment| Part::parse(pattern, segment)).collect::<Result<_, _>>()?;
        Ok(Self { name: pattern.into(), parts, open })
    }
}

fn is_name(name: &str) -> bool {
    !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-')
}
