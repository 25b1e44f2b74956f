//! Whether a segment of a path is a name that the service gave, or a value that a client did.
//!
//! Judged by looks alone, so it errs: a value taken for a name is caught by the tree's bounds, a name taken for a value
//! merges two routes. Names of few digits stay (`oauth2`, `s3`, `base64`, `v1beta1`), most values have more.

use std::borrow::Cow;

/// What stands for a value; `{any}` of the parent module is the third placeholder.
const VALUE: &str = "{id}";
const URN: &str = "{urn}";

/// Longer segments are values.
const MAX_NAME: usize = 48;
/// Names of more words are titles of something (`10-ways-to-cook-an-egg-in-a-hurry`).
const MAX_WORDS: usize = 5;

/// Names with three digits or more that are no values.
const NUMBERED: &[&str] = &[
    "sha224", "sha256", "sha384", "sha512", "es2015", "es2020", "rs256", "x509", "iso8601", "iso3166",
    "iso4217", "oauth10a", "hs256", "utf16", "h264", "h265", "x86_64",
];

/// A segment's part in the route.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Kind<'s> {
    /// Stays as it is.
    Name(&'s str),
    /// Is replaced by this.
    Value(Cow<'static, str>),
}

/// Tells names from values. The segment is not empty.
pub(super) fn classify(segment: &str) -> Kind<'_> {
    if is_urn(segment) {
        return Kind::Value(URN.into());
    }
    // OData and Rest.li: `Products(5)`, `items(key:1)`.
    if let Some((name, _)) = segment.split_once('(')
        && segment.ends_with(')')
        && !name.is_empty()
        && !is_value(name)
    {
        return Kind::Value(format!("{name}({VALUE})").into());
    }
    // A file's name: the ending says more than the value before it.
    if let Some((stem, ending)) = segment.rsplit_once('.')
        && is_ending(ending)
        && !is_version(segment)
        && !stem.is_empty()
        && !ending.bytes().all(|b| b.is_ascii_digit())
        && is_value_of_words(stem)
        && !segment.contains('@')
        && !is_token(segment)
    {
        return Kind::Value(format!("{VALUE}.{ending}").into());
    }
    if is_value(segment) { Kind::Value(VALUE.into()) } else { Kind::Name(segment) }
}

fn is_urn(segment: &str) -> bool {
    let begins = |with: &str| segment.get(..with.len()).is_some_and(|head| head.eq_ignore_ascii_case(with));
    begins("urn:") || begins("urn%3a") || begins("urn%253a")
}

/// The ending of a file's name: short, with a letter.
fn is_ending(ending: &str) -> bool {
    (1..=5).contains(&ending.len())
        && ending.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit())
        && ending.bytes().filter(u8::is_ascii_digit).count() < ending.len().min(3)
        && ending.as_bytes()[0].is_ascii_lowercase() | ending.starts_with("7z")
}

fn is_value(segment: &str) -> bool {
    segment.len() > MAX_NAME
        || !segment.bytes().all(is_plain)
        || is_email(segment)
        || is_value_of_words(segment)
}

/// Bytes of names; percent-encoding, lists, pairs and other scripts make a value.
fn is_plain(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-_.~$@!*':".contains(&byte)
}

fn is_email(segment: &str) -> bool {
    segment.split_once('@').is_some_and(|(user, host)| !user.is_empty() && host.contains('.'))
}

/// Judges by digits, words and the look of the letters.
fn is_value_of_words(segment: &str) -> bool {
    if is_version(segment) || NUMBERED.iter().any(|name| name.eq_ignore_ascii_case(segment)) {
        return false;
    }
    let words = segment.split(['-', '_', '.', ':', '~']).filter(|word| !word.is_empty());
    let digits = segment.bytes().filter(u8::is_ascii_digit).count();
    let letters = segment.bytes().filter(u8::is_ascii_alphabetic).count();
    // Numbers, dates, times, addresses; three digits or more; `user-17`.
    digits > 0 && letters == 0
        || digits >= 3
        || segment.starts_with(['-', '+']) && digits > 0
        || words.clone().count() > MAX_WORDS
        || words.clone().any(|word| word.len() >= 2 && word.bytes().all(|b| b.is_ascii_digit()))
        || words.clone().any(is_token)
}

/// `v1`, `v2.3`, `v1beta1`, `V2`.
fn is_version(segment: &str) -> bool {
    let Some(rest) = segment.strip_prefix(['v', 'V']) else {
        return false;
    };
    let number = rest.trim_start_matches(|c: char| c.is_ascii_digit() || c == '.');
    let stage = number.trim_end_matches(|c: char| c.is_ascii_digit());
    segment.len() <= 12
        && rest.starts_with(|c: char| c.is_ascii_digit())
        && rest.len() - number.len() <= 6
        && matches!(stage, "" | "alpha" | "beta" | "rc" | "p")
}

/// Words that no person made up: hashes, base64, random names.
fn is_token(word: &str) -> bool {
    let count = |kind: fn(&u8) -> bool| word.bytes().filter(kind).count();
    let (lower, upper, digits) =
        (count(u8::is_ascii_lowercase), count(u8::is_ascii_uppercase), count(u8::is_ascii_digit));
    let hex = word.len() >= 8 && word.bytes().all(|b| b.is_ascii_hexdigit());
    let vowels = word.bytes().filter(|b| b"aeiouyAEIOUY".contains(b)).count();
    hex && (digits > 0 || word.len() >= 16)
        || word.len() > 32
        // Letters that hardly can be spoken.
        || lower + upper == word.len() && word.len() >= 10 && vowels * 7 < word.len()
        // Cases and digits in turn, other than in CamelCase2Name.
        || word.len() >= 8 && upper > 0 && lower > 0 && turns(word) >= 3 && turns(word) * 10 >= word.len() * 3
        || word.len() >= 16 && (word.starts_with("eyJ") || word.ends_with("=="))
}

/// How often the kind of character changes, the start of a capitalised word aside.
fn turns(word: &str) -> usize {
    let kind = |b: u8| match b {
        b'0'..=b'9' => 0,
        b'A'..=b'Z' => 1,
        _ => 2,
    };
    word.as_bytes()
        .windows(2)
        .filter(|pair| kind(pair[0]) != kind(pair[1]) && (kind(pair[0]), kind(pair[1])) != (1, 2))
        .count()
}
